//! Subscriptions whose period is over, and the time that is not charged.

use chrono::TimeDelta;

use super::{next_price::switched_off, *};
use crate::{
    ids::{CouponId, PlanId},
    subscriptions::SubscriptionStatus as Status,
    test_database::ended,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_period_is_over_at_its_end_for_what_lives() {
    let (before, end) = (at("2028-01-10T11:59:59Z"), at("2028-01-10T12:00:00Z"));
    for &status in Status::ALL {
        let seen = ended(status);
        let lives = !matches!(status, Status::Cancelled | Status::Expired);
        assert!(!seen.is_due(before), "{status}");
        assert_eq!(seen.is_due(end), lives, "{status}");
        assert_eq!(seen.is_overdue(end), status == Status::Active, "{status}");
    }
}

#[test]
fn the_time_switched_off_is_not_charged() {
    let (since, now) = (at("2028-01-13T12:00:00Z"), at("2028-01-20T12:00:00Z"));
    let mut seen = ended(Status::Suspended);
    assert_eq!(switched_off(&seen, now), TimeDelta::zero());
    seen.held_since = Some(since);
    assert_eq!(switched_off(&seen, now), TimeDelta::days(7));
    seen.suspended_at = Some(since + TimeDelta::days(1));
    assert_eq!(switched_off(&seen, now), TimeDelta::days(6));
    // A clock that was ahead wrote it down.
    seen.suspended_at = Some(now + TimeDelta::days(1));
    assert_eq!(switched_off(&seen, now), TimeDelta::zero());
}

#[test]
fn a_coupon_is_left_for_ever_or_for_its_periods() {
    let id = Some(CouponId::from_u128(9));
    for (coupon_id, coupon_periods_left, left) in [
        (None, None, false),
        (None, Some(3), false),
        (id, None, true),
        (id, Some(1), true),
        (id, Some(0), false),
        (id, Some(-1), false),
    ] {
        let seen = Subscription {
            coupon_id,
            coupon_periods_left,
            ..ended(Status::Active)
        };
        assert_eq!(seen.has_coupon_left(), left, "{coupon_periods_left:?}");
    }
}

#[test]
fn a_step_is_taken_only_on_what_it_was_decided_on() {
    let seen = ended(Status::Active);
    assert!(seen.is_as_seen(&seen));
    let changes: [fn(&mut Subscription); 9] = [
        |now| now.status = Status::Cancelled,
        |now| now.period_number = 2,
        |now| now.plan_id = PlanId::from_u128(9),
        |now| now.monthly_price = Rupiah::new(1),
        |now| now.auto_renew = false,
        |now| now.coupon_periods_left = Some(1),
        |now| now.next_price = Some(Rupiah::new(1)),
        |now| now.next_term_price = Some(Rupiah::new(1)),
        |now| now.suspended_at = Some(now.period_end),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut now = seen.clone();
        change(&mut now);
        assert!(!now.is_as_seen(&seen), "change {number}");
    }
}

/// The price of the term comes with the monthly one, and not before; a move of an earlier release names none.
#[test]
fn a_move_without_a_price_of_the_term_keeps_the_share() {
    let seen = Subscription {
        term_months: 12,
        monthly_price: Rupiah::new(50_000),
        term_price: Some(Rupiah::new(510_000)),
        next_price: Some(Rupiah::new(60_000)),
        ..ended(Status::Active)
    };
    let from = seen.period_end;
    for (named, expected) in [(None, 612_000), (Some(Rupiah::new(590_000)), 590_000)] {
        let moved = Subscription {
            next_term_price: named,
            next_price_from: Some(from),
            ..seen.clone()
        };
        let before = moved.term_from(from - TimeDelta::milliseconds(1)).unwrap();
        assert_eq!(before, moved.term().unwrap());
        let after = moved.term_from(from).unwrap();
        let prices = (after.months, after.monthly_price, after.price);
        assert_eq!(
            prices,
            (12, Rupiah::new(60_000), Some(Rupiah::new(expected)))
        );
    }
}

#[test]
fn a_frozen_period_is_a_month_at_the_price_of_the_storage() {
    let storage = Rupiah::new(10_000);
    for (freeze_state, storage_price, months, kind) in [
        (FreezeState::None, None, 12, Kind::Service),
        (FreezeState::None, Some(storage), 12, Kind::Service),
        (
            FreezeState::Pending,
            Some(storage),
            1,
            Kind::Storage(storage),
        ),
        (
            FreezeState::Frozen,
            Some(storage),
            1,
            Kind::Storage(storage),
        ),
    ] {
        let seen = Subscription {
            term_months: 12,
            freeze_state,
            storage_price,
            ..ended(Status::Active)
        };
        assert_eq!(seen.next_months(), months, "{freeze_state}");
        assert_eq!(Kind::of(&seen), kind, "{freeze_state}");
    }
}

/// Nothing of a first period is used before its delivery, however long that takes.
#[test]
fn a_period_is_used_from_the_delivery_on() {
    let delivered = ended(Status::Active);
    let now = at("2027-12-20T12:00:00Z");
    assert_eq!(delivered.used_until(now), now);
    let waiting = Subscription {
        delivered_at: None,
        ..delivered
    };
    assert_eq!(waiting.used_until(now), waiting.period_start);
    let second = Subscription {
        period_number: 2,
        ..waiting
    };
    assert_eq!(second.used_until(now), now);
}

#[test]
fn a_term_that_no_one_sold_is_an_error() {
    for (term_months, months) in [(1, Some(1)), (12, Some(12)), (-1, None), (i64::MAX, None)] {
        let seen = Subscription {
            term_months,
            ..ended(Status::Active)
        };
        let term = seen.term().ok().map(|term| term.months);
        assert_eq!(term, months, "{term_months}");
    }
}
