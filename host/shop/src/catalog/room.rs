//! Room of the cluster for further instances of each plan, as it was seen last.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{db::Generation, ids::PlanId};

/// Number of further instances of each plan that the cluster has room for, written by those who look
/// at the cluster. A plan without a number has room, as far as is known. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct PlanRoom(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    known: Mutex<HashMap<PlanId, u64>>,
    /// Generation of the catalogue that says which plans are full; absent until there is one.
    catalogue: OnceLock<Generation>,
}

impl PlanRoom {
    /// Outdates what a catalogue says whenever another plan is full.
    pub(super) fn shown_by(&self, catalogue: &Generation) {
        // A process has one database, and all its clones share the number.
        let _ = self.0.catalogue.set(catalogue.clone());
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PlanId, u64>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outdate(&self) {
        if let Some(catalogue) = self.0.catalogue.get() {
            catalogue.raise();
        }
    }

    /// Replaces all numbers.
    pub fn set(&self, numbers: HashMap<PlanId, u64>) {
        let after = full(&numbers);
        let before = {
            let mut known = self.known();
            let before = full(&known);
            *known = numbers;
            before
        };
        // After the numbers, so that no answer is kept under this generation with the old ones.
        if before != after {
            self.outdate();
        }
    }

    /// Returns true when no further instance of a plan fits.
    pub fn is_full(&self, plan_id: PlanId) -> bool {
        self.known().get(&plan_id) == Some(&0)
    }

    /// Counts one further instance, until the numbers are replaced.
    pub fn take(&self, plan_id: PlanId) {
        let was_last = match self.known().get_mut(&plan_id) {
            Some(left) => {
                let was_last = *left == 1;
                *left = left.saturating_sub(1);
                was_last
            }
            None => false,
        };
        if was_last {
            self.outdate();
        }
    }
}

/// Returns the plans that no further instance fits of.
fn full(numbers: &HashMap<PlanId, u64>) -> BTreeSet<PlanId> {
    let full = numbers.iter().filter(|(_, left)| **left == 0);
    full.map(|(plan_id, _)| *plan_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_full_once_its_number_is_used_up() {
        let (room, plan) = (PlanRoom::default(), PlanId::from_u128(1));
        room.take(plan);
        assert!(!room.is_full(plan), "nothing is known");
        room.set(HashMap::from([(plan, 1)]));
        assert!(!room.is_full(plan));
        room.take(plan);
        assert!(room.is_full(plan));
        assert!(!room.is_full(PlanId::from_u128(2)));
        room.set(HashMap::new());
        assert!(!room.is_full(plan));
    }
    #[test]
    fn a_catalogue_is_outdated_when_another_plan_is_full() {
        let (room, plan) = (PlanRoom::default(), PlanId::from_u128(1));
        let catalogue = Generation::default();
        room.shown_by(&catalogue);
        let ends = |what: &str, is_expected: bool, act: &dyn Fn()| {
            let before = catalogue.edition();
            act();
            assert_eq!(catalogue.edition() != before, is_expected, "{what}");
        };
        ends("two fit", false, &|| room.set(HashMap::from([(plan, 2)])));
        ends("one is taken", false, &|| room.take(plan));
        ends("the last is taken", true, &|| room.take(plan));
        ends("none is left", false, &|| room.take(plan));
        ends("it is still full", false, &|| {
            room.set(HashMap::from([(plan, 0)]));
        });
        ends("nothing is known", true, &|| room.set(HashMap::new()));
    }
}
