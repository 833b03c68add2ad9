//! Runs one call of one function and shows its use of the limits.

use std::{fmt, fs, io, path::Path};

use dermaga_runtime::{
    CallError, Called, LogLevel, LogLine, Plugin, Usage,
    contract::{Function, Kind, coupon, service},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{case::Case, check::report::grouped};

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{from} cannot be read: {error}")]
    Read {
        from: String,
        #[source]
        error: io::Error,
    },
    #[error("{from} is not JSON: {error}")]
    Json {
        from: String,
        #[source]
        error: serde_json::Error,
    },
}

/// Reads an input from a file, or from stdin for `-`. Returns the input alone for a golden case.
///
/// # Errors
/// When it cannot be read or is not JSON.
pub fn read_input(from: &str) -> Result<Value, InputError> {
    let text = if from == "-" {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(Path::new(from))
    };
    let from = || from.to_owned();
    let text = text.map_err(|error| InputError::Read {
        from: from(),
        error,
    })?;
    let value: Value = serde_json::from_str(&text).map_err(|error| InputError::Json {
        from: from(),
        error,
    })?;
    // This cannot mistake an input for a case: none has a case's fields.
    Ok(Case::deserialize(&value).map_or(value, |case| case.input))
}

/// Returns the functions of a world with the shapes of their inputs.
pub fn functions(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Service => &[
            (service::Describe::NAME, "{settings}, or null for none"),
            (service::Check::NAME, "{settings, plan, config}"),
            (
                service::Price::NAME,
                "{settings, plan, term, config, occasion, moment}",
            ),
            (
                service::Manifests::NAME,
                "{name, settings, plan, config, hostname, secretObject, secrets, images}",
            ),
            (service::Health::NAME, "{instance, observed}"),
            (service::Access::NAME, "the same as manifests"),
            (service::PlanChange::NAME, "{settings, from, to, config}"),
        ],
        Kind::Coupon => &[
            (coupon::Describe::NAME, "null"),
            (coupon::Check::NAME, "{parameters}"),
            (
                coupon::Evaluate::NAME,
                "{parameters, moment, place, purchase, facts}",
            ),
        ],
    }
}

/// Account of a call for a person: log lines and use of the limits, not the answer itself.
#[derive(Debug)]
pub struct Account<'a> {
    usage: Option<&'a Usage>,
    logs: &'a [LogLine],
}

impl<'a> Account<'a> {
    pub fn of(outcome: &'a Result<Called<Value>, CallError>) -> Self {
        match outcome {
            Ok(called) => Self {
                usage: Some(&called.usage),
                logs: &called.logs,
            },
            Err(error) => Self {
                usage: error.usage.as_deref(),
                logs: &error.logs,
            },
        }
    }
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.logs {
            writeln!(f, "  log {}: {}", level(line.level), line.message)?;
        }
        let Some(usage) = self.usage else {
            return Ok(());
        };
        let limits = usage.limits;
        let shares = usage.shares();
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (taken, deadline) = (micros(usage.duration), micros(limits.deadline));
        let of_time = taken.saturating_mul(100).div_ceil(deadline.max(1));
        let rows = [
            (
                "fuel",
                shares.fuel_percent.into(),
                usage.fuel,
                limits.fuel,
                "units",
            ),
            (
                "memory",
                shares.memory_percent.into(),
                wide(usage.memory_bytes),
                wide(limits.memory_bytes),
                "bytes",
            ),
            (
                "output",
                shares.output_percent.into(),
                wide(usage.output_bytes),
                wide(limits.output_bytes),
                "bytes",
            ),
            ("time", of_time, taken, deadline, "microseconds"),
        ];
        for (name, percent, used, allowed, unit) in rows {
            let (used, allowed) = (grouped(used), grouped(allowed));
            writeln!(
                f,
                "  {name:6}  {percent:3} %  {used:>11} of {allowed:>11} {unit}"
            )?;
        }
        Ok(())
    }
}

const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// List of a plugin's functions and of golden cases to run, shown when no function was named.
#[derive(Debug)]
pub struct Guide<'a> {
    pub plugin: &'a Plugin,
    pub cases: &'a [Case],
}

impl fmt::Display for Guide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.plugin.about();
        writeln!(f, "{} {} has these functions:\n", about.id, about.version)?;
        for (name, input) in functions(self.plugin.kind()) {
            writeln!(f, "  {name:12} {input}")?;
            for case in self.cases.iter().filter(|case| case.function == *name) {
                writeln!(f, "{:15}cases/{}.json", "", case.name)?;
            }
        }
        write!(
            f,
            "\nAn input is a JSON file in that shape, a golden case, or - for stdin."
        )
    }
}

#[cfg(test)]
mod tests {
    use dermaga_runtime::{
        Runtime, RuntimeConfig,
        fixtures::{CouponFixture, Misdeed},
    };
    use serde_json::json;

    use super::*;

    fn load(fixture: &CouponFixture) -> Plugin {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        runtime.load(&fixture.component()).unwrap()
    }

    #[test]
    fn every_function_listed_is_one_of_the_plugin() {
        let plugin = load(&CouponFixture::default());
        for (name, _) in functions(Kind::Coupon) {
            let error = plugin.call_json(name, &json!({"nobody": 1})).err();
            assert_ne!(
                error.map(|error| error.code()),
                Some("PLUGIN_UNKNOWN_FUNCTION"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_failed_call_still_says_what_it_used_and_logged() {
        let plugin = load(&CouponFixture::misbehaving("check", Misdeed::Panic));
        let outcome = plugin.call_json("check", &json!({"parameters": {}}));
        assert_eq!(outcome.as_ref().unwrap_err().code(), "PLUGIN_TRAPPED");
        let text = Account::of(&outcome).to_string();
        assert!(text.contains("log error: "), "{text}");
        assert!(text.contains("fuel      1 %"), "{text}");
    }

    #[test]
    fn the_input_of_a_case_is_taken_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = folder.path().join("x.json");
            fs::write(&path, text).unwrap();
            read_input(&path.display().to_string())
        };
        let case = r#"{"description": "", "function": "check", "input": {"a": 1}}"#;
        assert_eq!(read(case).unwrap(), json!({"a": 1}));
        assert_eq!(read("null").unwrap(), Value::Null);
        assert_eq!(
            read(r#"{"parameters": {}}"#).unwrap(),
            json!({"parameters": {}})
        );
        let error = read("{").unwrap_err().to_string();
        assert!(error.contains("x.json is not JSON: EOF"), "{error}");
    }
}
