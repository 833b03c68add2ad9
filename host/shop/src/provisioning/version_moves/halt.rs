//! Halt of a roll: instances that failed with the target of a move keep the others from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Order, Target,
    store::{self, PlanNow},
};
use crate::{
    Code, Error,
    db::Conn,
    ids::{InstanceId, PlanId, ServiceId},
    provisioning::{model::Instance, recipe::Recipe},
};

/// Most instances that a refusal names; it counts all of them.
const MOST_NAMED: usize = 10;

/// An instance that failed with the target of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HaltedBy {
    pub instance_id: InstanceId,
    pub name: String,
    /// Reason of its failure, in a sentence.
    #[serde(serialize_with = "crate::language::in_words")]
    pub reason: String,
}

/// Recipes that a move puts into instances, and the plans of the services that it reaches.
#[derive(Debug)]
pub(super) struct Roll {
    plans: Vec<PlanId>,
    /// Fingerprints of the recipes.
    targets: BTreeSet<String>,
}

impl Roll {
    /// Returns the roll that an order is a part of: all plans of the services whose instances it moves, since a
    /// version or an image that fails in one plan is not good in another.
    pub(super) async fn of(conn: &mut Conn, order: &Order) -> sqlx::Result<Self> {
        let kinds = store::kinds(conn, order).await?;
        let mut plans = store::plans_now(conn).await?;
        let service_of = |id: PlanId| {
            let plan = plans.iter().find(|plan| plan.id == id);
            plan.map(|plan| plan.service_id)
        };
        let reached: BTreeSet<(ServiceId, &str)> = kinds
            .iter()
            .filter_map(|kind| {
                let digest = match &order.target {
                    Target::Version { to, .. } => to,
                    Target::Settings { .. } => &kind.plugin_digest,
                };
                Some((service_of(kind.plan_id)?, digest.as_str()))
            })
            .collect();
        plans.retain(|plan| reached.iter().any(|(id, _)| *id == plan.service_id));
        let mut targets = BTreeSet::new();
        for PlanNow {
            service_id,
            present,
            ..
        } in &plans
        {
            let of_plan = reached.iter().filter(|(id, _)| id == service_id);
            targets.extend(of_plan.map(|(_, digest)| present.fingerprint(digest)));
        }
        Ok(Self {
            plans: plans.into_iter().map(|plan| plan.id).collect(),
            targets,
        })
    }

    /// Returns the instances that failed with a recipe of the roll: those that went back from it, and those that
    /// have it, are not proven and fail by its fault.
    pub(super) async fn failures(&self, conn: &mut Conn) -> sqlx::Result<Vec<HaltedBy>> {
        if self.plans.is_empty() {
            return Ok(Vec::new());
        }
        let mut failures = BTreeMap::new();
        for instance in store::went_back(conn, &self.plans).await? {
            if self.has(instance.failed_recipe.as_ref()) {
                failures.insert(instance.id, HaltedBy::undone(instance));
            }
        }
        for instance in store::failing(conn, &self.plans).await? {
            let is_of_it = self.has(Recipe::moved_to(&instance).as_ref());
            if is_of_it && !store::changes_plan(conn, instance.subscription_id).await? {
                failures.insert(instance.id, HaltedBy::failing(instance));
            }
        }
        Ok(failures.into_values().collect())
    }

    fn has(&self, target: Option<&String>) -> bool {
        target.is_some_and(|target| self.targets.contains(target))
    }
}

impl HaltedBy {
    fn undone(instance: Instance) -> Self {
        // A later change of its owner's may have been undone, too.
        let undone = instance.undone.filter(|undone| undone.change.is_by_move());
        let reason = undone.map_or_else(
            || "It failed with this target before.".to_owned(),
            |undone| undone.0.reason,
        );
        Self {
            instance_id: instance.id,
            name: instance.name,
            reason,
        }
    }

    fn failing(instance: Instance) -> Self {
        Self {
            instance_id: instance.id,
            name: instance.name,
            reason: instance.message,
        }
    }
}

/// Returns the refusal of a move that these failures halt.
pub(super) fn refusal(failures: &[HaltedBy]) -> Error {
    let named = || failures.iter().take(MOST_NAMED);
    let names: Vec<&str> = named().map(|failure| failure.name.as_str()).collect();
    let names = names.join(", ");
    let message = match failures.len() {
        1 => format!(
            "1 instance failed with this target ({names}), so nothing is moved. Change the target, or send despiteFailures."
        ),
        many => format!(
            "{many} instances failed with this target ({names}), so nothing is moved. Change the target, or send despiteFailures."
        ),
    };
    named().fold(Error::new(Code::RollHalted, message), |error, failure| {
        error.with(failure.name.as_str(), failure.reason.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(number: u128) -> HaltedBy {
        HaltedBy {
            instance_id: InstanceId::from_u128(number),
            name: format!("ghost-{number}"),
            reason: "It did not become ready.".to_owned(),
        }
    }

    #[test]
    fn a_halt_counts_all_and_names_ten() {
        let told = refusal(&[failed(1)]);
        assert!(
            told.message
                .starts_with("1 instance failed with this target (ghost-1),")
        );
        let many: Vec<HaltedBy> = (1..=12).map(failed).collect();
        let told = refusal(&many);
        assert_eq!(
            (told.code, told.details.len()),
            (Code::RollHalted, MOST_NAMED)
        );
        assert!(
            told.message
                .starts_with("12 instances failed with this target (ghost-1, ")
        );
        assert!(told.message.contains("ghost-10)") && !told.message.contains("ghost-11"));
    }
}
