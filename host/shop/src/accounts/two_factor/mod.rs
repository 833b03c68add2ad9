//! Sign-in with a second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes
//! for the day on which it is lost.
//!
//! The app's secret is sealed with the master key; recovery codes are stored hashed. Codes are checked
//! under a lock of the account's row, which counts every attempt before it is looked at: no code works
//! twice, and guesses at the same moment on several servers are counted as those one after the other.

mod challenges;
mod codes;
mod model;
pub(super) mod store;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use self::{
    codes::{Code as SentCode, RECOVERY_CODES},
    store::{Attempt, NewTwoFactor},
};
use super::{Accounts, Identity, Password, Role, administration::Act, api_tokens, store::sessions};
use crate::{
    Code, Error, Result,
    audit::AuditAct,
    calendar::json_text,
    crypto::{self, Hidden},
    db::Conn,
    ids::UserId,
    outbox::Topic,
    owners,
    throttle::too_many,
};

pub use model::{Challenge, Enrolment, RecoveryCodes, SignIn, TwoFactorView};

/// Failures in a row after which no code is looked at for a while.
const UNDELAYED: i64 = 10;
/// First such while; it doubles with each further ten failures.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(15);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(24);

/// Result of a look at a code. The attempt is counted: the caller commits in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    Right,
    Wrong,
    /// Too many failures; the code was not looked at.
    Blocked(DateTime<Utc>),
    /// The account has no such second factor.
    Absent,
}

impl Accounts {
    /// Returns the state of an account's second factor.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn two_factor(&self, identity: Identity) -> Result<TwoFactorView> {
        let mut conn = self.db.read().await?;
        let enabled_at = store::enabled_at(&mut conn, identity.user_id).await?;
        Ok(TwoFactorView {
            is_enabled: enabled_at.is_some(),
            enabled_at,
            recovery_codes_left: store::count_codes(&mut conn, identity.user_id).await?,
            is_required: self.requires_two_factor(identity.role),
        })
    }

    /// Returns true for accounts that do nothing without a second factor.
    pub const fn requires_two_factor(&self, role: Role) -> bool {
        self.admin_two_factor && matches!(role, Role::Administrator)
    }

    /// Makes a secret for the owner's app, in place of one that no code has proven yet. It counts
    /// from [`confirm_two_factor`](Self::confirm_two_factor) on.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the password is wrong, `INVALID_STATE` when there is a second factor,
    /// `TOO_MANY_REQUESTS` when guessing.
    pub async fn begin_two_factor(
        &self,
        identity: Identity,
        password: Password,
        shop_name: &str,
    ) -> Result<Enrolment> {
        let user_id = identity.user_id;
        let user = self.user(user_id).await?;
        self.check_password(&user, password, "password").await?;
        let secret = crypto::random_bytes::<20>();
        let sealed = self.vault.seal(&secret, &place(user_id))?;
        let new = NewTwoFactor {
            user_id,
            sealed: &sealed,
            now: self.clock.now(),
        };
        let mut conn = self.db.begin().await?;
        owners::still_signed_in(&mut conn, identity.signed_in()).await?;
        if !store::begin(&mut conn, &new).await? {
            let message = "Two-factor sign-in is on already. Turn it off first.";
            return Err(Error::new(Code::InvalidState, message));
        }
        conn.commit().await?;
        codes::enrolment(&secret, &user.email, shop_name)
    }

    /// Turns the second factor on with a code of the owner's app, and returns recovery codes. Other
    /// sessions and all API tokens end, since they were made with the password alone.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the code is wrong, `INVALID_STATE` when none was begun,
    /// `TOO_MANY_REQUESTS` when guessing.
    pub async fn confirm_two_factor(
        &self,
        identity: Identity,
        code: &str,
    ) -> Result<RecoveryCodes> {
        let (user_id, now) = (identity.user_id, self.clock.now());
        let mut conn = self.db.begin().await?;
        owners::still_signed_in(&mut conn, identity.signed_in()).await?;
        let checked = self.check_code(&mut conn, user_id, code, false).await?;
        if checked != Checked::Right {
            conn.commit().await?;
            return Err(refusal(checked, now, "Begin with a new secret first."));
        }
        store::enable(&mut conn, user_id, now).await?;
        let codes = self.new_codes(&mut conn, user_id).await?;
        sessions::end_others(&mut conn, user_id, identity.session, now).await?;
        api_tokens::revoke_all(&mut conn, user_id, now).await?;
        self.tell_of_change(&mut conn, user_id, "ENABLED").await?;
        conn.commit().await?;
        self.standings.forget(user_id);
        tracing::info!(user.id = %user_id, "two_factor.enabled");
        Ok(codes)
    }

    /// Turns the second factor off, with the password and a code.
    ///
    /// # Errors
    /// As [`confirm_two_factor`](Self::confirm_two_factor); `TWO_FACTOR_REQUIRED` where the shop asks
    /// it of this account.
    pub async fn disable_two_factor(
        &self,
        identity: Identity,
        password: Password,
        code: &str,
    ) -> Result<()> {
        if self.requires_two_factor(identity.role) {
            let message =
                "Two-factor sign-in may not be turned off: administrators of this shop need it.";
            return Err(Error::new(Code::TwoFactorRequired, message));
        }
        let mut conn = self.proven(identity, password, code).await?;
        store::remove(&mut conn, identity.user_id).await?;
        self.tell_of_change(&mut conn, identity.user_id, "DISABLED")
            .await?;
        conn.commit().await?;
        self.standings.forget(identity.user_id);
        tracing::info!(user.id = %identity.user_id, "two_factor.disabled");
        Ok(())
    }

    /// Makes new recovery codes in place of the old ones, with the password and a code.
    ///
    /// # Errors
    /// As [`confirm_two_factor`](Self::confirm_two_factor).
    pub async fn renew_recovery_codes(
        &self,
        identity: Identity,
        password: Password,
        code: &str,
    ) -> Result<RecoveryCodes> {
        let user_id = identity.user_id;
        let mut conn = self.proven(identity, password, code).await?;
        let codes = self.new_codes(&mut conn, user_id).await?;
        self.tell_of_change(&mut conn, user_id, "CODES_RENEWED")
            .await?;
        conn.commit().await?;
        Ok(codes)
    }

    /// Takes the second factor from an account whose owner has lost it, by another administrator. All its
    /// sessions end.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` when there is none, or it is the actor's own; `FORBIDDEN` when the
    /// actor is no administrator any more.
    pub async fn remove_two_factor(&self, act: Act<'_>, id: UserId) -> Result<()> {
        // A session alone must not take away what its owner turns off with a password and a code.
        if act.actor_id == id {
            let message = "Another administrator has to turn off your two-factor sign-in. With the password and a code you can: DELETE /api/user/two-factor.";
            return Err(Error::new(Code::InvalidState, message));
        }
        let mut conn = self.db.begin().await?;
        let user = self.acted_on(&mut conn, act, id).await?;
        if store::enabled_at(&mut conn, id).await?.is_none() {
            let message = "This account has no two-factor sign-in.";
            return Err(Error::new(Code::InvalidState, message));
        }
        store::remove(&mut conn, id).await?;
        let recorded = AuditAct::UserTwoFactorRemoved;
        self.record(&mut conn, act, recorded, id, json!({})).await?;
        self.tell_of_change(&mut conn, id, "REMOVED").await?;
        self.end_all_sessions(&mut conn, user).await?;
        conn.commit().await?;
        self.standings.forget(id);
        Ok(())
    }

    /// Removes the second factor of an account that is passed to the owner of its address, in the caller's
    /// transaction, and tells of one that was on.
    pub(super) async fn drop_two_factor(&self, conn: &mut Conn, id: UserId) -> Result<()> {
        let was_on = store::enabled_at(conn, id).await?.is_some();
        store::remove(conn, id).await?;
        if was_on {
            self.tell_of_change(conn, id, "DISABLED").await?;
        }
        Ok(())
    }

    /// Opens a transaction for an owner who is signed in and has proven password and second factor.
    pub(super) async fn proven(
        &self,
        identity: Identity,
        password: Password,
        code: &str,
    ) -> Result<Conn> {
        let user_id = identity.user_id;
        let user = self.user(user_id).await?;
        self.check_password(&user, password, "password").await?;
        let mut conn = self.db.begin().await?;
        owners::still_signed_in(&mut conn, identity.signed_in()).await?;
        let checked = self.check_code(&mut conn, user_id, code, true).await?;
        if checked == Checked::Right {
            return Ok(conn);
        }
        conn.commit().await?;
        let message = "Two-factor sign-in is not on.";
        Err(refusal(checked, self.clock.now(), message))
    }

    /// Looks at a code, of a second factor that is on or of one that is being turned on.
    async fn check_code(
        &self,
        conn: &mut Conn,
        user_id: UserId,
        code: &str,
        is_enabled: bool,
    ) -> Result<Checked> {
        let now = self.clock.now();
        let Some(attempt) = store::count_attempt(conn, user_id, is_enabled, now).await? else {
            let until = store::blocked_until(conn, user_id, is_enabled, now).await?;
            return Ok(until.map_or(Checked::Absent, Checked::Blocked));
        };
        if self.is_right(conn, user_id, code, &attempt).await? {
            return Ok(Checked::Right);
        }
        if attempt.failures % UNDELAYED == 0 {
            let until = now + pause(attempt.failures);
            store::block(conn, user_id, until).await?;
            if is_enabled {
                self.tell_of_change(conn, user_id, "GUESSED").await?;
            }
            tracing::warn!(user.id = %user_id, two_factor.failures = attempt.failures, "two_factor.blocked");
        }
        Ok(Checked::Wrong)
    }

    /// Compares a code, and uses it up when it is right.
    async fn is_right(
        &self,
        conn: &mut Conn,
        user_id: UserId,
        code: &str,
        attempt: &Attempt,
    ) -> Result<bool> {
        match SentCode::read(code) {
            Some(SentCode::OfApp(digits)) => {
                let secret = self.vault.open(&attempt.secret, &place(user_id))?;
                let step = codes::step_of(&secret, &digits, self.clock.now())?;
                let Some(step) = step.filter(|step| *step > attempt.last_step) else {
                    return Ok(false);
                };
                store::accept_step(conn, user_id, step).await?;
                Ok(true)
            }
            Some(SentCode::Recovery(hash)) => {
                if !store::take_code(conn, user_id, &hash).await? {
                    return Ok(false);
                }
                store::accept(conn, user_id).await?;
                self.tell_of_change(conn, user_id, "CODE_USED").await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn new_codes(&self, conn: &mut Conn, user_id: UserId) -> Result<RecoveryCodes> {
        store::remove_codes(conn, user_id).await?;
        let codes: Vec<String> = (0..RECOVERY_CODES)
            .map(|_| codes::recovery_code())
            .collect();
        for code in &codes {
            let hash = codes::hash(code);
            store::insert_code(conn, user_id, &hash, self.clock.now()).await?;
        }
        let codes = codes.into_iter().map(Hidden::from).collect();
        Ok(RecoveryCodes { codes })
    }

    async fn tell_of_change(&self, conn: &mut Conn, user_id: UserId, change: &str) -> Result<()> {
        let left = store::count_codes(conn, user_id).await?;
        let at = json_text(self.clock.now());
        // Messages of one key would say the same.
        let key = format!("{change}:{left}:{at}");
        let facts = json!({ "change": change, "codesLeft": left, "at": at });
        self.tell(conn, (Topic::TwoFactorChanged, &key), user_id, facts)
            .await
    }
}

/// Place of a secret, which it is sealed for.
fn place(user_id: UserId) -> Vec<u8> {
    format!("two-factor:{user_id}").into_bytes()
}

fn pause(failures: i64) -> TimeDelta {
    let further = failures / UNDELAYED - 1;
    let doubled = u32::try_from(further).unwrap_or_default().min(10);
    let pause = FIRST_PAUSE.checked_mul(1 << doubled);
    pause.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

/// Words a code that was not right; `absent` is the sentence where there is nothing to check it by.
fn refusal(checked: Checked, now: DateTime<Utc>, absent: &str) -> Error {
    match checked {
        Checked::Blocked(until) => too_many("wrong codes", until - now),
        Checked::Absent => Error::new(Code::InvalidState, absent),
        Checked::Right | Checked::Wrong => {
            Error::invalid("code", "is wrong, was used before, or is too old")
        }
    }
}

/// Returns the refusal of those who need a second factor.
pub fn required() -> Error {
    let message = "Administrators of this shop need two-factor sign-in: POST /api/user/two-factor turns it on.";
    Error::new(Code::TwoFactorRequired, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_day() {
        let minutes = |failures| pause(failures).num_minutes();
        assert_eq!(
            [10, 20, 30, 70, 80, 1_000_000].map(minutes),
            [15, 30, 60, 960, 1440, 1440]
        );
    }
}
