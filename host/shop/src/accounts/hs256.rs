//! HMAC with SHA-256 for access tokens.
//!
//! `jsonwebtoken` brings RSA and elliptic curves along with its own; no token here is signed with a
//! key pair.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result as Checked},
    signature::{Error, Signer, Verifier},
};
use sha2::Sha256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key: &EncodingKey| {
        require_hs256(*algorithm, key.family())?;
        Ok(Box::new(Hs256::new(key.as_bytes())?))
    },
    verifier_factory: |algorithm, key: &DecodingKey| {
        require_hs256(*algorithm, key.family())?;
        Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?))
    },
    // Only public keys in JSON ask for these.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the process's cryptography of tokens.
pub(super) fn install() {
    // The second caller finds the first one's, which is the same.
    let _ = PROVIDER.install_default();
}

fn require_hs256(algorithm: Algorithm, family: AlgorithmFamily) -> Checked<()> {
    match (algorithm, family) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(()),
        (Algorithm::HS256, _) => Err(ErrorKind::InvalidKeyFormat.into()),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> Checked<Self> {
        let keyed = Hmac::new_from_slice(key);
        Ok(Self(keyed.map_err(|_| ErrorKind::InvalidKeyFormat)?))
    }

    fn of(&self, message: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(message)
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.of(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        // In constant time.
        self.of(message)
            .verify_slice(signature)
            .map_err(Error::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::crypto::{sign, verify};

    use super::*;

    const KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const MESSAGE: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOj\
        EzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    #[test]
    fn signs_the_example_of_rfc_7515() {
        install();
        let key = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(KEY).unwrap());
        assert_eq!(
            sign(MESSAGE.as_bytes(), &key, Algorithm::HS256).unwrap(),
            SIGNATURE
        );
    }

    #[test]
    fn verifies_nothing_but_the_whole_signature() {
        install();
        let key = DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(KEY).unwrap());
        let holds = |signature: &str, message: &str| {
            verify(signature, message.as_bytes(), &key, Algorithm::HS256).unwrap()
        };
        assert!(holds(SIGNATURE, MESSAGE));
        assert!(!holds(SIGNATURE, &MESSAGE[1..]));
        assert!(!holds(&SIGNATURE[..40], MESSAGE));
        assert!(!holds("", MESSAGE));
    }

    #[test]
    fn knows_no_other_algorithm_and_no_other_key() {
        install();
        let key = EncodingKey::from_secret(b"secret");
        let refused = sign(b"message", &key, Algorithm::HS512).unwrap_err();
        assert_eq!(*refused.kind(), ErrorKind::UnsupportedAlgorithm);
        let refused = sign(
            b"message",
            &EncodingKey::from_ed_der(b"key"),
            Algorithm::HS256,
        );
        assert_eq!(*refused.unwrap_err().kind(), ErrorKind::InvalidKeyFormat);
    }
}
