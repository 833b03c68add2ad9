//! Catalogue: categories, services and plans, read from the templates, and quotas of plans.

mod administration;
mod browsing;
mod categories;
mod image_ages;
mod loading;
mod model;
mod quota;
mod room;
mod settings;
mod store;
mod templates;
mod terms;
pub mod waitlist;

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use dermaga_runtime::Texts;
use dermaga_toolkit::template::{FormTexts, Template};

pub use administration::{
    ManagedPlan, ManagedService, NewPlan, NewService, PlanChanges, Removal, ServiceChanges,
    ServiceReset, ServiceSales, ServiceState, ServiceStatistics, ServicesFilter, change_plan,
    change_service, create_plan, create_service, managed_plan, managed_service, managed_services,
    remove_plan, remove_service, reset_service, service_statistics, switch_plan, switch_service,
};
pub use browsing::{categories, sold_service, sold_services, sold_services_of};
pub use categories::{
    CategoryChanges, CategoryReset, ManagedCategory, NewCategory, change_category, create_category,
    delete_category, managed_categories, managed_category, reset_category,
};
pub use image_ages::{ImageView, watch_images};
pub use loading::{Cure, RefusedTemplate};
pub use model::{
    Category, Plan, PlanView, ResourcesView, Service, ServiceFilter, ServicePluginView,
    ServiceView, Sizes, Tier, Unavailable, form_in_language,
};
pub use quota::{
    MOST_PLANS, MOST_QUOTA, NewQuota, QuotaFilter, QuotaHealth, QuotaOverview, QuotaStatistics,
    QuotaView, quota, quota_overview, quota_statistics, quotas, set_quotas,
};
pub use room::PlanRoom;
pub use settings::Settings;
pub use templates::{
    CatalogReload, Examined, FieldChange, KeptField, Templates, examine, load_at_start, reload,
    tell_of_plugin,
};
pub use terms::{PlanTerm, PlanTermView, SoldTerm, TermView};

use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db, new_id},
    ids::{PlanId, ServiceId, UserId},
    language::{self, Language},
    money::Rupiah,
    plugins::Registry,
};

/// Catalogue of the shop: the database, the clock, the plugins and the templates.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) plugins: Arc<Registry>,
    /// Templates as they were read last.
    pub templates: Arc<Templates>,
    pub(crate) settings: Settings,
    /// Room of the cluster for further instances.
    pub(crate) room: PlanRoom,
}

impl Catalog {
    /// Returns the catalogue in this database, which says when the room for a plan is used up.
    pub fn new(
        db: Db,
        clock: Clock,
        plugins: Arc<Registry>,
        templates: Arc<Templates>,
        settings: Settings,
        room: PlanRoom,
    ) -> Self {
        room.shown_by(db.catalogue());
        Self {
            db,
            clock,
            plugins,
            templates,
            settings,
            room,
        }
    }
}

/// A plan that can be bought, with its service.
#[derive(Debug, Clone)]
pub struct Offer {
    pub service: Service,
    pub plan: Plan,
}

/// Writes the templates into the catalogue: new ones are added, known ones updated. Quota,
/// `active` and edited fields of a known one belong to the administrators.
async fn load_templates(conn: &mut Conn, clock: &Clock, templates: &[Template]) -> Result<()> {
    let now = clock.now();
    for template in templates {
        let category = &template.category;
        let category_id = store::upsert_category(conn, new_id(clock), category).await?;
        let service = store::NewService {
            id: new_id(clock),
            slug: &template.slug,
            category_id,
            plugin_id: &template.plugin,
            name: &template.name,
            summary: &template.summary,
            description: &template.description,
            texts: &template.texts,
            featured: template.featured,
            images: &template.images,
            settings: &template.settings,
            exceptions: &template.pod_security.exceptions,
            template: (loading::file_name(template), &template.source().text),
        };
        let service_id = store::upsert_service(conn, &service, now).await?;
        for plan in &template.plans {
            load_plan(conn, clock, service_id, plan, now).await?;
        }
    }
    Ok(())
}

async fn load_plan(
    conn: &mut Conn,
    clock: &Clock,
    service_id: ServiceId,
    plan: &dermaga_toolkit::template::Plan,
    now: DateTime<Utc>,
) -> Result<()> {
    let new = store::NewPlan {
        id: new_id(clock),
        service_id,
        slug: &plan.slug,
        name: &plan.name,
        tier: plan.tier.into(),
        monthly_price: Rupiah::new(plan.monthly_price),
        cpu_millis: plan.resources.cpu_millis.into(),
        memory_mib: plan.resources.memory_mib.into(),
        storage_gib: plan.resources.storage_gib.into(),
        replicas: plan.resources.replicas.into(),
        quota: plan.quota.into(),
        max_instances_per_user: plan.max_instances_per_user.into(),
        features: &plan.features,
        indonesian_features: plan.texts.features.as_deref(),
        terms: &plan.terms,
        storage_price: plan.storage_price.map(Rupiah::new),
    };
    Ok(store::upsert_plan(conn, &new, now).await?)
}

/// Returns the plan and its service, if they are sold.
///
/// # Errors
/// `NOT_FOUND` for an unknown plan, `PLAN_UNAVAILABLE` when it is not sold any more.
pub async fn offer(conn: &mut Conn, plan_id: PlanId) -> Result<Offer> {
    let offer = store::offer(conn, plan_id).await?;
    let offer = offer.ok_or_else(|| Error::not_found("plan"))?;
    let Offer { service, plan } = &offer;
    if !plan.active || !service.active {
        let message = format!("{} {} is not sold at the moment.", service.name, plan.name);
        return Err(Error::new(Code::PlanUnavailable, message));
    }
    Ok(offer)
}

/// Returns all plans that are sold, with their services.
///
/// # Errors
/// When the database does not answer.
pub async fn offers(conn: &mut Conn) -> Result<Vec<Offer>> {
    let services = store::all_services(conn).await?.into_iter();
    let sold = services.filter(|service| service.active);
    let services: HashMap<ServiceId, Service> = sold.map(|service| (service.id, service)).collect();
    let plans = store::all_plans(conn).await?.into_iter();
    let offers = plans.filter(|plan| plan.active).filter_map(|plan| {
        let service = services.get(&plan.service_id)?.clone();
        Some(Offer { service, plan })
    });
    Ok(offers.collect())
}

/// Returns a plan, sold or not.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn plan(conn: &mut Conn, plan_id: PlanId) -> Result<Plan> {
    store::plan(conn, plan_id)
        .await?
        .ok_or_else(|| Error::not_found("plan"))
}

/// Returns the texts in Indonesian of the form of a service that is sold, if that is the current language.
///
/// # Errors
/// When the database does not answer.
pub async fn form_texts(conn: &mut Conn, slug: &str) -> Result<FormTexts> {
    if language::current() == Language::English {
        return Ok(FormTexts::new());
    }
    let service = store::service_by_slug(conn, slug).await?;
    Ok(service.map_or_else(FormTexts::new, |service| service.indonesian_form.0))
}

/// Returns the sentences in Indonesian that the template of a service has for its plugin, if that is the current
/// language.
///
/// # Errors
/// When the database does not answer.
pub async fn sentences(conn: &mut Conn, slug: &str) -> Result<Texts> {
    if language::current() == Language::English {
        return Ok(Texts::default());
    }
    let service = store::any_service_by_slug(conn, slug).await?;
    Ok(service.map_or_else(Texts::default, |service| service.indonesian_sentences.0))
}

/// Takes one of the plan's quota for a customer, in the caller's transaction: the place that is
/// held for this customer, or one that is free while no other waits for it.
///
/// # Errors
/// `QUOTA_EXHAUSTED`, `PLAN_UNAVAILABLE`, or `QUOTE_CHANGED` when its price changed meanwhile.
pub async fn take_quota(
    conn: &mut Conn,
    clock: &Clock,
    user_id: UserId,
    offer: &Offer,
) -> Result<()> {
    let (plan, now) = (&offer.plan, clock.now());
    if store::take_quota(conn, plan, user_id, now).await?
        || (store::lock_as_sold(conn, plan, now).await?
            && waitlist::take_held(conn, clock, plan.id, user_id).await?)
    {
        if store::service_is_active(conn, plan.service_id).await? {
            return Ok(());
        }
        return Err(Error::new(
            Code::PlanUnavailable,
            format!("{} is not sold at the moment.", offer.service.name),
        ));
    }
    let now = self::plan(conn, plan.id).await?;
    Err(if !now.active {
        Error::new(
            Code::PlanUnavailable,
            format!(
                "{} {} is not sold at the moment.",
                offer.service.name, plan.name
            ),
        )
    } else if now.monthly_price != plan.monthly_price || now.terms.0 != plan.terms.0 {
        Error::new(
            Code::QuoteChanged,
            "The price of this plan has just changed. Ask for a new quote.",
        )
    } else {
        sold_out(offer)
    })
}

/// Refuses an offer that was sold out when it was read, unless a place is held for the customer;
/// [`take_quota`] decides.
///
/// # Errors
/// `QUOTA_EXHAUSTED`.
pub async fn check_quota(db: &Db, clock: &Clock, user_id: UserId, offer: &Offer) -> Result<()> {
    if offer.plan.available_quota() > 0
        || waitlist::is_held(&mut db.read().await?, clock, offer.plan.id, user_id).await?
    {
        Ok(())
    } else {
        Err(sold_out(offer))
    }
}

fn sold_out(offer: &Offer) -> Error {
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!("{service} {plan} is sold out at the moment.");
    Error::new(Code::QuotaExhausted, message)
}

/// Refusal of one more of a plan to a customer who has as many as one may.
pub(crate) fn limit_reached(offer: &Offer) -> Error {
    let (service, plan) = (&offer.service, &offer.plan);
    let message = format!(
        "You already have the maximum of {} for {} {}.",
        plan.max_instances_per_user, service.name, plan.name
    );
    Error::new(Code::InstanceLimitReached, message)
}

/// Returns to the plan's quota the unit that [`take_quota`] took.
///
/// # Errors
/// When no unit was taken, which means the quota's count is wrong.
pub async fn give_back_quota(conn: &mut Conn, clock: &Clock, plan_id: PlanId) -> Result<()> {
    if store::give_back_quota(conn, plan_id, clock.now()).await? {
        Ok(())
    } else {
        Err(Error::internal(format!(
            "plan {plan_id} has no quota in use to give back"
        )))
    }
}

/// Returns places in several plans, in the order of their ids: customers who leave the same plans do not
/// wait for each other.
///
/// # Errors
/// As [`give_back_quota`].
pub async fn give_back_places(
    conn: &mut Conn,
    clock: &Clock,
    mut places: Vec<PlanId>,
) -> Result<()> {
    places.sort_unstable();
    for plan_id in places {
        give_back_quota(conn, clock, plan_id).await?;
    }
    Ok(())
}

/// Takes a place in a plan for one in another, where there is one, in the order of [`give_back_places`].
///
/// # Errors
/// As [`take_quota`] and [`give_back_quota`].
pub async fn exchange_quota(
    conn: &mut Conn,
    clock: &Clock,
    user_id: UserId,
    given_back: Option<PlanId>,
    offer: &Offer,
) -> Result<()> {
    // A place in the same plan is free before it is taken.
    if let Some(plan_id) = given_back.filter(|id| *id <= offer.plan.id) {
        give_back_quota(conn, clock, plan_id).await?;
    }
    take_quota(conn, clock, user_id, offer).await?;
    if let Some(plan_id) = given_back.filter(|id| *id > offer.plan.id) {
        give_back_quota(conn, clock, plan_id).await?;
    }
    Ok(())
}

/// Returns true when there is a service with this slug.
///
/// # Errors
/// When the database does not answer.
pub async fn has_service(conn: &mut Conn, slug: &str) -> Result<bool> {
    Ok(store::service_by_slug(conn, slug).await?.is_some())
}
