//! Sentence about the way in which the lines of a price became whole rupiah.

/// Rule of a price whose lines are each computed from exact amounts.
const ONCE: &str = "Every line is computed exactly and rounded down once to whole rupiah; the lines add up \
     to the amount due.";

/// As [`ONCE`], where the term took its share off a price that has whole rupiah already.
const OF_TERM: &str = "Every line is computed exactly and rounded down once to whole rupiah, that of the term from \
     amounts that are rounded already; the lines add up to the amount due.";

/// As [`ONCE`], where a share of the coupon's discount was taken for the months that it lasts.
const OF_COUPON: &str = "Every line is computed exactly and rounded down once to whole rupiah, that of the coupon a \
     second time for its share of the months; the lines add up to the amount due.";

/// As [`OF_TERM`] and [`OF_COUPON`] together.
const OF_BOTH: &str = "Every line is computed exactly and rounded down once to whole rupiah, that of the term from \
     amounts that are rounded already, that of the coupon a second time for its share of the months; the lines add up \
     to the amount due.";

/// Lines of a price that were computed from amounts in whole rupiah, since a plugin answers no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rounding {
    /// The term took its share off another price than its plan's.
    pub(super) of_term: bool,
    /// The coupon counts for some of the months only.
    pub(super) of_coupon: bool,
}

impl Rounding {
    /// Returns the sentence that explains it.
    pub(super) const fn in_words(self) -> &'static str {
        match (self.of_term, self.of_coupon) {
            (false, false) => ONCE,
            (true, false) => OF_TERM,
            (false, true) => OF_COUPON,
            (true, true) => OF_BOTH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_are_rounded_again_are_named_and_no_others() {
        for (of_term, of_coupon) in [(false, false), (true, false), (false, true), (true, true)] {
            let said = Rounding { of_term, of_coupon }.in_words();
            assert_eq!(said.contains("that of the term"), of_term, "{said}");
            assert_eq!(said.contains("that of the coupon"), of_coupon, "{said}");
            assert!(said.ends_with("; the lines add up to the amount due."));
        }
    }
}
