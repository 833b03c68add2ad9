//! SQL of the administrators' view of all subscriptions.

use chrono::{DateTime, Utc};

use super::{AnySubscriptionFilter, OwnedRow, SubscriptionStatus};
use crate::{
    db::{Conn, Filter, List, Page, Part, fetch_first, fetch_page},
    fetch_all,
    ids::UserId,
    money::Rupiah,
    subscriptions::store::{columns, with_plan},
    wallet::Account,
};

/// Customers that a search names one by one; more of them are met soon in the list itself.
const MOST_NAMED: usize = 100;

const SUBSCRIPTIONS: List = List {
    rows: concat!(
        "SELECT ",
        columns!(),
        ", u.email",
        with_plan!(),
        " JOIN users u ON u.id = s.user_id LEFT JOIN instances i ON i.subscription_id = s.id"
    ),
    from: "FROM subscriptions s",
    key: "s.id",
    order: "ORDER BY s.created_at DESC, s.id DESC",
};

const WITH_OWNERS: List = List {
    from: "FROM subscriptions s JOIN users u ON u.id = s.user_id",
    ..SUBSCRIPTIONS
};

const OF_SERVICE: &str = "s.plan_id IN (SELECT p.id FROM service_plans p JOIN services v ON v.id = p.service_id WHERE v.slug = ?)";

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &AnySubscriptionFilter<'_>,
    part: Part,
) -> sqlx::Result<Page<OwnedRow>> {
    let filter = Filter::default()
        .with_some("s.status = ?", wanted.status)
        .with_some("s.user_id = ?", wanted.user_id)
        .with_some(OF_SERVICE, wanted.service)
        .with_some("s.plan_id = ?", wanted.plan_id)
        .with_some("s.auto_renew = ?", wanted.auto_renew)
        .with_some("s.created_at >= ?", wanted.from)
        .with_some("s.created_at < ?", wanted.until)
        .with_some("s.period_end < ?", wanted.ends_before);
    let (list, filter) = match wanted.email {
        None => (SUBSCRIPTIONS, filter),
        Some(email) => {
            let owners = owners(conn, email).await?;
            if owners.len() > MOST_NAMED {
                (WITH_OWNERS, filter.containing(&["u.email"], Some(email)))
            } else {
                (SUBSCRIPTIONS, filter.with_any("s.user_id", owners))
            }
        }
    };
    fetch_page(conn, list, &filter, part).await
}

/// The first customers whose e-mail address contains a text, one more than are [named](MOST_NAMED).
async fn owners(conn: &mut Conn, text: &str) -> sqlx::Result<Vec<UserId>> {
    let filter = Filter::default().containing(&["u.email"], Some(text));
    let limit = i64::try_from(MOST_NAMED).unwrap_or(i64::MAX);
    let rows = fetch_first(conn, "SELECT u.id FROM users u", &filter, "", limit + 1);
    let rows: Vec<(UserId,)> = rows.await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Number of a service's subscriptions of one status.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct StatusCount {
    pub(super) service: String,
    pub(super) service_name: String,
    pub(super) status: SubscriptionStatus,
    pub(super) number: i64,
}

pub(super) async fn count_by_status(conn: &mut Conn) -> sqlx::Result<Vec<StatusCount>> {
    let sql = concat!(
        "SELECT v.slug AS service, v.name AS service_name, s.status, count(*) AS number",
        with_plan!(),
        " GROUP BY v.slug, v.name, s.status ORDER BY v.slug, s.status"
    );
    fetch_all!(conn, StatusCount, sql)
}

/// Counts those made from a moment until another, by service.
pub(super) async fn count_new(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, i64)>> {
    let sql = concat!(
        "SELECT v.slug, count(*)",
        with_plan!(),
        " WHERE s.created_at >= $1 AND s.created_at < $2 GROUP BY v.slug"
    );
    fetch_all!(conn, (String, i64), sql, from, until)
}

/// Counts those that ended from a moment until another, by service.
pub(super) async fn count_lost(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, i64)>> {
    let sql = concat!(
        "SELECT v.slug, count(*)",
        with_plan!(),
        " WHERE s.cancelled_at >= $1 AND s.cancelled_at < $2 GROUP BY v.slug"
    );
    fetch_all!(conn, (String, i64), sql, from, until)
}

/// Sums what the wallets paid for subscriptions from a moment until another, less what was given back,
/// by service and kind of credit.
pub(super) async fn revenue(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, Account, Rupiah)>> {
    let sql = "SELECT v.slug, o.account, CAST(-sum(o.amount) AS BIGINT)
               FROM transactions t JOIN journal_entries e ON e.transaction_id = t.id JOIN postings o ON o.entry_id = e.id
               JOIN subscriptions s ON s.id = t.subscription_id JOIN service_plans p ON p.id = s.plan_id
               JOIN services v ON v.id = p.service_id
               WHERE t.subscription_id IS NOT NULL AND t.created_at >= $1 AND t.created_at < $2
                 AND o.account IN ('WALLET_PAID', 'WALLET_BONUS') GROUP BY v.slug, o.account";
    fetch_all!(conn, (String, Account, Rupiah), sql, from, until)
}
