//! Settings of subscriptions.

use chrono::{Days, TimeDelta};

/// Upper bound of GRACE_PERIOD_MAX_DAYS: longer than that is a gift, not a grace.
pub const MOST_GRACE_DAYS: u64 = 90;

/// Settings of subscriptions and their periods.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Charge the next period of subscriptions that renew.
    pub auto_renewal: bool,
    /// Let an unpaid subscription go on running for `grace_days` before it is suspended.
    pub grace_period: bool,
    pub grace_days: u64,
    /// Bounds of every grace, in days.
    pub grace_min_days: u64,
    pub grace_max_days: u64,
    /// Retention of the data of a suspended subscription, in days.
    pub retention: Days,
    /// Retries, on its day, of a renewal that failed through no fault of the customer.
    pub retries: i64,
    pub retry_delay: TimeDelta,
    /// Warn customers whose wallet does not hold enough for the next period.
    pub low_credit_warning: bool,
    /// Days before the end of a period in which they are warned.
    pub low_credit_days: u64,
    /// Domain below which instances with a public endpoint get their host names.
    pub base_domain: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_renewal: false,
            grace_period: false,
            grace_days: 0,
            grace_min_days: 0,
            grace_max_days: 0,
            retention: Days::new(0),
            retries: 0,
            retry_delay: TimeDelta::zero(),
            low_credit_warning: false,
            low_credit_days: 0,
            base_domain: String::new(),
        }
    }
}

impl Settings {
    /// Checks a grace of so many days against the shop's bounds.
    ///
    /// # Errors
    /// A sentence that completes the name of what was given: "must be ...".
    pub fn check_grace_days(&self, days: u64) -> Result<(), String> {
        let (least, most) = (self.grace_min_days, self.grace_max_days);
        if (least..=most).contains(&days) {
            return Ok(());
        }
        Err(format!(
            "must be from {least} to {most} days (GRACE_PERIOD_MIN_DAYS, GRACE_PERIOD_MAX_DAYS)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_within_its_bounds_both_included() {
        let settings = Settings {
            grace_min_days: 3,
            grace_max_days: 7,
            ..Settings::default()
        };
        for (days, is_good) in [(0, false), (2, false), (3, true), (7, true), (8, false)] {
            assert_eq!(settings.check_grace_days(days).is_ok(), is_good, "{days}");
        }
        let refused = settings.check_grace_days(u64::MAX).unwrap_err();
        assert!(refused.starts_with("must be from 3 to 7 days"), "{refused}");
    }
}
