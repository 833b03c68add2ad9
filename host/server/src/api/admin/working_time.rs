//! Time of requests of administrators that work on many things one after the other, each for itself.

use std::time::Duration;

use dermaga_shop::time_budget::TimeBudget;

use crate::api::AppState;

/// Longest time that such a request works.
const LONGEST: Duration = Duration::from_secs(20);

/// Begins the budget of a request, which ends well before the request is given up.
pub(super) fn begin(state: &AppState) -> TimeBudget {
    TimeBudget::begin(within(state.config.http.request_timeout))
}

/// Returns the time to work within a request that may take so long.
pub(super) fn within(request_timeout: Duration) -> Duration {
    LONGEST.min(request_timeout * 2 / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_by_itself_before_it_is_given_up() {
        for (timeout, time) in [(3, 2), (30, 20), (600, 20)] {
            let timeout = Duration::from_secs(timeout);
            assert_eq!(within(timeout), Duration::from_secs(time));
        }
    }
}
