//! A shop of many customers: a simulated month, what it needs by costs that are given, where it ends, and the same
//! month with its wallets in partitions.
//!
//! The model uses the standard library and `serde_json` alone, so that it can be compiled and tested by itself.

mod books;
mod costs;
mod defaults;
mod ids;
mod limits;
mod loads;
mod measured;
mod month;
mod needs;
mod partition;
mod population;
mod profile;
mod random;
mod report;
mod shared;
mod sum;
mod tables;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use costs::{Basis, Costs, Figure};
pub(crate) use partition::Partitions;
pub(crate) use profile::Profile;
pub(crate) use report::{grouped, json, lines, places};

use month::Month;
use needs::Needs;

/// Everything that a run is made from.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) costs: Costs,
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
    /// Partitions; as many as the month's limits ask for unless it is given.
    pub(crate) partitions: Option<usize>,
}

/// A month with its needs, and in its partitions.
#[derive(Debug)]
pub(crate) struct Simulated {
    pub(crate) month: Month,
    pub(crate) needs: Needs,
    pub(crate) partitions: usize,
}

/// Most partitions that are tried: more than any limit asks for by mistake of an argument.
const MOST_PARTITIONS: usize = 1_024;

/// Simulates a month of this many customers.
///
/// # Errors
/// When the books or the limits of the simulated month do not hold.
pub(crate) fn simulate(inputs: &Inputs, customers: u32) -> Result<Simulated, String> {
    let pass = |count: usize| {
        let partitions = Partitions::new(count);
        Month::pass(
            customers,
            inputs.seed,
            &inputs.profile.customers,
            &partitions,
        )
    };
    let together = pass(1)?;
    let needs = Needs::of(&together, &inputs.costs, &inputs.profile);
    let partitions = inputs
        .partitions
        .unwrap_or_else(|| needs.partitions.count());
    Ok(Simulated {
        month: pass(partitions)?,
        needs,
        partitions,
    })
}

/// Names of the ledger's accounts.
#[cfg(test)]
pub(crate) fn account_names() -> [&'static str; 8] {
    books::Account::ALL.map(books::Account::name)
}

impl needs::Partitioning {
    /// Returns the larger of both.
    fn count(self) -> usize {
        let wanted = self.databases.max(self.clusters);
        (1..MOST_PARTITIONS)
            .find(|count| *count as f64 >= wanted)
            .unwrap_or(MOST_PARTITIONS)
    }
}
