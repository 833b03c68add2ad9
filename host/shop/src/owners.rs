//! Accounts as every domain checks them in the transaction of a write.
//!
//! A session is remembered for seconds, so that a request may come from one that has ended since, and other
//! requests are in flight when an account is disabled or deleted. What such a request writes is judged again
//! here: it comes before the end, which then covers it, or fails.

use crate::{
    Code, Error, Result,
    db::Conn,
    fetch_one, fetch_optional,
    ids::{SessionId, UserId},
};

/// Session or API token that a request came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIn {
    pub user_id: UserId,
    /// Id of the session, or of the API token.
    pub session: SessionId,
}

macro_rules! select_state {
    () => {
        "SELECT status = 'ACTIVE' FROM users WHERE id = $1 AND deleted_at IS NULL"
    };
}

/// Locks the caller's account until the transaction ends, for what outlives the session: keys, webhooks,
/// passwords, second factors. Whatever ends every session of an account locks it first, too.
///
/// # Errors
/// `UNAUTHENTICATED` when the session has ended or the API token was revoked.
pub async fn still_signed_in(conn: &mut Conn, caller: SignedIn) -> Result<()> {
    let SignedIn { user_id, session } = caller;
    let state = locked(conn, user_id).await?;
    // Read after the lock was granted: what ended meanwhile is seen.
    let sql = "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL) \
               OR EXISTS (SELECT 1 FROM api_tokens WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL)";
    let (is_signed_in,) = fetch_one!(conn, (bool,), sql, session, user_id)?;
    match state {
        Some(true) if is_signed_in => Ok(()),
        _ => Err(over()),
    }
}

/// Locks an account until the transaction ends, where its owner changes the account's row, or takes locks
/// after it that its deletion takes, too: the two come one after the other.
///
/// # Errors
/// `UNAUTHENTICATED` when the account is deleted or disabled.
pub async fn lock(conn: &mut Conn, user_id: UserId) -> Result<()> {
    match locked(conn, user_id).await? {
        Some(true) => Ok(()),
        _ => Err(over()),
    }
}

/// Takes the row's lock, and returns true when the account is active, and nothing when it is deleted.
async fn locked(conn: &mut Conn, user_id: UserId) -> Result<Option<bool>> {
    let sql = if conn.is_postgres() {
        concat!(select_state!(), " FOR NO KEY UPDATE")
    } else {
        select_state!()
    };
    let state = fetch_optional!(conn, (bool,), sql, user_id)?;
    Ok(state.map(|(is_active,)| is_active))
}

/// Keeps an account from being deleted until the transaction ends, for what its owner writes into it. Taken
/// before what the deletion removes, so that neither waits for the other.
///
/// # Errors
/// `UNAUTHENTICATED` when the account is deleted or disabled.
pub async fn hold(conn: &mut Conn, user_id: UserId) -> Result<()> {
    match keep(conn, user_id).await? {
        Some(true) => Ok(()),
        _ => Err(over()),
    }
}

/// Keeps an account from being deleted as [`hold`] does, for what is written to a disabled one, too; returns
/// true when it is active, and nothing when it is deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn keep(conn: &mut Conn, user_id: UserId) -> Result<Option<bool>> {
    let sql = if conn.is_postgres() {
        concat!(select_state!(), " FOR KEY SHARE")
    } else {
        select_state!()
    };
    let state = fetch_optional!(conn, (bool,), sql, user_id)?;
    Ok(state.map(|(is_active,)| is_active))
}

/// Checks that an account is active, under the lock of its wallet, which disabling and deleting it take, too.
///
/// # Errors
/// `UNAUTHENTICATED` when the account is deleted or disabled.
pub async fn check_active(conn: &mut Conn, user_id: UserId) -> Result<()> {
    let sql = "SELECT status = 'ACTIVE' FROM users WHERE id = $1 AND deleted_at IS NULL";
    match fetch_optional!(conn, (bool,), sql, user_id)? {
        Some((true,)) => Ok(()),
        _ => Err(over()),
    }
}

/// Returns the refusal of a session that has ended.
pub(crate) fn over() -> Error {
    Error::new(Code::Unauthenticated, "This session is over. Log in again.")
}
