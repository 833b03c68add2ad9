//! Values that a plugin's author described by a JSON Schema.

mod fixed;
mod whole;
mod wording;

use dermaga_runtime::contract::Problem;
use serde_json::Value;

pub use fixed::{FIXED, refuse_fixed};
pub use wording::{Fault, Format, faults};
pub use wording::{LIST_FOR_OBJECT, UNKNOWN, of_format};

use crate::{Code, Error, Result};

/// Checks a value against a plugin's schema, and turns floats without a fraction (`1e3`, `1000.0`)
/// into integers: the schema takes them for whole numbers, and most plugins do not.
///
/// # Errors
/// `VALIDATION_FAILED` with one detail for each fault, `field` being `root` and a JSON pointer.
pub fn validate(schema: &Value, value: &mut Value, root: &str) -> Result<()> {
    let validator =
        jsonschema::validator_for(schema).map_err(|error| Error::internal(error.to_string()))?;
    let beyond = whole::made_whole(value);
    let mut faults = faults(&validator, schema, value, &[]);
    if faults.is_empty() {
        faults = beyond;
    }
    if faults.is_empty() {
        return Ok(());
    }
    let error = Error::new(
        Code::ValidationFailed,
        format!("The field {root} does not fit its schema."),
    );
    Err(faults.into_iter().fold(error, |error, fault| {
        error.with(format!("{root}{}", fault.pointer), fault.message)
    }))
}

/// Converts the problems that a plugin's `check` found into an error of the request.
pub fn refused(problems: Vec<Problem>, root: &str) -> Error {
    let error = Error::new(
        Code::PluginRefusedInput,
        format!("The field {root} is not acceptable."),
    );
    detailed(error, problems, root)
}

/// Returns an error with one detail for each problem, `field` being `root` and a JSON pointer.
pub fn detailed(error: Error, problems: Vec<Problem>, root: &str) -> Error {
    problems.into_iter().fold(error, |error, problem| {
        error.with(format!("{root}{}", problem.field), problem.message)
    })
}
