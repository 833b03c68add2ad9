//! Statements that may read all rows of a table that grows.

use std::collections::BTreeSet;

use dermaga_tests::explain::Read;

const PAGE: &str =
    "an administrator's page, newest first, and its count, with filters that no index fits";
const SUM: &str = "adds up all of them, for an administrator";
const COMPARED: &str = "compares all that live with the cluster, for an administrator";
const NIGHT: &str = "a job of the night";
const PROOF: &str = "proves every row, when an operator asks";
const START: &str = "once, when the server starts";
const MENDED: &str = "once, after the clock was put right";
/// Checked: the index has a condition.
const FEW: &str = "an index of the few that something is to be done with";
const ASKED: &str = "all of them, as an administrator asked";
const MEASURED: &str = "counts what is there for the metrics, once a minute";
const ONE_ROW: &str = "a view that has one row, the time";
const JOINED: &str = "joined to such few, which are many among rows that were made up";

/// Returns `true` for a scan that is on the list, through a partial index where only that is the reason.
pub(super) fn is_allowed(place: &str, read: &Read, partial: &BTreeSet<String>) -> bool {
    let by_few = || read.how.split(' ').any(|word| partial.contains(word));
    ALLOWED.iter().any(|(listed, table, reason)| {
        *listed == place && *table == read.table && (*reason != FEW || by_few())
    })
}

/// Lists the places that may scan.
pub(super) fn places() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(place, _, _)| *place)
}

/// Place, table and reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("accounts/store.rs bonuses_due", "users", FEW),
    ("accounts/store.rs has_administrator", "users", FEW),
    (
        "accounts/store/administration.rs has_other_administrator",
        "users",
        FEW,
    ),
    ("alerts/store.rs count_open", "alerts", FEW),
    ("alerts/store.rs list", "alerts", PAGE),
    ("audit/store.rs list", "audit_events", PAGE),
    (
        "catalog/administration/store.rs sales",
        "subscriptions",
        SUM,
    ),
    ("coupons/store/admin.rs costs", "coupon_redemptions", SUM),
    ("coupons/store/admin.rs costs", "coupons", SUM),
    ("coupons/store/admin.rs costs", "g", "sums of the statement"),
    ("coupons/store/admin.rs count_by_status", "coupons", SUM),
    (
        "coupons/store/admin.rs customers",
        "coupon_redemptions",
        SUM,
    ),
    ("coupons/store/admin.rs list", "coupons", PAGE),
    ("events/store.rs now", "events_now", "a view of one row"),
    ("events/store.rs purge", "customer_events", NIGHT),
    ("notifications/store.rs administrators", "users", FEW),
    (
        "notifications/store/deliveries.rs list",
        "notification_deliveries",
        PAGE,
    ),
    (
        "notifications/store/deliveries.rs list",
        "notifications",
        PAGE,
    ),
    (
        "notifications/store/deliveries.rs purge",
        "notification_deliveries",
        NIGHT,
    ),
    (
        "notifications/store.rs purge",
        "notification_deliveries",
        NIGHT,
    ),
    (
        "notifications/store/deliveries.rs backlog",
        "notification_deliveries",
        MEASURED,
    ),
    ("outbox.rs backlog", "outbox", MEASURED),
    (
        "provisioning/store.rs count_by_status",
        "instances",
        MEASURED,
    ),
    ("wallet/store/admin.rs books", "wallets", MEASURED),
    (
        "webhooks/store/deliveries.rs backlog",
        "webhook_deliveries",
        MEASURED,
    ),
    ("rates/store.rs purge", "rate_clock", ONE_ROW),
    ("rates/store.rs take", "moved", "one row of the statement"),
    ("rates/store.rs take", "rate_clock", ONE_ROW),
    ("idempotency/store.rs unlock", "idempotency_keys", START),
    ("idempotency/store.rs unlock_all", "idempotency_keys", START),
    ("outbox.rs purge", "outbox", NIGHT),
    ("outbox.rs waiting", "outbox", FEW),
    ("payments/store.rs debts", "debts", PAGE),
    ("payments/store.rs list", "payments", PAGE),
    ("plugins/store.rs decisions", "decisions", PAGE),
    (
        "provisioning/domains/store.rs delete_claims",
        "custom_domains",
        FEW,
    ),
    ("provisioning/domains/store.rs ended", "custom_domains", FEW),
    ("provisioning/domains/store.rs list", "custom_domains", PAGE),
    ("provisioning/domains/store.rs list", "instances", PAGE),
    ("provisioning/domains/store.rs list", "users", PAGE),
    ("provisioning/drift/store.rs live", "instances", COMPARED),
    (
        "provisioning/health/store.rs count_by_state",
        "instances",
        SUM,
    ),
    (
        "provisioning/health/store.rs count_by_state",
        "health_spans",
        FEW,
    ),
    (
        "provisioning/health/store.rs count_given_up",
        "health_spans",
        FEW,
    ),
    (
        "provisioning/health/store.rs make_all_due",
        "instances",
        ASKED,
    ),
    ("provisioning/health/store.rs open_spans", "instances", SUM),
    (
        "provisioning/health/store.rs eventful_spans",
        "instances",
        SUM,
    ),
    ("provisioning/health/store.rs calm_spans", "instances", SUM),
    (
        "provisioning/health/store.rs calm_before_ready",
        "health_spans",
        SUM,
    ),
    (
        "provisioning/health/store.rs calm_before_ready",
        "instances",
        SUM,
    ),
    (
        "provisioning/health/store.rs count_lasting",
        "health_spans",
        FEW,
    ),
    (
        "provisioning/health/store.rs ready_late",
        "health_spans",
        SUM,
    ),
    ("provisioning/health/store.rs ready_late", "instances", SUM),
    (
        "provisioning/health/store.rs purge_spans",
        "health_spans",
        NIGHT,
    ),
    (
        "provisioning/health/store.rs purge_attempts",
        "healing_acts",
        NIGHT,
    ),
    ("provisioning/health/store.rs unwell", "health_spans", FEW),
    ("provisioning/health/store.rs unwell", "instances", JOINED),
    (
        "provisioning/version_moves/store.rs failing",
        "instances",
        FEW,
    ),
    (
        "provisioning/version_moves/store.rs failing",
        "health_spans",
        FEW,
    ),
    ("provisioning/store.rs applied", "instances", START),
    (
        "provisioning/store.rs secrets_in_use",
        "instance_secrets",
        START,
    ),
    ("provisioning/store.rs secrets_in_use", "instances", START),
    ("provisioning/store.rs touch_written", "instances", START),
    ("scheduler/store.rs drop_leases", "job_runs", START),
    (
        "subscriptions/delivery/store.rs delivered",
        "subscriptions",
        FEW,
    ),
    (
        "subscriptions/delivery/store.rs delivered",
        "instances",
        JOINED,
    ),
    (
        "subscriptions/delivery/store.rs note_deliveries",
        "subscriptions",
        FEW,
    ),
    (
        "subscriptions/delivery/store.rs note_deliveries",
        "instances",
        JOINED,
    ),
    ("billing/store.rs count_by_status", "subscriptions", SUM),
    ("billing/store.rs payable", "wallets", JOINED),
    ("billing/store.rs sums_by_status", "subscriptions", SUM),
    (
        "subscriptions/upgrade/store.rs progress",
        "plan_changes",
        FEW,
    ),
    ("billing/store.rs payable", "subscriptions", FEW),
    (
        "subscriptions/overview/store.rs list",
        "subscriptions",
        PAGE,
    ),
    (
        "subscriptions/overview/store.rs count_by_status",
        "subscriptions",
        SUM,
    ),
    (
        "subscriptions/overview/store.rs count_waiting",
        "subscriptions",
        SUM,
    ),
    (
        "subscriptions/overview/store.rs first",
        "subscriptions",
        "the first of an index",
    ),
    ("subscriptions/overview/store.rs owners", "users", PAGE),
    ("subscriptions/store.rs list", "subscriptions", FEW),
    ("subscriptions/store.rs count_waiting", "subscriptions", FEW),
    ("subscriptions/store.rs purge_quotes", "quotes", NIGHT),
    ("tickets/store.rs count_by_priority", "tickets", SUM),
    ("tickets/store.rs count_by_status", "tickets", SUM),
    ("tickets/store.rs list_all", "tickets", PAGE),
    ("tickets/store.rs list_all", "users", PAGE),
    ("tickets/store.rs waiting", "tickets", SUM),
    ("timekeeping/store.rs mend", "health_spans", MENDED),
    ("timekeeping/store.rs mend", "instances", MENDED),
    ("timekeeping/store.rs mend", "job_runs", MENDED),
    ("timekeeping/store.rs mend", "kept_days", MENDED),
    ("timekeeping/store.rs mend", "plugin_uploads", FEW),
    ("timekeeping/store.rs mend", "subscriptions", FEW),
    ("timekeeping/store.rs mend", "webhook_endpoints", MENDED),
    ("users/store.rs list", "users", PAGE),
    ("users/store.rs next_with_decisions", "users", FEW),
    ("users/store.rs obstacles", "payment_refunds", FEW),
    (
        "webhooks/store/deliveries.rs purge",
        "webhook_deliveries",
        NIGHT,
    ),
    (
        "wallet/store/admin.rs any_transactions",
        "transactions",
        PAGE,
    ),
    ("wallet/store/admin.rs totals", "wallets", SUM),
    ("wallet/store/admin.rs totals_by_type", "transactions", SUM),
    ("wallet/store/admin.rs wallets", "users", SUM),
    ("wallet/store/admin.rs wallets", "wallets", SUM),
    (
        "wallet/store/seal.rs broken_seals",
        "ledger_seal_heads",
        PROOF,
    ),
    ("wallet/store/seal.rs insert_sealed_heads", "wallets", NIGHT),
    (
        "wallet/store/seal.rs last_seal",
        "ledger_seals",
        "the last of an index",
    ),
    ("wallet/store/seal.rs seals", "ledger_seals", PROOF),
    (
        "wallet/store/blocks.rs misplaced_blocks",
        "ledger_blocks",
        PROOF,
    ),
    ("wallet/store/blocks.rs misplaced_blocks", "wallets", PROOF),
    (
        "wallet/store/proof.rs stray_postings",
        "journal_entries",
        PROOF,
    ),
    ("wallet/store/proof.rs stray_postings", "postings", PROOF),
    ("wallet/store/proof.rs unposted", "transactions", PROOF),
];
