//! Codes, limits, windows and sentences of a coupon.

use chrono::TimeDelta;
use serde_json::json;

use super::*;

/// A coupon without limits.
pub(in crate::coupons) fn unlimited() -> Coupon {
    Coupon {
        id: CouponId::from_u128(1),
        code: "HEMAT".to_owned(),
        description: String::new(),
        plugin_id: "coupon-fixture".to_owned(),
        parameters: Json(json!({})),
        starts_at: DateTime::UNIX_EPOCH,
        ends_at: None,
        max_uses: None,
        max_uses_per_user: None,
        used_count: 0,
        budget: None,
        granted_amount: Rupiah::ZERO,
        services: Json(Vec::new()),
        tiers: Json(Vec::new()),
        periods: None,
        status: CouponStatus::Active,
        revision: 0,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn with_budget(budget: i64, granted: i64) -> Coupon {
    Coupon {
        budget: Some(Rupiah::new(budget)),
        granted_amount: Rupiah::new(granted),
        ..unlimited()
    }
}

#[test]
fn a_code_is_upper_cased_and_kept_short() {
    assert_eq!(
        "  hemat-10 ".parse::<CouponCode>().unwrap().as_str(),
        "HEMAT-10"
    );
    let long = "A".repeat(10_000);
    for bad in ["", "AB", "A B C", "ÄÖÜ", "A;DROP", long.as_str()] {
        assert!(bad.parse::<CouponCode>().is_err(), "{bad:.20} was accepted");
    }
}

#[test]
fn a_code_has_three_to_fifty_letters() {
    for (length, is_good) in [(2, false), (3, true), (50, true), (51, false)] {
        let code = "a".repeat(length).parse::<CouponCode>();
        assert_eq!(code.is_ok(), is_good, "{length}");
    }
}

#[test]
fn a_budget_holds_up_to_its_last_rupiah() {
    let coupon = with_budget(100, 60);
    for (amount, holds) in [(0, true), (40, true), (41, false)] {
        assert_eq!(
            coupon.has_budget_for(Rupiah::new(amount)),
            holds,
            "{amount}"
        );
    }
    assert!(!with_budget(i64::MAX, i64::MAX).has_budget_for(Rupiah::new(1)));
    assert!(unlimited().has_budget_for(Rupiah::new(i64::MAX)));
}

#[test]
fn a_budget_is_told_by_what_is_left_of_it() {
    let left = "The budget of the coupon HEMAT holds Rp40, which is less than this discount.";
    let spent = "The budget of the coupon HEMAT is spent.";
    for (granted, sentence) in [(60, left), (100, spent), (101, spent)] {
        assert_eq!(
            with_budget(100, granted).budget_in_words(),
            sentence,
            "{granted}"
        );
    }
}

#[test]
fn a_coupon_is_used_up_by_its_uses_or_its_budget() {
    let used = |used_count| Coupon {
        max_uses: Some(2),
        used_count,
        ..unlimited()
    };
    for (coupon, is_used_up) in [
        (unlimited(), false),
        (used(1), false),
        (used(2), true),
        (used(3), true),
        (with_budget(100, 99), false),
        (with_budget(100, 100), true),
    ] {
        assert_eq!(coupon.is_used_up(), is_used_up, "{coupon:?}");
    }
}

/// The end of a window is no part of it, and what an administrator or the last use decided stays.
#[test]
fn a_window_that_is_over_shows_at_its_end() {
    let end = DateTime::UNIX_EPOCH + TimeDelta::days(1);
    for &status in CouponStatus::ALL {
        let coupon = Coupon {
            ends_at: Some(end),
            status,
            ..unlimited()
        };
        assert_eq!(coupon.status_at(end - TimeDelta::milliseconds(1)), status);
        let expected = match status {
            CouponStatus::Active => CouponStatus::Expired,
            other => other,
        };
        assert_eq!(coupon.status_at(end), expected, "{status}");
    }
}

/// Redemptions of every release are read in this form.
#[test]
fn an_effect_is_stored_under_its_name() {
    for (effect, stored) in [
        (Effect::Credit(1), json!({ "credit": 1 })),
        (Effect::Discount(25_000), json!({ "discount": 25_000 })),
        (Effect::FreePeriods(3), json!({ "freePeriods": 3 })),
    ] {
        assert_eq!(json!(EffectView::from(effect)), stored);
        let read: EffectView = serde_json::from_value(stored).unwrap();
        assert_eq!(read, EffectView::from(effect));
    }
}
