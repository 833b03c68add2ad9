//! A new configuration of an instance, in its plan and on its version.

use serde_json::Value;

use super::{
    Instances, lifecycle,
    model::Instance,
    recipe::{self, Preview, Recipe, diff::ObjectChange},
    render::RenderError,
    store,
};
use crate::{
    Code, Error, Result,
    db::Conn,
    ids::SubscriptionId,
    plugins::{self, Asking},
};

/// An update that could be made, written nowhere yet.
#[derive(Debug)]
pub struct Update {
    seen: Instance,
    preview: Preview,
}

impl Update {
    /// The new configuration, with whole numbers written as such.
    pub const fn config(&self) -> &Value {
        &self.preview.recipe.config
    }

    /// Returns false when the instance has this configuration already.
    pub fn is_change(&self) -> bool {
        *self.config() != self.seen.config.0
    }

    /// Names of the secrets that are generated with it.
    pub fn new_secrets(&self) -> Vec<String> {
        let specs = self.preview.new_secrets.iter();
        specs.map(|spec| spec.name.clone()).collect()
    }

    /// Objects that would change.
    pub fn changes(&self) -> &[ObjectChange] {
        &self.preview.difference.changes
    }

    /// The objects' unified diff as YAML, the values of secrets masked.
    pub fn diff(&self) -> &str {
        &self.preview.difference.text
    }

    /// Returns true when pods are replaced.
    pub const fn restarts(&self) -> bool {
        self.preview.difference.restarts
    }
}

/// Checks a configuration for a subscription's instance as at its purchase, renders and gates it.
///
/// # Errors
/// `INVALID_STATE` when the instance is stopped, suspended or removed; `VALIDATION_FAILED`,
/// `PLUGIN_REFUSED_INPUT`, `NOT_DELIVERABLE` and `VOLUME_CANNOT_GROW` when it cannot have the
/// configuration; `PLUGIN_*` when the plugin fails.
pub async fn prepare_update(
    instances: &Instances,
    subscription_id: SubscriptionId,
    config: Value,
    asking: Asking,
) -> Result<Update> {
    let seen = store::of_subscription(&mut instances.db.read().await?, subscription_id).await?;
    let seen = seen.ok_or_else(super::no_instance)?;
    lifecycle::check_is_wanted(&seen)?;
    let target = instances.plugins.version(&seen.plugin_digest).await?;
    let recipe = Recipe {
        config,
        ..Recipe::of(&seen)
    };
    match recipe::preview(instances, &target, &seen, recipe).await {
        Ok(preview) => Ok(Update { seen, preview }),
        Err(RenderError::Host(error)) => Err(error),
        Err(RenderError::Refused {
            detail, decision, ..
        }) => {
            tracing::error!(instance.id = %seen.id, reason = detail, "update.not_deliverable");
            let message =
                "This service cannot be set up with this configuration. Nothing was changed.";
            let error = Error::new(Code::NotDeliverable, message);
            Err(match decision {
                Some(decision) => {
                    plugins::refuse(&instances.plugins, &decision, asking, error).await
                }
                None => error,
            })
        }
    }
}

/// Puts the new configuration into the instance in the caller's transaction; call
/// [`super::Handle::wake`] after the commit. Returns false when it was changed meanwhile.
///
/// # Errors
/// When the database refuses.
pub async fn make_update(conn: &mut Conn, instances: &Instances, update: &Update) -> Result<bool> {
    let parts = (&instances.clock, &*instances.vault);
    let Update { seen, preview } = update;
    recipe::change(
        conn,
        parts,
        seen,
        preview,
        "Being given its new configuration.",
    )
    .await
}
