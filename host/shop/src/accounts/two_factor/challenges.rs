//! The second step of a login: a challenge after the right password, answered with a code.

use chrono::TimeDelta;

use super::{Challenge, Checked, store};
use crate::{
    Code, Error, Result,
    accounts::{AccountStatus, Accounts, Origin, Tokens, User, disabled, store as accounts},
    crypto,
    db::{Conn, new_id},
    language,
};

/// Time in which a challenge is answered.
const LIFETIME: TimeDelta = TimeDelta::minutes(5);

impl Accounts {
    /// Returns a challenge for an account with a second factor, in the caller's transaction.
    pub(in crate::accounts) async fn challenge(
        &self,
        conn: &mut Conn,
        user: &User,
    ) -> Result<Option<Challenge>> {
        if store::enabled_at(conn, user.id).await?.is_none() {
            return Ok(None);
        }
        let (challenge, now) = (crypto::random_token(), self.clock.now());
        let expires_at = now + LIFETIME;
        store::forget_challenges(conn, now).await?;
        let hash = crypto::sha256_hex(&challenge);
        let id = new_id(&self.clock);
        store::insert_challenge(conn, id, (user.id, &hash), now, expires_at).await?;
        Ok(Some(Challenge {
            challenge: challenge.into(),
            expires_at,
        }))
    }

    /// Starts a session for the owner of a challenge with a code of the app or a recovery code.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS` when the code is wrong or was used before, or the challenge is unknown,
    /// used or too old; `TOO_MANY_REQUESTS` when guessing; `ACCOUNT_DISABLED`.
    pub async fn answer_challenge(
        &self,
        challenge: &str,
        code: &str,
        origin: &Origin,
    ) -> Result<(User, Tokens)> {
        let now = self.clock.now();
        let attempt = self.throttle.admit_token(origin.address.into(), now)?;
        let answered = self.answer(challenge, code, origin);
        let (attempt, answered) = attempt.unless_failing(answered).await?;
        let session = answered?;
        attempt.succeeded();
        self.standings.forget(session.0.id);
        Ok(session)
    }

    /// Returns a refusal of the caller inside, since that is counted, and a failure of ours outside.
    async fn answer(
        &self,
        challenge: &str,
        code: &str,
        origin: &Origin,
    ) -> Result<Result<(User, Tokens)>> {
        let now = self.clock.now();
        let hash = crypto::sha256_hex(challenge);
        let mut conn = self.db.begin().await?;
        let Some(user_id) = store::challenged(&mut conn, &hash, now).await? else {
            return Ok(Err(wrong()));
        };
        // The account's row first, as whatever ends its sessions and challenges does.
        let user = accounts::lock(&mut conn, user_id).await?;
        if let Some(user) = &user {
            // The challenge came after the right password, so refusals have the account's language, too.
            language::remember(user.language);
        }
        let checked = self.check_code(&mut conn, user_id, code, true).await?;
        match checked {
            Checked::Right => {}
            Checked::Wrong | Checked::Absent => {
                conn.commit().await?;
                return Ok(Err(wrong()));
            }
            Checked::Blocked(until) => {
                return Err(crate::throttle::too_many("wrong codes", until - now));
            }
        }
        // Another answer may have used it while this one waited for the lock.
        if !store::take_challenge(&mut conn, &hash).await? {
            return Ok(Err(wrong()));
        }
        let user = user.ok_or_else(wrong)?;
        if user.status == AccountStatus::Disabled {
            return Err(disabled());
        }
        let tokens = self.start_session(&mut conn, &user, origin).await?;
        conn.commit().await?;
        Ok(Ok((user, tokens)))
    }
}

fn wrong() -> Error {
    let message = "The code is wrong or was used before, or the login took too long. Log in again.";
    Error::new(Code::InvalidCredentials, message)
}
