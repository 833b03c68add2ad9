//! Services and plans that administrators create, put to the same rules and check as templates.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dermaga_runtime::{
    Plugin,
    contract::{Resources, Settings},
    gate::Exception,
};
use dermaga_toolkit::template::{
    self, Draft, ImageSupport, PlanTexts, ServiceTexts, Template, TemplateError,
};
use serde_json::json;

use super::{
    ManagedPlan, ManagedService, PlanRow, WRITTEN_HERE, managed, own_template, plan_row,
    service_row, store,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    catalog::{Catalog, Plan, PlanTerm, Tier, load_plan, load_templates, store::LoadedFrom},
    db::{Conn, Uncommitted},
    ids::{CategoryId, ServiceId, UserId},
    money::Rupiah,
    plugins,
};

/// Plan to create.
#[derive(Debug, Clone)]
pub struct NewPlan {
    pub slug: String,
    pub name: String,
    pub tier: Tier,
    pub monthly_price: Rupiah,
    /// Longer terms that it is sold for.
    pub terms: Vec<PlanTerm>,
    /// Price of a frozen month; absent where it cannot be frozen.
    pub storage_price: Option<Rupiah>,
    pub quota: u32,
    pub max_instances_per_user: u32,
    pub features: Vec<String>,
    pub resources: Resources,
}

impl From<NewPlan> for template::Plan {
    fn from(new: NewPlan) -> Self {
        Self {
            slug: new.slug,
            name: new.name,
            tier: new.tier.into(),
            monthly_price: new.monthly_price.get(),
            terms: new.terms,
            storage_price: new.storage_price.map(Rupiah::get),
            quota: new.quota,
            max_instances_per_user: new.max_instances_per_user,
            features: new.features,
            texts: PlanTexts::default(),
            resources: new.resources,
        }
    }
}

/// Service to create.
#[derive(Debug, Clone)]
pub struct NewService {
    pub slug: String,
    /// Slug of a category.
    pub category: String,
    pub plugin: String,
    pub name: String,
    pub summary: String,
    pub description: String,
    pub featured: bool,
    pub images: BTreeMap<String, String>,
    /// Support of those of which it is known.
    pub image_support: BTreeMap<String, ImageSupport>,
    pub settings: Settings,
    pub exceptions: Vec<Exception>,
    pub plans: Vec<NewPlan>,
}

/// Returns the id and the texts of a category.
pub(super) async fn category(
    conn: &mut Conn,
    slug: &str,
) -> Result<(CategoryId, template::Category)> {
    let found = store::category(conn, slug).await?;
    found.ok_or_else(|| Error::invalid("category", format!("there is no category `{slug}`")))
}

/// Creates a service, with its first plans, after its plugin has accepted it; the caller commits it.
///
/// # Errors
/// `VALIDATION_FAILED`, also without an active plugin; `PLUGIN_UNAVAILABLE` when it does not load here;
/// `PLUGIN_REFUSED_INPUT`; `CONFLICT` when there is such a service, and when another version of the plugin becomes
/// active at the same time.
pub async fn create_service(
    catalog: &Catalog,
    actor_id: UserId,
    new: NewService,
    reason: &str,
) -> Result<Uncommitted<ManagedService>> {
    let mut conn = catalog.db.read().await?;
    let (_, category) = category(&mut conn, &new.category).await?;
    drop(conn);
    let draft = Draft {
        category,
        slug: new.slug,
        name: new.name,
        summary: new.summary,
        description: new.description,
        texts: ServiceTexts::default(),
        featured: new.featured,
        plugin: new.plugin,
        images: new.images,
        image_support: new.image_support,
        exceptions: new.exceptions,
        settings: new.settings,
        plans: new.plans.into_iter().map(Into::into).collect(),
    };
    let file = format!("{WRITTEN_HERE}{}", draft.slug);
    let (mut template, plugin) = accepted(catalog, &draft, &file).await?;
    let clock = &catalog.clock;
    let mut conn = catalog.db.begin().await?;
    store::lock_categories(&mut conn).await?;
    // It may have been edited since it was read, or deleted, and is not made again.
    (_, template.category) = self::category(&mut conn, &new.category).await?;
    // A retirement of the plugin counts the services that need it, and another version is checked with them.
    if !plugins::keep_asked(&mut conn, &catalog.plugins, &plugin).await? {
        return Err(not_active(&template.plugin));
    }
    if store::by_slug(&mut conn, &template.slug).await?.is_some() {
        let message = format!("There is a service {} already.", template.slug);
        return Err(Error::new(Code::Conflict, message));
    }
    load_templates(&mut conn, clock, std::slice::from_ref(&template)).await?;
    let id = store::by_slug(&mut conn, &template.slug).await?;
    let id = id.ok_or_else(|| Error::not_found("service"))?;
    let details = json!({ "service": template.slug, "plugin": template.plugin });
    let event = Event::new(AuditAct::ServiceCreated, Subject::Service(id), details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    let view = managed(&mut conn, id).await?;
    let templates = std::sync::Arc::clone(&catalog.templates);
    Ok(Uncommitted::new(conn, view).and_then(move || templates.add(&template)))
}

/// Puts a service to the rules of templates and to the check of its plugin; returns its template, and the version that
/// has accepted it.
pub(super) async fn accepted(
    catalog: &Catalog,
    draft: &Draft,
    file: &str,
) -> Result<(Template, Plugin)> {
    let active = plugins::active_now(&catalog.plugins, &draft.plugin).await?;
    let plugin = active.ok_or_else(|| not_active(&draft.plugin))?;
    let mut supported = draft.image_support.keys();
    if let Some(name) = supported.find(|name| !draft.images.contains_key(*name)) {
        let message = "is none of the images";
        return Err(Error::invalid(format!("imageSupport.{name}"), message));
    }
    let template = draft
        .template(file)
        .map_err(|errors| unreadable(&errors, Sent::Service))?;
    let faults = plugins::faults(&catalog.plugins, &plugin, &template).await?;
    refuse(&template, &faults, Sent::Service)?;
    Ok((template, plugin))
}

pub(super) fn not_active(plugin_id: &str) -> Error {
    let message = format!("no version of a plugin `{plugin_id}` is active");
    Error::invalid("plugin", message)
}

/// Creates a plan of a service after its plugin has accepted it; the caller commits it.
///
/// # Errors
/// `NOT_FOUND` for an unknown service; `VALIDATION_FAILED`; `PLUGIN_REFUSED_INPUT`; `INVALID_STATE` when no version of
/// its plugin is active, `PLUGIN_UNAVAILABLE` when that does not load here; `CONFLICT` when the service has a plan of
/// this slug or tier, and when it changes at the same time.
pub async fn create_plan(
    catalog: &Catalog,
    actor_id: UserId,
    service_id: ServiceId,
    new: NewPlan,
    reason: &str,
) -> Result<Uncommitted<ManagedPlan>> {
    let plan = template::Plan::from(new);
    let known = template(catalog, service_id).await?;
    let asked = with_one_plan(&known, plan.clone(), Sent::Plan)?;
    check(catalog, &asked, Sent::Plan).await?;
    let clock = &catalog.clock;
    let now: DateTime<Utc> = clock.now();
    let mut conn = catalog.db.begin().await?;
    store::lock_service(&mut conn, service_id).await?;
    own_template::still_says(&mut conn, service_id, Some(known.source().text.as_str())).await?;
    let plans = store::plans(&mut conn, &[service_id]).await?;
    let tier = Tier::from(plan.tier);
    if plans.iter().any(|row| row.plan.slug == plan.slug) || has_tier(&plans, tier) {
        return Err(taken());
    }
    load_plan(&mut conn, clock, service_id, &plan, now).await?;
    let plans = store::plans(&mut conn, &[service_id]).await?;
    let made = plans.into_iter().find(|row| row.plan.slug == plan.slug);
    let id = made.ok_or_else(|| Error::not_found("plan"))?.plan.id;
    let details = json!({ "plan": plan.slug, "serviceId": service_id, "quota": plan.quota });
    let event = Event::new(AuditAct::PlanCreated, Subject::Plan(id), details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    let view = plan_row(&mut conn, service_id, id).await?.into();
    Ok(Uncommitted::new(conn, view))
}

/// Returns true when one of these plans has the tier and is not retired.
pub(super) fn has_tier<'r>(plans: impl IntoIterator<Item = &'r PlanRow>, tier: Tier) -> bool {
    let mut plans = plans.into_iter();
    plans.any(|row| row.plan.tier == tier && row.retired_at.is_none())
}

/// Refusal of a plan beside one of its slug or tier.
pub(super) fn taken() -> Error {
    let message = "The service has a plan of this slug or tier already.";
    Error::new(Code::Conflict, message)
}

/// Puts a plan to the rules of templates and to the check of its plugin. Returns the template of the service that
/// it was checked with.
pub(super) async fn check_plan(
    catalog: &Catalog,
    service_id: ServiceId,
    plan: &Plan,
) -> Result<Template> {
    let plan = written(plan, PlanTexts::default())?;
    let known = template(catalog, service_id).await?;
    let asked = with_one_plan(&known, plan, Sent::Edit)?;
    check(catalog, &asked, Sent::Edit).await?;
    Ok(known)
}

/// Returns a plan as a template has it.
pub(super) fn written(plan: &Plan, texts: PlanTexts) -> Result<template::Plan> {
    let size = |value: i64| u32::try_from(value).map_err(Error::internal);
    Ok(template::Plan {
        resources: plan.for_plugins()?.resources,
        slug: plan.slug.clone(),
        name: plan.name.clone(),
        tier: plan.tier.into(),
        monthly_price: plan.monthly_price.get(),
        terms: plan.terms.0.clone(),
        storage_price: plan.storage_price.map(Rupiah::get),
        quota: size(plan.total_quota)?,
        max_instances_per_user: size(plan.max_instances_per_user)?,
        features: plan.features.0.clone(),
        texts,
    })
}

/// Returns the template of a service with this plan alone.
fn with_one_plan(known: &Template, plan: template::Plan, sent: Sent) -> Result<Template> {
    let mut draft = Draft::from(known.clone());
    draft.plans = vec![plan];
    draft
        .template(&draft.slug)
        .map_err(|errors| unreadable(&errors, sent))
}

/// Returns the template that a service was loaded from last.
pub(super) async fn template(catalog: &Catalog, id: ServiceId) -> Result<Template> {
    let mut conn = catalog.db.read().await?;
    service_row(&mut conn, id).await?;
    let loaded = store::template(&mut conn, id).await?;
    read(&loaded.ok_or_else(|| Error::not_found("service"))?)
}

/// Reads the template that a service was loaded from.
pub(super) fn read(loaded: &LoadedFrom) -> Result<Template> {
    let unknown = || {
        let message = "The template of this service is not known. Reload the templates first.";
        Error::new(Code::InvalidState, message)
    };
    match loaded.template {
        Some(_) => loaded.read().map_err(|_| unknown()),
        None => Err(unknown()),
    }
}

async fn check(catalog: &Catalog, template: &Template, sent: Sent) -> Result<()> {
    let faults = plugins::faults_now(&catalog.plugins, template).await?;
    refuse(template, &faults, sent)
}

fn refuse(template: &Template, faults: &[TemplateError], sent: Sent) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!("{} cannot make this.", template.plugin);
    let refused = Error::new(Code::PluginRefusedInput, message);
    Err(with_problems(refused, faults, sent))
}

fn unreadable(errors: &[TemplateError], sent: Sent) -> Error {
    let refused = Error::new(Code::ValidationFailed, "The request has invalid fields.");
    with_problems(refused, errors, sent)
}

/// Kind of request that a template was made of.
#[derive(Debug, Clone, Copy)]
enum Sent {
    /// A service with its plans.
    Service,
    /// A plan, beside the reason for it.
    Plan,
    /// New values of a plan's fields.
    Edit,
}

/// Adds the problems under the names that the fields have in a request.
fn with_problems(refused: Error, problems: &[TemplateError], sent: Sent) -> Error {
    problems.iter().fold(refused, |error, problem| {
        let message = problem
            .message
            .replace("discount_percent", "discountPercent");
        error.with(field(&problem.key, sent), message)
    })
}

/// Returns the name that a key of a template has in a request.
fn field(key: &str, sent: Sent) -> String {
    let (root, key) = match (sent, key.strip_prefix("plans[0].")) {
        (Sent::Plan, Some(of_plan)) => ("plan.", of_plan),
        (Sent::Edit, Some(of_plan)) => ("", of_plan),
        _ => ("", key),
    };
    if let Some(field) = of_image(key) {
        return field;
    }
    // The names in these are the plugin's.
    let of_plugin = ["settings", "images"];
    if of_plugin.contains(&key.split(['.', '[']).next().unwrap_or(key)) {
        return key.to_owned();
    }
    let key = key.replace("pod_security.exceptions", "pod_security_exceptions");
    let mut parts = key.split('_');
    let mut name = format!("{root}{}", parts.next().unwrap_or_default());
    for part in parts {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    match name.strip_suffix("quota") {
        Some(owner) if owner.is_empty() || owner.ends_with('.') => format!("{owner}totalQuota"),
        _ => name,
    }
}

/// Returns the name that a fact about an image has in a request, where images and their support are apart.
fn of_image(key: &str) -> Option<String> {
    let (name, fact) = key.strip_prefix("images.")?.split_once('.')?;
    let fact = match fact {
        "reference" => return Some(format!("images.{name}")),
        "supported_until" => "supportedUntil",
        "checked_on" => "checkedOn",
        "source" => fact,
        _ => return None,
    };
    Some(format!("imageSupport.{name}.{fact}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_templates_are_told_as_the_fields_that_were_sent() {
        for (key, sent, expected) in [
            (
                "plans[1].storage_price",
                Sent::Service,
                "plans[1].storagePrice",
            ),
            ("plans[0].storage_price", Sent::Plan, "plan.storagePrice"),
            ("plans[0].storage_price", Sent::Edit, "storagePrice"),
            ("plans[0].quota", Sent::Service, "plans[0].totalQuota"),
            ("plans[0].quota", Sent::Edit, "totalQuota"),
            (
                "plans[0].terms[2].discount_percent",
                Sent::Edit,
                "terms[2].discountPercent",
            ),
            (
                "plans[0].resources.cpu_millis",
                Sent::Plan,
                "plan.resources.cpuMillis",
            ),
            (
                "pod_security.exceptions[0]",
                Sent::Service,
                "podSecurityExceptions[0]",
            ),
            (
                "settings.max_uploads",
                Sent::Service,
                "settings.max_uploads",
            ),
            ("images.side_car", Sent::Edit, "images.side_car"),
            ("images.app.reference", Sent::Service, "images.app"),
            (
                "images.app.checked_on",
                Sent::Service,
                "imageSupport.app.checkedOn",
            ),
            (
                "images.app.source",
                Sent::Service,
                "imageSupport.app.source",
            ),
            ("slug", Sent::Service, "slug"),
            ("", Sent::Plan, ""),
        ] {
            assert_eq!(field(key, sent), expected, "{key} {sent:?}");
        }
    }
}
