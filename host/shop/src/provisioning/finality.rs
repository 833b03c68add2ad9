//! Decides if an instance will never be set up: for a purchase, an upgrade and a move.
//!
//! Only a repeated refusal is final: the same version refused on the same input twice, or objects
//! that the cluster refuses for ten minutes and five tries. Everything else is tried again: a
//! cluster that is away, a full quota, a conflict, a full disk, a version that does not load.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Refusals of a rendering until final: plugins are deterministic, so the second one decides.
const SAME_ANSWERS: u32 = 2;
/// Refusals by the cluster until final: its webhooks and quotas may change within minutes.
const CLUSTER_TRIES: u32 = 5;
const CLUSTER_TIME: TimeDelta = TimeDelta::minutes(10);

/// The refusals in a row of one generation of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    generation: i64,
    by: RefusedBy,
    times: u32,
    #[serde(serialize_with = "crate::calendar::in_json")]
    since: DateTime<Utc>,
}

/// The party that refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum RefusedBy {
    /// The plugin or the gate, for this digest of version and input.
    Rendering(String),
    /// The API server, for an object.
    Cluster,
}

impl Refusal {
    /// Counts one more refusal; another party, input or generation begins at one.
    pub(super) fn again(
        earlier: Option<&Self>,
        generation: i64,
        by: RefusedBy,
        now: DateTime<Utc>,
    ) -> Self {
        let earlier = earlier.filter(|one| one.is_of(generation) && one.by == by);
        Self {
            generation,
            by,
            times: earlier.map_or(1, |one| one.times.saturating_add(1)),
            since: earlier.map_or(now, |one| one.since),
        }
    }

    /// Returns true for a refusal of this generation.
    pub(super) const fn is_of(&self, generation: i64) -> bool {
        self.generation == generation
    }

    /// Returns true when trying again will not help.
    pub(super) fn is_final(&self, now: DateTime<Utc>) -> bool {
        match self.by {
            RefusedBy::Rendering(_) => self.times >= SAME_ANSWERS,
            RefusedBy::Cluster => self.times >= CLUSTER_TRIES && now - self.since >= CLUSTER_TIME,
        }
    }

    /// Returns true for the first refusal in a row.
    pub(super) const fn is_first(&self) -> bool {
        self.times <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn refused(by: &RefusedBy, seconds: &[i64]) -> bool {
        let mut refusal = None;
        for second in seconds {
            refusal = Some(Refusal::again(refusal.as_ref(), 1, by.clone(), at(*second)));
        }
        refusal.unwrap().is_final(at(*seconds.last().unwrap()))
    }

    #[test]
    fn the_same_answer_twice_is_final_and_another_input_begins_again() {
        let same = RefusedBy::Rendering("a".to_owned());
        assert!(!refused(&same, &[0]));
        assert!(refused(&same, &[0, 1]));
        let first = Refusal::again(None, 1, same.clone(), at(0));
        let other = RefusedBy::Rendering("b".to_owned());
        assert!(!Refusal::again(Some(&first), 1, other, at(1)).is_final(at(1)));
        assert!(!Refusal::again(Some(&first), 2, same, at(1)).is_final(at(1)));
    }

    #[test]
    fn a_cluster_must_refuse_for_ten_minutes_and_five_tries() {
        let cluster = RefusedBy::Cluster;
        assert!(!refused(&cluster, &[0, 2, 4]), "three within 5 s");
        assert!(!refused(&cluster, &[0, 1, 2, 3, 599]));
        assert!(!refused(&cluster, &[0, 100, 200, 900]));
        assert!(refused(&cluster, &[0, 1, 2, 3, 600]));
    }
}
