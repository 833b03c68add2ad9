//! SQL of what only an archive lists.

use chrono::{DateTime, Utc};

use super::model::{EndedSession, EndedToken, KeptQuote, Mail};
use crate::{
    Result,
    db::{Db, Filter, List, Span, Walked, fetch_span},
    ids::{ApiTokenId, NotificationId, QuoteId, SessionId, UserId},
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
