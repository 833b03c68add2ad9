//! Part of an account's deletion that is the account's own; the whole of it is
//! [`users`](crate::users)'.

use serde_json::Value;

use super::{
    Accounts, Identity, Password, User,
    administration::{self, Act},
    store::deletion,
    two_factor,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    crypto::{self, Vault},
    db::{Clock, Conn},
    ids::UserId,
    owners,
};

/// Party that deletes an account.
#[derive(Debug, Clone, Copy)]
pub enum Deleting<'a> {
    Owner(Identity),
    Administrator(Act<'a>),
}

impl Accounts {
    /// Proves that it is the owner who wants the account deleted: by the password, and by a code
    /// where the account has a second factor.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when one of them is wrong or missing, `TOO_MANY_REQUESTS` when guessing,
    /// `UNAUTHENTICATED` when the session has ended.
    pub async fn prove_owner(
        &self,
        identity: Identity,
        password: Password,
        code: Option<&str>,
    ) -> Result<()> {
        // Not as the session was remembered: it may have been turned on a moment ago, on another server.
        if self.two_factor(identity).await?.is_enabled {
            let code = code.ok_or_else(|| Error::invalid("code", "is missing"))?;
            let conn = self.proven(identity, password, code).await?;
            return Ok(conn.commit().await?);
        }
        let user = self.user(identity.user_id).await?;
        self.check_password(&user, password, "password").await?;
        let mut conn = self.db.begin().await?;
        owners::still_signed_in(&mut conn, identity.signed_in()).await?;
        Ok(conn.commit().await?)
    }

    /// Opens the transaction of a deletion.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` for the last administrator, and for an administrator's own account, which
    /// is deleted by its owner; `FORBIDDEN` when the actor is no administrator any more; `UNAUTHENTICATED` when
    /// the owner's session has ended.
    pub(crate) async fn begin_deletion(
        &self,
        by: Deleting<'_>,
        id: UserId,
    ) -> Result<(Conn, User)> {
        if let Deleting::Administrator(act) = by
            && act.actor_id == id
        {
            let message = "Your own account is deleted with its password: DELETE /api/user.";
            return Err(Error::new(Code::InvalidState, message));
        }
        let mut conn = self.db.begin().await?;
        let user = administration::lock_for_deletion(&mut conn, by, id).await?;
        Ok((conn, user))
    }

    /// Takes what is personal from the account, and every way into it.
    pub(crate) async fn erase(
        &self,
        conn: &mut Conn,
        by: Deleting<'_>,
        user: User,
        details: Value,
    ) -> Result<()> {
        let id = user.id;
        let event = Event::new(AuditAct::UserDeleted, Subject::User(id), details);
        match by {
            Deleting::Owner(_) => audit::record_of_owner(conn, &self.clock, id, event).await?,
            Deleting::Administrator(act) => {
                let event = event.because(act.reason);
                audit::record(conn, &self.clock, act.actor_id, event).await?;
            }
        }
        self.end_all_sessions(conn, user).await?;
        two_factor::store::remove(conn, id).await?;
        // Not to be guessed: an account with this address would keep this one from being deleted.
        let address = format!("deleted-{}@deleted.invalid", crypto::random_hex(16));
        deletion::erase(conn, id, &address, self.clock.now()).await?;
        Ok(())
    }

    /// Returns the clock that deletions go by.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the vault that makes the digests of what a deletion erases.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Lets a deletion take effect here at once.
    pub(crate) fn forget_standing(&self, id: UserId) {
        self.standings.forget(id);
    }
}
