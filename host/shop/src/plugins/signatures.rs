//! Publishers of components: Ed25519 signatures over the digest.
//!
//! Keys and signatures are one line of text each: the key's name, a colon, and base64. A public key
//! is `NAME:BASE64` (32 bytes), a private key `NAME:private:BASE64` (its seed, 32 bytes), a
//! signature `NAME:BASE64` (64 bytes) over `dermaga plugin v1 ` and the component's SHA-256 in
//! lower-case hexadecimal.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dermaga_runtime::Digest;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Code, Error, crypto};

/// Prefix of the signed message, so that a signature of another protocol does not fit.
const CONTEXT: &str = "dermaga plugin v1 ";
const PRIVATE: &str = "private";

fn message(digest: Digest) -> String {
    format!("{CONTEXT}{digest}")
}

/// Checks the name of a key: 1 to 50 of `a-z 0-9 -`.
fn name(text: &str) -> Result<&str, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=50).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text)
    } else {
        Err("a key's name has 1 to 50 lower-case letters, digits and hyphens".to_owned())
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut decoded = STANDARD.decode(text).ok()?;
    let array = decoded.as_slice().try_into().ok();
    decoded.zeroize();
    array
}

/// Verifies what its publisher signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true when the signature was made with this key's private half over this digest.
    pub fn verifies(&self, signature: &Signature, digest: Digest) -> bool {
        let ed25519 = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        let verified = self.key.verify_strict(message(digest).as_bytes(), &ed25519);
        signature.key_name == self.name && verified.is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "a public key is NAME:BASE64, as `dermaga plugin keygen` writes it".to_owned();
        let (key_name, key) = text.trim().split_once(':').ok_or_else(wrong)?;
        let key = bytes(key).and_then(|key| VerifyingKey::from_bytes(&key).ok());
        Ok(Self {
            name: name(key_name)?.to_owned(),
            key: key.ok_or_else(wrong)?,
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, STANDARD.encode(self.key.as_bytes()))
    }
}

/// Signs components; wiped from memory when dropped.
pub struct PrivateKey {
    name: String,
    key: SigningKey,
}

impl PrivateKey {
    /// A new key of this name.
    ///
    /// # Errors
    /// When the name is not one.
    pub fn generate(key_name: &str) -> Result<Self, String> {
        let seed = Zeroizing::new(crypto::random_bytes::<32>());
        Ok(Self {
            name: name(key_name)?.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    pub fn public(&self) -> PublicKey {
        PublicKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    pub fn sign(&self, digest: Digest) -> Signature {
        Signature {
            key_name: self.name.clone(),
            bytes: self.key.sign(message(digest).as_bytes()).to_bytes(),
        }
    }

    /// The line to keep, for its owner's eyes only.
    pub fn reveal(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(STANDARD.encode(self.key.as_bytes()));
        Zeroizing::new(format!("{}:{PRIVATE}:{}", self.name, *seed))
    }
}

impl FromStr for PrivateKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "a private key is NAME:private:BASE64, as `dermaga plugin keygen` writes it".to_owned()
        };
        let (key_name, rest) = text.trim().split_once(':').ok_or_else(wrong)?;
        let seed = rest
            .strip_prefix(PRIVATE)
            .and_then(|rest| rest.strip_prefix(':'));
        let seed = Zeroizing::new(seed.and_then(bytes).ok_or_else(wrong)?);
        Ok(Self {
            name: name(key_name)?.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.name)
    }
}

/// A publisher's signature of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key_name: String,
    bytes: [u8; 64],
}

impl Signature {
    /// Name of the key that it says it was made with.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }
}

impl FromStr for Signature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a signature is NAME:BASE64, as `dermaga plugin sign` writes it".to_owned();
        let (key_name, signature) = text.trim().split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            key_name: name(key_name)?.to_owned(),
            bytes: bytes(signature).ok_or_else(wrong)?,
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key_name, STANDARD.encode(self.bytes))
    }
}

/// Keys of the publishers whose components run here.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Several keys may have one name while a publisher changes keys.
    pub keys: Vec<PublicKey>,
    /// True when a component without a good signature is refused.
    pub required: bool,
}

impl Trust {
    /// Checks the signature of a component that is about to be taken. One that is given must be
    /// good, whether or not one is required.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn admit(&self, digest: Digest, signature: Option<&Signature>) -> Result<(), Distrust> {
        let Some(signature) = signature else {
            return if self.required {
                Err(Distrust::Missing)
            } else {
                Ok(())
            };
        };
        let key_name = || signature.key_name.clone();
        let mut named = self
            .keys
            .iter()
            .filter(|key| key.name == signature.key_name)
            .peekable();
        if named.peek().is_none() {
            return Err(Distrust::UnknownKey(key_name()));
        }
        if named.any(|key| key.verifies(signature, digest)) {
            Ok(())
        } else {
            Err(Distrust::Wrong(key_name()))
        }
    }

    /// Checks a stored version before it is run: where signatures are required, it must carry one
    /// that is still good.
    ///
    /// # Errors
    /// Why it is not run.
    pub(super) fn admit_stored(
        &self,
        digest: Digest,
        stored: Option<&str>,
    ) -> Result<(), Distrust> {
        if !self.required {
            return Ok(());
        }
        let signature = stored.map(str::parse::<Signature>).transpose();
        let signature = signature.map_err(Distrust::Malformed)?;
        self.admit(digest, signature.as_ref())
    }
}

/// Reason why a component is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error(
        "it has no signature and this server requires one: sign it with `dermaga plugin sign` and send the signature with it"
    )]
    Missing,
    #[error("its signature cannot be read: {0}")]
    Malformed(String),
    #[error(
        "it is signed with the key `{0}`, which this server does not trust: its operator names trusted keys in DERMAGA_PLUGIN_TRUSTED_KEYS"
    )]
    UnknownKey(String),
    #[error(
        "its signature was not made with the trusted key `{0}` over these bytes: sign this very file, with the private half of that key"
    )]
    Wrong(String),
}

impl Distrust {
    /// Stable and machine-readable.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "SIGNATURE_MISSING",
            Self::Malformed(_) => "SIGNATURE_MALFORMED",
            Self::UnknownKey(_) => "SIGNATURE_KEY_UNKNOWN",
            Self::Wrong(_) => "SIGNATURE_WRONG",
        }
    }

    /// The refusal of an upload.
    pub fn refusal(&self) -> Error {
        let message = format!("The component was refused: {self}.");
        Error::new(Code::ComponentRefused, message).with("code", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(keys: &[&PrivateKey], required: bool) -> Trust {
        Trust {
            keys: keys.iter().map(|key| key.public()).collect(),
            required,
        }
    }

    #[test]
    fn every_line_reads_as_it_was_written() {
        let key = PrivateKey::generate("acme").unwrap();
        let read: PrivateKey = key.reveal().parse().unwrap();
        assert_eq!(read.public(), key.public());
        let public: PublicKey = format!("{}\n", key.public()).parse().unwrap();
        let digest = Digest::of(b"a component");
        let signature: Signature = read.sign(digest).to_string().parse().unwrap();
        assert!(public.verifies(&signature, digest));
        assert!(!public.verifies(&signature, Digest::of(b"another")));
        assert!(!format!("{key:?}").contains(key.reveal().split_once("private:").unwrap().1));
    }

    #[test]
    fn every_changed_byte_of_a_signature_is_noticed() {
        let key = PrivateKey::generate("acme").unwrap();
        let digest = Digest::of(b"a component");
        let signature = key.sign(digest);
        for at in 0..64 {
            let mut changed = signature.clone();
            changed.bytes[at] ^= 1;
            assert!(!key.public().verifies(&changed, digest), "byte {at}");
        }
    }

    #[test]
    fn says_why_a_component_is_not_trusted() {
        let (ours, theirs) = (
            PrivateKey::generate("ours").unwrap(),
            PrivateKey::generate("theirs").unwrap(),
        );
        let impostor = PrivateKey::generate("ours").unwrap();
        let digest = Digest::of(b"a component");
        for required in [false, true] {
            let trust = trust(&[&ours], required);
            let refused =
                |signature: &Signature| trust.admit(digest, Some(signature)).unwrap_err().code();
            assert_eq!(trust.admit(digest, Some(&ours.sign(digest))), Ok(()));
            assert_eq!(refused(&theirs.sign(digest)), "SIGNATURE_KEY_UNKNOWN");
            assert_eq!(refused(&impostor.sign(digest)), "SIGNATURE_WRONG");
            assert_eq!(
                refused(&ours.sign(Digest::of(b"another"))),
                "SIGNATURE_WRONG"
            );
            assert_eq!(trust.admit(digest, None).is_err(), required);
        }
    }

    #[test]
    fn a_publisher_may_change_keys_under_one_name() {
        let (old, new) = (
            PrivateKey::generate("acme").unwrap(),
            PrivateKey::generate("acme").unwrap(),
        );
        let digest = Digest::of(b"a component");
        let trust = trust(&[&old, &new], true);
        for key in [&old, &new] {
            assert_eq!(trust.admit(digest, Some(&key.sign(digest))), Ok(()));
        }
    }

    #[test]
    fn what_is_stored_is_checked_only_where_signatures_are_required() {
        let key = PrivateKey::generate("acme").unwrap();
        let digest = Digest::of(b"a component");
        let good = key.sign(digest).to_string();
        let required = trust(&[&key], true);
        assert_eq!(required.admit_stored(digest, Some(&good)), Ok(()));
        for (stored, code) in [
            (None, "SIGNATURE_MISSING"),
            (Some("acme:x"), "SIGNATURE_MALFORMED"),
        ] {
            assert_eq!(
                required.admit_stored(digest, stored).unwrap_err().code(),
                code
            );
            assert_eq!(trust(&[], false).admit_stored(digest, stored), Ok(()));
        }
    }
}
