//! The place of each table when wallets are in partitions.

/// Place of a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// With the wallet of the customer whom a row belongs to.
    Wallet,
    /// In each partition, the same: written seldom, by administrators.
    Copied,
    /// At home, with portions in the partitions.
    Shared,
    /// In each partition its own rows, which no other one reads.
    Own,
}

/// All tables.
const TABLES: [(Place, &[&str]); 4] = [
    (
        Place::Wallet,
        &[
            "users",
            "refresh_tokens",
            "sessions",
            "mailed_tokens",
            "api_tokens",
            "two_factor",
            "recovery_codes",
            "login_challenges",
            "idempotency_keys",
            "wallets",
            "transactions",
            "journal_entries",
            "postings",
            "ledger_blocks",
            "ledger_seal_heads",
            "decisions",
            "payments",
            "payment_notices",
            "payment_refunds",
            "debts",
            "coupon_customer_uses",
            "coupon_redemptions",
            "quotes",
            "subscriptions",
            "subscription_periods",
            "plan_changes",
            "price_moves",
            "instances",
            "instance_secrets",
            "instance_events",
            "health_spans",
            "healing_acts",
            "custom_domains",
            "notifications",
            "notification_deliveries",
            "notification_preferences",
            "customer_events",
            "webhook_owners",
            "webhook_endpoints",
            "webhook_secrets",
            "webhook_deliveries",
            "webhook_attempts",
            "tickets",
            "ticket_messages",
            "ticket_attachments",
            "ticket_evidence",
        ],
    ),
    (
        Place::Copied,
        &[
            "plugin_versions",
            "plugin_classes",
            "plugin_uploads",
            "service_categories",
            "services",
            "template_checks",
            "canned_answers",
        ],
    ),
    (
        Place::Shared,
        &[
            "service_plans",
            "coupons",
            "waitlist",
            "ticket_numbers",
            "administrator_changes",
            "welcomed_addresses",
        ],
    ),
    (
        Place::Own,
        &[
            "ledger_seals",
            "kept_days",
            "subscription_days",
            "jobs",
            "job_runs",
            "outbox",
            "audit_events",
            "alerts",
            "rate_windows",
        ],
    ),
];

/// Returns how many tables have each place.
pub(crate) fn counts() -> impl Iterator<Item = (Place, usize)> {
    TABLES.iter().map(|(place, names)| (*place, names.len()))
}

impl Place {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wallet => "with their wallet",
            Self::Copied => "copied into each partition",
            Self::Shared => "at home, in portions",
            Self::Own => "each partition's own",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    use super::*;

    /// References from a table that is not with wallets to one that is: a foreign key that partitions cannot keep,
    /// unless it means administrators, whose accounts are in each partition.
    const ACROSS: [(&str, &str); 8] = [
        ("alerts", "users"),
        ("audit_events", "users"),
        ("coupons", "users"),
        ("job_runs", "users"),
        ("plugin_classes", "users"),
        ("plugin_uploads", "users"),
        ("plugin_versions", "users"),
        // That of a customer, who waits at the home of a plan.
        ("waitlist", "users"),
    ];

    fn place(table: &str) -> Option<Place> {
        let found = TABLES.iter().find(|(_, names)| names.contains(&table));
        found.map(|(place, _)| *place)
    }

    /// Reads the migrations of PostgreSQL; returns each table with those that it refers to.
    fn schema() -> BTreeMap<String, BTreeSet<String>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/postgres");
        let files = fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let mut tables = BTreeMap::<String, BTreeSet<String>>::new();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            let lines = text.lines().map(|line| line.split("--").next().unwrap());
            let text = lines.collect::<Vec<_>>().join(" ");
            for statement in text.split(';') {
                read(statement, &mut tables);
            }
        }
        tables
    }

    fn read(statement: &str, tables: &mut BTreeMap<String, BTreeSet<String>>) {
        let words: Vec<&str> = statement
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        let name = match words.as_slice() {
            ["CREATE", "TABLE", name, ..] | ["CREATE", "UNLOGGED", "TABLE", name, ..] => {
                tables.insert((*name).to_owned(), BTreeSet::new());
                *name
            }
            ["DROP", "TABLE", name, ..] => {
                tables.remove(*name);
                return;
            }
            ["ALTER", "TABLE", name, "RENAME", "TO", new, ..] => {
                let own = tables.remove(*name).unwrap();
                tables.insert((*new).to_owned(), own);
                return;
            }
            ["ALTER", "TABLE", name, ..] => *name,
            _ => return,
        };
        let own = tables.get_mut(name).unwrap();
        for pair in words.windows(2) {
            if pair[0] == "REFERENCES" {
                own.insert(pair[1].to_owned());
            }
        }
    }

    #[test]
    fn every_table_has_one_place() {
        let known: Vec<&str> = TABLES
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let listed: BTreeSet<&str> = known.iter().copied().collect();
        assert_eq!(known.len(), listed.len(), "a table has two places");
        let schema = schema();
        let tables: BTreeSet<&str> = schema.keys().map(String::as_str).collect();
        assert_eq!(
            tables, listed,
            "a new table needs its place here and in docs/SCALE.md"
        );
        assert_eq!(
            counts().map(|(_, count)| count).sum::<usize>(),
            tables.len()
        );
    }

    #[test]
    fn references_that_a_partition_cannot_keep_are_known() {
        let mut found = BTreeSet::new();
        for (table, others) in &schema() {
            for other in others {
                let (from, to) = (place(table).unwrap(), place(other).unwrap());
                if from != Place::Wallet && to == Place::Wallet {
                    found.insert((table.clone(), other.clone()));
                }
            }
        }
        let known = ACROSS.map(|(table, other)| (table.to_owned(), other.to_owned()));
        assert_eq!(found, known.into());
    }
}
