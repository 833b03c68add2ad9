//! Signatures of the Standard Webhooks specification.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{Error, Result, crypto, crypto::Secret};

const PREFIX: &str = "whsec_";

/// Makes a secret: `whsec_` and 32 random bytes in Base64.
pub(super) fn new_secret() -> Secret {
    let key = STANDARD.encode(crypto::random_bytes::<32>());
    Secret::new(format!("{PREFIX}{key}"))
}

/// Returns the value of `webhook-signature`: one signature for each secret, the newest first.
pub(super) fn signatures(
    secrets: &[Secret],
    id: &str,
    timestamp: i64,
    body: &str,
) -> Result<String> {
    let signed = secrets
        .iter()
        .map(|secret| signature(secret, id, timestamp, body));
    Ok(signed.collect::<Result<Vec<_>>>()?.join(" "))
}

fn signature(secret: &Secret, id: &str, timestamp: i64, body: &str) -> Result<String> {
    let key = secret.reveal().trim_start_matches(PREFIX);
    let key = STANDARD.decode(key).map_err(Error::internal)?;
    let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(Error::internal)?;
    let mac = mac.chain_update(format!("{id}.{timestamp}.{body}"));
    Ok(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn the_known_message_has_the_known_signature() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let known = Secret::new(secret.reveal());
        assert_eq!(
            signatures(&[known], id, 1_614_265_330, body).unwrap(),
            expected
        );
        let both = signatures(&[new_secret(), secret], id, 1_614_265_330, body).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(expected));
    }

    #[test]
    fn a_secret_is_a_prefix_and_32_bytes() {
        let secret = new_secret();
        let key = secret.reveal().strip_prefix("whsec_").unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
        assert_ne!(new_secret(), secret);
    }
}
