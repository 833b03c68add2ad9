//! Problems: reasons why an input is not acceptable.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;

use crate::{
    money::{self, Rupiah},
    service::Problem,
};

impl Problem {
    /// Builds a problem; `field` is a JSON pointer such as `/percent`, or empty for the whole
    /// input.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }

    /// Returns `Ok` when there are no problems.
    ///
    /// # Errors
    /// All the problems.
    pub fn none_of(problems: impl IntoIterator<Item = Self>) -> Result<(), Vec<Self>> {
        let problems: Vec<_> = problems.into_iter().collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Returns a problem when an amount of money is outside its range.
    pub fn unless_within(
        field: &str,
        amount: Rupiah,
        range: &RangeInclusive<Rupiah>,
    ) -> Option<Self> {
        (!range.contains(&amount)).then(|| {
            let (least, most) = (money::format(*range.start()), money::format(*range.end()));
            Self::new(field, format!("Choose an amount from {least} to {most}."))
        })
    }
}

impl From<Problem> for Vec<Problem> {
    fn from(problem: Problem) -> Self {
        vec![problem]
    }
}

/// Parses a JSON text into the plugin's own type; `what` names it in the problem, for example
/// `configuration`.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, json: &str) -> Result<T, Problem> {
    serde_json::from_str(json)
        .map_err(|error| Problem::new("", format!("The {what} cannot be read: {error}.")))
}

/// Parses like [`parse`], with a pointer to the value that cannot be read.
pub(crate) fn parse_at<T: DeserializeOwned>(what: &str, json: &str) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        // The position is of no use: the reader has never seen this JSON text.
        let sentence = error.into_inner().to_string();
        let sentence = sentence.split(" at line ").next().unwrap_or_default();
        Problem::new(pointer, format!("The {what} cannot be read: {sentence}."))
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Parameters {
        amount: Rupiah,
    }

    #[test]
    fn unreadable_json_is_a_sentence() {
        let problem = parse::<Parameters>("parameters", r#"{"amuont": 5}"#).unwrap_err();
        assert!(
            problem
                .message
                .starts_with("The parameters cannot be read: unknown field `amuont`")
        );
        assert!(parse::<Parameters>("parameters", r#"{"amount": 1.5}"#).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_pointed_at() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Settings {
            list: Vec<Parameters>,
        }
        let refused = |json| parse_at::<Settings>("settings", json).unwrap_err();
        assert_eq!(
            refused(r#"{"list": [{"amount": 1}, {"amount": "x"}]}"#),
            Problem::new(
                "/list/1/amount",
                r#"The settings cannot be read: invalid type: string "x", expected i64."#
            )
        );
        assert_eq!(
            refused(r#"{"list": [{"amuont": 1}]}"#).field,
            "/list/0/amuont"
        );
    }

    #[test]
    fn range_includes_both_ends() {
        let range = 1..=50_000;
        assert_eq!(Problem::unless_within("/amount", 1, &range), None);
        assert_eq!(Problem::unless_within("/amount", 50_000, &range), None);
        let problem = Problem::unless_within("/amount", 0, &range).unwrap();
        assert_eq!(problem.message, "Choose an amount from Rp1 to Rp50.000.");
    }
}
