//! Behaviour of customers, and machines of a shop. All of it is assumed, and each number can be given.

use serde_json::{Value, json};

/// A number with its name and its meaning.
type Named<'a> = (&'static str, &'a mut u64, &'static str);

/// Declares numbers with their names, defaults and meanings.
macro_rules! numbers {
    ($(#[$meta:meta])* $part:ident { $($field:ident $name:literal $default:literal $meaning:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $part {
            $(pub(crate) $field: u64,)+
        }

        impl Default for $part {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $part {
            fn named(&mut self) -> Vec<Named<'_>> {
                vec![$(($name, &mut self.$field, $meaning),)+]
            }
        }
    };
}

numbers! {
    /// Behaviour of customers: of a thousand of them in a month, where nothing else is said.
    Customers {
        visits "visits" 4_000 "visits",
        wallet_reads "walletReads" 8 "reads of the own wallet in one visit",
        catalogue_reads "catalogueReads" 4 "reads of the catalogue in one visit",
        sign_ins "signIns" 250 "sign-ins in a thousand visits",
        sign_ups "signUps" 30 "sign-ups",
        subscriptions "subscriptions" 1_000 "subscriptions at the beginning, all of one month",
        top_ups "topUps" 900 "top-ups",
        redemptions "redemptions" 150 "coupons that are redeemed",
        campaign "campaign" 500 "of a thousand redemptions, those of one and the same coupon",
        campaign_uses "campaignUses" 50 "uses that this coupon has",
        purchases "purchases" 60 "purchases",
        launch_places "launchPlaces" 2 "free places of the plan that is bought most",
        cancellations "cancellations" 40 "cancellations of a thousand subscriptions",
        reversals "reversals" 1 "top-ups that a bank takes back",
        tickets "tickets" 50 "tickets",
        burst "burst" 2_000 "the busiest minute, in thousandths of the mean of its hour",
        launch "launch" 10 "customers who buy one new plan within ten minutes",
        rush "rush" 100 "customers who redeem one coupon within an hour",
    }
}

numbers! {
    /// Machines, clusters and settings.
    Machines {
        pods "pods" 1_300 "pods of a thousand instances",
        services "services" 1_300 "Services of a thousand instances",
        resync_seconds "resyncSeconds" 300 "DERMAGA_RESYNC_SECONDS; its default",
        passes_at_once "passesAtOnce" 8 "DERMAGA_PROVISIONING_CONCURRENCY; its default",
        months_kept "monthsKept" 36 "age of the shop, in months like this one",
        server_cores "serverCores" 4 "processors of a server",
        server_megabytes "serverMegabytes" 8_192 "memory of a server",
        database_cores "databaseCores" 16 "processors of one PostgreSQL",
        database_gigabytes "databaseGigabytes" 2_000 "disk of one PostgreSQL",
        used "used" 600 "thousandths of processors and commits that may be in use",
        night_minutes "nightMinutes" 240 "time for a day's renewals, and for the proof of the books",
        mail_minutes "mailMinutes" 360 "time for the mails of the busiest day",
        cluster_namespaces "clusterNamespaces" 10_000 "namespaces of a cluster, as Kubernetes publishes it (SIG Scalability)",
        cluster_pods "clusterPods" 150_000 "pods of a cluster, as Kubernetes publishes it (SIG Scalability)",
        cluster_services "clusterServices" 10_000 "Services of a cluster, as Kubernetes publishes it (SIG Scalability)",
    }
}

/// Numbers by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) customers: Customers,
    pub(crate) machines: Machines,
}

impl Profile {
    fn named(&mut self) -> impl Iterator<Item = Named<'_>> {
        let customers = self.customers.named().into_iter();
        customers.chain(self.machines.named())
    }

    /// Sets a number by its name.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn set(&mut self, name: &str, number: u64) -> Result<(), String> {
        let found = self.named().find(|(known, _, _)| *known == name);
        let (_, value, _) = found.ok_or_else(|| format!("the profile has no `{name}`"))?;
        *value = number;
        Ok(())
    }

    pub(crate) fn json(&self) -> Value {
        let mut copy = self.clone();
        let rows = copy.named().map(
            |(name, value, meaning)| json!({ "name": name, "value": *value, "meaning": meaning }),
        );
        rows.collect()
    }

    /// Returns a line for each number.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut copy = self.clone();
        let lines = copy
            .named()
            .map(|(name, value, meaning)| format!("{name:18} {value:>8}  {meaning}"));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_has_a_name_and_can_be_set() {
        let mut profile = Profile::default();
        let names: Vec<&str> = profile.named().map(|(name, _, _)| name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            profile.set(name, 7).unwrap();
        }
        assert!(profile.named().all(|(_, value, _)| *value == 7));
        assert!(profile.set("resync", 7).is_err());
        assert_eq!(
            profile.lines().len(),
            profile.json().as_array().unwrap().len()
        );
    }
}
