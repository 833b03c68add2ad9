//! Needs of a simulated month: servers, PostgreSQL and clusters.

use super::{
    costs::Costs,
    limits::{Kind, Limit, limits},
    loads::Loads,
    month::Month,
    profile::Profile,
    sum::Sum,
};

/// A need, with its unit and the origin of its costs.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) origin: String,
}

/// Needs and limits of a month.
#[derive(Debug, Clone)]
pub(crate) struct Needs {
    pub(crate) needs: Vec<Need>,
    /// Those that are reached first first.
    pub(crate) limits: Vec<Limit>,
    pub(crate) partitions: Partitioning,
}

/// Partitions that hold the month, as its limits have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Partitioning {
    pub(crate) databases: f64,
    pub(crate) clusters: f64,
}

impl Needs {
    pub(crate) fn of(month: &Month, costs: &Costs, profile: &Profile) -> Self {
        let loads = Loads::of(month, costs, profile);
        let limits = limits(&loads);
        let most = |kind| {
            let of_kind = limits.iter().filter(|limit| limit.kind == kind);
            let parts = of_kind.map(|limit| limit.needs / limit.has);
            parts.fold(0.0, f64::max).ceil().max(1.0)
        };
        let partitions = Partitioning {
            databases: most(Kind::Database),
            clusters: most(Kind::Cluster),
        };
        Self {
            needs: needs(&loads),
            limits,
            partitions,
        }
    }
}

fn needs(loads: &Loads<'_>) -> Vec<Need> {
    let Loads { month, profile, .. } = loads;
    let machines = &profile.machines;
    let counted = |name, value: f64, unit| need(name, &Sum::counted(value), unit);
    let memory = Sum::product(1.0, &loads.costs.rates.server_memory).and(loads.known());
    let servers = Need {
        value: loads.servers,
        ..need(
            "servers for that and for the looks",
            &loads.server.clone().and(loads.passes()),
            "",
        )
    };
    let renewals = month.busiest_renewals as f64;
    let mails = loads.mails(loads.servers);
    vec![
        need(
            "requests in the busiest minute",
            &loads.requests,
            "a second",
        ),
        need("servers' processors then", &loads.server, "cores"),
        need("PostgreSQL's processors then", &loads.database, "cores"),
        need("commits then", &loads.commits, "a second"),
        counted("looks at instances at rest", loads.looks, "a second"),
        need(
            "passes that are under way for them",
            &loads.passes(),
            "at once",
        ),
        servers,
        need("memory of each server", &memory, "MB"),
        need("growth of the database", &loads.growth(), "GB a month"),
        need("its size at that age, nothing removed", &loads.disk(), "GB"),
        counted("renewals on the busiest day of a year", renewals, ""),
        need("their time", &loads.renewals(), "minutes"),
        need("their mails by all servers", &mails, "minutes"),
        need(
            "nightly proof of the books at that age",
            &loads.proof(),
            "minutes",
        ),
        counted("namespaces", month.owners as f64, ""),
        counted("pods", loads.objects(machines.pods), ""),
        counted("Services", loads.objects(machines.services), ""),
    ]
}

fn need(name: &'static str, sum: &Sum, unit: &'static str) -> Need {
    Need {
        name,
        value: sum.value,
        unit,
        origin: sum.origin(),
    }
}
