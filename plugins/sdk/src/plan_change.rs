//! Rule for changes of an instance's plan.

use crate::service::Plan;

/// Allows every change that keeps the customer's data: volumes can grow but not shrink.
///
/// # Errors
/// The reason for a refusal, a sentence.
pub fn keeps_data(from: &Plan, to: &Plan) -> Result<(), String> {
    if from.slug == to.slug {
        return Err("The instance is on this plan already.".to_owned());
    }
    let (has, gets) = (from.resources.storage_gib, to.resources.storage_gib);
    if gets < has {
        return Err(format!(
            "A volume cannot shrink: this instance has {has} GiB of storage and the plan {} gives {gets} GiB.",
            to.slug
        ));
    }
    Ok(())
}
