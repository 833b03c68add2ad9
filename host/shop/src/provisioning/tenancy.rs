//! Limits of a customer's namespace, from the instances in it.

use std::hash::{DefaultHasher, Hash, Hasher};

use dermaga_runtime::contract::Resources;
use tokio::sync::{Mutex, MutexGuard};

use super::model::{Instance, Neighbour};
use crate::{
    Error, Result,
    cluster::{PodSecurity, Tenant},
};

/// Returns the namespace of `instance`, sized for everything that is in it.
///
/// # Errors
/// When a size of a plan is beyond the contract's range.
pub(super) fn tenant(
    instance: &Instance,
    neighbours: &[Neighbour],
    ingress_namespace: &str,
) -> Result<Tenant> {
    let sizes = neighbours.iter().map(size).collect::<Result<Vec<_>>>()?;
    let is_excepted = |neighbour: &Neighbour| !neighbour.pod_security_exceptions.is_empty();
    let pod_security = if neighbours.iter().any(is_excepted) {
        PodSecurity::Baseline
    } else {
        PodSecurity::Restricted
    };
    Ok(Tenant {
        namespace: instance.namespace.clone(),
        user_id: instance.user_id,
        instances: neighbours
            .iter()
            .map(|neighbour| neighbour.name.clone())
            .collect(),
        budget: fold(&sizes, u32::saturating_add),
        surge: fold(&sizes, u32::max),
        pod_security,
        ingress_namespace: ingress_namespace.to_owned(),
    })
}

/// Resources a neighbour bought, with volumes kept from a larger plan, since those never shrink.
fn size(neighbour: &Neighbour) -> Result<Resources> {
    let bought = neighbour.resources()?;
    let kept = u32::try_from(neighbour.kept_storage_gib).map_err(Error::internal)?;
    Ok(Resources {
        storage_gib: bought.storage_gib.max(kept),
        ..bought
    })
}

fn fold(sizes: &[Resources], with: fn(u32, u32) -> u32) -> Resources {
    sizes
        .iter()
        .fold(Resources::default(), |total, size| Resources {
            cpu_millis: with(total.cpu_millis, size.cpu_millis),
            memory_mib: with(total.memory_mib, size.memory_mib),
            storage_gib: with(total.storage_gib, size.storage_gib),
            replicas: with(total.replicas, size.replicas),
        })
}

/// Number of turns; namespaces share them.
const TURNS: usize = 64;

/// Turns of passes at the namespaces of customers.
#[derive(Debug)]
pub(super) struct Turns([Mutex<()>; TURNS]);

impl Default for Turns {
    fn default() -> Self {
        Self([const { Mutex::const_new(()) }; TURNS])
    }
}

impl Turns {
    /// Waits for the turn at a namespace, which lasts as long as the returned guard.
    pub(super) async fn take(&self, namespace: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % 64).ok()?;
        Some(self.0.get(at)?.lock().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_the_sum_and_the_surge_the_largest() {
        let size = |cpu_millis, replicas| Resources {
            cpu_millis,
            memory_mib: 100,
            storage_gib: 2,
            replicas,
        };
        let sizes = [size(500, 2), size(1000, 1)];
        let sum = fold(&sizes, u32::saturating_add);
        assert_eq!(
            sum,
            Resources {
                cpu_millis: 1500,
                memory_mib: 200,
                storage_gib: 4,
                replicas: 3
            }
        );
        assert_eq!(
            fold(&sizes, u32::max),
            Resources {
                cpu_millis: 1000,
                memory_mib: 100,
                storage_gib: 2,
                replicas: 2
            }
        );
    }
}
