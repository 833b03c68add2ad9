//! Limits of a shop with one PostgreSQL, one cluster, and servers of one size.

use super::{costs::Figure, loads::Loads, sum::Sum};

const HOUR_SECONDS: f64 = 3_600.0;
/// Time in which those come who want one new plan. Those who want one coupon come within an hour.
const LAUNCH_SECONDS: f64 = 600.0;

/// A limit, and what a month needs of it.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) has: f64,
    pub(crate) needs: f64,
    pub(crate) unit: &'static str,
    pub(crate) origin: String,
    /// Part of the shop of which more would help.
    pub(crate) kind: Kind,
}

/// Part of a shop that a limit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// More servers help.
    Server,
    /// More partitions help, each with a PostgreSQL and servers of its own.
    Database,
    /// More partitions help, each with a cluster.
    Cluster,
    /// A row that many want: portions help, more partitions alone do not.
    Row,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Database => "database",
            Self::Cluster => "cluster",
            Self::Row => "row",
        }
    }
}

impl Limit {
    fn new(kind: Kind, name: &'static str, (needs, has): (&Sum, f64), unit: &'static str) -> Self {
        Self {
            name,
            has,
            needs: needs.value,
            unit,
            origin: needs.origin(),
            kind,
        }
    }

    /// The same, with the origin of what there is.
    fn by(self, origin: &str) -> Self {
        Self {
            origin: format!("{}, capacity {origin}", self.origin),
            ..self
        }
    }

    /// Returns how many customers it carries, when so many need what they need.
    pub(crate) fn customers(&self, of: u64) -> f64 {
        if self.needs > 0.0 {
            of as f64 * self.has / self.needs
        } else {
            f64::INFINITY
        }
    }
}

/// Returns all limits, those that are reached first first.
pub(crate) fn limits(loads: &Loads<'_>) -> Vec<Limit> {
    let mut limits = of_database(loads);
    limits.extend(of_servers(loads));
    limits.extend(of_cluster(loads));
    limits.extend(of_rows(loads));
    let customers = loads.month.customers;
    limits.sort_by(|one, other| {
        let (one, other) = (one.customers(customers), other.customers(customers));
        one.total_cmp(&other)
    });
    limits
}

fn of_database(loads: &Loads<'_>) -> Vec<Limit> {
    let machines = &loads.profile.machines;
    let commits = &loads.costs.rates.commits;
    let of = |name, needs: &Sum, has, unit| Limit::new(Kind::Database, name, (needs, has), unit);
    let cores = machines.database_cores as f64 * machines.may_use();
    let disk = machines.database_gigabytes as f64;
    let night = machines.night_minutes as f64;
    let most = commits.value * machines.may_use();
    vec![
        of("commits of PostgreSQL", &loads.commits, most, "a second").by(commits.basis.name()),
        of("processors of PostgreSQL", &loads.database, cores, "cores"),
        of("disk of PostgreSQL", &loads.disk(), disk, "GB"),
        of("renewals in a night", &loads.renewals(), night, "minutes"),
        of(
            "proof of the books in a night",
            &loads.proof(),
            night,
            "minutes",
        ),
    ]
}

fn of_servers(loads: &Loads<'_>) -> Vec<Limit> {
    let machines = &loads.profile.machines;
    let of = |kind, name, needs: &Sum, has, unit| Limit::new(kind, name, (needs, has), unit);
    let rest = loads.costs.rates.server_memory.value;
    let memory = (machines.server_megabytes as f64 - rest).max(1.0);
    let passes = machines.passes_at_once as f64;
    let mails = machines.mail_minutes as f64;
    let cores = machines.cores_of_server();
    vec![
        of(
            Kind::Server,
            "processors of one server",
            &loads.server,
            cores,
            "cores",
        ),
        // Each server knows all instances of its partition, so that another server does not help.
        of(
            Kind::Database,
            "memory of each server",
            &loads.known(),
            memory,
            "MB",
        ),
        of(
            Kind::Server,
            "passes of one server",
            &loads.passes(),
            passes,
            "at once",
        ),
        of(
            Kind::Server,
            "mails of one server",
            &loads.mails(1.0),
            mails,
            "minutes",
        ),
    ]
}

fn of_cluster(loads: &Loads<'_>) -> Vec<Limit> {
    let machines = &loads.profile.machines;
    let of = |name, needs: f64, has: u64| {
        let limit = Limit::new(Kind::Cluster, name, (&Sum::counted(needs), has as f64), "");
        limit.by("published")
    };
    let (pods, services) = (
        loads.objects(machines.pods),
        loads.objects(machines.services),
    );
    let namespaces = loads.month.owners as f64;
    vec![
        of(
            "namespaces of one cluster",
            namespaces,
            machines.cluster_namespaces,
        ),
        of("pods of one cluster", pods, machines.cluster_pods),
        of(
            "Services of one cluster",
            services,
            machines.cluster_services,
        ),
    ]
}

fn of_rows(loads: &Loads<'_>) -> Vec<Limit> {
    let (rates, behaviour) = (&loads.costs.rates, &loads.profile.customers);
    let thousands = loads.month.customers as f64 / 1_000.0;
    let of = |name, figure: &Figure, per_thousand: u64, seconds: f64| {
        let needs = Sum::counted(thousands * per_thousand as f64 / seconds);
        let limit = Limit::new(Kind::Row, name, (&needs, figure.value), "a second");
        limit.by(figure.basis.name())
    };
    let (plan, coupon) = (&rates.plan_purchases, &rates.coupon_redemptions);
    vec![
        of(
            "one plan that is new",
            plan,
            behaviour.launch,
            LAUNCH_SECONDS,
        ),
        of("one coupon in a rush", coupon, behaviour.rush, HOUR_SECONDS),
    ]
}
