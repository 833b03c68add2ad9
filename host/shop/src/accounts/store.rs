//! The SQL of accounts.

pub(super) mod administration;
pub(super) mod deletion;
pub(super) mod mailed_tokens;
pub(super) mod sessions;

use chrono::{DateTime, Utc};

use super::{User, mailed_tokens::Purpose};
use crate::{
    db::Conn, execute, fetch_all, fetch_one, fetch_optional, ids::UserId, language::Language,
};

pub(super) async fn insert(conn: &mut Conn, user: &User) -> sqlx::Result<()> {
    let sql = "INSERT INTO users \
        (id, email, password_hash, name, phone, avatar, role, status, token_generation, created_at, updated_at, language) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)";
    execute!(
        conn,
        sql,
        user.id,
        &user.email,
        &user.password_hash,
        &user.name,
        &user.phone,
        &user.avatar,
        user.role,
        user.status,
        user.token_generation,
        user.created_at,
        user.language
    )?;
    Ok(())
}

macro_rules! select_user {
    () => {
        "SELECT id, email, password_hash, name, phone, avatar, role, status, token_generation, language, email_verified_at,
         deleted_at, created_at FROM users WHERE id = $1"
    };
}

pub(super) async fn by_id(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<User>> {
    fetch_optional!(conn, User, select_user!(), id)
}

/// Takes the row's lock, too. SQLite's writer has it already.
pub(super) async fn lock(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<User>> {
    let sql = if conn.is_postgres() {
        concat!(select_user!(), " FOR NO KEY UPDATE")
    } else {
        select_user!()
    };
    fetch_optional!(conn, User, sql, id)
}

/// The language that an account is written to in.
pub(super) async fn language(conn: &mut Conn, id: UserId) -> sqlx::Result<Option<Language>> {
    let sql = "SELECT language FROM users WHERE id = $1";
    Ok(fetch_optional!(conn, (Language,), sql, id)?.map(|(language,)| language))
}

pub(super) async fn by_email(conn: &mut Conn, email: &str) -> sqlx::Result<Option<User>> {
    let sql = "SELECT id, email, password_hash, name, phone, avatar, role, status, token_generation, language, email_verified_at, \
        deleted_at, created_at FROM users WHERE email = $1";
    fetch_optional!(conn, User, sql, email)
}

pub(super) async fn has_administrator(conn: &mut Conn) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'ADMINISTRATOR')";
    let (exists,) = fetch_one!(conn, (bool,), sql)?;
    Ok(exists)
}

/// Replaces name and phone, and the language if there is one; false when the account is deleted.
pub(super) async fn set_profile(
    conn: &mut Conn,
    id: UserId,
    name: &str,
    phone: Option<&str>,
    language: Option<Language>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET name = $2, phone = $3, language = COALESCE($4, language), updated_at = $5 \
               WHERE id = $1 AND deleted_at IS NULL";
    Ok(execute!(conn, sql, id, name, phone, language, now)? == 1)
}

/// Replaces or removes the picture; false when the account is deleted.
pub(super) async fn set_avatar(
    conn: &mut Conn,
    id: UserId,
    avatar: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET avatar = $2, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL";
    Ok(execute!(conn, sql, id, avatar, now)? == 1)
}

/// Replaces a hash that is still the stored one; a password changed meanwhile stays.
pub(super) async fn replace_password_hash(
    conn: &mut Conn,
    id: UserId,
    old: &str,
    new: &str,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
    Ok(execute!(conn, sql, id, old, new)? == 1)
}

/// Replaces whatever hash there is.
pub(super) async fn set_password_hash(
    conn: &mut Conn,
    id: UserId,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1";
    execute!(conn, sql, id, hash, now)
}

/// Invalidates every access token of the account and returns the new generation.
pub(super) async fn raise_generation(
    conn: &mut Conn,
    id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    let sql = "UPDATE users SET token_generation = token_generation + 1, updated_at = $2 WHERE id = $1 \
        RETURNING token_generation";
    Ok(fetch_optional!(conn, (i64,), sql, id, now)?.map(|(generation,)| generation))
}

// ---- confirmations ----

/// Notes the first confirmation, and that bonuses may be due; the account's other tokens end.
pub(super) async fn confirm_email(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE users SET email_verified_at = $2, bonuses_due_at = $2, updated_at = $2 \
               WHERE id = $1 AND email_verified_at IS NULL";
    execute!(conn, sql, user_id, now)?;
    mailed_tokens::forget_all(conn, user_id, Purpose::Confirmation)
        .await
        .map(|_| ())
}

/// Accounts whose bonuses have been due since this moment or longer.
pub(super) async fn bonuses_due(
    conn: &mut Conn,
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<UserId>> {
    let sql = "SELECT id FROM users WHERE bonuses_due_at <= $1 ORDER BY bonuses_due_at LIMIT $2";
    let found = fetch_all!(conn, (UserId,), sql, until, limit)?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Puts off an account's bonuses, when they are due since this moment or longer; false when another
/// server did.
pub(super) async fn take_bonuses(
    conn: &mut Conn,
    user_id: UserId,
    until: DateTime<Utc>,
    again_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE users SET bonuses_due_at = $3 WHERE id = $1 AND bonuses_due_at <= $2";
    Ok(execute!(conn, sql, user_id, until, again_at)? == 1)
}

pub(super) async fn bonuses_given(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "UPDATE users SET bonuses_due_at = NULL WHERE id = $1";
    execute!(conn, sql, user_id)
}
