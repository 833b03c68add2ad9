//! Requests of the pods of plans, as their plugins render them.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use dermaga_runtime::Plugin;
use serde_json::json;

use super::ByPlan;
use crate::{
    Code, Result,
    catalog::{Offer, Sizes},
    cluster::Load,
    ids::{PlanId, SubscriptionId, UserId},
    plugins::{self, Asking},
    provisioning::{Instances, NewInstance, rehearse_purchase},
    schema,
};

const MIB: u64 = 1 << 20;

/// Requests of plans, kept while nothing changes that they come from.
#[derive(Debug, Default)]
pub(super) struct Needs(HashMap<PlanId, Kept>);

#[derive(Debug)]
struct Kept {
    /// Hash of all that the pods come from.
    origin: u64,
    pods: Arc<[Load]>,
}

impl Needs {
    /// Returns the requests of an instance of each offer, with the configuration that says nothing.
    pub(super) async fn of(&mut self, instances: &Instances, offers: &[Offer]) -> ByPlan {
        let mut needs = ByPlan::new();
        for offer in offers {
            let pods = self.of_offer(instances, offer).await;
            needs.insert(offer.plan.id, pods);
        }
        self.0.retain(|plan_id, _| needs.contains_key(plan_id));
        needs
    }

    async fn of_offer(&mut self, instances: &Instances, offer: &Offer) -> Arc<[Load]> {
        let plan = &offer.plan;
        let percent = instances.handle.classes().pods.request_percent;
        let whole = || whole(plan.sizes(), percent);
        let Ok(plugin) = instances.plugins.active(&offer.service.plugin_id) else {
            return whole();
        };
        let origin = origin(&plugin, offer);
        let kept = self.0.get(&plan.id);
        if let Some(kept) = kept.filter(|kept| kept.origin == origin) {
            return Arc::clone(&kept.pods);
        }
        let pods: Arc<[Load]> = match Box::pin(rendered(instances, &plugin, offer)).await {
            Ok(pods) => pods.into(),
            // Asked again with the next look.
            Err(error) if matches!(error.code, Code::PluginBusy | Code::PluginSuspended) => {
                return whole();
            }
            // Kept like an answer: the same question would fail again, and count against the plugin.
            Err(error) => {
                tracing::info!(plan.id = %plan.id, %error, "capacity.plan_not_rendered");
                whole()
            }
        };
        let kept = Kept {
            origin,
            pods: Arc::clone(&pods),
        };
        self.0.insert(plan.id, kept);
        pods
    }
}

fn origin(plugin: &Plugin, offer: &Offer) -> u64 {
    let Offer { service, plan } = offer;
    let mut hasher = DefaultHasher::new();
    let sizes = (plan.sizes(), plan.tier, plan.monthly_price);
    let template = (
        &service.settings,
        &service.images,
        &service.pod_security_exceptions,
    );
    format!("{} {sizes:?} {template:?}", plugin.digest()).hash(&mut hasher);
    hasher.finish()
}

/// Renders a made-up instance of an offer.
async fn rendered(instances: &Instances, plugin: &Plugin, offer: &Offer) -> Result<Vec<Load>> {
    let Offer { service, plan } = offer;
    let description = plugins::describe(plugin, &service.settings.0).await?;
    let mut config = json!({});
    schema::validate(&description.config_schema, &mut config, "config")?;
    let public = description.endpoints.iter().any(|endpoint| endpoint.public);
    let new = NewInstance {
        subscription_id: SubscriptionId::MIN,
        user_id: UserId::MIN,
        plan_id: plan.id,
        service: service.slug.clone(),
        plugin_digest: plugin.digest().to_string(),
        settings: service.settings.0.clone(),
        images: service.images.0.clone(),
        sizes: plan.sizes(),
        config,
        secrets: description.secrets.clone(),
        given: BTreeMap::new(),
        base_domain: public.then(|| "apps.example.com".to_owned()),
    };
    rehearse_purchase(instances, new, offer, Asking::Preview).await
}

/// Returns the requests of a plan that could not be rendered: all of it, or the percentage of it that the
/// operator lets pods request, in as many pods as it may have.
pub(super) fn whole(sizes: Sizes, percent: Option<u8>) -> Arc<[Load]> {
    let count = u64::try_from(sizes.replicas).unwrap_or_default().max(1);
    let part = |amount: i64| u64::try_from(amount).unwrap_or_default().div_ceil(count);
    let share = |amount: u64| match percent {
        Some(percent) => (amount.saturating_mul(percent.into()) / 100).max(1),
        None => amount,
    };
    let one = Load {
        cpu_millis: share(part(sizes.cpu_millis)),
        memory_bytes: share(part(sizes.memory_mib).saturating_mul(MIB)),
    };
    vec![one; usize::try_from(count).unwrap_or(1)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_not_rendered_asks_for_all_of_it() {
        let sizes = |replicas| Sizes {
            cpu_millis: 500,
            memory_mib: 1024,
            storage_gib: 5,
            replicas,
        };
        let load = |cpu_millis, memory_mib| Load {
            cpu_millis,
            memory_bytes: memory_mib * MIB,
        };
        assert_eq!(*whole(sizes(1), None), [load(500, 1024)]);
        assert_eq!(*whole(sizes(3), None), [load(167, 342); 3]);
        assert_eq!(*whole(sizes(0), None), [load(500, 1024)]);
        assert_eq!(*whole(sizes(2), Some(50)), [load(125, 256); 2]);
        assert_eq!(*whole(sizes(1), Some(100)), [load(500, 1024)]);
    }
}
