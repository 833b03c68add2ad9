//! Values that a plugin's author described by a JSON Schema.

mod fixed;
mod spoken;
mod whole;
mod wording;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use dermaga_runtime::contract::Problem;
use jsonschema::Validator;
use lru::LruCache;
use serde_json::Value;

pub use fixed::{FIXED, refuse_fixed};
pub use spoken::{in_words, spoken};
pub use wording::{Fault, Format, faults};
pub use wording::{LIST_FOR_OBJECT, UNKNOWN, of_format, unknown_among};

use crate::{Code, Error, Result};

/// Maximum of schemas whose validators are remembered; a shop has fewer services and coupons.
const MOST_VALIDATORS: usize = 256;

/// Validators by the text of their schema.
static VALIDATORS: LazyLock<Mutex<LruCache<String, Arc<Validator>>>> =
    LazyLock::new(|| Mutex::new(LruCache::unbounded()));

/// Checks a value against a plugin's schema, and turns floats without a fraction (`1e3`, `1000.0`)
/// into integers: the schema takes them for whole numbers, and most plugins do not.
///
/// # Errors
/// `VALIDATION_FAILED` with one detail for each fault, `field` being `root` and a JSON pointer.
pub fn validate(schema: &Value, value: &mut Value, root: &str) -> Result<()> {
    let validator = validator(schema)?;
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

/// Returns the validator of a schema. Building one compiles each pattern in it, for longer than most checks take.
fn validator(schema: &Value) -> Result<Arc<Validator>> {
    let known = || VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let text = schema.to_string();
    if let Some(validator) = known().get(&text) {
        return Ok(Arc::clone(validator));
    }
    // Without the lock, which all requests share; of two that build the same, the later one stays.
    let built = jsonschema::validator_for(schema);
    let built = Arc::new(built.map_err(|error| Error::internal(error.to_string()))?);
    let mut known = known();
    known.put(text, Arc::clone(&built));
    while known.len() > MOST_VALIDATORS {
        known.pop_lru();
    }
    Ok(built)
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
