//! Codes: those of authenticator apps, and recovery codes.

use chrono::{DateTime, Utc};
use totp_rs::{Builder, Totp};

use super::Enrolment;
use crate::{Error, Result, crypto};

/// Recovery codes of an account.
pub(super) const RECOVERY_CODES: usize = 10;
/// Digits of a code of an app.
const DIGITS: usize = 6;
/// Letters and digits of a recovery code: 80 bits, too many to be found from its hash.
const LETTERS: usize = 16;
const GROUP: usize = 4;
/// Letters and digits that are not taken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// A code as a person sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Code {
    OfApp(String),
    /// Hash of a recovery code.
    Recovery(String),
}

impl Code {
    /// Reads a code, in whatever groups and case it is typed.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .collect();
        let is_of_app = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_of_app {
            return Some(Self::OfApp(text));
        }
        (text.len() == LETTERS).then(|| Self::Recovery(hash(&text)))
    }
}

/// Returns a new recovery code, in groups that are easy to type.
pub(super) fn recovery_code() -> String {
    let bytes = crypto::random_bytes::<LETTERS>();
    let letters = bytes
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
    let mut code = String::new();
    for (at, letter) in letters.enumerate() {
        if at > 0 && at % GROUP == 0 {
            code.push('-');
        }
        code.push(char::from(*letter));
    }
    code
}

/// Returns the hash of a recovery code, in whatever groups and case it is typed.
pub(super) fn hash(code: &str) -> String {
    let plain: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    crypto::sha256_hex(plain)
}

/// Returns the time step that a code of an app is right for: the present one, or one beside it.
pub(super) fn step_of(secret: &[u8], code: &str, now: DateTime<Utc>) -> Result<Option<i64>> {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let step = totp(secret, "", "")?.check(code, seconds);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

/// Writes a secret as apps take it.
pub(super) fn enrolment(secret: &[u8], email: &str, shop_name: &str) -> Result<Enrolment> {
    let without_colons = |text: &str| text.replace(':', " ");
    let totp = totp(secret, &without_colons(email), &without_colons(shop_name))?;
    Ok(Enrolment {
        secret: totp.secret().to_base32().into(),
        uri: totp.to_url().map_err(Error::internal)?.into(),
    })
}

fn totp(secret: &[u8], account: &str, shop_name: &str) -> Result<Totp> {
    let builder = Builder::new()
        .with_secret(secret)
        .with_account_name(account);
    let issuer = (!shop_name.is_empty()).then_some(shop_name);
    builder.with_issuer(issuer).build().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// The values of RFC 6238, appendix B, of which apps show the last six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            let step = step_of(SECRET, code, now).unwrap();
            assert_eq!(step, Some(seconds / 30), "{seconds}");
            for late in [30, -30] {
                let step = step_of(SECRET, code, now + TimeDelta::seconds(late)).unwrap();
                assert_eq!(step, Some(seconds / 30));
            }
            let later = now + TimeDelta::seconds(90);
            assert_eq!(step_of(SECRET, code, later).unwrap(), None);
        }
    }

    #[test]
    fn an_app_is_told_the_shop_and_the_account() {
        let enrolment = enrolment(SECRET, "sari@example.com", "Toko: Kopi").unwrap();
        assert_eq!(&*enrolment.secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(
            enrolment.uri.starts_with("otpauth://totp/") && enrolment.uri.contains("Kopi"),
            "{}",
            &*enrolment.uri
        );
    }

    #[test]
    fn codes_are_read_however_they_are_typed() {
        assert_eq!(
            Code::read(" 123 456 "),
            Some(Code::OfApp("123456".to_owned()))
        );
        let code = recovery_code();
        assert_eq!(code.len(), LETTERS + 3);
        let typed = code.to_uppercase().replace('-', " ");
        assert_eq!(Code::read(&typed), Some(Code::Recovery(hash(&code))));
        assert_ne!(recovery_code(), code);
        for wrong in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
            assert_eq!(Code::read(wrong), None, "{wrong}");
        }
    }
}
