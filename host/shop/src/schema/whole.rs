//! Whole numbers that were written as floats.

use serde_json::Value;

use super::Fault;

/// 2^53: above it, a float stands for several whole numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Turns floats without a fraction into integers; returns a fault for each that is too large to be
/// exact.
pub(super) fn made_whole(value: &mut Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    walk(value, "", &mut faults);
    faults
}

fn walk(value: &mut Value, pointer: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            if float.fract() != 0.0 {
                return;
            }
            // Beyond this bound the written digits are lost already.
            if float.abs() > EXACT {
                faults.push(Fault {
                    pointer: pointer.to_owned(),
                    message: "is too large a number".to_owned(),
                });
            } else if let Ok(whole) = format!("{float:.0}").parse::<i64>() {
                *value = whole.into();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{pointer}/{index}"), faults);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(field, &format!("{pointer}/{name}"), faults);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_floats_become_integers_and_inexact_ones_are_faults() {
        let mut value = json!({
            "a": 1e3, "b": [1000.0, -0.0, 0.5, 7], "c/d": { "e": 1e16, "f": -1e300 },
            "g": "1.0", "h": 9_007_199_254_740_992.0, "i": i64::MAX,
        });
        let faults: Vec<_> = made_whole(&mut value)
            .into_iter()
            .map(|fault| fault.pointer)
            .collect();
        assert_eq!(faults, ["/c~1d/e", "/c~1d/f"]);
        let expected = json!({
            "a": 1000, "b": [1000, 0, 0.5, 7], "c/d": { "e": 1e16, "f": -1e300 },
            "g": "1.0", "h": 9_007_199_254_740_992_i64, "i": i64::MAX,
        });
        assert_eq!(value, expected);
    }
}
