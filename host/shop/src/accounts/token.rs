//! Access tokens: JWTs that this server alone makes and reads.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{Role, User, hs256};
use crate::{
    Code, Error, Result, crypto,
    ids::{SessionId, UserId},
};

const ISSUER: &str = "dermaga";
const AUDIENCE: &str = "dermaga-api";

/// Shortest useful secret for HS256: the size of its digest.
pub const MIN_SECRET_BYTES: usize = 32;

/// Claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: String,
    /// Id of its account.
    pub(super) sub: UserId,
    /// Session it descends from; logging out ends it.
    pub(super) sid: SessionId,
    pub(super) role: Role,
    /// Token generation of the account when it was made; a later generation invalidates it.
    #[serde(rename = "gen")]
    pub(super) generation: i64,
    /// Administrator who looks at the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<UserId>,
    iat: i64,
    exp: i64,
}

/// Keys of access tokens: the first secret signs, all of them verify.
pub struct TokenKeys {
    signing: EncodingKey,
    key_id: String,
    /// Keys that verify, by key id, a prefix of the secret's hash.
    reading: Vec<(String, DecodingKey)>,
    lifetime: TimeDelta,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys")
            .field("key_id", &self.key_id)
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

impl TokenKeys {
    /// # Errors
    /// When there is no secret.
    pub fn new(secrets: &[impl AsRef<[u8]>], lifetime: TimeDelta) -> Result<Self> {
        let signing = secrets
            .first()
            .ok_or_else(|| Error::internal("no secret to sign tokens with"))?
            .as_ref();
        hs256::install();
        let reading = secrets.iter().map(|secret| {
            (
                key_id(secret.as_ref()),
                DecodingKey::from_secret(secret.as_ref()),
            )
        });
        Ok(Self {
            signing: EncodingKey::from_secret(signing),
            key_id: key_id(signing),
            reading: reading.collect(),
            lifetime,
        })
    }

    /// Signs an access token, and returns it with its expiry.
    pub(super) fn sign(
        &self,
        user_id: UserId,
        session: SessionId,
        role: Role,
        generation: i64,
        now: DateTime<Utc>,
    ) -> Result<(String, DateTime<Utc>)> {
        let expires_at = now + self.lifetime;
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user_id,
            sid: session,
            role,
            generation,
            act: None,
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        Ok((self.encode(&claims)?, expires_at))
    }

    /// Signs an access token with which an administrator looks at an account, for at most `most`.
    pub(super) fn sign_look(
        &self,
        user: &User,
        session: SessionId,
        acting: UserId,
        most: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<(String, DateTime<Utc>)> {
        let expires_at = now + self.lifetime.min(most);
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user.id,
            sid: session,
            role: user.role,
            generation: user.token_generation,
            act: Some(acting),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        Ok((self.encode(&claims)?, expires_at))
    }

    fn encode(&self, claims: &Claims) -> Result<String> {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(Error::internal)
    }

    /// Reads an access token.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when this server did not make it, `TOKEN_EXPIRED` when its time is over.
    pub(super) fn read(&self, token: &str, now: DateTime<Utc>) -> Result<Claims> {
        let header =
            jsonwebtoken::decode_header(token).map_err(|error| invalid().caused_by(error))?;
        let known = self
            .reading
            .iter()
            .find(|(id, _)| header.kid.as_deref() == Some(id));
        let (_, key) = known.ok_or_else(invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation());
        let claims = claims.map_err(|error| invalid().caused_by(error))?.claims;
        if claims.exp <= now.timestamp() {
            return Err(Error::new(
                Code::TokenExpired,
                "The access token has expired. Refresh it or log in again.",
            ));
        }
        Ok(claims)
    }
}

/// Requires an expiry; [`TokenKeys::read`] compares it by the application's clock.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.required_spec_claims = HashSet::from(["exp", "iss", "aud", "sub"].map(String::from));
    validation
}

fn invalid() -> Error {
    Error::new(
        Code::Unauthenticated,
        "The access token is not valid. Log in again.",
    )
}

fn key_id(secret: &[u8]) -> String {
    crypto::sha256_hex([b"dermaga token key id".as_slice(), secret].concat())
        .chars()
        .take(8)
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn keys(secrets: &[&str]) -> TokenKeys {
        TokenKeys::new(secrets, TimeDelta::hours(24)).unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn token(keys: &TokenKeys) -> String {
        keys.sign(
            UserId::from_u128(7),
            SessionId::from_u128(8),
            Role::User,
            3,
            now(),
        )
        .unwrap()
        .0
    }

    #[test]
    fn signs_and_reads() {
        let keys = keys(&["first secret"]);
        let claims = keys.read(&token(&keys), now()).unwrap();
        assert_eq!(
            (claims.sub, claims.sid, claims.generation),
            (UserId::from_u128(7), SessionId::from_u128(8), 3)
        );
    }

    #[test]
    fn expires_by_the_given_clock_and_without_leeway() {
        let keys = keys(&["first secret"]);
        let token = token(&keys);
        assert!(
            keys.read(&token, now() + TimeDelta::seconds(86_399))
                .is_ok()
        );
        assert_eq!(
            keys.read(&token, now() + TimeDelta::hours(24))
                .unwrap_err()
                .code,
            Code::TokenExpired
        );
    }

    #[test]
    fn an_older_secret_still_reads() {
        let old = token(&keys(&["old secret"]));
        assert!(
            keys(&["new secret", "old secret"])
                .read(&old, now())
                .is_ok()
        );
        assert_eq!(
            keys(&["new secret"]).read(&old, now()).unwrap_err().code,
            Code::Unauthenticated
        );
    }

    #[test]
    fn refuses_forgeries() {
        let keys = keys(&["first secret"]);
        let good = token(&keys);
        let parts: Vec<&str> = good.split('.').collect();
        let header = |json: String| URL_SAFE_NO_PAD.encode(json);
        let none = header(format!(r#"{{"alg":"none","kid":"{}"}}"#, keys.key_id));
        let other = header(format!(r#"{{"alg":"HS512","kid":"{}"}}"#, keys.key_id));
        for forged in [
            String::new(),
            "a.b.c".into(),
            format!("{none}.{}.", parts[1]),
            format!("{other}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode("{}"), parts[2]),
            format!("{}.{}.{}", parts[0], parts[1], "A".repeat(43)),
        ] {
            assert_eq!(
                keys.read(&forged, now()).unwrap_err().code,
                Code::Unauthenticated,
                "{forged}"
            );
        }
    }
}
