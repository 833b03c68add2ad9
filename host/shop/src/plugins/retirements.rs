//! Retirements by administrators, which outlast the versions: those can be deleted afterwards.

use std::collections::BTreeSet;

use serde_json::Value;

use super::sale;
use crate::{
    Result,
    audit::{self, AuditAct, Subject},
    db::Conn,
};

/// Versions of a plugin that administrators retired, also those that were deleted since.
#[derive(Debug)]
pub(super) struct Retirements(BTreeSet<String>);

impl Retirements {
    /// Reads those of a plugin.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn of(conn: &mut Conn, plugin_id: &str) -> Result<Self> {
        let kept = sale::store::retired_of(conn, plugin_id).await?;
        let subject = Subject::Plugin(plugin_id);
        // Of a version that was deleted the audit trail alone knows. It is never changed.
        let acts = audit::details_of(conn, AuditAct::PluginRetired, subject).await?;
        let noted = acts.iter().flat_map(digests).map(str::to_owned);
        Ok(Self(kept.into_iter().chain(noted).collect()))
    }

    /// Returns true when none was retired.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true when the version with this digest was retired.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.0.contains(digest)
    }
}

/// Digests that a recorded retirement names.
fn digests(details: &Value) -> impl Iterator<Item = &str> {
    let named = details.get("digests").and_then(Value::as_array);
    named.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digests_of_a_recorded_retirement_are_read() {
        let details = json!({ "digests": ["a", "b"] });
        assert_eq!(digests(&details).collect::<Vec<_>>(), ["a", "b"]);
        for other in [json!({}), json!({ "digests": "a" }), json!(null)] {
            assert_eq!(digests(&other).count(), 0, "{other}");
        }
    }
}
