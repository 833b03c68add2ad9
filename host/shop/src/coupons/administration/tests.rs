//! Changes of a coupon that was used, and its status after them.

use chrono::TimeDelta;

use super::*;
use crate::coupons::{Lasts, model::tests::unlimited};

fn used(used_count: i64, granted: i64) -> Coupon {
    Coupon {
        used_count,
        granted_amount: Rupiah::new(granted),
        ..unlimited()
    }
}

/// The same coupon, sent back.
fn wanted(before: &Coupon) -> NewCoupon {
    NewCoupon {
        code: before.code.parse().unwrap(),
        description: before.description.clone(),
        plugin: before.plugin_id.clone(),
        parameters: before.parameters.0.clone(),
        starts_at: None,
        ends_at: before.ends_at,
        max_uses: before.max_uses,
        max_uses_per_user: before.max_uses_per_user,
        budget: before.budget.map(Rupiah::get),
        services: Vec::new(),
        tiers: Vec::new(),
        lasts: Lasts::default(),
        reason: None,
    }
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(30)
}

/// Change of one field.
type Change = fn(&mut NewCoupon);

#[test]
fn what_decides_is_frozen_after_the_first_use() {
    for (used_count, is_frozen) in [(0, false), (1, true)] {
        let before = used(used_count, 0);
        let changes: [(&str, Change); 3] = [
            ("code", |new| new.code = "HEMAT2".parse().unwrap()),
            ("plugin", |new| new.plugin = "coupon-other".to_owned()),
            ("parameters", |new| new.parameters = json!({ "amount": 1 })),
        ];
        check_frozen(&before, &wanted(&before)).unwrap();
        for (field, change) in changes {
            let mut new = wanted(&before);
            change(&mut new);
            let refused = check_frozen(&before, &new).err();
            let named = refused.map(|error| (error.code, error.details[0].field.clone()));
            let expected = is_frozen.then(|| (Code::Conflict, field.to_owned()));
            assert_eq!(named, expected, "{used_count}");
        }
    }
}

#[test]
fn a_limit_is_not_set_below_what_was_given() {
    let before = used(3, 100);
    let mut new = wanted(&before);
    (new.max_uses, new.budget) = (Some(3), Some(100));
    check_limits(&before, &new).unwrap();
    (new.max_uses, new.budget) = (Some(2), Some(99));
    new.ends_at = Some(before.starts_at);
    let refused = check_limits(&before, &new).unwrap_err();
    let details: Vec<_> = refused
        .details
        .iter()
        .map(|detail| (detail.field.as_str(), detail.message.as_str()))
        .collect();
    let expected = [
        (
            "maxUses",
            "must be at least 3: so often it has been used already",
        ),
        (
            "budget",
            "must be at least 100: so much it has given already",
        ),
        ("endsAt", "must be after startsAt"),
    ];
    assert_eq!(details, expected);
}

#[test]
fn a_change_decides_the_status_anew() {
    let before = |status| Coupon {
        status,
        ..used(3, 100)
    };
    for (max_uses, budget, ends_at, status) in [
        (None, None, None, CouponStatus::Active),
        (Some(4), Some(101), None, CouponStatus::Active),
        (Some(3), None, None, CouponStatus::UsedUp),
        (None, Some(100), None, CouponStatus::UsedUp),
        (None, None, Some(now()), CouponStatus::Expired),
        (Some(3), None, Some(now()), CouponStatus::UsedUp),
        (
            None,
            None,
            Some(now() + TimeDelta::seconds(1)),
            CouponStatus::Active,
        ),
    ] {
        for earlier in [
            CouponStatus::Active,
            CouponStatus::Expired,
            CouponStatus::UsedUp,
        ] {
            let before = before(earlier);
            let mut new = wanted(&before);
            (new.max_uses, new.budget, new.ends_at) = (max_uses, budget, ends_at);
            assert_eq!(status_after(&before, &new, now()), status, "{earlier}");
        }
        let off = before(CouponStatus::Disabled);
        let stays = status_after(&off, &wanted(&off), now());
        assert_eq!(stays, CouponStatus::Disabled);
    }
}

#[test]
fn a_coupon_is_switched_on_while_it_can_be_used() {
    let over = Coupon {
        ends_at: Some(now()),
        ..unlimited()
    };
    let used_up = Coupon {
        max_uses: Some(3),
        ..used(3, 0)
    };
    for (coupon, refusal) in [
        (
            over,
            "The window of the coupon HEMAT is over. Give it another end first.",
        ),
        (
            used_up,
            "The coupon HEMAT is used up. Give it more uses or a larger budget first.",
        ),
    ] {
        let refused = can_be_active(&coupon, now()).unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (Code::Conflict, refusal)
        );
        assert_eq!(refused.details[0].message, coupon.id.to_string());
    }
    let switched = can_be_active(&unlimited(), now()).unwrap();
    assert_eq!(switched, CouponStatus::Active);
}
