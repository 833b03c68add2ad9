//! Renders and gates the objects of a purchase or a change of plan before anything is charged.
//!
//! The rehearsal is not recorded: the reconciler asks the plugin again, and that answer is the one
//! that is applied. Only a refusal of a real request is kept, as every such refusal is.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::types::Json;

use super::{
    Instances, draft, lifecycle,
    model::{Instance, NewInstance, Terms},
    render::{RenderError, RenderInputs, render},
    secrets::Secrets,
    store,
};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
    catalog::Offer,
    cluster::{Load, pods_of},
    ids::SubscriptionId,
    plugins::{self, Asking, Decision},
};

/// Time for which an offer without an open alert is not looked at again: another server may raise one.
const REASSURED_FOR: Duration = Duration::from_secs(10);

/// Offers that had no open alert, with the moment of the look. Every purchase would ask for what is there once in a
/// long while.
#[derive(Debug, Default)]
pub(super) struct Reassured(Mutex<HashMap<String, Instant>>);

impl Reassured {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_recent(&self, subject: &str) -> bool {
        let known = self.known();
        known
            .get(subject)
            .is_some_and(|looked| looked.elapsed() < REASSURED_FOR)
    }

    fn note(&self, subject: String) {
        self.known().insert(subject, Instant::now());
    }

    fn forget(&self, subject: &str) {
        self.known().remove(subject);
    }
}

/// Renders and gates a new instance of an offer, and returns the requests of its pods.
///
/// # Errors
/// `NOT_DELIVERABLE` when the plugin or the gate says no; `PLUGIN_*` when the plugin fails.
pub async fn rehearse_purchase(
    instances: &Instances,
    new: NewInstance,
    offer: &Offer,
    asking: Asking,
) -> Result<Vec<Load>> {
    let secrets = without_values(new.secrets.iter().map(|spec| spec.name.clone()));
    let instance = draft(&instances.clock, new);
    let objects = rehearse(instances, &instance, &secrets, offer, asking).await?;
    Ok(pods_of(&objects))
}

/// Renders and gates a subscription's instance in another plan, and returns the requests of its pods.
///
/// # Errors
/// As [`rehearse_purchase`]; `INVALID_STATE` when there is no instance, it is stopped, or another
/// change of it is not proven to work yet; `VOLUME_CANNOT_GROW` when a
/// volume would have to and its storage class does not allow it.
pub async fn rehearse_change(
    instances: &Instances,
    subscription_id: SubscriptionId,
    to: &Offer,
    asking: Asking,
) -> Result<Vec<Load>> {
    let mut conn = instances.db.read().await?;
    let seen = store::of_subscription(&mut conn, subscription_id).await?;
    let seen = seen.ok_or_else(super::no_instance)?;
    lifecycle::check_is_wanted(&seen)?;
    lifecycle::check_is_proven(&seen)?;
    let secrets = store::secrets(&mut conn, seen.id).await?;
    drop(conn);
    // A later value of a secret is kept under its name with a tag.
    let names = secrets.into_iter().map(|(name, _)| name);
    let secrets = without_values(names.filter(|name| !name.contains(':')));
    let instance = Instance {
        plan_id: to.plan.id,
        ..seen
    };
    let objects = rehearse(instances, &instance, &secrets, to, asking).await?;
    check_growth(instances, &instance, &objects).await?;
    Ok(pods_of(&objects))
}

/// Refuses objects that need a larger volume where the storage class does not let it grow. A cluster
/// that cannot be asked refuses later, and the change is undone then.
pub(super) async fn check_growth(
    instances: &Instances,
    instance: &Instance,
    objects: &[Value],
) -> Result<()> {
    let Ok(cluster) = instances.handle.cluster() else {
        return Ok(());
    };
    match cluster.cannot_grow(&instance.namespace, objects).await {
        Ok(None) => Ok(()),
        Ok(Some(claim)) => {
            tracing::warn!(instance.id = %instance.id, claim, "instance.volume_cannot_grow");
            let message = "The volume of this service cannot grow, so nothing was changed or charged. \
                           For more space, buy a new service and move your data there.";
            Err(Error::new(Code::VolumeCannotGrow, message))
        }
        Err(error) => {
            tracing::warn!(instance.id = %instance.id, %error, "instance.growth_not_checked");
            Ok(())
        }
    }
}

async fn rehearse(
    instances: &Instances,
    instance: &Instance,
    secrets: &Secrets,
    offer: &Offer,
    asking: Asking,
) -> Result<Vec<Value>> {
    let inputs = RenderInputs {
        instance,
        terms: &terms(offer),
        secrets,
        classes: instances.handle.classes(),
        domains: &[],
        recorded: None,
    };
    match render(&instances.plugins, inputs).await {
        Ok(rendering) => {
            if asking == Asking::Act {
                reassure(instances, offer).await?;
            }
            Ok(rendering.objects)
        }
        Err(RenderError::Host(error)) => Err(error),
        Err(RenderError::Refused {
            detail, decision, ..
        }) => {
            let (service, plan) = (&offer.service.slug, &offer.plan.slug);
            tracing::error!(service, plan, reason = detail, "purchase.not_deliverable");
            if asking == Asking::Act {
                alarm(instances, offer, &detail).await?;
            }
            Err(refused(instances, offer, decision.as_deref(), asking).await)
        }
    }
}

/// Tells administrators that an offer cannot be sold.
async fn alarm(instances: &Instances, offer: &Offer, reason: &str) -> Result<()> {
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!(
        "Purchases of {service} {plan} are refused, nothing is charged: {reason} Activate a version of the plugin that works, or switch the plan off."
    );
    let subject = subject(offer);
    let mut conn = instances.db.begin().await?;
    let kind = AlertKind::OfferNotDeliverable;
    alerts::raise(&mut conn, &instances.clock, kind, &subject, &message).await?;
    conn.commit().await?;
    instances.reassured.forget(&subject);
    Ok(())
}

/// Ends the alert about an offer that can be sold again.
async fn reassure(instances: &Instances, offer: &Offer) -> Result<()> {
    let subject = subject(offer);
    if instances.reassured.is_recent(&subject) {
        return Ok(());
    }
    let kind = AlertKind::OfferNotDeliverable;
    let open = alerts::open_subjects(&mut instances.db.read().await?, kind).await?;
    // Every purchase comes here; only one after an alert may write.
    if open.contains(&subject) {
        let mut conn = instances.db.begin().await?;
        alerts::resolve(&mut conn, &instances.clock, kind, &subject).await?;
        conn.commit().await?;
    }
    instances.reassured.note(subject);
    Ok(())
}

fn subject(offer: &Offer) -> String {
    format!("{}/{}", offer.service.slug, offer.plan.slug)
}

/// Hides the reason, which is the operator's: it is logged, and can be replayed by the decision.
async fn refused(
    instances: &Instances,
    offer: &Offer,
    decision: Option<&Decision>,
    asking: Asking,
) -> Error {
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!("{service} {plan} cannot be set up at the moment. Nothing was charged.");
    let error = Error::new(Code::NotDeliverable, message);
    match decision {
        Some(decision) => plugins::refuse(&instances.plugins, decision, asking, error).await,
        None => error,
    }
}

fn without_values(names: impl Iterator<Item = String>) -> Secrets {
    names.map(|name| (name, String::new().into())).collect()
}

/// Returns the terms of an instance of this offer.
fn terms(offer: &Offer) -> Terms {
    let Offer { service, plan } = offer;
    Terms {
        service: service.slug.clone(),
        plan: plan.slug.clone(),
        tier: plan.tier,
        monthly_price: plan.monthly_price,
        sizes: plan.sizes(),
        pod_security_exceptions: Json(service.pod_security_exceptions.0.clone()),
    }
}
