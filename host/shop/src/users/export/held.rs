//! Tables with what they hold about a person: in which files of the archive it is, or why it is left out.
//!
//! A test compares them with the tables of the database, so that no new one is forgotten.

use std::collections::BTreeSet;

use crate::language::{self, Language};

/// Place of what a table holds about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Files of the archive, without `.json`.
    In(&'static [&'static str]),
    /// Sentence that says what is left out and why, as the archive prints it.
    LeftOut(&'static str),
}

use Held::{In, LeftOut};

const OF_ADMINISTRATORS: &str = "Settings, coupons, plugins and runs of jobs that you made or started as an administrator are the shop's: acts-by-you has that you did.";
const LEDGER: &str = "Entries of the ledger are the shop's books: transactions has each of yours, and GET /api/wallet/statement the whole.";
const SECRETS: &str = "Passwords, keys and tokens are kept as hashes or sealed, and cannot be read here; the credentials of an instance are shown by its own route.";
const TRANSIENT: &str = "Marks of requests, messages within the shop and answers that are kept for repeated requests are gone within minutes or days, and say nothing that is not here.";
const MEASURED: &str = "Measurements of the health of your instances are the shop's; instance-events says what came of them.";
const ATTEMPTS: &str = "The payload of a webhook and each attempt to deliver it are shown by the route of the delivery.";
const GATEWAY: &str = "Messages of the payment gateway are kept as it signed them; payments and transactions have what came of them.";
const INTERNAL: &str =
    "Notes and findings of administrators on tickets are internal to the shop's support.";
const COUNTS: &str =
    "Counts of the coupons that you used follow from coupons, which has each of them.";

const WELCOMED: &str = "A keyed hash of an address that had a welcome bonus is kept, also when its account is deleted, so that each address has the bonus once; the address cannot be read from it.";

/// Tables that are about persons, in the order of their names.
pub const TABLES: &[(&str, Held)] = &[
    ("alerts", LeftOut(OF_ADMINISTRATORS)),
    ("api_tokens", In(&["api-tokens", "ended-api-tokens"])),
    ("audit_events", In(&["acts", "acts-by-you"])),
    ("coupon_customer_uses", LeftOut(COUNTS)),
    ("coupon_redemptions", In(&["coupons"])),
    ("coupons", LeftOut(OF_ADMINISTRATORS)),
    ("custom_domains", In(&["domains"])),
    ("customer_events", LeftOut(TRANSIENT)),
    ("debts", In(&["debts"])),
    ("decisions", In(&["decisions"])),
    ("healing_acts", LeftOut(MEASURED)),
    ("health_spans", LeftOut(MEASURED)),
    ("idempotency_keys", LeftOut(TRANSIENT)),
    ("instance_events", In(&["instance-events"])),
    ("instance_secrets", LeftOut(SECRETS)),
    ("instances", In(&["instances"])),
    ("job_runs", LeftOut(OF_ADMINISTRATORS)),
    ("journal_entries", LeftOut(LEDGER)),
    ("ledger_blocks", LeftOut(LEDGER)),
    ("ledger_seal_heads", LeftOut(LEDGER)),
    ("login_challenges", LeftOut(SECRETS)),
    ("mailed_tokens", LeftOut(SECRETS)),
    ("notification_deliveries", In(&["mails"])),
    (
        "notification_preferences",
        In(&["notification-preferences"]),
    ),
    (
        "notifications",
        In(&["mails", "notifications", "security-events"]),
    ),
    ("outbox", LeftOut(TRANSIENT)),
    ("payment_notices", LeftOut(GATEWAY)),
    ("payment_refunds", In(&["refunds"])),
    ("payments", In(&["payments"])),
    ("plan_changes", In(&["plan-changes"])),
    ("plugin_classes", LeftOut(OF_ADMINISTRATORS)),
    ("plugin_uploads", LeftOut(OF_ADMINISTRATORS)),
    ("plugin_versions", LeftOut(OF_ADMINISTRATORS)),
    ("postings", LeftOut(LEDGER)),
    ("price_moves", In(&["price-moves"])),
    ("quotes", In(&["quotes"])),
    ("rate_windows", LeftOut(TRANSIENT)),
    ("recovery_codes", LeftOut(SECRETS)),
    ("refresh_tokens", LeftOut(SECRETS)),
    ("sessions", In(&["sessions", "ended-sessions"])),
    ("subscription_periods", In(&["subscriptions"])),
    ("subscriptions", In(&["subscriptions"])),
    ("ticket_attachments", In(&["tickets"])),
    ("ticket_evidence", LeftOut(INTERNAL)),
    ("ticket_messages", In(&["tickets"])),
    ("tickets", In(&["tickets"])),
    ("transactions", In(&["transactions"])),
    ("two_factor", In(&["two-factor"])),
    ("users", In(&["profile"])),
    ("waitlist", In(&["waitlist"])),
    ("wallets", In(&["wallet"])),
    ("webhook_attempts", LeftOut(ATTEMPTS)),
    ("webhook_deliveries", In(&["webhook-deliveries"])),
    ("webhook_endpoints", In(&["webhooks"])),
    ("webhook_owners", LeftOut(TRANSIENT)),
    ("webhook_secrets", LeftOut(SECRETS)),
    ("welcomed_addresses", LeftOut(WELCOMED)),
];

/// Returns the names of the files of an archive, without `.json`.
pub fn files() -> BTreeSet<&'static str> {
    let files = TABLES.iter().filter_map(|(_, held)| match held {
        In(files) => Some(files.iter().copied()),
        LeftOut(_) => None,
    });
    files.flatten().collect()
}

/// Returns what an archive says of itself: what is in it, and what is left out.
pub(super) fn explanation(language: Language) -> String {
    let mut text = match language {
        Language::English => include_str!("README.en.txt"),
        Language::Indonesian => include_str!("README.id.txt"),
    }
    .to_owned();
    for sentence in left_out() {
        text.push_str("- ");
        text.push_str(&language::translated(sentence, language));
        text.push('\n');
    }
    text
}

/// Returns the sentences about what is left out, in the order of the tables, each once.
fn left_out() -> Vec<&'static str> {
    let mut sentences = Vec::new();
    for (_, held) in TABLES {
        if let LeftOut(sentence) = held
            && !sentences.contains(sentence)
        {
            sentences.push(*sentence);
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_each_once() {
        assert!(TABLES.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn an_archive_says_what_is_left_out_in_both_languages() {
        let english = explanation(Language::English);
        let indonesian = explanation(Language::Indonesian);
        for sentence in left_out() {
            assert!(english.contains(sentence), "{sentence}");
            assert!(!indonesian.contains(sentence), "{sentence}");
        }
        assert_eq!(english.lines().count(), indonesian.lines().count());
    }
}
