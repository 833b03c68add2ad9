//! Sessions: started by a login, kept up by rotating refresh tokens, ended by logging out.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::json;

use super::{
    AccountStatus, Accounts, Origin, Role, Scope, SessionView, Tokens, User,
    api_tokens::{self, is_api_token},
    disabled,
    mailed_tokens::Purpose,
    store::{
        self,
        sessions::{self, NewRefreshToken, NewSession, Standing},
    },
    two_factor,
};
use crate::{
    Code, Error, Result,
    calendar::json_text,
    crypto,
    db::{Conn, new_id},
    ids::{SessionId, UserId},
    language::{self, Language},
    outbox::{self, Topic},
    owners::{SignedIn, over},
};

/// Cache lifetime of an account's standing: the longest an ended session still works.
pub(super) const STANDING_TTL: TimeDelta = TimeDelta::seconds(3);
/// Number of standings at which expired ones are swept.
const SWEEP_AT: usize = 10_000;
/// Resolution of the recorded last use; a write for every request would cost too much.
const LAST_USE_RESOLUTION: TimeDelta = TimeDelta::minutes(10);

/// Time after its first use in which a refresh token is answered again: tabs of a browser send the same
/// one at the same moment, and an answer may not arrive.
const REPEAT_LEEWAY: TimeDelta = TimeDelta::seconds(10);
/// Purpose of the vault's tokens that follow from others.
const REFRESH_TOKENS: &str = "refresh token";

/// Identity of the caller, proven by an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub user_id: UserId,
    pub session: SessionId,
    pub role: Role,
    /// True for a program that acts by an API token.
    pub is_program: bool,
    /// Administrator who looks at the account.
    pub acting: Option<UserId>,
    /// True when the account has a second factor.
    pub has_two_factor: bool,
    /// Language of what is written to the account.
    pub language: Language,
}

impl Identity {
    /// Returns what is checked again in the transaction of a write.
    pub const fn signed_in(self) -> SignedIn {
        SignedIn {
            user_id: self.user_id,
            session: self.session,
        }
    }
}

/// An account and one of its sessions.
type SessionKey = (UserId, SessionId);

/// Cache of the standings of sessions in use, with the time each was read.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<HashMap<SessionKey, (Standing, DateTime<Utc>)>>);

impl Standings {
    fn recall(&self, key: SessionKey, now: DateTime<Utc>) -> Option<Standing> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&key)
            .filter(|(_, read_at)| now - *read_at < STANDING_TTL)
            .map(|(standing, _)| *standing)
    }

    fn remember(&self, key: SessionKey, standing: Standing, now: DateTime<Utc>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SWEEP_AT {
            known.retain(|_, (_, read_at)| now - *read_at < STANDING_TTL);
        }
        // Full of fresh ones, it does not grow: the database is asked about this session each time.
        if known.len() < SWEEP_AT {
            known.insert(key, (standing, now));
        }
    }

    /// Forgets an account's standing: a change applies here at once, elsewhere within
    /// [`STANDING_TTL`].
    pub(super) fn forget(&self, user_id: UserId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(user, _), _| *user != user_id);
    }
}

impl Accounts {
    /// Applies another language of an account from its next request on.
    pub fn language_changed(&self, user_id: UserId) {
        self.standings.forget(user_id);
    }

    /// Returns the holder of this access or API token; `route` is the pattern of the route.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when it is not ours or its session is over, `TOKEN_EXPIRED` after its
    /// expiry, `FORBIDDEN` when the request is beyond an API token's scope.
    pub async fn authenticate(
        &self,
        token: &str,
        method: &Method,
        route: &str,
    ) -> Result<Identity> {
        if is_api_token(token) {
            return self.authenticate_api_token(token, method, route).await;
        }
        let now = self.clock.now();
        let claims = self.keys.read(token, now)?;
        let key = (claims.sub, claims.sid);
        let standing = match self.standings.recall(key, now) {
            Some(standing) => standing,
            None => {
                let standing =
                    sessions::standing(&mut self.db.read().await?, claims.sub, claims.sid).await?;
                let standing = standing.ok_or_else(over)?;
                self.standings.remember(key, standing, now);
                if standing
                    .last_used_at
                    .is_some_and(|used| now - used >= LAST_USE_RESOLUTION)
                {
                    self.note_session_use(claims.sid, now).await;
                }
                standing
            }
        };
        let is_active = standing.status == AccountStatus::Active && standing.last_used_at.is_some();
        if !is_active || claims.generation != standing.token_generation {
            return Err(over());
        }
        // A refusal has the account's language, too.
        language::remember(standing.language);
        if standing.acting_id.is_some() && !may_look(method, route) {
            let message = format!(
                "A look at an account has the scope READ, which does not reach {method} {route}."
            );
            return Err(Error::new(Code::Forbidden, message));
        }
        Ok(Identity {
            user_id: claims.sub,
            session: claims.sid,
            role: standing.role,
            is_program: false,
            acting: standing.acting_id,
            has_two_factor: standing.has_two_factor,
            language: standing.language,
        })
    }

    /// Records the last use, for its owner to look at; a request does not fail for it.
    async fn note_session_use(&self, id: SessionId, now: DateTime<Utc>) {
        let noted: sqlx::Result<()> = async {
            let mut conn = self.db.begin().await?;
            sessions::note_use(&mut conn, id, now).await?;
            conn.commit().await
        }
        .await;
        if let Err(error) = noted {
            tracing::warn!(%error, session.id = %id, "session.use_not_noted");
        }
    }

    /// Starts a session in the caller's transaction and returns its tokens. A device that is new is a
    /// security event, unless the account has no other session: the first one is no news.
    pub(super) async fn start_session(
        &self,
        conn: &mut Conn,
        user: &User,
        origin: &Origin,
    ) -> Result<Tokens> {
        let id: SessionId = new_id(&self.clock);
        if sessions::is_new_device(conn, user.id, origin).await? {
            let (device, address) = (&origin.device, origin.address);
            let at = json_text(self.clock.now());
            let payload = json!({ "device": device, "address": address, "at": at });
            let (what, key) = ((Topic::NewDevice, user.id.into()), id.to_string());
            outbox::put_once(conn, &self.clock, what, &key, payload).await?;
        }
        let refresh_token = crypto::random_token();
        let tokens = self.issue(conn, user, id, refresh_token).await?;
        let new = NewSession {
            id,
            user_id: user.id,
            acting_id: None,
            origin,
            created_at: self.clock.now(),
            expires_at: tokens.last_use(),
        };
        sessions::insert(conn, &new).await?;
        Ok(tokens)
    }

    /// Keeps a refresh token of a session and returns it with an access token.
    async fn issue(
        &self,
        conn: &mut Conn,
        user: &User,
        session: SessionId,
        refresh_token: String,
    ) -> Result<Tokens> {
        let now = self.clock.now();
        let row = NewRefreshToken {
            id: new_id(&self.clock),
            user_id: user.id,
            family: session,
            token_hash: crypto::sha256_hex(&refresh_token),
            created_at: now,
            expires_at: now + self.refresh_lifetime,
        };
        sessions::insert_refresh_token(conn, &row).await?;
        self.pair(user, session, refresh_token, row.expires_at)
    }

    /// Returns a refresh token that is kept, with a new access token.
    fn pair(
        &self,
        user: &User,
        session: SessionId,
        refresh_token: String,
        refresh_token_expires_at: DateTime<Utc>,
    ) -> Result<Tokens> {
        let (generation, now) = (user.token_generation, self.clock.now());
        let (access_token, access_token_expires_at) = self
            .keys
            .sign(user.id, session, user.role, generation, now)?;
        Ok(Tokens {
            access_token: access_token.into(),
            access_token_expires_at,
            refresh_token: refresh_token.into(),
            refresh_token_expires_at,
        })
    }

    /// Exchanges a refresh token for a new pair. A token that comes again within ten seconds is
    /// answered with the same new refresh token, as long as that one was not used. Any other
    /// repetition is a theft, from its owner or by its owner's thief: its whole family ends.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for an unknown, used, revoked or expired token.
    pub async fn refresh(&self, refresh_token: &str, origin: &Origin) -> Result<Tokens> {
        let now = self.clock.now();
        let hash = crypto::sha256_hex(refresh_token);
        let mut conn = self.db.begin().await?;
        let answered = match sessions::rotate_refresh_token(&mut conn, &hash, now).await? {
            Some((user_id, session)) => {
                let user = refreshing(&mut conn, user_id).await?;
                let next = self.vault.next_token(REFRESH_TOKENS, refresh_token)?;
                let tokens = self.issue(&mut conn, &user, session, next).await?;
                Some((session, tokens))
            }
            None => self.repeated(&mut conn, refresh_token, &hash).await?,
        };
        let Some((session, tokens)) = answered else {
            self.end_reused(conn, &hash).await?;
            return Err(Error::new(
                Code::Unauthenticated,
                "The refresh token is no longer valid. Log in again.",
            ));
        };
        if !sessions::prolong(&mut conn, session, origin, now, tokens.last_use()).await? {
            return Err(over());
        }
        conn.commit().await?;
        Ok(tokens)
    }

    /// Returns the tokens of a session for a refresh token that was used a moment ago: the refresh token
    /// that followed from it, unless that one was used, too.
    async fn repeated(
        &self,
        conn: &mut Conn,
        refresh_token: &str,
        hash: &str,
    ) -> Result<Option<(SessionId, Tokens)>> {
        let now = self.clock.now();
        let rotated = sessions::rotated_since(conn, hash, now - REPEAT_LEEWAY).await?;
        let Some((user_id, session)) = rotated else {
            return Ok(None);
        };
        for next in self.vault.next_tokens(REFRESH_TOKENS, refresh_token) {
            let hash = crypto::sha256_hex(&next);
            let unused = sessions::expiry_of_unused(conn, &hash, session, now).await?;
            if let Some(expires_at) = unused {
                let user = refreshing(conn, user_id).await?;
                let tokens = self.pair(&user, session, next, expires_at)?;
                tracing::info!(session.id = %session, "session.refresh_token_repeated");
                return Ok(Some((session, tokens)));
            }
        }
        Ok(None)
    }

    /// Ends the session of a refresh token that comes again when it must not.
    async fn end_reused(&self, mut conn: Conn, hash: &str) -> Result<()> {
        let Some((user_id, family)) = sessions::family_of_rotated(&mut conn, hash).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let has_ended = sessions::end(&mut conn, user_id, family, now).await?;
        if has_ended {
            let key = family.to_string();
            self.tell_of_end(&mut conn, user_id, (false, &key)).await?;
        }
        conn.commit().await?;
        self.standings.forget(user_id);
        tracing::warn!(session.id = %family, session.ended = has_ended, "session.refresh_token_reused");
        Ok(())
    }

    /// Ends one session: its refresh tokens at once, its access token within seconds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn log_out(&self, identity: Identity) -> Result<()> {
        let mut conn = self.db.begin().await?;
        let (user_id, now) = (identity.user_id, self.clock.now());
        sessions::end(&mut conn, user_id, identity.session, now).await?;
        conn.commit().await?;
        self.standings.forget(identity.user_id);
        Ok(())
    }

    /// Returns the sessions of the caller's account that can be used, the last used first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sessions(&self, identity: Identity) -> Result<Vec<SessionView>> {
        let (mut conn, now) = (self.db.read().await?, self.clock.now());
        let mut found = sessions::list(&mut conn, identity.user_id, now).await?;
        for session in &mut found {
            session.is_current = session.id == identity.session;
        }
        Ok(found)
    }

    /// Ends a session of an account, wherever it is.
    ///
    /// # Errors
    /// `NOT_FOUND` when the account has no such session, or had.
    pub async fn end_session(&self, user_id: UserId, id: SessionId) -> Result<()> {
        let mut conn = self.db.begin().await?;
        if !sessions::end(&mut conn, user_id, id, self.clock.now()).await? {
            return Err(Error::not_found("session"));
        }
        conn.commit().await?;
        self.standings.forget(user_id);
        Ok(())
    }

    /// Ends all sessions of the caller's account but this one; returns how many there were. API
    /// tokens stay.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_other_sessions(&self, identity: Identity) -> Result<u64> {
        let mut conn = self.db.begin().await?;
        let (user_id, now) = (identity.user_id, self.clock.now());
        let ended = sessions::end_others(&mut conn, user_id, identity.session, now).await?;
        conn.commit().await?;
        self.standings.forget(user_id);
        Ok(ended)
    }

    /// Ends every session of an account and revokes its API tokens.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such account.
    pub async fn log_out_everywhere(&self, user_id: UserId) -> Result<()> {
        let user = self.user(user_id).await?;
        let mut conn = self.db.begin().await?;
        let user = self.end_all_sessions(&mut conn, user).await?;
        let key = user.token_generation.to_string();
        self.tell_of_end(&mut conn, user_id, (true, &key)).await?;
        conn.commit().await?;
        self.standings.forget(user_id);
        Ok(())
    }

    /// Writes to an account that all its sessions were ended, or one that may have been stolen: once for
    /// each generation of tokens, and for each session.
    pub(super) async fn tell_of_end(
        &self,
        conn: &mut Conn,
        user_id: UserId,
        (all, key): (bool, &str),
    ) -> Result<()> {
        let facts = json!({ "at": json_text(self.clock.now()), "all": all });
        let what = (Topic::SessionsEnded, key);
        self.tell(conn, what, user_id, facts).await
    }

    /// Ends every way into an account; returns it with its raised token generation. A thief of the
    /// password may have made API tokens or asked for mails, so they end with the sessions.
    pub(super) async fn end_all_sessions(&self, conn: &mut Conn, user: User) -> Result<User> {
        let now = self.clock.now();
        // The account's row before all others: what makes keys for it locks that row first, too.
        let generation = store::raise_generation(conn, user.id, now).await?;
        let token_generation = generation.ok_or_else(|| Error::not_found("account"))?;
        sessions::end_all(conn, user.id, now).await?;
        let reset = Purpose::PasswordReset;
        store::mailed_tokens::forget_all(conn, user.id, reset).await?;
        two_factor::store::forget_challenges_of(conn, user.id).await?;
        api_tokens::revoke_all(conn, user.id, now).await?;
        Ok(User {
            token_generation,
            ..user
        })
    }
}

/// Returns the account of a session that is refreshed, unless it is disabled.
async fn refreshing(conn: &mut Conn, user_id: UserId) -> Result<User> {
    let user = store::by_id(conn, user_id).await?.ok_or_else(over)?;
    language::remember(user.language);
    if user.status == AccountStatus::Disabled {
        return Err(disabled());
    }
    Ok(user)
}

/// Returns true for requests of an administrator who looks at an account: it is read, but for
/// credentials, sessions and API tokens, and the look can be ended.
fn may_look(method: &Method, route: &str) -> bool {
    let is_own = matches!(
        (method.as_str(), route),
        ("GET", "/api/auth/profile") | ("POST", "/api/auth/logout")
    );
    is_own || Scope::Read.allows(method, route)
}
