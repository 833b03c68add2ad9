//! Edits of services and plans. A field that was edited keeps its value over the template.

use std::collections::BTreeMap;

use dermaga_runtime::{contract::Settings, gate::Exception};
use dermaga_toolkit::template::ImageSupport;
use serde_json::{Value, json};

use super::{
    ManagedPlan, ManagedService, PlanRow, ServiceRow, creation, managed, own_template, plan_row,
    service_row, store, with_names,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    catalog::{Catalog, FieldChange, Plan, PlanTerm, load_templates},
    db::Conn,
    ids::{PlanId, ServiceId, UserId},
    money::Rupiah,
    plugins,
};

/// New values of fields of a service; those that are absent stay.
#[derive(Debug, Default)]
pub struct ServiceChanges {
    pub name: Option<String>,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub featured: Option<bool>,
    /// Slug of a category.
    pub category: Option<String>,
    /// All images, settings and exceptions of a service that no template file names.
    pub images: Option<BTreeMap<String, String>>,
    /// All that is known of the support of its images; else that of images which stay is kept.
    pub image_support: Option<BTreeMap<String, ImageSupport>>,
    pub settings: Option<Settings>,
    pub exceptions: Option<Vec<Exception>>,
}

/// New values of fields of a plan; those that are absent stay.
#[derive(Debug, Default)]
pub struct PlanChanges {
    pub name: Option<String>,
    pub monthly_price: Option<Rupiah>,
    pub features: Option<Vec<String>>,
    /// All longer terms that it is sold for.
    pub terms: Option<Vec<PlanTerm>>,
    /// `Some(None)` takes back the offer to freeze.
    pub storage_price: Option<Option<Rupiah>>,
    pub max_instances_per_user: Option<i64>,
    pub cpu_millis: Option<i64>,
    pub memory_mib: Option<i64>,
    pub storage_gib: Option<i64>,
    pub replicas: Option<i64>,
}

/// Puts a new value in place of another, and notes the change under the field's name.
pub(super) fn put<T: PartialEq + serde::Serialize>(
    field: &str,
    old: &mut T,
    new: Option<T>,
    changes: &mut Vec<FieldChange>,
) {
    let Some(new) = new.filter(|new| new != old) else {
        return;
    };
    let before = std::mem::replace(old, new);
    changes.push(FieldChange {
        field: field.to_owned(),
        before: json!(before),
        after: json!(old),
    });
}

fn fields(changes: &[FieldChange]) -> impl Iterator<Item = &str> {
    changes.iter().map(|change| change.field.as_str())
}

/// Changes fields of a service, with a reason. They keep these values over the template.
///
/// # Errors
/// `NOT_FOUND`; `VALIDATION_FAILED`, also for an unknown category; `INVALID_STATE` for what a template
/// file says; `PLUGIN_REFUSED_INPUT` when the plugin cannot make it; `CONFLICT` when it changes at
/// the same time.
pub async fn change_service(
    catalog: &Catalog,
    actor_id: UserId,
    id: ServiceId,
    mut wanted: ServiceChanges,
    reason: &str,
) -> Result<ManagedService> {
    // The plugin is asked before the transaction, which looks again at what it was asked about.
    let rewritten = own_template::rewritten(catalog, id, &mut wanted).await?;
    let (clock, mut conn) = (&catalog.clock, catalog.db.begin().await?);
    if let Some(rewritten) = &rewritten {
        // Before the service, as a retirement of the plugin takes both.
        rewritten.keep_plugin(&mut conn, catalog).await?;
    }
    store::lock_service(&mut conn, id).await?;
    let mut row = service_row(&mut conn, id).await?;
    let mut changes = apply(&mut conn, &mut row, wanted).await?;
    if !changes.is_empty() {
        row.edited = with_names(&row.edited, fields(&changes));
        store::update_service(&mut conn, &row, clock.now()).await?;
    }
    if let Some(rewritten) = &rewritten {
        rewritten.write(&mut conn, id, clock.now()).await?;
        changes.extend(rewritten.changes.iter().cloned());
    }
    if !changes.is_empty() {
        let details = json!({ "service": row.slug, "fields": changes });
        let subject = Subject::Service(id);
        let event = Event::new(AuditAct::ServiceChanged, subject, details).because(reason);
        audit::record(&mut conn, clock, actor_id, event).await?;
    }
    let view = managed(&mut conn, id).await?;
    if let Some(rewritten) = &rewritten {
        // Under the lock of the service, so that the last one that is written is the last one here.
        catalog.templates.replace(&rewritten.template);
    }
    conn.commit().await?;
    Ok(view)
}

async fn apply(
    conn: &mut Conn,
    row: &mut ServiceRow,
    wanted: ServiceChanges,
) -> Result<Vec<FieldChange>> {
    if let Some(slug) = &wanted.category {
        let category = creation::category(conn, slug).await?;
        row.category_id = category.0;
    }
    let mut changes = Vec::new();
    put("name", &mut row.name, wanted.name, &mut changes);
    put("summary", &mut row.summary, wanted.summary, &mut changes);
    put(
        "description",
        &mut row.description,
        wanted.description,
        &mut changes,
    );
    put("featured", &mut row.featured, wanted.featured, &mut changes);
    put("category", &mut row.category, wanted.category, &mut changes);
    Ok(changes)
}

fn apply_to_plan(row: &mut PlanRow, wanted: PlanChanges) -> Vec<FieldChange> {
    let (plan, mut all) = (&mut row.plan, Vec::new());
    put("name", &mut plan.name, wanted.name, &mut all);
    put(
        "monthlyPrice",
        &mut plan.monthly_price,
        wanted.monthly_price,
        &mut all,
    );
    put("features", &mut plan.features.0, wanted.features, &mut all);
    let terms = wanted.terms.map(|mut terms| {
        terms.sort_by_key(|term| term.months);
        terms
    });
    put("terms", &mut plan.terms.0, terms, &mut all);
    put(
        "storagePrice",
        &mut plan.storage_price,
        wanted.storage_price,
        &mut all,
    );
    for (field, old, new) in [
        (
            "maxInstancesPerUser",
            &mut plan.max_instances_per_user,
            wanted.max_instances_per_user,
        ),
        ("cpuMillis", &mut plan.cpu_millis, wanted.cpu_millis),
        ("memoryMib", &mut plan.memory_mib, wanted.memory_mib),
        ("storageGib", &mut plan.storage_gib, wanted.storage_gib),
        ("replicas", &mut plan.replicas, wanted.replicas),
    ] {
        put(field, old, new, &mut all);
    }
    all
}

/// Changes fields of a plan, with a reason, after its plugin has accepted the sizes. They keep
/// these values over the template. Customers who have bought keep their price.
///
/// # Errors
/// `NOT_FOUND`; `VALIDATION_FAILED`; `PLUGIN_REFUSED_INPUT` when the plugin cannot make it; `INVALID_STATE` when no
/// version of it is active, `PLUGIN_UNAVAILABLE` when that does not load here; `CONFLICT` when the plan, or what its
/// service runs, changes at the same time.
pub async fn change_plan(
    catalog: &Catalog,
    actor_id: UserId,
    (service_id, id): (ServiceId, PlanId),
    wanted: PlanChanges,
    reason: &str,
) -> Result<ManagedPlan> {
    let seen = plan_row(&mut catalog.db.read().await?, service_id, id).await?;
    let mut row = seen.clone();
    let changes = apply_to_plan(&mut row, wanted);
    if changes.is_empty() {
        return Ok(row.into());
    }
    // The plugin is asked before the transaction, which looks again at what it was asked about.
    let known = creation::check_plan(catalog, service_id, &row.plan).await?;
    let (clock, mut conn) = (&catalog.clock, catalog.db.begin().await?);
    // Images and settings were accepted together with the sizes of the plans.
    store::lock_service(&mut conn, service_id).await?;
    store::lock_plan(&mut conn, id).await?;
    own_template::still_says(&mut conn, service_id, Some(known.source().text.as_str())).await?;
    let now = plan_row(&mut conn, service_id, id).await?;
    if sizes(&now) != sizes(&seen) {
        let message = "The plan was changed at the same time. Look at it and try again.";
        return Err(Error::new(Code::Conflict, message));
    }
    row.edited = with_names(&now.edited, fields(&changes));
    store::update_plan(&mut conn, &row, clock.now()).await?;
    let details = json!({ "plan": row.plan.slug, "serviceId": service_id, "fields": changes });
    let event = Event::new(AuditAct::PlanChanged, Subject::Plan(id), details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    let view = plan_row(&mut conn, service_id, id).await?.into();
    conn.commit().await?;
    Ok(view)
}

/// Values that an edit may change.
pub(super) fn sizes(row: &PlanRow) -> Value {
    let plan = &row.plan;
    json!([
        plan.name,
        plan.monthly_price,
        plan.features.0,
        plan.terms.0,
        plan.storage_price,
        plan.max_instances_per_user,
        plan.cpu_millis,
        plan.memory_mib,
        plan.storage_gib,
        plan.replicas
    ])
}

/// Puts a service on sale or off it, with a reason; the other of the two when `active` is absent.
/// A retired service is on sale again.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn switch_service(
    catalog: &Catalog,
    actor_id: UserId,
    id: ServiceId,
    active: Option<bool>,
    reason: &str,
) -> Result<ManagedService> {
    let (clock, mut conn) = (&catalog.clock, catalog.db.begin().await?);
    store::lock_service(&mut conn, id).await?;
    let before = service_row(&mut conn, id).await?;
    let active = active.unwrap_or(!before.active);
    if before.active != active {
        store::switch_service(&mut conn, id, active, clock.now()).await?;
        let details = json!({ "service": before.slug, "active": active });
        let subject = Subject::Service(id);
        let event = Event::new(AuditAct::ServiceSwitched, subject, details).because(reason);
        audit::record(&mut conn, clock, actor_id, event).await?;
    }
    let view = managed(&mut conn, id).await?;
    conn.commit().await?;
    Ok(view)
}

/// Puts a plan on sale or off it, as [`switch_service`] does with a service. Returns it, and its service as of then.
///
/// # Errors
/// `NOT_FOUND`; `CONFLICT` when it would come back beside a plan of its tier.
pub async fn switch_plan(
    catalog: &Catalog,
    actor_id: UserId,
    (service_id, id): (ServiceId, PlanId),
    active: Option<bool>,
    reason: &str,
) -> Result<(ManagedPlan, ManagedService)> {
    let (clock, mut conn) = (&catalog.clock, catalog.db.begin().await?);
    // All that decide which tiers are taken wait for the service, and then for the plan.
    store::lock_service(&mut conn, service_id).await?;
    store::lock_plan(&mut conn, id).await?;
    let before = plan_row(&mut conn, service_id, id).await?;
    let active = active.unwrap_or(!before.plan.active);
    if before.plan.active != active {
        if active {
            check_tier(&mut conn, &before.plan).await?;
        }
        store::switch_plan(&mut conn, id, active, clock.now()).await?;
        let details = json!({ "plan": before.plan.slug, "active": active });
        let event = Event::new(AuditAct::PlanSwitched, Subject::Plan(id), details).because(reason);
        audit::record(&mut conn, clock, actor_id, event).await?;
    }
    let plan = plan_row(&mut conn, service_id, id).await?.into();
    let service = managed(&mut conn, service_id).await?;
    conn.commit().await?;
    Ok((plan, service))
}

/// Refuses to put a plan on sale while another one of its tier is not retired, as a creation does.
async fn check_tier(conn: &mut Conn, plan: &Plan) -> Result<()> {
    let plans = store::plans(conn, &[plan.service_id]).await?;
    let others = plans.iter().filter(|row| row.plan.id != plan.id);
    if creation::has_tier(others, plan.tier) {
        return Err(creation::taken());
    }
    Ok(())
}

/// Result of a reset.
#[derive(Debug)]
pub struct ServiceReset {
    pub service: ManagedService,
    /// Fields of the service that had been edited.
    fields: Vec<String>,
    /// Slugs of its plans, with their fields that had been edited.
    plans: Vec<(String, Vec<String>)>,
}

impl ServiceReset {
    /// Says which fields are the template's again.
    pub fn message(&self) -> String {
        let of_service = (!self.fields.is_empty()).then(|| self.fields.join(", "));
        let plans = self.plans.iter();
        let of_plans = plans.map(|(slug, fields)| format!("{slug}: {}", fields.join(", ")));
        let all: Vec<String> = of_service.into_iter().chain(of_plans).collect();
        match all.is_empty() {
            true => "Nothing was changed: no field had been edited.".to_owned(),
            false => format!("As the template says again: {}.", all.join("; ")),
        }
    }
}

/// Lets the template that was loaded last decide all fields of a service, and of the plans that it
/// names, again. Quotas, and whether they are sold, stay; so do plans that it does not name.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when no template is known, it cannot be sold as it is, or no version of its plugin is
/// active; `PLUGIN_UNAVAILABLE` when that does not load here; `CONFLICT` when the template changes at the same time.
pub async fn reset_service(
    catalog: &Catalog,
    actor_id: UserId,
    id: ServiceId,
    reason: &str,
) -> Result<ServiceReset> {
    let mut template = creation::template(catalog, id).await?;
    let faults = plugins::faults_now(&catalog.plugins, &template).await?;
    if let Some(fault) = faults.first() {
        let message = format!("The template cannot be sold as it is: {fault}.");
        return Err(Error::new(Code::InvalidState, message));
    }
    let (clock, mut conn) = (&catalog.clock, catalog.db.begin().await?);
    // The category of the template is written, too, and a reload takes those locks before that of a service.
    store::lock_categories(&mut conn).await?;
    store::lock_service(&mut conn, id).await?;
    own_template::still_says(&mut conn, id, Some(template.source().text.as_str())).await?;
    // It would be on sale again. A retirement that is under way waits for the service, and takes it off sale then.
    plugins::refuse_inactive(&mut conn, &template.plugin).await?;
    let before = managed(&mut conn, id).await?;
    // A plan that was deleted does not come back, beside another one of its tier perhaps.
    let has = |slug: &str| before.plans.iter().any(|plan| plan.slug == slug);
    template.plans.retain(|plan| has(&plan.slug));
    let names = |plan: &ManagedPlan| template.plans.iter().any(|named| named.slug == plan.slug);
    let plans = before.plans.into_iter();
    let plans: Vec<ManagedPlan> = plans
        .filter(|plan| names(plan) && !plan.edited.is_empty())
        .collect();
    let ids: Vec<PlanId> = plans.iter().map(|plan| plan.id).collect();
    store::forget_edits(&mut conn, id, &ids).await?;
    load_templates(&mut conn, clock, std::slice::from_ref(&template)).await?;
    let plans = plans.into_iter().map(|plan| (plan.slug, plan.edited));
    let plans: Vec<(String, Vec<String>)> = plans.collect();
    let noted = plans.iter();
    let noted: Vec<Value> = noted
        .map(|(slug, edited)| json!({ "plan": slug, "edited": edited }))
        .collect();
    let details = json!({ "service": before.slug, "edited": before.edited, "plans": noted });
    let event = Event::new(AuditAct::ServiceReset, Subject::Service(id), details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    let service = managed(&mut conn, id).await?;
    conn.commit().await?;
    Ok(ServiceReset {
        service,
        fields: before.edited,
        plans,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_field_that_changes_is_a_change() {
        let (mut name, mut changes) = ("Basic".to_owned(), Vec::new());
        put("name", &mut name, None, &mut changes);
        put("name", &mut name, Some("Basic".to_owned()), &mut changes);
        assert!(changes.is_empty());
        put("name", &mut name, Some("Kecil".to_owned()), &mut changes);
        assert_eq!(name, "Kecil");
        let expected = FieldChange {
            field: "name".to_owned(),
            before: json!("Basic"),
            after: json!("Kecil"),
        };
        assert_eq!(changes, [expected]);
    }

    /// A price that is taken away is another thing than one that was left out.
    #[test]
    fn a_field_may_be_set_to_nothing() {
        let (mut price, mut changes) = (Some(5_000), Vec::new());
        put("storagePrice", &mut price, None, &mut changes);
        assert_eq!(price, Some(5_000));
        put("storagePrice", &mut price, Some(None), &mut changes);
        assert_eq!((price, changes[0].after.is_null()), (None, true));
    }
}
