//! Sums that know what of them is measured.

use std::collections::BTreeMap;

use super::costs::{Basis, Figure};

/// A sum, and what of it is from figures of each origin.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) value: f64,
    parts: BTreeMap<Basis, f64>,
}

impl Sum {
    /// Something that was counted and cost nothing.
    pub(crate) fn counted(value: f64) -> Self {
        Self {
            value,
            parts: BTreeMap::new(),
        }
    }

    /// A figure so many times.
    pub(crate) fn product(times: f64, figure: &Figure) -> Self {
        let mut sum = Self::default();
        sum.add(times, figure);
        sum
    }

    pub(crate) fn add(&mut self, times: f64, figure: &Figure) {
        self.add_part(times * figure.value, figure.basis);
    }

    fn add_part(&mut self, value: f64, basis: Basis) {
        if value > 0.0 {
            self.value += value;
            *self.parts.entry(basis).or_default() += value;
        }
    }

    pub(crate) fn times(mut self, factor: f64) -> Self {
        self.value *= factor;
        self.parts.values_mut().for_each(|part| *part *= factor);
        self
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        for (basis, part) in other.parts {
            self.add_part(part, basis);
        }
        self
    }

    /// Returns the origins of its figures: `measured 62 %, assumed 38 %`.
    pub(crate) fn origin(&self) -> String {
        let shares = self
            .parts
            .iter()
            .map(|(basis, part)| (basis.name(), 100.0 * part / self.value));
        let large: Vec<(&str, f64)> = shares.filter(|(_, share)| *share >= 0.5).collect();
        match large.as_slice() {
            [] => "counted".to_owned(),
            [(name, _)] => (*name).to_owned(),
            many => {
                let many = many
                    .iter()
                    .map(|(name, share)| format!("{name} {share:.0} %"));
                many.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_says_what_of_it_is_measured() {
        let figure = |value, basis| Figure::new(value, basis, "a test");
        let mut sum = Sum::product(2.0, &figure(3.0, Basis::Measured));
        assert_eq!(sum.origin(), "measured");
        sum.add(1.0, &figure(18.0, Basis::Assumed));
        assert_eq!(sum.origin(), "measured 25 %, assumed 75 %");
        let twice = sum.clone().and(sum.clone());
        assert_eq!(twice, sum.times(2.0));
        assert!((twice.value - 48.0).abs() < f64::EPSILON);
        assert_eq!(Sum::counted(7.0).origin(), "counted");
        // A small part is not worth a word.
        let small = Sum::product(1.0, &figure(0.1, Basis::Given));
        assert_eq!(
            Sum::product(1.0, &figure(99.9, Basis::Measured))
                .and(small)
                .origin(),
            "measured"
        );
    }
}
