//! Checks of a plugin's answers, the same for every contract version.

use serde_json::Value;

use crate::contract::{
    AccessCard, Decision, Effect, Grant, Health, PlanChangeAnswer, PriceAnswer, PriceLine, Problem,
    Refusal,
};

/// Maximum of lines of one price, problems of one answer and fields of one access card.
const MAX_ENTRIES: usize = 50;
/// Maximum of Kubernetes objects of one instance.
const MAX_OBJECTS: usize = 100;
/// Maximum of characters in a sentence for people.
const MAX_SENTENCE: usize = 500;

/// A violation of the contract by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Path to the offending value, for example `lines[2].label`.
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Malformed {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Checks that the lines add up to the total and that the total is not negative.
pub(crate) fn price(answer: PriceAnswer) -> Result<PriceAnswer, Malformed> {
    at_most(answer.lines.len(), MAX_ENTRIES, "lines")?;
    let mut sum = 0_i64;
    for (position, line) in answer.lines.iter().enumerate() {
        price_line(line, &format!("lines[{position}]"))?;
        sum = sum
            .checked_add(line.amount)
            .ok_or_else(|| Malformed::new("lines", "their sum does not fit in 64 bits"))?;
    }
    if answer.total < 0 {
        return Err(Malformed::new(
            "total",
            format!("{} is negative", answer.total),
        ));
    }
    if sum != answer.total {
        let message = format!("it is {} and the lines add up to {sum}", answer.total);
        return Err(Malformed::new("total", message));
    }
    Ok(answer)
}

fn price_line(line: &PriceLine, at: &str) -> Result<(), Malformed> {
    let code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=50).contains(&line.code.len()) || !line.code.bytes().all(code) {
        let message = format!("`{}` is not `[a-z0-9-]{{1,50}}`", line.code);
        return Err(Malformed::new(format!("{at}.code"), message));
    }
    sentence(&line.label, &format!("{at}.label"))?;
    sentence(&line.reason, &format!("{at}.reason"))
}

/// Checks that amounts are not negative, codes well-formed and sentences not empty.
pub(crate) fn decision(answer: Decision) -> Result<Decision, Malformed> {
    match &answer {
        Decision::Grant(Grant { effect, reason }) => {
            let positive = match effect {
                Effect::Credit(rupiah) | Effect::Discount(rupiah) => *rupiah >= 0,
                Effect::FreePeriods(periods) => *periods > 0,
            };
            if !positive {
                return Err(Malformed::new("grant.effect", "it takes instead of giving"));
            }
            sentence(reason, "grant.reason")?;
        }
        Decision::Refuse(Refusal { code, message }) => {
            if !is_refusal_code(code) {
                let message = format!("`{code}` is not `[A-Z][A-Z0-9_]{{2,49}}`");
                return Err(Malformed::new("refuse.code", message));
            }
            sentence(message, "refuse.message")?;
        }
    }
    Ok(answer)
}

fn is_refusal_code(code: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (3..=50).contains(&code.len())
        && code
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_uppercase())
        && code.bytes().all(allowed)
}

/// Checks that a list of problems names at least one.
pub(crate) fn problems(answer: Vec<Problem>) -> Result<Vec<Problem>, Malformed> {
    if answer.is_empty() {
        return Err(Malformed::new("problems", "it refuses without a reason"));
    }
    at_most(answer.len(), MAX_ENTRIES, "problems")?;
    for (position, problem) in answer.iter().enumerate() {
        sentence(&problem.message, &format!("problems[{position}].message"))?;
    }
    Ok(answer)
}

/// Parses texts of which each must be a JSON object.
pub(crate) fn objects(texts: &[String]) -> Result<Vec<Value>, Malformed> {
    at_most(texts.len(), MAX_OBJECTS, "objects")?;
    texts
        .iter()
        .enumerate()
        .map(|(position, text)| object(text, &format!("objects[{position}]")))
        .collect()
}

/// Parses a text that must be a JSON object.
pub(crate) fn object(text: &str, field: &str) -> Result<Value, Malformed> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Malformed::new(field, format!("it is not JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Malformed::new(field, "it is not a JSON object"))
    }
}

pub(crate) fn health(answer: Health) -> Result<Health, Malformed> {
    sentence(&answer.message, "message")?;
    Ok(answer)
}

pub(crate) fn plan_change(answer: PlanChangeAnswer) -> Result<PlanChangeAnswer, Malformed> {
    if let PlanChangeAnswer::Denied(why) = &answer {
        sentence(why, "denied")?;
    }
    Ok(answer)
}

pub(crate) fn access(answer: AccessCard) -> Result<AccessCard, Malformed> {
    at_most(answer.fields.len(), MAX_ENTRIES, "fields")?;
    for (position, field) in answer.fields.iter().enumerate() {
        sentence(&field.label, &format!("fields[{position}].label"))?;
    }
    let web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    match &answer.url {
        Some(url) if !web(url) => Err(Malformed::new(
            "url",
            format!("`{url}` does not begin with https:// or http://"),
        )),
        _ => Ok(answer),
    }
}

fn sentence(text: &str, field: &str) -> Result<(), Malformed> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_SENTENCE {
        let message = format!("it has {length} characters and must have 1 to {MAX_SENTENCE}");
        return Err(Malformed::new(field, message));
    }
    Ok(())
}

fn at_most(count: usize, max: usize, field: &str) -> Result<(), Malformed> {
    if count > max {
        return Err(Malformed::new(
            field,
            format!("it has {count} entries; {max} are allowed"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(amount: i64) -> PriceLine {
        PriceLine {
            code: "plan".into(),
            label: "Plan".into(),
            amount,
            reason: "One month.".into(),
        }
    }

    fn refused(total: i64, amounts: &[i64]) -> String {
        let lines = amounts.iter().map(|amount| line(*amount)).collect();
        price(PriceAnswer { lines, total })
            .unwrap_err()
            .to_string_pair()
    }

    impl Malformed {
        fn to_string_pair(&self) -> String {
            format!("{}: {}", self.field, self.message)
        }
    }

    #[test]
    fn a_price_is_the_sum_of_its_lines_and_never_negative() {
        let good = PriceAnswer {
            lines: vec![line(50_000), line(-20_000)],
            total: 30_000,
        };
        assert_eq!(price(good.clone()), Ok(good));
        assert_eq!(
            refused(30_001, &[50_000, -20_000]),
            "total: it is 30001 and the lines add up to 30000"
        );
        assert_eq!(refused(-1, &[-1]), "total: -1 is negative");
        assert_eq!(
            refused(0, &[i64::MAX, 1]),
            "lines: their sum does not fit in 64 bits"
        );
        assert_eq!(
            refused(0, &[0; 51]),
            "lines: it has 51 entries; 50 are allowed"
        );
    }

    #[test]
    fn a_coupon_only_gives_and_refuses_with_a_code() {
        let grant = |effect| {
            decision(Decision::Grant(Grant {
                effect,
                reason: "Because.".into(),
            }))
        };
        assert!(grant(Effect::Credit(0)).is_ok());
        assert!(grant(Effect::Discount(-1)).is_err());
        assert!(grant(Effect::FreePeriods(0)).is_err());
        let refuse = |code: &str| {
            decision(Decision::Refuse(Refusal {
                code: code.into(),
                message: "No.".into(),
            }))
        };
        assert!(refuse("TOO_LATE").is_ok());
        for bad in ["", "NO", "no_no", "1NO", "NO-NO"] {
            assert!(refuse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn objects_are_json_objects() {
        assert!(objects(&["{}".into()]).is_ok());
        assert_eq!(
            objects(&["{}".into(), "[]".into()]).unwrap_err().field,
            "objects[1]"
        );
        assert!(
            object("{", "x")
                .unwrap_err()
                .message
                .starts_with("it is not JSON")
        );
    }
}
