//! Requests for lists and statistics: first pages, deep ones, filters that match much and little, and whole files.

use chrono::{NaiveDate, TimeDelta};
use dermaga_tests::past::{Kind, Size};
use uuid::Uuid;

use super::Who;

/// Rows on a page, unless said otherwise.
const ON_A_PAGE: u32 = 20;

/// Words that begin with a colon are filled in by [`Words`].
const OF_ADMINISTRATORS: &[&str] = &[
    "/api/admin/alerts",
    "/api/admin/alerts?state=OPEN",
    "/api/admin/audit",
    "/api/admin/audit?act=clock.set",
    "/api/admin/audit?subject=coupon:7",
    "/api/admin/audit?reason=ticket%2099",
    "/api/admin/audit?reason=ticket%2099998",
    "/api/admin/audit?from=:month-ago&to=:today",
    "/api/admin/audit?cursor=:cursor-of-audit",
    "/api/admin/billing/job-status",
    "/api/admin/billing/stats",
    "/api/admin/coupons",
    "/api/admin/coupons?status=EXPIRED",
    "/api/admin/coupons?q=lama-99",
    "/api/admin/coupons/statistics",
    "/api/admin/coupons/statistics?from=:month-ago&to=:today",
    "/api/admin/coupons/:coupon/redemptions",
    "/api/admin/debts",
    "/api/admin/debts?open=true",
    "/api/admin/debts?cursor=:cursor-of-debts",
    "/api/admin/decisions",
    "/api/admin/decisions?page=:page-of-decisions",
    "/api/admin/decisions?plugin=coupon-credit-topup",
    "/api/admin/decisions?function=evaluate",
    "/api/admin/decisions?outcome=failed",
    "/api/admin/decisions?userId=:ordinary",
    "/api/admin/decisions?since=:month-ago&until=:today",
    "/api/admin/decisions?couponCode=LAMA-1",
    "/api/admin/decisions?subscriptionId=:subscription",
    "/api/admin/decisions?transaction=TXMP-150",
    "/api/admin/decisions?cursor=:cursor-of-decisions",
    "/api/admin/domains",
    "/api/admin/domains?state=PENDING",
    "/api/admin/domains?userId=:ordinary",
    "/api/admin/domains?q=toko-99",
    "/api/admin/health/instances/:instance",
    "/api/admin/health/stats",
    "/api/admin/health/stats?timeRange=7d",
    "/api/admin/health/summary",
    "/api/admin/instances/:instance/events",
    "/api/admin/jobs",
    "/api/admin/jobs/ledger-seal/runs",
    "/api/admin/notifications/deliveries",
    "/api/admin/notifications/deliveries?state=DEAD",
    "/api/admin/payments",
    "/api/admin/payments?state=SETTLED",
    "/api/admin/payments?state=PENDING",
    "/api/admin/payments?userId=:biggest",
    "/api/admin/payments?cursor=:cursor-of-payments",
    "/api/admin/plugins",
    "/api/admin/quota",
    "/api/admin/quota/overview",
    "/api/admin/quota/statistics",
    "/api/admin/services",
    "/api/admin/services/statistics",
    "/api/admin/subscriptions",
    "/api/admin/subscriptions?page=:page-of-subscriptions",
    "/api/admin/subscriptions?status=ACTIVE",
    "/api/admin/subscriptions?status=PENDING",
    "/api/admin/subscriptions?status=PAST_DUE",
    "/api/admin/subscriptions?status=CANCELLED",
    "/api/admin/subscriptions?service=n8n",
    "/api/admin/subscriptions?autoRenew=false",
    "/api/admin/subscriptions?endsBy=:today",
    "/api/admin/subscriptions?userId=:ordinary",
    "/api/admin/subscriptions?q=pelanggan-77",
    "/api/admin/subscriptions?cursor=:cursor-of-subscriptions",
    "/api/admin/subscriptions/stats",
    "/api/admin/subscriptions/stats?months=36",
    "/api/admin/tickets",
    "/api/admin/tickets?status=OPEN",
    "/api/admin/tickets?priority=HIGH",
    "/api/admin/tickets?q=77",
    "/api/admin/tickets?q=pelanggan-77",
    "/api/admin/tickets?q=pertanyaan%2019998",
    "/api/admin/tickets?cursor=:cursor-of-tickets",
    "/api/admin/tickets/stats",
    "/api/admin/tickets/user/:biggest",
    "/api/admin/transactions",
    "/api/admin/transactions?page=:page-of-transactions",
    "/api/admin/transactions?type=REFUND",
    "/api/admin/transactions?status=PENDING",
    "/api/admin/transactions?minAmount=30000",
    "/api/admin/transactions?minAmount=450000",
    "/api/admin/transactions?minAmount=450001",
    "/api/admin/transactions?minAmount=1000000",
    "/api/admin/transactions?userId=:biggest",
    "/api/admin/transactions?userId=:biggest&page=:page-of-biggest",
    "/api/admin/transactions?from=:month-ago&to=:today",
    "/api/admin/transactions?number=TXMP-150",
    "/api/admin/transactions?cursor=:cursor-of-transactions",
    "/api/admin/users",
    "/api/admin/users?page=:page-of-users",
    "/api/admin/users?q=pelanggan-77",
    "/api/admin/users?state=DISABLED",
    "/api/admin/users?role=ADMINISTRATOR",
    "/api/admin/users?cursor=:cursor-of-users",
    "/api/admin/wallets",
    "/api/admin/wallets?page=:page-of-users",
    "/api/admin/wallets?order=SPENT",
    "/api/admin/wallets?order=CHANGED",
    "/api/admin/wallets?minBalance=300000",
    "/api/admin/wallets?q=pelanggan-77",
    "/api/admin/wallets?cursor=:cursor-of-wallets",
    "/api/admin/wallets/statistics",
    "/api/admin/wallets/:biggest/statement?from=:year-ago&to=:today",
];
const OF_CUSTOMERS: &[&str] = &[
    "/api/instances",
    "/api/notifications",
    "/api/notifications?unread=true",
    "/api/notifications?kind=RENEWAL_FAILURE",
    "/api/subscriptions",
    "/api/tickets",
    "/api/tickets/stats",
    "/api/user/security-events",
    "/api/user/sessions",
    "/api/wallet/coupon-history",
    "/api/wallet/debts",
    "/api/wallet/info",
    "/api/wallet/statement",
    "/api/wallet/statement?from=:year-ago&to=:today",
    "/api/wallet/statistics?period=day",
    "/api/wallet/statistics?period=month",
    "/api/wallet/statistics?period=year",
    "/api/wallet/transactions",
    "/api/wallet/transactions?type=REFUND",
    "/api/wallet/transactions?status=PENDING",
    "/api/wallet/transactions?from=:month-ago&to=:today",
];
/// Further ones of the customer with the most transactions.
const OF_BIGGEST: &[&str] = &[
    "/api/wallet/transactions?page=:page-of-biggest",
    "/api/wallet/transactions?cursor=:cursor-of-biggest",
    "/api/instances/:own-instance/events",
    "/api/webhooks",
    "/api/webhooks/:webhook/deliveries",
];
const OF_VISITORS: &[&str] = &[
    "/api/catalog/categories",
    "/api/catalog/featured",
    "/api/catalog/search?q=data",
    "/api/catalog/services",
];

/// Lists whose answers have a cursor, and the word for it.
pub(super) const CURSORS: [(Who, &str, &str); 10] = [
    (Who::Administrator, "/api/admin/audit", ":cursor-of-audit"),
    (
        Who::Administrator,
        "/api/admin/decisions",
        ":cursor-of-decisions",
    ),
    (Who::Administrator, "/api/admin/debts", ":cursor-of-debts"),
    (
        Who::Administrator,
        "/api/admin/payments",
        ":cursor-of-payments",
    ),
    (
        Who::Administrator,
        "/api/admin/subscriptions",
        ":cursor-of-subscriptions",
    ),
    (
        Who::Administrator,
        "/api/admin/tickets",
        ":cursor-of-tickets",
    ),
    (Who::Administrator, "/api/admin/users", ":cursor-of-users"),
    (
        Who::Administrator,
        "/api/admin/wallets",
        ":cursor-of-wallets",
    ),
    (
        Who::Administrator,
        "/api/admin/transactions",
        ":cursor-of-transactions",
    ),
    (
        Who::Biggest,
        "/api/wallet/transactions",
        ":cursor-of-biggest",
    ),
];

/// Meanings of words in paths.
pub(super) struct Words(Vec<(&'static str, String)>);

impl Words {
    pub(super) fn new(size: Size, today: NaiveDate) -> Self {
        let ago = |days| (today - TimeDelta::days(days)).to_string();
        let page = |rows: u32| (rows / ON_A_PAGE).max(1).to_string();
        let id = |kind: Kind, number| Uuid::from_u128(kind.id(number)).to_string();
        Self(vec![
            (":today", today.to_string()),
            (":month-ago", ago(30)),
            (":year-ago", ago(359)),
            (":page-of-transactions", page(size.transactions)),
            (":page-of-biggest", page(size.of_biggest)),
            (":page-of-decisions", page(size.decisions)),
            (":page-of-subscriptions", page(size.subscriptions)),
            (":page-of-users", page(size.customers)),
            (":biggest", id(Kind::User, 1)),
            (":ordinary", id(Kind::User, 2)),
            (":subscription", id(Kind::Subscription, 1)),
            (":instance", id(Kind::Instance, 1)),
            // Customers have subscriptions in turn, the first one last.
            (":own-instance", id(Kind::Instance, size.customers)),
            (":coupon", id(Kind::Coupon, 1)),
            (":webhook", id(Kind::Webhook, 1)),
        ])
    }

    pub(super) fn add(&mut self, word: &'static str, meaning: &str) {
        self.0.push((word, meaning.to_owned()));
    }

    /// Writes a path with the meanings of its words.
    pub(super) fn fill_in(&self, path: &str) -> String {
        let words = self.0.iter();
        words.fold(path.to_owned(), |path, (word, meaning)| {
            path.replace(word, meaning)
        })
    }
}

/// Lists all requests, each with the one who asks.
pub(super) fn all() -> impl Iterator<Item = (Who, &'static str)> {
    let of = |who, paths: &'static [&'static str]| paths.iter().map(move |path| (who, *path));
    of(Who::Administrator, OF_ADMINISTRATORS)
        .chain(of(Who::Biggest, OF_CUSTOMERS))
        .chain(of(Who::Biggest, OF_BIGGEST))
        .chain(of(Who::Ordinary, OF_CUSTOMERS))
        .chain(of(Who::Visitor, OF_VISITORS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dermaga_tests::checkout;
    use serde_json::Value;

    use super::*;

    fn words() -> Words {
        let today = NaiveDate::from_ymd_opt(2026, 12, 31).unwrap();
        let mut words = Words::new(Size::FULL, today);
        for (_, _, word) in CURSORS {
            words.add(word, "next");
        }
        words
    }

    #[test]
    fn every_word_is_filled_in() {
        let words = words();
        for (_, path) in all() {
            let filled = words.fill_in(path);
            assert!(!filled.replace("coupon:7", "").contains(':'), "{filled}");
        }
        let page = words.fill_in("/api/admin/users?page=:page-of-users");
        assert_eq!(page, "/api/admin/users?page=2500");
        let month = words.fill_in("?from=:month-ago&to=:today");
        assert_eq!(month, "?from=2026-12-01&to=2026-12-31");
    }

    /// Ends of the paths of lists that are not measured: what is read from a cluster, what asks a plugin for each
    /// subscription, and the few things that administrators write by hand.
    const LEFT_OUT: &[&str] = &[
        "/drift",
        "/deployments",
        "/ingresses",
        "/namespaces",
        "/nodes",
        "/pods",
        "/k8s/services",
        "/billing/preview",
        "/billing/low-credit",
        "/waitlist",
        "/categories/{slug}/services",
        "/admin/webhooks/{id}/deliveries",
    ];

    #[test]
    fn every_list_of_the_api_is_measured() {
        let file = checkout().join("docs/openapi.json");
        let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let measured: BTreeSet<String> = all()
            .map(|(_, path)| without_words(path.split('?').next().unwrap()))
            .collect();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let parameters = methods["get"]["parameters"].as_array();
            let mut parameters = parameters.into_iter().flatten();
            let is_list = parameters.any(|parameter| parameter["name"] == "page");
            let is_statistics = path.ends_with("/stats") || path.ends_with("/statistics");
            let is_left_out = LEFT_OUT.iter().any(|end| path.ends_with(end));
            if methods.get("get").is_some() && (is_list || is_statistics) && !is_left_out {
                let path = without_words(path);
                assert!(measured.contains(&path), "{path} is not measured");
            }
        }
    }

    /// Writes a star for each part of a path that differs from request to request.
    fn without_words(path: &str) -> String {
        let parts = path.split('/').map(|part| match part.chars().next() {
            Some(':' | '{') => "*",
            _ if part == "ledger-seal" => "*",
            _ => part,
        });
        parts.collect::<Vec<_>>().join("/")
    }
}
