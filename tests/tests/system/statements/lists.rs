//! The lists of the API with their filters, each of which builds a statement of its own.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dermaga_tests::Client;
use uuid::Uuid;

/// Names of lists whose cursors are among the filters.
const CURSORS: &[&str] = &[
    "accounts",
    "alerts",
    "coupons",
    "debts",
    "domains",
    "inbox",
    "mails",
    "own-debts",
    "own-instances",
    "own-redemptions",
    "own-subscriptions",
    "own-tickets",
    "payments",
    "runs",
    "security",
    "subscriptions",
    "tickets",
    "wallets",
];

/// Lists with their filters, asked for one by one and all together. Names in braces are replaced by values
/// of the journey, and by cursors.
pub(super) const ADMIN_LISTS: &[(&str, &[&str])] = &[
    (
        "alerts",
        &[
            "kind=PLUGIN_SUSPENDED",
            "state=OPEN",
            "state=RESOLVED",
            "subject=x",
            "acknowledged=true",
            "acknowledged=false",
            "cursor={cursor-of-alerts}",
        ],
    ),
    (
        "coupons",
        &[
            "status=ACTIVE",
            "status=EXPIRED",
            "status=DISABLED",
            "plugin=coupon-credit-topup",
            "q=a",
            "cursor={cursor-of-coupons}",
        ],
    ),
    ("billing/stats", &[]),
    ("categories", &[]),
    ("coupons/statistics", &["from={moment}", "to={later}"]),
    (
        "quota",
        &[
            "service=n8n",
            "tier=FREE",
            "health=healthy",
            "health=warning",
            "health=critical",
            "health=full",
        ],
    ),
    ("quota/overview", &[]),
    ("quota/statistics", &[]),
    (
        "services",
        &[
            "q=a",
            "category=databases",
            "plugin=service-n8n",
            "state=ON_SALE",
            "state=OFF",
            "state=REFUSED",
            "state=RETIRED",
        ],
    ),
    ("services/statistics", &[]),
    (
        "debts",
        &[
            "userId={user}",
            "open=true",
            "open=false",
            "cursor={cursor-of-debts}",
        ],
    ),
    (
        "decisions",
        &[
            "plugin=coupon-credit-topup",
            "function=evaluate",
            "userId={user}",
            "digest={digest}",
            "version=1.0.0",
            "outcome=answered",
            "outcome=failed",
            "since={moment}",
            "until={later}",
            "subscriptionId={subscription}",
            "couponCode={coupon}",
            "transaction=TXMP-101",
        ],
    ),
    (
        "domains",
        &[
            "state=ACTIVE",
            "userId={user}",
            "instanceId={user}",
            "q=a",
            "cursor={cursor-of-domains}",
        ],
    ),
    ("jobs/ledger-seal/runs", &["cursor={cursor-of-runs}"]),
    (
        "notifications/deliveries",
        &["state=DEAD", "state=SENT", "cursor={cursor-of-mails}"],
    ),
    (
        "payments",
        &[
            "state=SETTLED",
            "userId={user}",
            "cursor={cursor-of-payments}",
        ],
    ),
    (
        "tickets",
        &[
            "status=OPEN",
            "priority=URGENT",
            "userId={user}",
            "assigneeId={user}",
            "unassigned=true",
            "unassigned=false",
            "q=a",
            "q=%23042",
            "from={moment}",
            "to={later}",
            "cursor={cursor-of-tickets}",
        ],
    ),
    ("tickets/stats", &[]),
    (
        "subscriptions",
        &[
            "status=ACTIVE",
            "status=PENDING",
            "status=PAST_DUE",
            "userId={user}",
            "service=n8n",
            "planId={user}",
            "autoRenew=true",
            "q=a",
            "from={moment}",
            "to={later}",
            "endsBy={later}",
            "cursor={cursor-of-subscriptions}",
        ],
    ),
    ("subscriptions/stats", &["months=2"]),
    (
        "transactions",
        &[
            "userId={user}",
            "number=TXMP-101",
            "type=TOP_UP",
            "status=COMPLETED",
            "from={moment}",
            "to={later}",
            "minAmount=5",
        ],
    ),
    (
        "users",
        &[
            "q=a",
            "role=USER",
            "state=ACTIVE",
            "emailVerified=true",
            "emailVerified=false",
            "from={moment}",
            "to={later}",
            "cursor={cursor-of-accounts}",
        ],
    ),
    (
        "wallets",
        &[
            "q=a",
            "minBalance=1",
            "maxBalance=9",
            "order=BALANCE",
            "order=SPENT",
            "order=TOP_UP",
            "order=CHANGED",
            "cursor={cursor-of-wallets}",
        ],
    ),
];

pub(super) const OWN_LISTS: &[(&str, &[&str])] = &[
    ("catalog/services", &[]),
    ("catalog/featured", &[]),
    ("catalog/categories", &[]),
    (
        "catalog/search",
        &["q=a", "category=databases", "featured=true"],
    ),
    (
        "instances",
        &["status=RUNNING", "cursor={cursor-of-own-instances}"],
    ),
    (
        "notifications",
        &[
            "kind=TOP_UP_RECEIVED",
            "unread=true",
            "unread=false",
            "cursor={cursor-of-inbox}",
        ],
    ),
    (
        "subscriptions",
        &[
            "status=ACTIVE",
            "status=PENDING",
            "status=PAST_DUE",
            "cursor={cursor-of-own-subscriptions}",
        ],
    ),
    ("subscriptions/waitlist", &[]),
    (
        "tickets",
        &["status=OPEN", "cursor={cursor-of-own-tickets}"],
    ),
    ("user/security-events", &["cursor={cursor-of-security}"]),
    (
        "wallet/coupon-history",
        &["cursor={cursor-of-own-redemptions}"],
    ),
    ("wallet/debts", &["cursor={cursor-of-own-debts}"]),
    (
        "wallet/transactions",
        &[
            "type=TOP_UP",
            "status=COMPLETED",
            "from={moment}",
            "to={later}",
        ],
    ),
];

/// Returns a cursor of the list with a name, which is ordered by ids of one moment, or of one balance.
pub(super) fn cursor(list: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}.1790000000123.{}", Uuid::nil()))
}

/// Writes cursors in the place of their names.
fn with_cursors(query: String) -> String {
    CURSORS.iter().fold(query, |query, list| {
        query.replace(&format!("{{cursor-of-{list}}}"), &cursor(list))
    })
}

pub(super) async fn lists(
    client: &Client,
    base: &str,
    lists: &[(&str, &[&str])],
    known: &[(&str, String)],
) {
    let mut refused = Vec::new();
    for (path, filters) in lists {
        let mut queries: Vec<String> = filters.iter().map(|filter| format!("?{filter}")).collect();
        queries.push(String::new());
        queries.push(format!("?{}", distinct(filters).join("&")));
        for query in queries {
            let query = known
                .iter()
                .fold(with_cursors(query), |query, (name, value)| {
                    query.replace(name, value)
                });
            let answer = client.get(&format!("{base}/{path}{query}")).await;
            if answer.status != 200 {
                refused.push(format!("{path}{query}: {}", answer.text));
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Keeps the first filter of each name.
fn distinct<'a>(filters: &[&'a str]) -> Vec<&'a str> {
    let name = |filter: &'a str| filter.split('=').next().unwrap();
    let mut chosen: Vec<&str> = Vec::new();
    for filter in filters {
        if !chosen.iter().any(|other| name(other) == name(filter)) {
            chosen.push(filter);
        }
    }
    chosen
}
