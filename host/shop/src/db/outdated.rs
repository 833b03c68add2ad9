//! Statements that a connection to PostgreSQL has kept since before a table got another column.
//!
//! A server of a later release adds columns while this one works (ADR 34). PostgreSQL then refuses each kept
//! statement whose answer would have them, such as that of `SELECT *`, and the driver never lets go of it.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

/// Code of the refusal.
pub(super) const REFUSAL: &str = "0A000";

/// Moment of the last refusal, for all databases of this process.
static REFUSED_AT: RwLock<Option<Instant>> = RwLock::new(None);

/// Returns the outcome of a statement, and notes such a refusal.
pub(super) fn noted<T>(outcome: sqlx::Result<T>) -> sqlx::Result<T> {
    if let Err(error) = &outcome
        && is_refusal(error)
    {
        let mut refused_at = REFUSED_AT.write().unwrap_or_else(PoisonError::into_inner);
        *refused_at = Some(Instant::now());
    }
    outcome
}

fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|cause| cause.code());
    code.as_deref() == Some(REFUSAL)
}

/// Returns true for a connection of this age that may have kept such a statement.
pub(super) fn is_outdated(age: Duration) -> bool {
    let refused_at = *REFUSED_AT.read().unwrap_or_else(PoisonError::into_inner);
    refused_at.is_some_and(|at| at.elapsed() <= age)
}
