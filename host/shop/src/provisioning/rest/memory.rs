//! Full looks that this server remembers.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{ids::InstanceId, provisioning::retry::spread};

/// Time after which an instance at rest is looked at in full again, spread: within an hour.
pub(super) const FULL_LOOK: Duration = Duration::from_secs(50 * 60);

#[derive(Debug, Clone, Copy)]
struct FullLook {
    generation: i64,
    at: Instant,
}

#[derive(Debug, Default)]
struct Memory {
    looks: HashMap<InstanceId, FullLook>,
    /// Moment of which earlier looks do not count.
    forgotten_at: Option<Instant>,
}

/// Full looks of this server that left an instance at rest, by a clock that is never set. Servers do not
/// tell one another: what one of them saw says nothing about the watches of the others.
#[derive(Debug, Default)]
pub(in crate::provisioning) struct FullLooks(Mutex<Memory>);

impl FullLooks {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that an instance of this generation was left at rest, by a look that began at a moment.
    pub(in crate::provisioning) fn note(&self, id: InstanceId, generation: i64, at: Instant) {
        let mut memory = self.memory();
        if memory.forgotten_at.is_none_or(|forgotten| forgotten < at) {
            memory.looks.insert(id, FullLook { generation, at });
        }
    }

    /// Forgets an instance that is not at rest.
    pub(in crate::provisioning) fn forget(&self, id: InstanceId) {
        self.memory().looks.remove(&id);
    }

    /// Forgets all instances, so that each is looked at in full when its time comes, also where a look that
    /// began before is still under way.
    pub(in crate::provisioning) fn forget_all(&self, now: Instant) {
        *self.memory() = Memory {
            looks: HashMap::new(),
            forgotten_at: Some(now),
        };
    }

    /// Drops looks that are too long ago, also those at instances that others removed.
    pub(super) fn drop_old(&self, now: Instant) {
        let mut memory = self.memory();
        memory.looks.retain(|id, look| look.is_recent(*id, now));
    }

    /// Returns true when an instance of this generation was looked at in full not long ago.
    pub(in crate::provisioning) fn has(
        &self,
        id: InstanceId,
        generation: i64,
        now: Instant,
    ) -> bool {
        let memory = self.memory();
        let look = memory.looks.get(&id);
        look.is_some_and(|look| look.generation == generation && look.is_recent(id, now))
    }
}

impl FullLook {
    fn is_recent(self, id: InstanceId, now: Instant) -> bool {
        let limit = spread(id, self.generation, FULL_LOOK);
        now.saturating_duration_since(self.at) < limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_look_lasts_for_its_generation_and_at_most_an_hour() {
        let (looks, start) = (FullLooks::default(), Instant::now());
        let ids: Vec<_> = (0..40).map(InstanceId::from_u128).collect();
        for id in &ids {
            looks.note(*id, 2, start);
            assert!(looks.has(*id, 2, start + Duration::from_secs(39 * 60)));
            assert!(!looks.has(*id, 3, start), "another generation");
            assert!(!looks.has(*id, 2, start + Duration::from_secs(60 * 60)));
        }
        let halfway = start + FULL_LOOK;
        let left = ids.iter().filter(|id| looks.has(**id, 2, halfway)).count();
        assert!((6..35).contains(&left), "{left} at the same time");
        looks.drop_old(halfway);
        assert_eq!(looks.memory().looks.len(), left);
    }

    #[test]
    fn a_look_that_began_before_all_were_forgotten_does_not_count() {
        let (looks, start) = (FullLooks::default(), Instant::now());
        let [one, other] = [1, 2].map(InstanceId::from_u128);
        looks.note(one, 1, start);
        looks.note(other, 1, start);
        looks.forget(one);
        assert!(!looks.has(one, 1, start) && looks.has(other, 1, start));
        let second = Duration::from_secs(1);
        looks.forget_all(start + second);
        looks.note(one, 1, start);
        assert!(!looks.has(one, 1, start) && !looks.has(other, 1, start));
        looks.note(one, 1, start + second * 2);
        assert!(looks.has(one, 1, start + second * 2));
    }
}
