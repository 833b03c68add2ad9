//! Costs of what a shop does, each with its origin: measured, reckoned from what was measured, or assumed.

use serde_json::{Value, json};

use super::defaults;

/// Origin of a figure, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Basis {
    /// Printed by a command.
    Measured,
    /// Given as an argument.
    Given,
    /// Made of measured figures by a rule that its source names.
    Reckoned,
    /// Nothing has measured it yet.
    Assumed,
}

/// A figure and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) basis: Basis,
    pub(crate) source: String,
}

/// Things that customers do, or that are done for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    WalletRead,
    CatalogueRead,
    SignIn,
    SignUp,
    TopUp,
    Redeem,
    Buy,
    Renew,
    Cancel,
    Ticket,
    Mail,
    /// A pass of the reconciler over an instance that is as it should be.
    Look,
}

/// Costs of one act.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Price {
    /// Microseconds of the server's processors.
    pub(crate) server: Figure,
    /// Microseconds of PostgreSQL's processors.
    pub(crate) database: Figure,
    pub(crate) commits: Figure,
    /// Bytes that the database grows by, indexes included.
    pub(crate) bytes: Figure,
}

/// Costs and capacities beside those of acts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rates {
    /// Commits a second of PostgreSQL.
    pub(crate) commits: Figure,
    /// Purchases a second of one plan.
    pub(crate) plan_purchases: Figure,
    /// Redemptions a second of one coupon.
    pub(crate) coupon_redemptions: Figure,
    /// Microseconds of one renewal in the run of a night.
    pub(crate) renewal_time: Figure,
    /// Microseconds of a pass of the reconciler.
    pub(crate) look_time: Figure,
    /// Mails a second of one server.
    pub(crate) mails: Figure,
    /// Microseconds of the proof of one entry.
    pub(crate) proof_time: Figure,
    /// Megabytes of a server at rest.
    pub(crate) server_memory: Figure,
    /// Kilobytes that a server keeps for each instance.
    pub(crate) instance_memory: Figure,
    /// Bytes of the sealed head of a wallet that had entries on a day.
    pub(crate) sealed_head: Figure,
    /// Microseconds of PostgreSQL for an unpaid subscription, which each server compares with its wallet each second.
    pub(crate) unpaid_row: Figure,
    /// Microseconds of PostgreSQL for a wallet or an instance, which each server counts each minute for its metrics.
    pub(crate) counted_row: Figure,
}

/// All figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Costs {
    acts: Vec<(Act, Price)>,
    pub(crate) rates: Rates,
}

impl Basis {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Given => "given",
            Self::Reckoned => "reckoned",
            Self::Assumed => "assumed",
        }
    }
}

impl Figure {
    pub(crate) fn new(value: f64, basis: Basis, source: &str) -> Self {
        Self {
            value,
            basis,
            source: source.to_owned(),
        }
    }
}

impl Act {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 12] = [
        Self::WalletRead,
        Self::CatalogueRead,
        Self::SignIn,
        Self::SignUp,
        Self::TopUp,
        Self::Redeem,
        Self::Buy,
        Self::Renew,
        Self::Cancel,
        Self::Ticket,
        Self::Mail,
        Self::Look,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WalletRead => "walletRead",
            Self::CatalogueRead => "catalogueRead",
            Self::SignIn => "signIn",
            Self::SignUp => "signUp",
            Self::TopUp => "topUp",
            Self::Redeem => "redeem",
            Self::Buy => "buy",
            Self::Renew => "renew",
            Self::Cancel => "cancel",
            Self::Ticket => "ticket",
            Self::Mail => "mail",
            Self::Look => "look",
        }
    }
}

impl Rates {
    fn named_mut(&mut self) -> [(&'static str, &mut Figure); 12] {
        [
            ("database.commits", &mut self.commits),
            ("plan.purchases", &mut self.plan_purchases),
            ("coupon.redemptions", &mut self.coupon_redemptions),
            ("renew.time", &mut self.renewal_time),
            ("look.time", &mut self.look_time),
            ("mail.rate", &mut self.mails),
            ("proof.entry", &mut self.proof_time),
            ("server.memory", &mut self.server_memory),
            ("look.memory", &mut self.instance_memory),
            ("seal.bytes", &mut self.sealed_head),
            ("unpaid.row", &mut self.unpaid_row),
            ("counted.row", &mut self.counted_row),
        ]
    }

    const fn named(&self) -> [(&'static str, &'static str, &Figure); 12] {
        [
            ("database.commits", "a second", &self.commits),
            ("plan.purchases", "a second", &self.plan_purchases),
            ("coupon.redemptions", "a second", &self.coupon_redemptions),
            ("renew.time", "us", &self.renewal_time),
            ("look.time", "us", &self.look_time),
            ("mail.rate", "a second", &self.mails),
            ("proof.entry", "us", &self.proof_time),
            ("server.memory", "MB", &self.server_memory),
            ("look.memory", "kB", &self.instance_memory),
            ("seal.bytes", "bytes", &self.sealed_head),
            ("unpaid.row", "us", &self.unpaid_row),
            ("counted.row", "us", &self.counted_row),
        ]
    }
}

impl Price {
    fn named_mut(&mut self) -> [(&'static str, &mut Figure); 4] {
        [
            ("server", &mut self.server),
            ("database", &mut self.database),
            ("commits", &mut self.commits),
            ("bytes", &mut self.bytes),
        ]
    }

    const fn named(&self) -> [(&'static str, &'static str, &Figure); 4] {
        [
            ("server", "us", &self.server),
            ("database", "us", &self.database),
            ("commits", "", &self.commits),
            ("bytes", "bytes", &self.bytes),
        ]
    }
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            acts: defaults::prices(),
            rates: defaults::rates(),
        }
    }
}

impl Costs {
    /// Returns all prices of acts.
    pub(crate) fn acts(&self) -> impl Iterator<Item = (Act, &Price)> {
        self.acts.iter().map(|(act, price)| (*act, price))
    }

    /// Sets a figure by its name, such as `redeem.server` or `database.commits`.
    ///
    /// # Errors
    /// When there is none of this name, or a number cannot be a cost.
    pub(crate) fn set(&mut self, name: &str, figure: Figure) -> Result<(), String> {
        if !figure.value.is_finite() || figure.value < 0.0 {
            return Err(format!("`{name}` cannot be {}", figure.value));
        }
        let mut rates = self.rates.named_mut().into_iter();
        if let Some((_, found)) = rates.find(|(known, _)| *known == name) {
            *found = figure;
            return Ok(());
        }
        let unknown = || format!("there is no cost `{name}`");
        let (act, part) = name.split_once('.').ok_or_else(unknown)?;
        let mut acts = self.acts.iter_mut();
        let (_, price) = acts
            .find(|(known, _)| known.name() == act)
            .ok_or_else(unknown)?;
        let mut parts = price.named_mut().into_iter();
        let (_, found) = parts
            .find(|(known, _)| *known == part)
            .ok_or_else(unknown)?;
        *found = figure;
        Ok(())
    }

    /// Returns all figures: name, unit, figure.
    fn all(&self) -> impl Iterator<Item = (String, &'static str, &Figure)> {
        let acts = self.acts().flat_map(|(act, price)| {
            let named = price.named().into_iter();
            named.map(move |(part, unit, figure)| (format!("{}.{part}", act.name()), unit, figure))
        });
        let rates = self.rates.named().into_iter();
        acts.chain(rates.map(|(name, unit, figure)| (name.to_owned(), unit, figure)))
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.all().map(|(name, unit, figure)| {
            json!({
                "name": name,
                "value": figure.value,
                "unit": unit,
                "basis": figure.basis.name(),
                "source": figure.source,
            })
        });
        rows.collect()
    }

    /// Returns a line for each figure that is not zero.
    pub(crate) fn lines(&self) -> Vec<String> {
        let used = self.all().filter(|(_, _, figure)| figure.value > 0.0);
        let lines = used.map(|(name, unit, figure)| {
            let Figure {
                value,
                basis,
                source,
            } = figure;
            let basis = basis.name();
            format!("{name:22} {value:>10.1} {unit:8} {basis:9} {source}")
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_figure_has_a_name_of_its_own_and_can_be_given() {
        let mut costs = Costs::default();
        let names: Vec<String> = costs.all().map(|(name, _, _)| name).collect();
        assert_eq!(names.len(), 4 * Act::ALL.len() + costs.rates.named().len());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in &names {
            let given = Figure::new(7.0, Basis::Given, "--cost");
            costs.set(name, given).unwrap();
        }
        assert!(
            costs
                .all()
                .all(|(_, _, figure)| figure.basis == Basis::Given)
        );
        assert_eq!(costs.lines().len(), names.len());
    }

    #[test]
    fn what_is_no_cost_is_refused() {
        let mut costs = Costs::default();
        let figure = |value| Figure::new(value, Basis::Given, "--cost");
        for (name, value) in [
            ("redeem", 1.0),
            ("redeem.time", 1.0),
            ("gift.server", 1.0),
            ("redeem.server", -1.0),
            ("redeem.server", f64::NAN),
        ] {
            assert!(costs.set(name, figure(value)).is_err(), "{name} {value}");
        }
        assert_eq!(costs, Costs::default());
    }

    #[test]
    fn every_default_says_where_it_is_from() {
        let costs = Costs::default();
        assert!(costs.all().all(|(_, _, figure)| !figure.source.is_empty()));
        // A figure that no program has printed is not said to be measured.
        let programs = ["bench ", "load: ", "scale measure: "];
        let measured = costs.all().filter(|(_, _, it)| it.basis == Basis::Measured);
        for (name, _, figure) in measured {
            let is_printed = programs.iter().any(|one| figure.source.contains(one));
            assert!(is_printed, "{name}: {}", figure.source);
        }
        let acts: Vec<Act> = costs.acts().map(|(act, _)| act).collect();
        assert_eq!(acts, Act::ALL);
    }
}
