//! Extractors of the caller, part of a handler's signature so that no handler forgets to ask.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath},
    http::{Extensions, HeaderMap, Method, header, request::Parts},
};
use dermaga_shop::{
    Code, Error,
    accounts::{Identity, Origin, Role, administration::Act, two_factor},
    audit::{By, GivenReason},
    ids::{SessionId, UserId},
    language::{self, Language},
};

use crate::api::AppState;
use crate::http::Refusal;
use crate::http::address::forwarded_for;

/// Anybody who is signed in and whose account is active, administrators included.
#[derive(Debug, Clone, Copy)]
pub struct Customer {
    pub user_id: UserId,
    pub role: Role,
    session: SessionId,
    is_program: bool,
    acting: Option<UserId>,
    has_two_factor: bool,
    language: Language,
}

impl Customer {
    pub const fn identity(self) -> Identity {
        Identity {
            user_id: self.user_id,
            session: self.session,
            role: self.role,
            is_program: self.is_program,
            acting: self.acting,
            has_two_factor: self.has_two_factor,
            language: self.language,
        }
    }
}

impl FromRequestParts<AppState> for Customer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refusal> {
        let Identity {
            user_id,
            session,
            role,
            is_program,
            acting,
            has_two_factor,
            language,
        } = match parts.extensions.get::<Identity>() {
            Some(known) => *known,
            None => {
                let path = parts.extensions.get::<MatchedPath>();
                let route = path.map_or_else(|| parts.uri.path(), MatchedPath::as_str);
                identify(state, &parts.headers, &parts.method, route).await?
            }
        };
        let span = tracing::Span::current();
        span.record("user.id", tracing::field::display(user_id));
        if let Some(acting) = acting {
            span.record("acting.id", tracing::field::display(acting));
        }
        Ok(Self {
            user_id,
            role,
            session,
            is_program,
            acting,
            has_two_factor,
            language,
        })
    }
}

/// Returns the holder of the token of a request; `route` is the pattern of its route.
///
/// # Errors
/// `UNAUTHENTICATED`, `TOKEN_EXPIRED` or `FORBIDDEN`, as [`Accounts::authenticate`].
///
/// [`Accounts::authenticate`]: dermaga_shop::accounts::Accounts::authenticate
pub(super) async fn identify(
    state: &AppState,
    headers: &HeaderMap,
    method: &Method,
    route: &str,
) -> Result<Identity, Error> {
    let token = bearer_token(headers)?;
    state.accounts.authenticate(token, method, route).await
}

/// Lets the answer to a request without a token have the language of the account that it is about,
/// unless its header names one.
pub(super) async fn answer_to(state: &AppState, user_id: UserId) {
    if language::named().is_some() {
        return;
    }
    // The act is done: where the database does not answer any more, that is said in English.
    if let Ok(Some(language)) = state.accounts.language_of(user_id).await {
        language::remember(language);
    }
}

/// User with the role `ADMINISTRATOR`; everybody else who is signed in gets 403.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    pub user_id: UserId,
    is_program: bool,
}

impl Admin {
    /// Names this administrator as the actor, with a reason.
    pub(super) const fn act(self, reason: &str) -> Act<'_> {
        Act {
            actor_id: self.user_id,
            is_program: self.is_program,
            reason,
        }
    }

    /// Names this administrator as the actor, with a reason where one was given.
    pub(super) fn by(self, reason: Option<&GivenReason>) -> By<'_> {
        By::given(self.user_id, reason)
    }
}

impl FromRequestParts<AppState> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refusal> {
        let customer = Customer::from_request_parts(parts, state).await?;
        let Customer {
            user_id,
            role,
            is_program,
            ..
        } = customer;
        let accounts = &state.accounts;
        match role {
            Role::Administrator
                if accounts.requires_two_factor(role) && !customer.has_two_factor =>
            {
                Err(two_factor::required().into())
            }
            Role::Administrator => Ok(Self {
                user_id,
                is_program,
            }),
            Role::User => Err(Error::new(Code::Forbidden, "This is for administrators.").into()),
        }
    }
}

/// Returns the token of a request.
///
/// # Errors
/// `UNAUTHENTICATED` when there is none, or more than one: a proxy may have looked at another one than this server.
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str, Error> {
    let missing = || {
        let message = "Log in first, and send the access token as `Authorization: Bearer ...`.";
        Error::new(Code::Unauthenticated, message)
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(missing());
    };
    let value = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(missing())
    }
}

/// Origin of a request, as far as it can be believed: the peer, or the entry that the trusted
/// proxies in front (`DERMAGA_TRUSTED_PROXIES` of them) wrote into `X-Forwarded-For`.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub Option<IpAddr>);

impl FromRequestParts<AppState> for PeerAddress {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refusal> {
        Ok(Self::of(&parts.extensions, &parts.headers, state))
    }
}

impl PeerAddress {
    /// Returns the address of a request with these extensions and headers.
    pub(super) fn of(extensions: &Extensions, headers: &HeaderMap, state: &AppState) -> Self {
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| address.ip());
        let forwarded = forwarded_for(headers, state.config.http.trusted_proxies);
        Self(forwarded.or(peer).map(|address| address.to_canonical()))
    }
}

/// Origin of a request, for the list of sessions: its address and its device.
#[derive(Debug, Clone)]
pub struct SentFrom(pub Origin);

impl FromRequestParts<AppState> for SentFrom {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refusal> {
        let PeerAddress(address) = PeerAddress::from_request_parts(parts, state).await?;
        let user_agent = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        Ok(Self(Origin::new(address, user_agent.unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bearer_tokens_only() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer_token(&headers).ok(), token, "{value}");
        }
        let twice = ["Bearer abc", "Bearer def"].map(|value| value.parse().unwrap());
        let twice = twice.map(|value| (header::AUTHORIZATION, value));
        assert!(bearer_token(&HeaderMap::from_iter(twice)).is_err());
    }
}
