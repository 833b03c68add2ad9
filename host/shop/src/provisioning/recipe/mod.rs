//! Recipe of an instance: what it is rendered from besides its plan. It changes with a preview, in one
//! transaction, and goes back to the last one that worked when the new one does not.

pub(super) mod diff;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use dermaga_runtime::{
    Digest, Plugin, canonical_json,
    contract::{Answer, ConfigCheck, SecretSpec, Settings, service},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use super::{
    Instances, given,
    model::{Instance, Terms},
    record_event,
    rehearsal::check_growth,
    render::{RenderError, RenderInputs, render},
    secrets::{self, Secrets},
    store as instances_store,
};
use crate::{
    Result,
    catalog::{self, Sizes, form_in_language},
    cluster::masked,
    crypto::{Secret, Vault},
    db::{Clock, Conn},
    ids::UserId,
    plugins, schema, text_enum,
};

/// Plugin version, template settings, images, size and configuration of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    pub(super) plugin_digest: String,
    pub(super) settings: Settings,
    pub(super) images: BTreeMap<String, String>,
    pub(super) sizes: Sizes,
    pub(super) config: Value,
}

text_enum! {
    /// Change of an instance.
    pub enum ChangeKind {
        Version = "VERSION",
        TemplateSettings = "TEMPLATE_SETTINGS",
        /// Other images that the template names, with the same settings.
        Images = "IMAGES",
        /// Another size of its plan, with the same settings and images.
        Sizes = "SIZES",
        Configuration = "CONFIGURATION",
        Plan = "PLAN",
    }
}

impl ChangeKind {
    /// Subject of a sentence for the owner.
    const fn subject(self) -> &'static str {
        match self {
            Self::Version => "The move to another version",
            Self::TemplateSettings => "The move to new settings of its template",
            Self::Images => "The move to new images",
            Self::Sizes => "The move to the new size of its plan",
            Self::Configuration => "The new configuration",
            Self::Plan => "The change of plan",
        }
    }

    /// Returns true for a change of what an instance shares with others: administrators move them to it.
    pub(super) const fn is_by_move(self) -> bool {
        matches!(
            self,
            Self::Version | Self::TemplateSettings | Self::Images | Self::Sizes
        )
    }
}

/// A change that did not work and was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Undone {
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub at: DateTime<Utc>,
    pub change: ChangeKind,
    /// The reason, in a sentence.
    pub reason: String,
}

impl Undone {
    /// Returns the sentence for the owner.
    pub(super) fn message(&self) -> String {
        format!(
            "{} could not be made and was undone: {}",
            self.change.subject(),
            self.reason
        )
    }
}

impl Recipe {
    pub(super) fn of(instance: &Instance) -> Self {
        Self {
            plugin_digest: instance.plugin_digest.clone(),
            settings: instance.settings.0.clone(),
            images: instance.images.0.clone(),
            sizes: instance.sizes,
            config: instance.config.0.clone(),
        }
    }

    /// Returns the recipe that is remembered to have worked.
    fn good(instance: &Instance) -> Option<Self> {
        Some(Self {
            plugin_digest: instance.good_digest.clone()?,
            settings: instance.good_settings.as_ref()?.0.clone(),
            images: instance.good_images.as_ref()?.0.clone(),
            sizes: instance.good_sizes.as_ref()?.0,
            config: instance.good_config.as_ref()?.0.clone(),
        })
    }

    fn put_into(&self, instance: &Instance) -> Instance {
        Instance {
            plugin_digest: self.plugin_digest.clone(),
            settings: Json(self.settings.clone()),
            images: Json(self.images.clone()),
            sizes: self.sizes,
            config: Json(self.config.clone()),
            ..instance.clone()
        }
    }

    /// Returns the fingerprint of what this recipe shares with those of other instances.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(
            &self.plugin_digest,
            &self.settings,
            &self.images,
            self.sizes,
        )
    }

    /// Returns the fingerprint of the recipe that an instance was moved to, while that is not proven to work.
    pub(super) fn moved_to(instance: &Instance) -> Option<String> {
        instance.unproven_generation?;
        let present = Self::of(instance);
        let change = present.differs_from(&Self::good(instance)?)?;
        change.is_by_move().then(|| present.fingerprint())
    }

    /// Returns the largest part in which this recipe is another one.
    fn differs_from(&self, other: &Self) -> Option<ChangeKind> {
        // The first that differs names the change: those after it may have come with it.
        if self.plugin_digest != other.plugin_digest {
            Some(ChangeKind::Version)
        } else if self.settings != other.settings {
            Some(ChangeKind::TemplateSettings)
        } else if self.images != other.images {
            Some(ChangeKind::Images)
        } else if self.sizes != other.sizes {
            Some(ChangeKind::Sizes)
        } else if self.config != other.config {
            Some(ChangeKind::Configuration)
        } else {
            None
        }
    }
}

/// Returns the fingerprint of a recipe without its configuration, which is the owner's own.
pub(super) fn fingerprint(
    plugin_digest: &str,
    settings: &Settings,
    images: &BTreeMap<String, String>,
    sizes: Sizes,
) -> String {
    let shared = json!({
        "pluginDigest": plugin_digest, "settings": settings, "images": images, "sizes": sizes,
    });
    Digest::of(canonical_json(&shared).as_bytes()).to_string()
}

/// Rendering of an instance by another recipe, which passed plugin and gate.
#[derive(Debug)]
pub(super) struct Preview {
    pub(super) recipe: Recipe,
    /// Secrets that the instance does not have yet.
    pub(super) new_secrets: Vec<SecretSpec>,
    /// Values that the customer gave for secrets, by the names that they are kept under.
    pub(super) given: BTreeMap<String, Secret>,
    pub(super) difference: diff::Difference,
}

/// Checks a recipe as a purchase is checked, and compares its rendering with the present one.
pub(super) async fn preview(
    instances: &Instances,
    target: &Plugin,
    instance: &Instance,
    mut recipe: Recipe,
) -> Result<Preview, RenderError> {
    let mut conn = instances.db.read().await?;
    let terms = instances_store::terms(&mut conn, instance.id).await?;
    let secrets = secrets::open(&mut conn, &instances.vault, instance).await?;
    let texts = catalog::form_texts(&mut conn, &terms.service).await?;
    drop(conn);
    let description = plugins::describe(target, &recipe.settings).await?;
    let config_schema = &description.config_schema;
    let form = form_in_language(config_schema, &texts);
    schema::validate(&form, &mut recipe.config, "config")?;
    schema::refuse_fixed(config_schema, &instance.config, &recipe.config, "config")?;
    let given = given::take_changed(config_schema, &instance.config, &mut recipe.config);
    let terms_after = Terms {
        sizes: recipe.sizes,
        ..terms.clone()
    };
    check_config(instances, target, &recipe, &terms_after, instance.user_id).await?;
    let missing = description.secrets.iter();
    let new_secrets: Vec<_> = missing
        .filter(|spec| !secrets.contains_key(&spec.name))
        .cloned()
        .collect();
    let mut all = secrets.clone();
    let made = new_secrets.iter();
    all.extend(made.map(|spec| (spec.name.clone(), String::new().into())));
    let before = rendered(instances, instance, &terms, &secrets).await;
    let after = rendered(instances, &recipe.put_into(instance), &terms_after, &all).await?;
    // A recipe that cannot be rendered any more is a reason to leave it.
    let before = match before {
        Ok(objects) => objects,
        Err(RenderError::Refused { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    check_growth(instances, instance, &after).await?;
    Ok(Preview {
        recipe,
        new_secrets,
        given,
        difference: diff::compare(&before, &after)?,
    })
}

async fn rendered(
    instances: &Instances,
    instance: &Instance,
    terms: &Terms,
    secrets: &Secrets,
) -> Result<Vec<Value>, RenderError> {
    let inputs = RenderInputs {
        instance,
        terms,
        secrets,
        classes: instances.handle.classes(),
        // They are the same before and after, and no part of what changes.
        domains: &[],
        recorded: None,
    };
    let rendering = render(&instances.plugins, inputs).await?;
    Ok(rendering.objects.into_iter().map(masked).collect())
}

async fn check_config(
    instances: &Instances,
    target: &Plugin,
    recipe: &Recipe,
    terms: &Terms,
    user_id: UserId,
) -> Result<()> {
    let input = ConfigCheck {
        settings: recipe.settings.clone(),
        plan: terms.plan_for_plugins()?,
        config: recipe.config.clone(),
    };
    let (registry, subject) = (&instances.plugins, user_id.into());
    let decided = plugins::decide::<service::Check>(registry, target, input, subject).await?;
    match decided.value {
        Answer::Ok(()) => Ok(()),
        Answer::Problems(problems) => Err(schema::refused(problems, "config")),
    }
}

/// Puts a recipe into an instance in the caller's transaction, with the secrets that it needs; call
/// [`super::Handle::wake`] after the commit. Returns false when the instance has changed since it was
/// read.
///
/// # Errors
/// When the database refuses.
pub(super) async fn change(
    conn: &mut Conn,
    (clock, vault): (&Clock, &Vault),
    seen: &Instance,
    preview: &Preview,
    message: &str,
) -> Result<bool> {
    let recipe = &preview.recipe;
    let restarts = !preview.given.is_empty();
    let Some(changed) = store::put(conn, seen, recipe, (message, restarts), clock.now()).await?
    else {
        return Ok(false);
    };
    if changed.config.0 != seen.config.0 {
        store::copy_config(conn, &changed).await?;
    }
    let known = instances_store::secrets(conn, seen.id).await?;
    let known: BTreeSet<String> = known.into_iter().map(|(name, _)| name).collect();
    for spec in &preview.new_secrets {
        if !known.contains(&spec.name) {
            secrets::generate(conn, vault, seen.id, spec).await?;
        }
    }
    for (name, value) in &preview.given {
        secrets::keep(conn, vault, (seen.id, name), value.reveal()).await?;
    }
    record_event(conn, clock, &changed).await?;
    Ok(true)
}

/// Forgets an unproven change of what runs as before, when no change of plan waits for it.
///
/// # Errors
/// When the database refuses.
pub(super) async fn forget_change(conn: &mut Conn, seen: &Instance) -> Result<bool> {
    Ok(store::forget_change(conn, seen).await?)
}

/// Restores the recipe of an instance that worked last, when the present one is another and is not
/// proven to work; in the caller's transaction. Remembers what the instance was moved to, so that others
/// are not moved to the same. Returns the undone change.
///
/// # Errors
/// When the database refuses.
pub(super) async fn go_back(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    reason: &str,
) -> Result<Option<Undone>> {
    let present = Recipe::of(seen);
    let Some(change) = Recipe::good(seen).and_then(|good| present.differs_from(&good)) else {
        return Ok(None);
    };
    // A configuration is the owner's own, and tells nothing about other instances.
    let failed = change.is_by_move().then(|| present.fingerprint());
    let undone = Undone {
        at: clock.now(),
        change,
        reason: reason.to_owned(),
    };
    let message = undone.message();
    let told = (message.as_str(), failed.as_deref());
    let Some(back) = store::go_back(conn, seen, &undone, told).await? else {
        return Ok(None);
    };
    if back.config.0 != seen.config.0 {
        store::copy_config(conn, &back).await?;
    }
    record_event(conn, clock, &back).await?;
    tracing::warn!(instance.id = %seen.id, %change, reason, "instance.change_undone");
    Ok(Some(undone))
}
