//! Passwords: rules, hashing off the async workers, and verifying in constant effort.
//!
//! Keyboards and systems differ in how they send a letter with its marks: as one character or as several. Passwords
//! are composed (NFC) before they are hashed or compared, so that one works wherever it is typed (NIST SP 800-63B).

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use tokio::sync::Semaphore;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use zeroize::Zeroizing;

use crate::{
    Code, Error, Result,
    crypto::{self, Secret},
};

const LANES: u32 = 1;

/// Effort of a hash. The default is the minimum that OWASP recommends for Argon2id, and no setting changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    memory_kib: u32,
    passes: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
        }
    }
}

impl Effort {
    /// Returns an effort that protects nothing, for tests of other things: a seventh of their time went into passwords.
    pub const fn none() -> Self {
        Self {
            memory_kib: Params::MIN_M_COST,
            passes: Params::MIN_T_COST,
        }
    }

    fn argon2(self) -> Result<Argon2<'static>> {
        let params = Params::new(self.memory_kib, self.passes, LANES, None)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    fn hash(self, password: &str) -> Result<String> {
        let salt = crypto::random_bytes::<16>();
        let hash = self
            .argon2()?
            .hash_password_with_salt(composed(password).as_bytes(), &salt);
        hash.map(|hash| hash.to_string())
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// Returns a hash that no password has, since it is random; it takes this effort to compare with.
    fn hash_of_nothing(self) -> String {
        let salt = STANDARD_NO_PAD.encode(crypto::random_bytes::<16>());
        let output = STANDARD_NO_PAD.encode(crypto::random_bytes::<32>());
        let version = u32::from(Version::V0x13);
        let Self { memory_kib, passes } = self;
        format!("$argon2id$v={version}$m={memory_kib},t={passes},p={LANES}${salt}${output}")
    }

    /// Compares a password with a hash, by the parameters in that hash.
    fn verify(self, password: &str, stored: &str) -> Result<Verdict> {
        let parsed =
            PasswordHash::new(stored).map_err(|error| Error::internal(error.to_string()))?;
        let argon2 = self.argon2()?;
        let is_right = |password: &str| {
            let verified = argon2.verify_password(password.as_bytes(), &parsed);
            verified.is_ok()
        };
        if !is_right(&composed(password)) {
            // Hashed as it was typed, before passwords were composed. Known accounts and unknown ones take both looks.
            let is_old = !is_nfc(password) && is_right(password);
            return Ok(if is_old {
                Verdict::RightButWeak
            } else {
                Verdict::Wrong
            });
        }
        Ok(if self.is_above(&parsed) {
            Verdict::RightButWeak
        } else {
            Verdict::Right
        })
    }

    fn is_above(self, hash: &PasswordHash) -> bool {
        let Ok(params) = Params::try_from(hash) else {
            return true;
        };
        hash.algorithm.as_str() != "argon2id"
            || params.m_cost() < self.memory_kib
            || params.t_cost() < self.passes
    }
}

/// Passwords that are long enough and still among the first guesses.
const COMMON: &str = include_str!("common_passwords.txt");

/// Most bytes that a composed text has for each byte of its source.
const MOST_GROWTH: usize = 3;

/// Returns a password as it is hashed: composed (NFC).
fn composed(password: &str) -> Zeroizing<String> {
    // Room for all of it, so that no part is left behind in memory by a text that grew.
    let mut composed = String::with_capacity(password.len().saturating_mul(MOST_GROWTH));
    composed.extend(password.nfc());
    Zeroizing::new(composed)
}

/// Returns true for two ways to write the same password.
pub fn is_same(one: &str, other: &str) -> bool {
    composed(one) == composed(other)
}

/// # Errors
/// A sentence that completes "password ...".
pub fn check_rules(password: &str) -> Result<(), String> {
    let password = composed(password);
    if !(10..=128).contains(&password.chars().count()) {
        return Err("must be 10 to 128 characters".into());
    }
    let lower = password.to_lowercase();
    let repeated = lower
        .chars()
        .next()
        .is_some_and(|first| lower.chars().all(|c| c == first));
    if repeated || COMMON.lines().any(|common| common == lower) {
        return Err("is one of the passwords that everybody tries first; choose another".into());
    }
    Ok(())
}

/// Refuses a password that is the address of its account, which is tried first, too.
///
/// # Errors
/// `VALIDATION_FAILED` for this field.
pub(super) fn check_differs(password: &Secret, email: &str, field: &str) -> Result<()> {
    if composed(password.reveal()).trim().to_lowercase() == *composed(email) {
        let message = "is the e-mail address of the account; choose another";
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

/// Result of checking a password against a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Wrong,
    Right,
    /// Right, but hashed with less effort than today's, or as it was typed: hash it again.
    RightButWeak,
}

/// Hashes on blocking threads; each takes 19 MiB and one processor.
///
/// Signing in and signing up have queues of their own, so that a flood of registrations does not
/// delay logins; both queues are bounded.
#[derive(Debug)]
pub(super) struct Hasher {
    effort: Effort,
    sign_ins: Lane,
    sign_ups: Lane,
    /// Hash that is checked when the account does not exist, so that both cases take equally long.
    dummy: String,
}

impl Hasher {
    pub(super) fn new(effort: Effort) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            effort,
            sign_ins: Lane::new(processors),
            sign_ups: Lane::new(processors.div_ceil(2)),
            dummy: effort.hash_of_nothing(),
        }
    }

    /// Hashes the password of a new account.
    ///
    /// # Errors
    /// `UNAVAILABLE` when too many others wait.
    pub(super) async fn hash_new(&self, password: Secret) -> Result<String> {
        let effort = self.effort;
        let hash = move || effort.hash(password.reveal());
        self.sign_ups.run(hash).await
    }

    /// Hashes a new password of an existing account.
    ///
    /// # Errors
    /// As [`hash_new`](Self::hash_new).
    pub(super) async fn hash(&self, password: Secret) -> Result<String> {
        let effort = self.effort;
        let hash = move || effort.hash(password.reveal());
        self.sign_ins.run(hash).await
    }

    /// Compares with a stored hash, or with one that nothing matches when there is none: both take
    /// the same time.
    ///
    /// # Errors
    /// As [`hash_new`](Self::hash_new).
    pub(super) async fn verify(&self, password: Secret, stored: Option<String>) -> Result<Verdict> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        let effort = self.effort;
        let verify = move || effort.verify(password.reveal(), &stored);
        let verdict = self.sign_ins.run(verify).await?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }
}

/// Maximum of waiting hashes in one lane; at a few dozen a second the last waits some seconds.
const LONGEST_LINE: usize = 64;

/// Queue of hashes to make, some of them at once.
#[derive(Debug)]
struct Lane {
    slots: Arc<Semaphore>,
    /// Permits of hashes that work or wait.
    places: Semaphore,
}

impl Lane {
    fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            places: Semaphore::new(slots + LONGEST_LINE),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        // Held until the thread ends, even when the request was given up.
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(Error::internal)?;
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        task.await.map_err(Error::internal)?
    }
}

fn busy() -> Error {
    let message = "Too many people are signing in or up right now. Try again in a few seconds.";
    Error::new(Code::Unavailable, message).retry_after(5)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        accounts::{Accounts, Email, NewAccount, Origin, Role, Settings, TokenKeys},
        crypto::{MasterKey, Vault},
        test_database::TestDatabase,
    };

    const TODAYS: Effort = Effort {
        memory_kib: 19 * 1024,
        passes: 2,
    };

    #[test]
    fn the_usual_effort_is_todays() {
        assert_eq!(Effort::default(), TODAYS);
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[tokio::test]
    async fn verifies_what_it_hashed() {
        let hasher = Hasher::new(TODAYS);
        let stored = hasher.hash(secret("a long enough one")).await.unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert_eq!(
            hasher
                .verify(secret("a long enough one"), Some(stored.clone()))
                .await
                .unwrap(),
            Verdict::Right
        );
        assert_eq!(
            hasher
                .verify(secret("another one"), Some(stored))
                .await
                .unwrap(),
            Verdict::Wrong
        );
        assert_eq!(
            hasher
                .verify(secret("a long enough one"), None)
                .await
                .unwrap(),
            Verdict::Wrong
        );
    }

    /// A sign-in takes its place at the hasher whether its address has an account or not: while all are taken,
    /// neither is answered by what is known already. An account that is not there has a hash to compare with.
    #[tokio::test]
    async fn an_unknown_address_is_hashed_for_as_a_known_one() {
        let database = TestDatabase::open().await;
        let keys = TokenKeys::new(&["a secret"], TimeDelta::hours(1)).unwrap();
        let effort = Effort::none();
        let settings = Settings {
            effort,
            ..Settings::default()
        };
        let (db, clock) = (database.db.clone(), database.clock.clone());
        let vault = Arc::new(Vault::new(&[MasterKey::generate()]));
        let accounts = Accounts::new(db, clock, keys, vault, &settings);
        let sari = NewAccount {
            email: Email::parse("sari@example.org").unwrap(),
            password: secret("kata sandi saya"),
            name: "Sari".to_owned(),
            phone: None,
            avatar: None,
            role: Role::User,
        };
        accounts.create(sari).await.unwrap();
        let origin = Origin::default();
        let log_in = async |email: &str| {
            let email = Email::parse(email).unwrap();
            let wrong = secret("another password");
            let refused = accounts.log_in(&email, wrong, &origin).await.err();
            refused.map(|error| error.code)
        };
        let places = &accounts.hasher.sign_ins.places;
        for email in ["sari@example.org", "hantu@example.org"] {
            let refused = log_in(email).await;
            assert_eq!(refused, Some(Code::InvalidCredentials), "{email}");
            let all = u32::try_from(places.available_permits()).unwrap();
            let taken = places.acquire_many(all).await.unwrap();
            assert_eq!(log_in(email).await, Some(Code::Unavailable), "{email}");
            drop(taken);
        }
        let broken = Hasher {
            dummy: "no hash".to_owned(),
            ..Hasher::new(effort)
        };
        let compared = broken.verify(secret("another password"), None).await;
        assert!(compared.is_err(), "nothing was compared: {compared:?}");
    }

    #[tokio::test]
    async fn a_lane_has_an_end_and_lanes_do_not_wait_for_one_another() {
        let hasher = Hasher::new(TODAYS);
        let all = u32::try_from(hasher.sign_ups.slots.available_permits()).unwrap();
        let _working = hasher.sign_ups.slots.acquire_many(all).await.unwrap();
        let sign_up = || hasher.sign_ups.run(|| Ok(()));
        let mut line = (0..hasher.sign_ups.places.available_permits())
            .map(|_| Box::pin(sign_up()))
            .collect::<Vec<_>>();
        for waiting in &mut line {
            assert!(futures::poll!(waiting).is_pending());
        }
        let error = sign_up().await.unwrap_err();
        assert_eq!(
            (error.code, error.retry_after),
            (Code::Unavailable, Some(5))
        );
        hasher.sign_ins.run(|| Ok(())).await.unwrap();
        drop(line);
        assert!(futures::poll!(Box::pin(sign_up())).is_pending());
    }

    #[test]
    fn the_hash_of_nothing_takes_the_effort_of_a_real_one() {
        let real = TODAYS.hash("a long enough one").unwrap();
        let effort = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(effort(&TODAYS.hash_of_nothing()), effort(&real));
        assert_eq!(TODAYS.hash_of_nothing().len(), real.len());
        let verdict = TODAYS
            .verify("a long enough one", &TODAYS.hash_of_nothing())
            .unwrap();
        assert_eq!(verdict, Verdict::Wrong);
    }

    #[test]
    fn a_weaker_hash_is_recognised() {
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(1024, 1, 1, None).unwrap(),
        );
        let stored = weak
            .hash_password_with_salt(b"password", b"sixteen byte salt")
            .unwrap()
            .to_string();
        assert_eq!(
            TODAYS.verify("password", &stored).unwrap(),
            Verdict::RightButWeak
        );
    }

    #[test]
    fn a_password_is_one_however_its_letters_are_sent() {
        let (composed, in_parts) = ("caf\u{e9} di pelabuhan", "cafe\u{301} di pelabuhan");
        assert!(is_same(composed, in_parts) && !is_same(composed, "cafe di pelabuhan"));
        for (set, typed) in [(in_parts, composed), (composed, in_parts)] {
            let stored = TODAYS.hash(set).unwrap();
            assert_eq!(TODAYS.verify(typed, &stored).unwrap(), Verdict::Right);
            let other = TODAYS.verify("cafe di pelabuhan", &stored).unwrap();
            assert_eq!(other, Verdict::Wrong);
        }
        // One that was hashed as it was typed is hashed again at the next sign-in.
        let salt = b"sixteen byte salt";
        let old = TODAYS.argon2().unwrap();
        let old = old.hash_password_with_salt(in_parts.as_bytes(), salt);
        let old = old.unwrap().to_string();
        assert_eq!(
            TODAYS.verify(in_parts, &old).unwrap(),
            Verdict::RightButWeak
        );
        assert_eq!(TODAYS.verify(composed, &old).unwrap(), Verdict::Wrong);
    }

    #[test]
    fn rules() {
        for good in ["correct horse", "kata sandi saya", &"é!".repeat(64)] {
            assert!(check_rules(good).is_ok(), "{good}");
        }
        for bad in [
            "short",
            "123456789",
            "1234567890",
            "Password123",
            "aaaaaaaaaaaa",
            &"ab".repeat(65),
        ] {
            assert!(check_rules(bad).is_err(), "{bad}");
        }
        // Letters are counted as they are hashed: five with their marks beside them are five.
        let in_parts = |count| "e\u{301}x".repeat(count);
        assert!(check_rules(&in_parts(4)).is_err());
        assert!(check_rules(&in_parts(5)).is_ok());
        assert!(check_rules(&in_parts(64)).is_ok());
        assert!(check_rules(&in_parts(65)).is_err());
    }

    #[test]
    fn every_common_password_would_pass_otherwise() {
        for common in COMMON.lines() {
            assert!(
                common.chars().count() >= 10 && common == common.to_lowercase(),
                "{common}"
            );
        }
    }
}
