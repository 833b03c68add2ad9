//! Status of an account, with what ends elsewhere when it is disabled.

use crate::{
    Result,
    accounts::{AccountStatus, Accounts, administration::Act},
    catalog::{Catalog, waitlist},
    ids::UserId,
};

/// Disables an account, or enables it again. A disabled one waits for no plan any more: a place that is held
/// for it goes to the next.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` for the last administrator, and when it has this status already; `FORBIDDEN`
/// when the actor is no administrator any more.
pub async fn set_status(
    (accounts, catalog): (&Accounts, &Catalog),
    act: Act<'_>,
    id: UserId,
    status: AccountStatus,
) -> Result<()> {
    let mut changed = accounts.set_status(act, id, status).await?;
    if status == AccountStatus::Disabled {
        waitlist::leave_all(changed.conn(), catalog, id).await?;
    }
    changed.commit().await?;
    accounts.forget_standing(id);
    Ok(())
}
