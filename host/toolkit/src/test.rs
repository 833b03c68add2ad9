//! Runs golden cases alone, for quick feedback while a plugin is being written.

use std::fmt;

use dermaga_runtime::Plugin;
use serde::Serialize;

use crate::{
    case::{Case, Difference},
    colour::{Coloured, Painted, Palette},
};

/// Results of a plugin's golden cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestReport {
    pub cases: Vec<CaseResult>,
}

/// Result of one golden case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseResult {
    pub name: String,
    pub description: String,
    /// The first difference, or the error of the call; `None` when the case passed.
    pub failure: Option<String>,
}

/// Calls the plugin with every case, once.
pub fn test(plugin: &Plugin, cases: &[Case]) -> TestReport {
    let result = |case: &Case| CaseResult {
        name: case.name.clone(),
        description: case.description.clone(),
        failure: failure(plugin, case),
    };
    TestReport {
        cases: cases.iter().map(result).collect(),
    }
}

fn failure(plugin: &Plugin, case: &Case) -> Option<String> {
    match (plugin.call_json(&case.function, &case.input), &case.output) {
        (Err(error), _) => Some(format!("{} ({})", error.failure, error.code())),
        (Ok(_), None) => Some("it has no output yet; --bless writes one".to_owned()),
        (Ok(called), Some(expected)) => {
            Difference::between(expected, &called.value).map(|found| found.to_string())
        }
    }
}

impl TestReport {
    /// Returns the number of failed cases.
    pub fn failed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.failure.is_some())
            .count()
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&Palette::default()))
    }
}

impl Coloured for TestReport {
    fn coloured(&self) -> String {
        self.text(&Palette::COLOURS)
    }
}

impl TestReport {
    fn text(&self, colours: &Palette) -> String {
        let widest = self.cases.iter().map(|case| case.name.len()).max();
        let widest = widest.unwrap_or(0);
        let mut lines = String::new();
        for case in &self.cases {
            let CaseResult {
                name,
                description,
                failure,
            } = case;
            let outcome = match failure {
                None => Painted(colours.good, "pass"),
                Some(_) => Painted(colours.bad, "FAIL"),
            };
            lines.push_str(&format!("  {outcome}  {name:widest$}  {description}\n"));
            if let Some(failure) = failure {
                lines.push_str(&format!("        {failure}\n"));
            }
        }
        let failed = self.failed();
        let passed = self.cases.len() - failed;
        lines.push_str(&format!("\n{passed} passed, {failed} failed"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use dermaga_runtime::{Runtime, RuntimeConfig, fixtures::CouponFixture};
    use serde_json::{Value, json};

    use super::*;

    fn case(name: &str, function: &str, input: Value, output: Option<Value>) -> Case {
        Case {
            name: name.to_owned(),
            description: "D.".to_owned(),
            function: function.to_owned(),
            input,
            output,
        }
    }

    #[test]
    fn each_case_passes_or_says_how_it_differs() {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let plugin = runtime.load(&CouponFixture::default().component()).unwrap();
        let parameters = json!({"parameters": {}});
        let cases = [
            case(
                "good",
                "check",
                parameters.clone(),
                Some(json!({"ok": null})),
            ),
            case("other", "check", parameters.clone(), Some(json!({"ok": 1}))),
            case("new", "check", parameters, None),
            case("unknown", "price", json!(null), None),
        ];
        let report = test(&plugin, &cases);
        let failure = |name: &str| {
            let case = report.cases.iter().find(|case| case.name == name).unwrap();
            case.failure.clone().unwrap_or_default()
        };
        assert_eq!(failure("good"), "");
        assert!(
            failure("other").contains("expected"),
            "{}",
            failure("other")
        );
        assert!(failure("new").contains("--bless"));
        assert!(failure("unknown").ends_with("(PLUGIN_UNKNOWN_FUNCTION)"));
        assert!(report.to_string().ends_with("1 passed, 3 failed"));
    }
}
