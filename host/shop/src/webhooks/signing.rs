//! Signatures of the Standard Webhooks specification.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{Error, Result, crypto, crypto::Secret};

const PREFIX: &str = "whsec_";
/// Age of a signature, and time by which its clock may be ahead.
const OLDEST_SECONDS: u64 = 300;

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

/// Returns true when a text is a secret that can sign: `whsec_` and at least 24 bytes in Base64.
pub fn is_secret(text: &str) -> bool {
    let key = text.strip_prefix(PREFIX).map(|key| STANDARD.decode(key));
    key.is_some_and(|key| key.is_ok_and(|key| key.len() >= 24))
}

/// Returns true when one of the signatures of a message is by this secret, and is not old.
///
/// The message's id, timestamp and signatures are the values of the three headers.
pub fn is_signed(
    secret: &Secret,
    (id, timestamp, signatures): (&str, &str, &str),
    body: &[u8],
    now: i64,
) -> bool {
    let is_young = timestamp
        .parse::<i64>()
        .is_ok_and(|at| now.abs_diff(at) <= OLDEST_SECONDS);
    let key = STANDARD.decode(secret.reveal().trim_start_matches(PREFIX));
    let Some(mac) = key
        .ok()
        .and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok())
    else {
        return false;
    };
    let mac = mac
        .chain_update(format!("{id}.{timestamp}."))
        .chain_update(body);
    let mut given = signatures
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"));
    is_young
        && given.any(|one| {
            let given = STANDARD.decode(one).unwrap_or_default();
            mac.clone().verify_slice(&given).is_ok()
        })
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
    fn a_signature_is_of_its_message_secret_and_time() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, at, body) = ("msg_1", "1614265330", b"\xff mail".as_slice());
        let mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(&secret.reveal()[6..]).unwrap());
        let mac = mac
            .unwrap()
            .chain_update("msg_1.1614265330.")
            .chain_update(body);
        let good = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let now = 1_614_265_330;
        let two = format!("v1,AAAA {good}");
        for signatures in [&good, &two] {
            assert!(is_signed(&secret, (id, at, signatures), body, now + 300));
        }
        for (secret, head, body, now) in [
            (&secret, (id, at, good.as_str()), body, now + 301),
            (&secret, (id, at, &good), body, now - 301),
            (&secret, ("msg_2", at, &good), body, now),
            (&secret, (id, "1614265331", &good), body, now),
            (&secret, (id, at, &good), b"other", now),
            (&secret, (id, at, &good[3..]), body, now),
            (&secret, (id, at, ""), body, now),
            (&secret, (id, "x", &good), body, now),
            (&new_secret(), (id, at, &good), body, now),
        ] {
            assert!(!is_signed(secret, head, body, now), "{head:?}");
        }
    }

    #[test]
    fn a_secret_is_a_prefix_and_32_bytes() {
        let secret = new_secret();
        let key = secret.reveal().strip_prefix("whsec_").unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
        assert_ne!(new_secret(), secret);
    }
}
