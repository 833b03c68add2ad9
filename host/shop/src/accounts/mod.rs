//! Accounts and sessions: signing up, signing in, and identifying the caller.
//!
//! A login starts a session (a family of refresh tokens). Its access tokens name the session and
//! the account's token generation, so logging out, `logout-all`, a new password and disabling the
//! account end them within seconds on every server.

pub mod administration;
pub mod api_tokens;
pub mod confirmation;
pub mod deletion;
mod hs256;
pub mod mailed_tokens;
mod model;
mod origin;
mod password;
pub mod recovery;
mod sessions;
mod settings;
mod store;
mod throttle;
mod token;
pub mod two_factor;
mod welcomed;

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;

use self::{
    password::{Hasher, Verdict},
    sessions::Standings,
    throttle::{Guesser, Throttle},
    two_factor::SignIn,
};
use crate::{
    Code, Error, Result,
    calendar::json_text,
    crypto::{self, Vault},
    db::{Clock, Conn, Db, broken_unique, new_id},
    ids::UserId,
    language::{self, Language},
    outbox::Topic,
    owners,
};

pub use api_tokens::{ApiToken, NewApiToken, Scope};
pub use model::{
    AccountStatus, Email, Profile, Role, SessionView, Tokens, User, parse_avatar, parse_name,
    parse_phone,
};
pub use origin::Origin;
pub(crate) use origin::device_in_words;
pub use password::{Effort, check_rules, is_same};
pub use sessions::Identity;
pub use settings::Settings;
pub use token::{MIN_SECRET_BYTES, TokenKeys};

/// A password on its way to the hasher; wiped from memory after use.
pub type Password = crypto::Secret;

/// Number of letters and digits in a generated password: about 119 bits.
const GENERATED_PASSWORD_LENGTH: usize = 20;

/// Everything accounts need, built once at start.
#[derive(Debug)]
pub struct Accounts {
    db: Db,
    clock: Clock,
    keys: TokenKeys,
    refresh_lifetime: TimeDelta,
    hasher: Hasher,
    throttle: Throttle,
    registrations: crate::throttle::Throttle<Guesser>,
    /// Mails that confirm addresses, and those with which a new password is chosen.
    confirmations: mailed_tokens::Limits,
    resets: mailed_tokens::Limits,
    standings: Standings,
    vault: Arc<Vault>,
    admin_two_factor: bool,
}

/// New account; already checked and normalised.
#[derive(Debug)]
pub struct NewAccount {
    pub email: Email,
    pub password: Password,
    pub name: String,
    pub phone: Option<String>,
    pub avatar: Option<String>,
    pub role: Role,
}

impl Accounts {
    pub fn new(
        db: Db,
        clock: Clock,
        keys: TokenKeys,
        vault: Arc<Vault>,
        settings: &Settings,
    ) -> Self {
        let hour = TimeDelta::hours(1);
        let most = settings.registrations_per_hour;
        let registrations = crate::throttle::Throttle::new(most, hour, "new accounts");
        let refresh_lifetime =
            TimeDelta::from_std(settings.refresh_token_lifetime).unwrap_or(TimeDelta::MAX);
        Self {
            db,
            clock,
            keys,
            refresh_lifetime,
            hasher: Hasher::new(settings.effort),
            throttle: Throttle::default(),
            registrations,
            confirmations: mailed_tokens::Limits::default(),
            resets: mailed_tokens::Limits::default(),
            standings: Standings::default(),
            vault,
            admin_two_factor: settings.admin_two_factor,
        }
    }

    /// Creates an account with its empty wallet, in the shop's own language.
    ///
    /// # Errors
    /// `EMAIL_TAKEN` when the address has an account.
    pub async fn create(&self, new: NewAccount) -> Result<User> {
        self.create_in(Language::OF_ACCOUNTS, new).await
    }

    /// Creates an account with its empty wallet, which is written to in a language.
    ///
    /// # Errors
    /// `EMAIL_TAKEN` when the address has an account.
    pub async fn create_in(&self, language: Language, new: NewAccount) -> Result<User> {
        let user = self.prepare(new, language).await?;
        let mut conn = self.db.begin().await?;
        self.insert(&mut conn, &user).await?;
        conn.commit().await?;
        tracing::info!(user.id = %user.id, user.role = %user.role, "account.created");
        Ok(user)
    }

    /// Returns the language that an account is written to in.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn language_of(&self, user_id: UserId) -> Result<Option<Language>> {
        Ok(store::language(&mut self.db.read().await?, user_id).await?)
    }

    /// Creates an account and its first session. Without a language the account has the shop's own.
    ///
    /// # Errors
    /// `EMAIL_TAKEN` when the e-mail has an account; `TOO_MANY_REQUESTS` when too many were made
    /// from that address within an hour; `UNAVAILABLE` when too many sign up at the same time.
    pub async fn register(
        &self,
        new: NewAccount,
        origin: &Origin,
        language: Option<Language>,
    ) -> Result<(User, Tokens)> {
        self.registrations
            .admit(origin.address.into(), self.clock.now())?;
        let language = language.unwrap_or(Language::OF_ACCOUNTS);
        let user = self.prepare(new, language).await?;
        let mut conn = self.db.begin().await?;
        self.insert(&mut conn, &user).await?;
        confirmation::ask(&mut conn, &self.clock, user.id).await?;
        let tokens = self.start_session(&mut conn, &user, origin).await?;
        conn.commit().await?;
        tracing::info!(user.id = %user.id, "account.registered");
        language::remember(user.language);
        Ok((user, tokens))
    }

    async fn prepare(&self, new: NewAccount, language: Language) -> Result<User> {
        let NewAccount {
            email,
            password,
            name,
            phone,
            avatar,
            role,
        } = new;
        password::check_differs(&password, email.as_str(), "password")?;
        Ok(User {
            id: new_id(&self.clock),
            email: email.as_str().to_owned(),
            password_hash: self.hasher.hash_new(password).await?.into(),
            name,
            phone,
            avatar,
            role,
            status: AccountStatus::Active,
            token_generation: 0,
            language,
            email_verified_at: None,
            deleted_at: None,
            created_at: self.clock.now(),
        })
    }

    async fn insert(&self, conn: &mut Conn, user: &User) -> Result<()> {
        let inserted = store::insert(conn, user).await;
        inserted.map_err(|error| match broken_unique(&error).as_deref() {
            Some("users_email_key") => Error::new(
                Code::EmailTaken,
                "An account with this e-mail already exists.",
            )
            .with("email", "is taken"),
            _ => error.into(),
        })?;
        crate::wallet::open(conn, &self.clock, user.id).await
    }

    /// Checks a password and starts a session, or asks for a code where the account has a second
    /// factor.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS`, the same for an unknown address and a wrong password;
    /// `ACCOUNT_DISABLED` after a right password only; `TOO_MANY_REQUESTS` when guessing.
    pub async fn log_in(
        &self,
        email: &Email,
        password: Password,
        origin: &Origin,
    ) -> Result<SignIn> {
        let attempt =
            self.throttle
                .admit(origin.address.into(), email.as_str(), self.clock.now())?;
        let looked_at = async {
            let user = store::by_email(&mut self.db.read().await?, email.as_str()).await?;
            // The rest of a deleted account has no password to compare with.
            let user = user.filter(|user| user.deleted_at.is_none());
            let stored = user.as_ref().map(|user| user.password_hash.to_string());
            Ok::<_, Error>((user, self.hasher.verify(password.clone(), stored).await?))
        };
        let (attempt, (user, verdict)) = attempt.unless_failing(looked_at).await?;
        let known = user.as_ref().map(|user| tracing::field::display(user.id));
        let (Some(user), Verdict::Right | Verdict::RightButWeak) = (user, verdict) else {
            tracing::info!(user.id = known, "login.refused");
            return Err(Error::new(
                Code::InvalidCredentials,
                "The e-mail or the password is wrong.",
            ));
        };
        attempt.succeeded();
        // A right password is answered in the account's language, also by a refusal.
        language::remember(user.language);
        if user.status == AccountStatus::Disabled {
            return Err(disabled());
        }
        if verdict == Verdict::RightButWeak {
            self.strengthen(&user, password).await?;
        }
        let mut conn = self.db.begin().await?;
        // Hashing takes a while, in which the password may be replaced or the account disabled.
        let user = still_as_seen(&mut conn, &user).await?;
        store::sessions::forget_expired(&mut conn, self.clock.now()).await?;
        let signed_in = match self.challenge(&mut conn, &user).await? {
            Some(challenge) => SignIn::Challenge(challenge),
            None => {
                let tokens = self.start_session(&mut conn, &user, origin).await?;
                SignIn::Session(Box::new(user), tokens)
            }
        };
        conn.commit().await?;
        Ok(signed_in)
    }

    async fn strengthen(&self, user: &User, password: Password) -> Result<()> {
        let hash = self.hasher.hash(password).await?;
        let mut conn = self.db.begin().await?;
        store::replace_password_hash(&mut conn, user.id, &user.password_hash, &hash).await?;
        Ok(conn.commit().await?)
    }

    /// Changes a password, ends every session, and starts a new one for the caller.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the current password is wrong; `TOO_MANY_REQUESTS` when guessing;
    /// `UNAUTHENTICATED` when the caller's session has ended.
    pub async fn change_password(
        &self,
        identity: Identity,
        current: Password,
        new: Password,
        origin: &Origin,
    ) -> Result<Tokens> {
        let user_id = identity.user_id;
        let user = self.user(user_id).await?;
        self.check_password(&user, current, "currentPassword")
            .await?;
        password::check_differs(&new, &user.email, "newPassword")?;
        let hash = self.hasher.hash(new).await?;
        let mut conn = self.db.begin().await?;
        if !store::replace_password_hash(&mut conn, user_id, &user.password_hash, &hash).await? {
            return Err(Error::new(
                Code::Conflict,
                "The password was changed by another request at the same time.",
            ));
        }
        owners::still_signed_in(&mut conn, identity.signed_in()).await?;
        let user = self.end_all_sessions(&mut conn, user).await?;
        let facts = json!({ "at": json_text(self.clock.now()), "byMail": false });
        let key = user.token_generation.to_string();
        self.tell(&mut conn, (Topic::PasswordChanged, &key), user_id, facts)
            .await?;
        let tokens = self.start_session(&mut conn, &user, origin).await?;
        conn.commit().await?;
        self.standings.forget(user_id);
        Ok(tokens)
    }

    /// Checks the password of an owner who is signed in.
    async fn check_password(&self, user: &User, password: Password, field: &str) -> Result<()> {
        let guesser = Guesser::Owner(user.id);
        self.check_password_of(guesser, user, password, field).await
    }

    /// Checks the password of an account, which this guesser sends.
    async fn check_password_of(
        &self,
        guesser: Guesser,
        user: &User,
        password: Password,
        field: &str,
    ) -> Result<()> {
        let attempt = self
            .throttle
            .admit(guesser, &user.email, self.clock.now())?;
        let stored = Some(user.password_hash.to_string());
        let verified = self.hasher.verify(password, stored);
        let (attempt, verdict) = attempt.unless_failing(verified).await?;
        if verdict == Verdict::Wrong {
            return Err(Error::invalid(field, "is not the password of this account"));
        }
        attempt.succeeded();
        Ok(())
    }

    /// # Errors
    /// `NOT_FOUND` when there is no such account.
    pub async fn user(&self, id: UserId) -> Result<User> {
        let user = store::by_id(&mut self.db.read().await?, id).await?;
        user.ok_or_else(|| Error::not_found("account"))
    }

    /// Replaces name and phone; without a language the account keeps its own.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such account.
    pub async fn set_profile(
        &self,
        id: UserId,
        name: &str,
        phone: Option<&str>,
        language: Option<Language>,
    ) -> Result<User> {
        let (now, mut conn) = (self.clock.now(), self.db.begin().await?);
        if !store::set_profile(&mut conn, id, name, phone, language, now).await? {
            return Err(Error::not_found("account"));
        }
        conn.commit().await?;
        if language.is_some() {
            self.language_changed(id);
        }
        self.user(id).await
    }

    /// Replaces or removes the picture.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such account.
    pub async fn set_avatar(&self, id: UserId, avatar: Option<&str>) -> Result<User> {
        let mut conn = self.db.begin().await?;
        if !store::set_avatar(&mut conn, id, avatar, self.clock.now()).await? {
            return Err(Error::not_found("account"));
        }
        conn.commit().await?;
        self.user(id).await
    }

    /// Creates the first administrator; does nothing when there is one, which the log tells when it is
    /// another one than the one that is named.
    ///
    /// # Errors
    /// `EMAIL_TAKEN` when the address belongs to a customer.
    pub async fn ensure_first_administrator(
        &self,
        email: Email,
        password: Password,
    ) -> Result<Option<User>> {
        let mut conn = self.db.read().await?;
        if store::has_administrator(&mut conn).await? {
            tell_of_another(&mut conn, email.as_str()).await?;
            return Ok(None);
        }
        drop(conn);
        let new = NewAccount {
            email,
            password,
            name: "Administrator".to_owned(),
            phone: None,
            avatar: None,
            role: Role::Administrator,
        };
        let user = self.prepare(new, Language::OF_ACCOUNTS).await?;
        let mut conn = self.db.begin().await?;
        // Of two servers that start at the same moment, the second one sees the administrator of the first.
        store::administration::lock_administrators(&mut conn).await?;
        if store::has_administrator(&mut conn).await? {
            tell_of_another(&mut conn, &user.email).await?;
            return Ok(None);
        }
        self.insert(&mut conn, &user).await?;
        conn.commit().await?;
        Ok(Some(user))
    }
}

/// Writes into the log that the named administrator is not made, unless it is one already.
async fn tell_of_another(conn: &mut Conn, email: &str) -> Result<()> {
    let named = store::by_email(conn, email).await?;
    if named.is_none_or(|user| user.role != Role::Administrator) {
        tracing::info!("administrator.another_is_there");
    }
    Ok(())
}

/// Returns a random password to hand to a person once.
pub fn generate_password() -> Password {
    Password::new(crypto::random_password(GENERATED_PASSWORD_LENGTH))
}

/// Locks an account that is signed in to, and returns it: every end of its sessions has come before, and
/// refuses this one, or comes after, and ends it.
async fn still_as_seen(conn: &mut Conn, seen: &User) -> Result<User> {
    let now = store::lock(conn, seen.id).await?;
    // A generation is raised by signing out, too, and a hash is replaced by a stronger one of the same
    // password; another password changes both.
    let now = now.filter(|now| {
        now.token_generation == seen.token_generation || *now.password_hash == *seen.password_hash
    });
    match now {
        Some(user) if user.status == AccountStatus::Active => Ok(user),
        _ => Err(Error::new(
            Code::InvalidCredentials,
            "The e-mail or the password is wrong.",
        )),
    }
}

/// Returns the refusal of what the owner of a disabled account asks for.
pub(crate) fn disabled() -> Error {
    Error::new(
        Code::AccountDisabled,
        "This account is disabled. Write to the shop's support.",
    )
}
