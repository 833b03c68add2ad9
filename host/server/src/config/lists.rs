//! Lists of values. One that comes again would have no effect, and is more likely another one that is missing.

use std::collections::BTreeSet;

use dermaga_shop::{
    accounts::MIN_SECRET_BYTES,
    crypto::{MasterKey, Secret},
    plugins::signatures::PublicKey,
};

/// Secrets separated by commas, each long enough for HS256.
pub(super) fn jwt_secrets(text: &str) -> Result<Vec<Secret>, String> {
    let secrets = values(text);
    if secrets.iter().any(|secret| secret.len() < MIN_SECRET_BYTES) {
        return Err(format!(
            "must be at least {MIN_SECRET_BYTES} bytes (each, when several are listed); `openssl rand -hex 32` makes one"
        ));
    }
    check_once(&secrets, |one, other| one == other)?;
    Ok(secrets.into_iter().map(Secret::new).collect())
}

/// Master keys separated by commas.
pub(super) fn master_keys(text: &str) -> Result<Vec<Secret>, String> {
    let keys = values(text);
    for key in &keys {
        MasterKey::parse(key)?;
    }
    check_once(&keys, |one, other| one.eq_ignore_ascii_case(other))?;
    Ok(keys.into_iter().map(Secret::new).collect())
}

/// Publishers' keys separated by commas.
pub(super) fn public_keys(text: &str) -> Result<Vec<PublicKey>, String> {
    let keys = values(text).into_iter().map(|key| {
        key.parse::<PublicKey>()
            .map_err(|why| format!("must be a list of public keys: {why}"))
    });
    let keys = keys.collect::<Result<Vec<PublicKey>, String>>()?;
    check_once(&keys, |one, other| one == other)?;
    Ok(keys)
}

fn values(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).collect()
}

/// Refuses a value that is the same as an earlier one. Both are named by their places, since they may be secrets.
fn check_once<T>(values: &[T], is_same: impl Fn(&T, &T) -> bool) -> Result<(), String> {
    for (at, value) in values.iter().enumerate() {
        let mut before = values.iter().take(at);
        if let Some(first) = before.position(|other| is_same(other, value)) {
            return Err(format!(
                "must have each value once: number {} is number {} again",
                at + 1,
                first + 1
            ));
        }
    }
    Ok(())
}

/// Refuses a key that comes again: one of both would have no effect.
pub(super) fn each_once<'a>(keys: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(format!("must have `{key}` once, not twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermaga_shop::plugins::signatures::PrivateKey;

    #[test]
    fn short_secrets_and_odd_keys_are_refused() {
        let (good, other) = ("a".repeat(32), "b".repeat(32));
        assert_eq!(jwt_secrets(&format!("{good}, {other}")).unwrap().len(), 2);
        assert!(jwt_secrets(&format!("{good},short")).is_err());
        assert!(master_keys("zz").is_err());
        assert_eq!(master_keys(&"0f".repeat(32)).unwrap().len(), 1);
    }

    #[test]
    fn a_value_comes_once_and_is_not_repeated() {
        let refused = |number: usize| -> Result<(), String> {
            Err(format!(
                "must have each value once: number {number} is number 1 again"
            ))
        };
        let (one, other) = ("a".repeat(32), "b".repeat(32));
        let said = jwt_secrets(&format!("{one},{other}, {one}"));
        assert_eq!(said.map(|_| ()), refused(3));
        let (one, other) = ("0f".repeat(32), "0F".repeat(32));
        let said = master_keys(&format!("{one},{other}"));
        assert_eq!(said.map(|_| ()), refused(2));
        let key = || PrivateKey::generate("penerbit").unwrap().public();
        let (one, other) = (key(), key());
        // A publisher may have a new key under its name.
        assert!(public_keys(&format!("{one},{other}")).is_ok());
        let said = public_keys(&format!("{one},{other},{one}"));
        assert_eq!(said.map(|_| ()), refused(3));
    }
}
