//! Room of the cluster for further instances of each plan, as it was seen last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::ids::PlanId;

/// Number of further instances of each plan that the cluster has room for, written by those who look
/// at the cluster. A plan without a number has room, as far as is known.
#[derive(Debug, Clone, Default)]
pub struct PlanRoom(Arc<Mutex<HashMap<PlanId, u64>>>);

impl PlanRoom {
    fn known(&self) -> MutexGuard<'_, HashMap<PlanId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces all numbers.
    pub fn set(&self, numbers: HashMap<PlanId, u64>) {
        *self.known() = numbers;
    }

    /// Returns true when no further instance of a plan fits.
    pub fn is_full(&self, plan_id: PlanId) -> bool {
        self.known().get(&plan_id) == Some(&0)
    }

    /// Counts one further instance, until the numbers are replaced.
    pub fn take(&self, plan_id: PlanId) {
        if let Some(left) = self.known().get_mut(&plan_id) {
            *left = left.saturating_sub(1);
        }
    }
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
}
