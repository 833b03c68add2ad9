//! Passwords: rules, hashing off the async workers, and verifying in constant effort.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{Error, Result, crypto};

/// Memory in KiB, passes and lanes: what OWASP recommends as the least for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Passwords that are long enough and still the first that anybody tries.
const COMMON: &str = include_str!("common_passwords.txt");

/// # Errors
/// A sentence that completes "password ...".
pub fn check_rules(password: &str) -> Result<(), String> {
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

/// What checking a password against a stored hash found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Wrong,
    Right,
    /// Right, but hashed with less effort than today's: hash it again.
    RightButWeak,
}

/// Hashes on blocking threads, as many at once as there are processors: each takes 19 MiB.
#[derive(Debug)]
pub(super) struct Hasher {
    slots: Arc<Semaphore>,
    /// Stands in for the hash of an account that does not exist.
    dummy: String,
}

impl Hasher {
    pub(super) fn new() -> Result<Self> {
        let slots = std::thread::available_parallelism().map_or(2, usize::from);
        let dummy = hash(crypto::random_token().as_bytes())?;
        Ok(Self {
            slots: Arc::new(Semaphore::new(slots)),
            dummy,
        })
    }

    pub(super) async fn hash(&self, password: Zeroizing<String>) -> Result<String> {
        self.run(move || hash(password.as_bytes())).await
    }

    /// Compares with a stored hash, or with one that nothing fits when there is none: both take
    /// the same time.
    pub(super) async fn verify(
        &self,
        password: Zeroizing<String>,
        stored: Option<String>,
    ) -> Result<Verdict> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        let verdict = self
            .run(move || verify(password.as_bytes(), &stored))
            .await?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Held until the thread ends, even when nobody waits for the answer any more.
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

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String> {
    let salt = crypto::random_bytes::<16>();
    let hash = argon2()?.hash_password_with_salt(password, &salt);
    hash.map(|hash| hash.to_string())
        .map_err(|error| Error::internal(error.to_string()))
}

fn verify(password: &[u8], stored: &str) -> Result<Verdict> {
    let parsed = PasswordHash::new(stored).map_err(|error| Error::internal(error.to_string()))?;
    // The parameters in the stored hash apply, not today's.
    if argon2()?.verify_password(password, &parsed).is_err() {
        return Ok(Verdict::Wrong);
    }
    Ok(if is_weak(&parsed) {
        Verdict::RightButWeak
    } else {
        Verdict::Right
    })
}

fn is_weak(hash: &PasswordHash) -> bool {
    let Ok(params) = Params::try_from(hash) else {
        return true;
    };
    hash.algorithm.as_str() != "argon2id"
        || params.m_cost() < MEMORY_KIB
        || params.t_cost() < PASSES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn verifies_what_it_hashed() {
        let hasher = Hasher::new().unwrap();
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
        assert_eq!(verify(b"password", &stored).unwrap(), Verdict::RightButWeak);
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
