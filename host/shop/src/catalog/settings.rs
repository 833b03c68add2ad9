//! Settings of the catalogue.

use chrono::TimeDelta;

/// Settings of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Time for which a place that came free is held for the customer who waited.
    pub waitlist_hold: TimeDelta,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waitlist_hold: TimeDelta::hours(24),
        }
    }
}
