//! Randomness, digests and the vault: the only owner of all three.

mod authorities;
mod secret;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac as _};
use rand::{RngExt, distr::Alphanumeric};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use authorities::Authorities;
pub use secret::{Hidden, Secret};

use crate::{Error, Result};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Returns unpredictable bytes from the thread's generator, which the system seeds.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes);
    bytes
}

/// Returns a token of 256 random bits, shown once and stored hashed, as 43 URL-safe characters.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// Returns `length` random letters and digits; about 5.95 bits each.
pub fn random_password(length: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

/// Returns `bytes` random bytes as lower-case hexadecimal.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    rand::rng().fill(buffer.as_mut_slice());
    hex::encode(buffer)
}

/// Returns the SHA-256 as lower-case hexadecimal.
pub fn sha256_hex(data: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(data.as_ref()))
}

/// A 256-bit key that encrypts what the database keeps; wiped from memory when dropped.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    pub fn generate() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// A sentence that completes "the master key ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut_slice()).map_err(|_| {
            "must be 64 hexadecimal digits; `openssl rand -hex 32` makes one".to_owned()
        })?;
        Ok(Self(key))
    }

    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// Returns one byte that tells keys apart and reveals nothing of them.
    fn id(&self) -> u8 {
        let mut digest = Sha256::new_with_prefix(b"dermaga master key id");
        digest.update(self.0.as_slice());
        digest.finalize().first().copied().unwrap_or_default()
    }
}

impl MasterKey {
    /// Returns the key of tags that follows from this one.
    fn tagging(&self) -> Option<Hmac<Sha256>> {
        let mut derived = Sha256::new_with_prefix(b"dermaga tagging key");
        derived.update(self.0.as_slice());
        <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&derived.finalize()).ok()
    }
}

fn whole_tag(mac: &Hmac<Sha256>, purpose: &str, text: &str) -> Vec<u8> {
    let mut mac = mac.clone();
    mac.update(format!("{purpose}:{text}").as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn tag(mac: &Hmac<Sha256>, purpose: &str, text: &str) -> String {
    let whole = whole_tag(mac, purpose, text);
    hex::encode(whole.get(..TAG_BYTES).unwrap_or(&whole))
}

/// Returns a token that follows from another one, in the form of [`random_token`].
fn next_token(mac: &Hmac<Sha256>, purpose: &str, token: &str) -> String {
    URL_SAFE_NO_PAD.encode(whole_tag(mac, purpose, token))
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({:02x})", self.id())
    }
}

/// Seals secrets for the database with XChaCha20-Poly1305.
///
/// A sealed value is one byte of key id, the nonce, and the ciphertext with its tag. Several keys
/// may open, the first one seals: that is how a key is rotated.
pub struct Vault {
    keys: Vec<(u8, XChaCha20Poly1305)>,
    /// Keys of tags, in the same order.
    tagging: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|(id, _)| id))
            .finish()
    }
}

impl Vault {
    /// Creates a vault: the first key seals; all of them open.
    pub fn new(keys: &[MasterKey]) -> Self {
        let cipher = |key: &MasterKey| (key.id(), XChaCha20Poly1305::new(&(*key.0).into()));
        Self {
            keys: keys.iter().map(cipher).collect(),
            tagging: keys.iter().filter_map(MasterKey::tagging).collect(),
        }
    }

    /// Returns the tag of a text for a purpose, which only this vault can make.
    ///
    /// # Errors
    /// When the vault has no key.
    pub fn tag(&self, purpose: &str, text: &str) -> Result<String> {
        let mac = self.tagging.first();
        let mac = mac.ok_or_else(|| Error::internal("the vault has no key"))?;
        Ok(tag(mac, purpose, text))
    }

    /// Returns the tags of a text for a purpose by each key of the vault, to find what was tagged before keys
    /// were changed.
    pub fn tags(&self, purpose: &str, text: &str) -> Vec<String> {
        let tagged = |mac: &Hmac<Sha256>| tag(mac, purpose, text);
        self.tagging.iter().map(tagged).collect()
    }

    /// Returns true for the tag of a text by any key of the vault, in the same time for each wrong one.
    pub fn has_tagged(&self, purpose: &str, text: &str, given: &str) -> bool {
        let is_it = |mac: &Hmac<Sha256>| tag(mac, purpose, text).as_bytes().ct_eq(given.as_bytes());
        let fits = self.tagging.iter().map(is_it);
        fits.fold(subtle::Choice::from(0), |any, one| any | one)
            .into()
    }

    /// Returns the token that follows from another one for a purpose: always the same, and as hard to
    /// guess as a random one without both that token and the vault.
    ///
    /// # Errors
    /// When the vault has no key.
    pub fn next_token(&self, purpose: &str, token: &str) -> Result<String> {
        let mac = self.tagging.first();
        let mac = mac.ok_or_else(|| Error::internal("the vault has no key"))?;
        Ok(next_token(mac, purpose, token))
    }

    /// Returns what [`Vault::next_token`] returns with each key of the vault in the first place: another
    /// server may seal with another one while keys are changed.
    pub fn next_tokens(&self, purpose: &str, token: &str) -> Vec<String> {
        let next = |mac: &Hmac<Sha256>| next_token(mac, purpose, token);
        self.tagging.iter().map(next).collect()
    }

    /// Encrypts `plain` and binds it to `associated`, which [`Vault::open`] must be given again.
    ///
    /// # Errors
    /// When the vault has no key.
    pub fn seal(&self, plain: &[u8], associated: &[u8]) -> Result<Vec<u8>> {
        let (id, cipher) = self
            .keys
            .first()
            .ok_or_else(|| Error::internal("the vault has no key"))?;
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload {
            msg: plain,
            aad: associated,
        };
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::internal("sealing failed"))?;
        Ok([&[*id], nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts a value from [`Vault::seal`].
    ///
    /// # Errors
    /// When it was sealed with another key or for another place, or was changed since.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>> {
        let damaged = || {
            Error::internal("a sealed value does not open: another master key, or it was changed")
        };
        let (id, rest) = sealed.split_first().ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(damaged)?;
        let payload = || Payload {
            msg: ciphertext,
            aad: associated,
        };
        let candidates = self.keys.iter().filter(|(key, _)| key == id);
        candidates
            .filter_map(|(_, cipher)| cipher.decrypt(&XNonce::from(*nonce), payload()).ok())
            .next()
            .ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_one_text_one_purpose_and_one_vault() {
        let [old, new] = [(); 2].map(|()| MasterKey::generate());
        let rotated = Vault::new(&[
            MasterKey::parse(&new.to_hex()).unwrap(),
            MasterKey::parse(&old.to_hex()).unwrap(),
        ]);
        let (before, after) = (Vault::new(&[old]), Vault::new(&[new]));
        let tag = before.tag("ticket", "7").unwrap();
        assert_eq!(tag.len(), 32);
        assert!(before.has_tagged("ticket", "7", &tag) && rotated.has_tagged("ticket", "7", &tag));
        for (vault, purpose, text, given) in [
            (&after, "ticket", "7", tag.as_str()),
            (&before, "ticket", "8", &tag),
            (&before, "mail", "7", &tag),
            (&before, "ticket", "7", &tag[1..]),
            (&before, "ticket", "7", ""),
        ] {
            assert!(
                !vault.has_tagged(purpose, text, given),
                "{purpose} {text} {given}"
            );
        }
    }

    #[test]
    fn a_token_follows_from_one_token_one_purpose_and_one_vault() {
        let [old, new] = [(); 2].map(|()| MasterKey::generate());
        let rotated = Vault::new(&[
            MasterKey::parse(&new.to_hex()).unwrap(),
            MasterKey::parse(&old.to_hex()).unwrap(),
        ]);
        let (before, after) = (Vault::new(&[old]), Vault::new(&[new]));
        let token = random_token();
        let next = |vault: &Vault, purpose: &str, token: &str| {
            let next = vault.next_token(purpose, token).unwrap();
            assert_eq!(next.len(), token.len());
            next
        };
        let first = next(&before, "session", &token);
        assert_eq!(first, next(&before, "session", &token));
        let others = [
            next(&after, "session", &token),
            next(&before, "other", &token),
            next(&before, "session", &first),
            token.clone(),
        ];
        assert!(!others.contains(&first), "{others:?}");
        let known = rotated.next_tokens("session", &token);
        assert_eq!(known, [next(&after, "session", &token), first]);
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let vault = Vault::new(&[MasterKey::generate()]);
        let sealed = vault.seal(b"hunter2", b"row 1").unwrap();
        assert_eq!(vault.open(&sealed, b"row 1").unwrap(), b"hunter2");
        assert!(vault.open(&sealed, b"row 2").is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open(&changed, b"row 1").is_err(), "byte {at}");
            assert!(vault.open(&sealed[..at], b"row 1").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_old_key_still_opens_after_rotation() {
        let key = || MasterKey::parse(&"ab".repeat(32)).unwrap();
        let sealed = Vault::new(&[key()]).seal(b"x", b"").unwrap();
        let rotated = Vault::new(&[MasterKey::generate(), key()]);
        assert_eq!(rotated.open(&sealed, b"").unwrap(), b"x");
        assert!(
            Vault::new(&[MasterKey::generate()])
                .open(&sealed, b"")
                .is_err()
        );
    }

    #[test]
    fn randomness_has_the_promised_shape() {
        assert_eq!(random_token().len(), 43);
        assert_eq!(random_hex(16).len(), 32);
        let password = random_password(24);
        assert!(password.len() == 24 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(random_token(), random_token());
    }

    #[test]
    fn known_digest() {
        assert_eq!(
            sha256_hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
