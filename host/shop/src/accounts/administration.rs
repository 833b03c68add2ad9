//! Acts of administrators on accounts: making, changing and disabling them, and signing in to look
//! at one. Each has a reason, which stays in the audit trail.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    AccountStatus, Accounts, NewAccount, Origin, Role, User, confirmation,
    deletion::Deleting,
    store::{
        self, administration,
        sessions::{self, NewSession},
    },
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    calendar::json_text,
    crypto::Hidden,
    db::{Conn, Uncommitted, new_id},
    ids::{AuditEventId, UserId},
    language::Language,
    outbox::{self, Topic},
    owners, wallet,
};

/// Longest time for which an administrator looks at an account with one token.
const LOOK: TimeDelta = TimeDelta::minutes(15);

/// Administrator who acts, and the reason.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    pub actor_id: UserId,
    /// True for a program that acts by an API token.
    pub is_program: bool,
    pub reason: &'a str,
}

/// Changes of an account; what is absent stays.
#[derive(Debug, Default)]
pub struct AccountChange {
    pub name: Option<String>,
    pub phone: Option<String>,
    pub role: Option<Role>,
}

impl AccountChange {
    /// Returns true when nothing is to be changed.
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.phone.is_none() && self.role.is_none()
    }
}

/// Token with which an administrator looks at an account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// Account that is looked at.
    pub user_id: UserId,
    /// Token for `Authorization: Bearer ...`. It cannot be refreshed.
    #[schema(value_type = String)]
    pub access_token: Hidden,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub access_token_expires_at: DateTime<Utc>,
}

impl Accounts {
    /// Makes an account for another person. Without a password, a mail goes out with which that
    /// person chooses one.
    ///
    /// # Errors
    /// `EMAIL_TAKEN`; `FORBIDDEN` when the actor is no administrator any more, and for a program that
    /// makes an administrator.
    pub async fn make(&self, act: Act<'_>, new: NewAccount, is_invited: bool) -> Result<User> {
        if new.role == Role::Administrator {
            needs_session(act)?;
        }
        let user = self.prepare(new, Language::OF_ACCOUNTS).await?;
        let mut conn = self.db.begin().await?;
        check_actor(&mut conn, act.actor_id).await?;
        self.insert(&mut conn, &user).await?;
        if is_invited {
            let topic = Topic::PasswordReset;
            outbox::put_to_address(&mut conn, &self.clock, topic, &user.email).await?;
        } else {
            confirmation::ask(&mut conn, &self.clock, user.id).await?;
        }
        let details = json!({ "role": user.role });
        self.record(&mut conn, act, AuditAct::UserCreated, user.id, details)
            .await?;
        conn.commit().await?;
        tracing::info!(user.id = %user.id, user.role = %user.role, "account.created");
        Ok(user)
    }

    /// Changes name, phone or role. Another role ends every way into the account: what was signed in
    /// for less must not reach more.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` for the last administrator; `FORBIDDEN` when the actor is no
    /// administrator any more, and for a program that makes one or acts on one; `INVALID_STATE`, too, for an
    /// administrator whose address is not confirmed.
    pub async fn change(&self, act: Act<'_>, id: UserId, change: AccountChange) -> Result<User> {
        let (mut conn, now) = (self.db.begin().await?, self.clock.now());
        let user = lock(&mut conn, act.actor_id, id).await?;
        let role = change.role.unwrap_or(user.role);
        let is_other_role = role != user.role;
        if is_other_role || user.role == Role::Administrator {
            needs_session(act)?;
        }
        if is_other_role && role == Role::Administrator && user.email_verified_at.is_none() {
            return Err(Error::new(Code::InvalidState, UNCONFIRMED));
        }
        if role != Role::Administrator {
            keep_an_administrator(&mut conn, &user).await?;
        }
        let name = change.name.as_deref().unwrap_or(&user.name);
        let phone = change.phone.as_deref().or(user.phone.as_deref());
        let is_other_person = name != user.name || phone != user.phone.as_deref();
        // Recorded before they are done: an administrator may give up the own role.
        if is_other_person {
            // Who it was stays out of the trail, which nothing is removed from.
            let details =
                json!({ "name": name != user.name, "phone": phone != user.phone.as_deref() });
            self.record(&mut conn, act, AuditAct::UserChanged, id, details)
                .await?;
        }
        let moved = if is_other_role {
            let details = json!({ "from": user.role, "to": role });
            let recorded = AuditAct::UserRoleChanged;
            Some(self.record(&mut conn, act, recorded, id, details).await?)
        } else {
            None
        };
        administration::change(&mut conn, id, (name, phone, role), now).await?;
        if let Some(event) = moved {
            let facts = json!({ "change": "ROLE", "role": role, "at": json_text(now) });
            let key = event.to_string();
            self.tell(&mut conn, (Topic::AccountChanged, &key), id, facts)
                .await?;
            self.end_all_sessions(&mut conn, user).await?;
        }
        let user = store::by_id(&mut conn, id).await?;
        let user = user.ok_or_else(|| Error::not_found("account"))?;
        conn.commit().await?;
        self.standings.forget(id);
        Ok(user)
    }

    /// Disables an account, which ends every way into it, or enables it again. The caller commits it, and
    /// forgets its standing.
    ///
    /// # Errors
    /// As [`change`](Self::change); `INVALID_STATE` when it has this status already.
    pub(crate) async fn set_status(
        &self,
        act: Act<'_>,
        id: UserId,
        status: AccountStatus,
    ) -> Result<Uncommitted<User>> {
        let (mut conn, now) = (self.db.begin().await?, self.clock.now());
        let user = lock(&mut conn, act.actor_id, id).await?;
        if user.role == Role::Administrator {
            needs_session(act)?;
        }
        if user.status == status {
            let message = format!("This account is {status} already.");
            return Err(Error::new(Code::InvalidState, message));
        }
        let (recorded, change) = match status {
            AccountStatus::Disabled => (AuditAct::UserDisabled, "DISABLED"),
            AccountStatus::Active => (AuditAct::UserEnabled, "ENABLED"),
        };
        if status == AccountStatus::Disabled {
            keep_an_administrator(&mut conn, &user).await?;
            // Purchases under way come before, or see the account disabled.
            wallet::lock(&mut conn, id).await?;
        }
        let event = self.record(&mut conn, act, recorded, id, json!({})).await?;
        administration::set_status(&mut conn, id, status, now).await?;
        let facts = json!({ "change": change, "role": user.role, "at": json_text(now) });
        let key = event.to_string();
        self.tell(&mut conn, (Topic::AccountChanged, &key), id, facts)
            .await?;
        let user = User { status, ..user };
        let user = if status == AccountStatus::Disabled {
            self.end_all_sessions(&mut conn, user).await?
        } else {
            user
        };
        Ok(Uncommitted::new(conn, user))
    }

    /// Ends every way into an account, which stays open: its owner signs in again. The owner gets a
    /// notification.
    ///
    /// # Errors
    /// `NOT_FOUND`; `FORBIDDEN` when the actor is no administrator any more, and for a program that acts on one.
    pub async fn sign_out(&self, act: Act<'_>, id: UserId) -> Result<()> {
        let mut conn = self.db.begin().await?;
        let user = self.acted_on(&mut conn, act, id).await?;
        if user.role == Role::Administrator {
            needs_session(act)?;
        }
        let user = self.end_all_sessions(&mut conn, user).await?;
        self.record(&mut conn, act, AuditAct::UserSignedOut, id, json!({}))
            .await?;
        let key = user.token_generation.to_string();
        self.tell_of_end(&mut conn, id, (true, &key)).await?;
        conn.commit().await?;
        self.standings.forget(id);
        Ok(())
    }

    /// Lets an administrator look at an account as its owner sees it, for fifteen minutes: nothing
    /// can be changed or spent, and no password is shown. The owner gets a notification.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when the account is disabled or an administrator's; `FORBIDDEN`
    /// when the actor is no administrator any more.
    pub async fn look_at(&self, act: Act<'_>, id: UserId, origin: &Origin) -> Result<Look> {
        let (mut conn, now) = (self.db.begin().await?, self.clock.now());
        let user = self.acted_on(&mut conn, act, id).await?;
        let refusal = match (user.role, user.status) {
            (Role::Administrator, _) => Some("Accounts of administrators cannot be looked at."),
            (Role::User, AccountStatus::Disabled) => Some("This account is disabled."),
            (Role::User, AccountStatus::Active) => None,
        };
        if let Some(message) = refusal {
            return Err(Error::new(Code::InvalidState, message));
        }
        let session = new_id(&self.clock);
        let (access_token, expires_at) =
            self.keys
                .sign_look(&user, session, act.actor_id, LOOK, now)?;
        let new = NewSession {
            id: session,
            user_id: id,
            acting_id: Some(act.actor_id),
            origin,
            created_at: now,
            expires_at,
        };
        sessions::insert(&mut conn, &new).await?;
        let details = json!({ "session": session, "until": json_text(expires_at) });
        self.record(&mut conn, act, AuditAct::UserLookedAt, id, details)
            .await?;
        let until = json_text(expires_at);
        let facts = json!({ "reason": act.reason, "at": json_text(now), "until": until });
        let key = session.to_string();
        self.tell(&mut conn, (Topic::AccountLookedAt, &key), id, facts)
            .await?;
        conn.commit().await?;
        tracing::info!(user.id = %id, acting.id = %act.actor_id, "account.looked_at");
        Ok(Look {
            user_id: id,
            access_token: access_token.into(),
            access_token_expires_at: expires_at,
        })
    }

    pub(super) async fn record(
        &self,
        conn: &mut Conn,
        act: Act<'_>,
        recorded: AuditAct,
        id: UserId,
        details: Value,
    ) -> Result<AuditEventId> {
        let event = Event::new(recorded, Subject::User(id), details).because(act.reason);
        audit::record_with_id(conn, &self.clock, act.actor_id, event).await
    }

    /// Locks an account and returns it, for an actor who is an administrator still.
    pub(super) async fn acted_on(&self, conn: &mut Conn, act: Act<'_>, id: UserId) -> Result<User> {
        lock(conn, act.actor_id, id).await
    }

    /// Writes what happened to an account, once for each key of a kind.
    pub(super) async fn tell(
        &self,
        conn: &mut Conn,
        (topic, key): (Topic, &str),
        id: UserId,
        facts: Value,
    ) -> Result<()> {
        let what = (topic, id.into());
        outbox::put_once(conn, &self.clock, what, key, facts).await?;
        Ok(())
    }
}

/// Locks the administrators, so that of two acts on them at the same moment the second one sees the
/// first, and returns an account that is not deleted.
async fn lock(conn: &mut Conn, actor_id: UserId, id: UserId) -> Result<User> {
    administration::lock_administrators(conn).await?;
    check_actor(conn, actor_id).await?;
    existing(conn, id).await
}

/// Locks an account that is to be deleted, as [`lock`] does.
pub(super) async fn lock_for_deletion(
    conn: &mut Conn,
    by: Deleting<'_>,
    id: UserId,
) -> Result<User> {
    let user = match by {
        Deleting::Administrator(act) => {
            let user = lock(conn, act.actor_id, id).await?;
            if user.role == Role::Administrator {
                needs_session(act)?;
            }
            user
        }
        Deleting::Owner(identity) => {
            administration::lock_administrators(conn).await?;
            owners::still_signed_in(conn, identity.signed_in()).await?;
            existing(conn, id).await?
        }
    };
    keep_an_administrator(conn, &user).await?;
    Ok(user)
}

/// Refusal of a promotion: a stranger may have registered the address, and would keep password and second factor.
const UNCONFIRMED: &str = "The address of this account is not confirmed, and may be another person's. Make an account for the administrator instead.";

/// Refuses programs that make administrators, or act on them: the finder of an API token would become one, or keep
/// away those who would revoke it.
fn needs_session(act: Act<'_>) -> Result<()> {
    if !act.is_program {
        return Ok(());
    }
    let message =
        "No API token makes administrators, or acts on them. Log in, and send the access token.";
    Err(Error::new(Code::Forbidden, message))
}

/// The role was read when the request began.
async fn check_actor(conn: &mut Conn, actor_id: UserId) -> Result<()> {
    let actor = store::by_id(conn, actor_id).await?;
    let is_administrator = actor.is_some_and(|actor| {
        actor.role == Role::Administrator && actor.status == AccountStatus::Active
    });
    if is_administrator {
        return Ok(());
    }
    let message = "You are no administrator any more.";
    Err(Error::new(Code::Forbidden, message))
}

/// Locks an account that is not deleted, and returns it.
async fn existing(conn: &mut Conn, id: UserId) -> Result<User> {
    let user = store::lock(conn, id).await?;
    let user = user.filter(|user| user.deleted_at.is_none());
    user.ok_or_else(|| Error::not_found("account"))
}

/// Refuses what would leave the shop without an administrator; the administrators are locked.
async fn keep_an_administrator(conn: &mut Conn, user: &User) -> Result<()> {
    let is_administrator = user.role == Role::Administrator && user.status == AccountStatus::Active;
    if is_administrator && !administration::has_other_administrator(conn, user.id).await? {
        let message = "This is the last administrator. Make another one first.";
        return Err(Error::new(Code::InvalidState, message));
    }
    Ok(())
}
