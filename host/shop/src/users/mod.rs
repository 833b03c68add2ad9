//! Accounts with what belongs to them in other domains: lists for administrators, export and deletion.

pub mod deletion;
mod export;
mod model;
pub mod status;
mod store;

pub use export::{Exports, Sources, held};
pub use model::{UserFilter, UserState, UserView};

use crate::{
    Error, Result,
    db::{Db, Span, Walked},
    ids::UserId,
};

/// Lists accounts, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: &Db,
    filter: &UserFilter<'_>,
    span: Span<UserId>,
) -> Result<Walked<UserView>> {
    Ok(store::list(&mut db.read().await?, filter, span).await?)
}

/// Returns an account.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn get(db: &Db, id: UserId) -> Result<UserView> {
    let found = store::by_id(&mut db.read().await?, id).await?;
    found.ok_or_else(|| Error::not_found("account"))
}
