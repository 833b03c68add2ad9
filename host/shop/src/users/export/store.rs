//! SQL of what only an archive lists.

use chrono::{DateTime, Utc};

use super::model::{
    ChangeOfPlan, EndedSession, EndedToken, GatewayRefund, KeptQuote, Mail, MoveOfPrice,
};
use crate::{
    Result,
    db::{Db, Filter, List, Span, Walked, fetch_span},
    ids::{
        ApiTokenId, NotificationId, PlanChangeId, QuoteId, RefundId, SessionId, SubscriptionId,
        UserId,
    },
};

/// Condition that a row comes after a place.
const PLACE: &str = "(created_at, id) < (?, ?)";
const ORDER: &str = "ORDER BY created_at DESC, id DESC";

const SESSIONS: List = List {
    rows: "SELECT id, device, CASE WHEN acting_id IS NULL THEN address END AS address, \
           acting_id IS NOT NULL AS by_administrator, created_at, last_used_at, expires_at, ended_at FROM sessions",
    from: "FROM sessions",
    key: "id",
    order: ORDER,
};

/// Sessions of an account that cannot be used any more.
pub(super) async fn ended_sessions(
    db: &Db,
    user_id: UserId,
    now: DateTime<Utc>,
    span: Span<SessionId>,
) -> Result<Walked<EndedSession>> {
    let filter =
        Filter::of("user_id = ?", user_id).with("(ended_at IS NOT NULL OR expires_at <= ?)", now);
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, SESSIONS, PLACE, filter, span).await?)
}

const TOKENS: List = List {
    rows: "SELECT id, name, scope, hint, created_at, expires_at, last_used_at, revoked_at FROM api_tokens",
    from: "FROM api_tokens",
    key: "id",
    order: ORDER,
};

/// API tokens of an account that cannot be used any more.
pub(super) async fn ended_tokens(
    db: &Db,
    user_id: UserId,
    now: DateTime<Utc>,
    span: Span<ApiTokenId>,
) -> Result<Walked<EndedToken>> {
    let filter =
        Filter::of("user_id = ?", user_id).with("(revoked_at IS NOT NULL OR expires_at <= ?)", now);
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, TOKENS, PLACE, filter, span).await?)
}

const QUOTES: List = List {
    rows: "SELECT id, plan_id, term_months, coupon_code, config, due, created_at, expires_at, used_at FROM quotes",
    from: "FROM quotes",
    key: "id",
    order: ORDER,
};

/// Quotes of an account that are still kept.
pub(super) async fn quotes(
    db: &Db,
    user_id: UserId,
    span: Span<QuoteId>,
) -> Result<Walked<KeptQuote>> {
    let filter = Filter::of("user_id = ?", user_id);
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, QUOTES, PLACE, filter, span).await?)
}

const MAILS: List = List {
    rows: "SELECT n.id, n.kind, d.address, d.state, d.attempts, d.answer, n.created_at, d.sent_at FROM notifications n \
           LEFT JOIN notification_deliveries d ON d.notification_id = n.id AND d.channel = 'EMAIL'",
    from: "FROM notifications n",
    key: "n.id",
    order: "ORDER BY n.created_at DESC, n.id DESC",
};

/// Notifications of an account, those that were mailed alone too, with their mails.
pub(super) async fn mails(
    db: &Db,
    user_id: UserId,
    span: Span<NotificationId>,
) -> Result<Walked<Mail>> {
    let filter = Filter::of("n.user_id = ?", user_id);
    let place = "(n.created_at, n.id) < (?, ?)";
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, MAILS, place, filter, span).await?)
}

const REFUNDS: List = List {
    rows: "SELECT r.id, r.payment_id, r.amount, r.state, r.created_at, r.finished_at \
           FROM payment_refunds r",
    from: "FROM payments p JOIN payment_refunds r ON r.payment_id = p.id",
    key: "r.id",
    order: "ORDER BY r.created_at DESC, r.id DESC",
};

/// Refunds of an account's top-ups through the gateway.
pub(super) async fn refunds(
    db: &Db,
    user_id: UserId,
    span: Span<RefundId>,
) -> Result<Walked<GatewayRefund>> {
    let filter = Filter::of("p.user_id = ?", user_id);
    let place = "(r.created_at, r.id) < (?, ?)";
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, REFUNDS, place, filter, span).await?)
}

const PLAN_CHANGES: List = List {
    rows: "SELECT c.id, c.subscription_id, c.from_plan_id, c.to_plan_id, c.from_monthly_price, c.period_number, \
           c.paid_cash, c.paid_bonus, c.transaction_id, c.state, c.message, c.created_at, c.settled_at \
           FROM plan_changes c",
    from: "FROM subscriptions s JOIN plan_changes c ON c.subscription_id = s.id",
    key: "c.id",
    order: "ORDER BY c.created_at DESC, c.id DESC",
};

/// Changes of plans of an account's subscriptions.
pub(super) async fn plan_changes(
    db: &Db,
    user_id: UserId,
    span: Span<PlanChangeId>,
) -> Result<Walked<ChangeOfPlan>> {
    let filter = Filter::of("s.user_id = ?", user_id);
    let place = "(c.created_at, c.id) < (?, ?)";
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, PLAN_CHANGES, place, filter, span).await?)
}

const PRICE_MOVES: List = List {
    rows: "SELECT m.subscription_id, m.plan_id, m.monthly_price, m.term_price, m.effective_at, m.applied_period, \
           m.created_at FROM price_moves m",
    from: "FROM subscriptions s JOIN price_moves m ON m.subscription_id = s.id",
    key: "m.subscription_id",
    order: "ORDER BY m.created_at DESC, m.subscription_id DESC",
};

/// Moves of an account's subscriptions to other prices.
pub(super) async fn price_moves(
    db: &Db,
    user_id: UserId,
    span: Span<SubscriptionId>,
) -> Result<Walked<MoveOfPrice>> {
    let filter = Filter::of("s.user_id = ?", user_id);
    let place = "(m.created_at, m.subscription_id) < (?, ?)";
    let mut conn = db.read().await?;
    Ok(fetch_span(&mut conn, PRICE_MOVES, place, filter, span).await?)
}
