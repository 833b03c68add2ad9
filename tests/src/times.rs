//! Bounds of what a test may wait for.

use std::time::Duration;

/// Makes a test hold what is promised, on a machine that does nothing else.
const EXACT: &str = "DERMAGA_TEST_EXACT_TIMES";

/// Returns the time that is promised under `DERMAGA_TEST_EXACT_TIMES=1`, and else the longer one, which a machine that
/// is busy with other tests needs.
pub fn at_most(promised: Duration, when_busy: Duration) -> Duration {
    if std::env::var(EXACT).as_deref() == Ok("1") {
        promised
    } else {
        when_busy
    }
}
