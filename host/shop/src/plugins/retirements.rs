//! Retirements by administrators, which outlast the versions: those can be deleted afterwards.

use std::collections::BTreeSet;

use serde_json::Value;

use super::sale;
use crate::{
    Result,
    audit::{self, AuditAct, Subject},
    db::Conn,
};

/// Name of the detail of a recorded retirement that says if it is of the whole plugin.
pub(super) const WHOLE: &str = "plugin";

/// Retirements of a plugin and of its versions, also of those that were deleted since.
#[derive(Debug)]
pub(super) struct Retirements {
    /// Digests of the retired versions.
    digests: BTreeSet<String>,
    is_of_plugin: bool,
}

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
        // One that was never active may be retired by itself, such as a bad upload.
        let was_active = kept.iter().any(|version| version.was_active);
        let kept = kept.into_iter().map(|version| version.digest);
        Ok(Self {
            digests: kept.chain(noted).collect(),
            is_of_plugin: was_active || acts.iter().any(is_of_plugin),
        })
    }

    /// Returns true when the plugin was retired, and not only versions of it that were never active.
    pub(super) const fn is_of_plugin(&self) -> bool {
        self.is_of_plugin
    }

    /// Returns the reason why a start does not activate the version with this digest, if there is one.
    pub(super) fn keep_out(&self, digest: &str, has_active: bool) -> Option<&'static str> {
        if self.digests.contains(digest) {
            Some("an administrator retired this version")
        } else if self.is_of_plugin && !has_active {
            Some("an administrator retired the plugin")
        } else {
            None
        }
    }
}

/// Digests that a recorded retirement names.
fn digests(details: &Value) -> impl Iterator<Item = &str> {
    let named = details.get("digests").and_then(Value::as_array);
    named.into_iter().flatten().filter_map(Value::as_str)
}

/// Returns true for a recorded retirement of the whole plugin, and for one of which that is not known: it was recorded
/// before the two were told apart.
fn is_of_plugin(details: &Value) -> bool {
    details.get(WHOLE).and_then(Value::as_bool) != Some(false)
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

    #[test]
    fn a_recorded_retirement_is_of_the_plugin_unless_it_says_otherwise() {
        for (details, expected) in [
            (json!({ "digests": ["a"], "plugin": false }), false),
            (json!({ "digests": ["a"], "plugin": true }), true),
            (json!({ "digests": ["a"] }), true),
        ] {
            assert_eq!(is_of_plugin(&details), expected, "{details}");
        }
    }
}
