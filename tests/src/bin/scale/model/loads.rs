//! Loads of a month: what its acts cost at their busiest, and what instances and servers cost at rest.

use super::{
    costs::{Act, Costs, Figure, Price},
    month::Month,
    profile::{Machines, Profile},
    sum::Sum,
};

const MILLION: f64 = 1_000_000.0;
const HOUR_SECONDS: f64 = 3_600.0;
const MINUTE_SECONDS: f64 = 60.0;

/// A month beside its costs and the machines for it.
#[derive(Debug)]
pub(crate) struct Loads<'a> {
    pub(crate) month: &'a Month,
    pub(crate) costs: &'a Costs,
    pub(crate) profile: &'a Profile,
    /// Requests a second in the busiest minute, and what they and all else cost then.
    pub(crate) requests: Sum,
    pub(crate) server: Sum,
    pub(crate) database: Sum,
    pub(crate) commits: Sum,
    /// Bytes that the month adds.
    pub(crate) bytes: Sum,
    /// Looks at instances at rest, a second.
    pub(crate) looks: f64,
    pub(crate) servers: f64,
}

impl Machines {
    /// Part of processors and commits that may be in use.
    pub(crate) fn may_use(&self) -> f64 {
        self.used.max(1) as f64 / 1_000.0
    }

    pub(crate) fn cores_of_server(&self) -> f64 {
        self.server_cores.max(1) as f64 * self.may_use()
    }
}

impl Act {
    /// True for what a customer asks for and waits for.
    const fn is_asked(self) -> bool {
        !matches!(self, Self::Renew | Self::Mail | Self::Look)
    }
}

impl<'a> Loads<'a> {
    pub(crate) fn of(month: &'a Month, costs: &'a Costs, profile: &'a Profile) -> Self {
        let looks = month.instances as f64 / profile.machines.resync_seconds.max(1) as f64;
        let burst = profile.customers.burst as f64 / 1_000.0 / HOUR_SECONDS;
        let mut loads = Self {
            month,
            costs,
            profile,
            requests: Sum::counted(busiest_requests(month) * burst),
            server: Sum::default(),
            database: Sum::default(),
            commits: Sum::default(),
            bytes: bytes(month, costs),
            looks,
            servers: 0.0,
        };
        let busiest = |part| {
            let hour = busiest_hour(month, costs, part);
            hour.times(burst).and(of_looks(costs, looks, part))
        };
        loads.server = busiest(|price| &price.server).times(1.0 / MILLION);
        loads.servers = loads.servers_needed();
        let again = of_each_server(month, costs, loads.servers);
        let database = busiest(|price| &price.database).and(again);
        loads.database = database.times(1.0 / MILLION);
        loads.commits = busiest(|price| &price.commits);
        loads
    }

    /// Servers for requests and for looks; one alone would be missed when it dies.
    fn servers_needed(&self) -> f64 {
        let machines = &self.profile.machines;
        let requests = self.server.value / machines.cores_of_server();
        let passes = self.passes().value / machines.passes_at_once.max(1) as f64;
        requests.max(passes).ceil().max(2.0)
    }

    /// Passes of the reconciler that are under way at a time.
    pub(crate) fn passes(&self) -> Sum {
        Sum::product(self.looks / MILLION, &self.costs.rates.look_time)
    }

    /// Minutes of the renewals of the busiest day of a year.
    pub(crate) fn renewals(&self) -> Sum {
        let times = self.month.busiest_renewals as f64;
        let minutes = times / MILLION / MINUTE_SECONDS;
        Sum::product(minutes, &self.costs.rates.renewal_time)
    }

    /// Minutes of that day's mails, when so many servers send.
    pub(crate) fn mails(&self, servers: f64) -> Sum {
        let rate = &self.costs.rates.mails;
        let seconds = Figure {
            value: 1.0 / rate.value.max(f64::MIN_POSITIVE),
            ..rate.clone()
        };
        let mails = self.month.busiest_renewals as f64;
        Sum::product(mails / servers / MINUTE_SECONDS, &seconds)
    }

    /// Minutes of the proof of all entries of a shop of the profile's age.
    pub(crate) fn proof(&self) -> Sum {
        let months = self.profile.machines.months_kept as f64;
        let entries = self.month.books.whole().entries as f64 * months;
        let minutes = entries / MILLION / MINUTE_SECONDS;
        Sum::product(minutes, &self.costs.rates.proof_time)
    }

    /// Gigabytes that the month adds.
    pub(crate) fn growth(&self) -> Sum {
        self.bytes.clone().times(1.0 / 1_000.0 / MILLION)
    }

    /// Gigabytes of a shop of the profile's age, of which nothing was removed.
    pub(crate) fn disk(&self) -> Sum {
        let months = self.profile.machines.months_kept as f64;
        self.growth().times(months)
    }

    /// Megabytes of what a server knows of all instances.
    pub(crate) fn known(&self) -> Sum {
        let instances = self.month.instances as f64;
        Sum::product(instances / 1_000.0, &self.costs.rates.instance_memory)
    }

    /// Objects of a cluster of which a thousand instances have so many.
    pub(crate) fn objects(&self, of_a_thousand: u64) -> f64 {
        self.month.instances as f64 * of_a_thousand as f64 / 1_000.0
    }
}

fn busiest_requests(month: &Month) -> f64 {
    let hours = month.tally.hours().map(|acts| {
        let asked = acts.iter().filter(|(act, _)| act.is_asked());
        asked.map(|(_, times)| *times).sum::<u64>()
    });
    hours.max().unwrap_or_default() as f64
}

fn bytes(month: &Month, costs: &Costs) -> Sum {
    let entries = month.books.whole().entries as f64;
    let mut bytes = Sum::product(entries, &costs.rates.sealed_head);
    for (act, price) in costs.acts() {
        bytes.add(month.tally.all(act) as f64, &price.bytes);
    }
    bytes
}

/// Returns the cost of the busiest hour. Renewals are left out: they are a stream of their own, at night.
fn busiest_hour(month: &Month, costs: &Costs, part: fn(&Price) -> &Figure) -> Sum {
    let hours = month.tally.hours().map(|acts| {
        let mut sum = Sum::default();
        for (act, price) in costs.acts().filter(|(act, _)| *act != Act::Renew) {
            let times = acts.get(&act).copied().unwrap_or_default();
            sum.add(times as f64, part(price));
        }
        sum
    });
    let busiest = hours.max_by(|one, other| one.value.total_cmp(&other.value));
    busiest.unwrap_or_default()
}

/// Returns the cost of looks at so many instances a second.
fn of_looks(costs: &Costs, looks: f64, part: fn(&Price) -> &Figure) -> Sum {
    let mut sum = Sum::default();
    for (_, price) in costs.acts().filter(|(act, _)| *act == Act::Look) {
        sum.add(looks, part(price));
    }
    sum
}

/// Returns the microseconds a second of what each server asks again and again, whatever customers do.
fn of_each_server(month: &Month, costs: &Costs, servers: f64) -> Sum {
    let rates = &costs.rates;
    let counted = (month.customers + month.instances) as f64 / MINUTE_SECONDS;
    let unpaid = Sum::product(servers * month.unpaid as f64, &rates.unpaid_row);
    unpaid.and(Sum::product(servers * counted, &rates.counted_row))
}
