//! Lengths of time in words.

use crate::text::counted;

/// Writes a time span, for example `14 days 3 hours`; exact to the second, so that a reader can
/// check an amount.
pub(super) fn span(seconds: i64) -> String {
    let units = [
        ("day", 86_400, i64::MAX),
        ("hour", 3_600, 24),
        ("minute", 60, 60),
        ("second", 1, 60),
    ];
    let parts: Vec<_> = units
        .into_iter()
        .map(|(unit, length, wraps)| (seconds / length % wraps, unit))
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| counted(number, unit))
        .collect();
    if parts.is_empty() {
        "0 seconds".to_owned()
    } else {
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exact() {
        assert_eq!(span(0), "0 seconds");
        assert_eq!(span(21 * 86_400), "21 days");
        assert_eq!(span(86_400 + 3_600 + 61), "1 day 1 hour 1 minute 1 second");
    }
}
