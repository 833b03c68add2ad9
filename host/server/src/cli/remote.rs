//! The server that a command talks to, and how its refusals end the command.

use clap::Args;
use dermaga_shop::crypto::Hidden;

use super::CliError;
use crate::client::{Api, ApiError, in_words};

/// Sentence for people whose token is missing or not good.
const GET_A_TOKEN: &str = "\
An administrator makes one: sign in with POST /api/auth/login, then POST /api/user/api-tokens with the access token
and {\"name\": \"cli\", \"scope\": \"WRITE\"} (READ only looks). Set it as DERMAGA_API_TOKEN. docs/OPERATIONS.md has both
lines under \"From the command line\".";

/// Address of a server, and the token for it.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server, for example https://shop.example.com.
    #[arg(long, value_name = "URL", env = "DERMAGA_SERVER")]
    pub(super) server: String,
    /// An administrator's API token; better in the environment than on the command line.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "DERMAGA_API_TOKEN",
        hide_env_values = true
    )]
    token: Option<Hidden>,
}

impl Remote {
    /// Returns a client that is signed in.
    ///
    /// # Errors
    /// When there is no token, or the address is none.
    pub(super) fn api(&self) -> Result<Api, CliError> {
        let address = self.server.trim().trim_end_matches('/');
        if !is_server(address) {
            // It is not repeated: it may have a password.
            let message = "--server or DERMAGA_SERVER is no address of a server; one looks like \
                           https://shop.example.com, without user, `?` and `#`";
            return Err(CliError::Usage(message.to_owned()));
        }
        let token = self.token.as_deref().map(str::trim).unwrap_or_default();
        if token.is_empty() {
            return Err(CliError::Usage(format!(
                "there is no API token: give one with --token or DERMAGA_API_TOKEN.\n{GET_A_TOKEN}"
            )));
        }
        Ok(Api::new(address.to_owned()).bounded().signed_in(token))
    }
}

/// Returns true for an address to which paths can be added. A user would not be sent beside the token, and errors show
/// the rest.
fn is_server(address: &str) -> bool {
    reqwest::Url::parse(address).is_ok_and(|url| {
        let has_more = url.query().is_some() || url.fragment().is_some();
        let has_user = !url.username().is_empty() || url.password().is_some();
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web && !has_more && !has_user
    })
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        match &error {
            ApiError::Unreachable { .. } => Self::Unreachable(format!(
                "{error}\nCheck the address of --server or DERMAGA_SERVER, and that the server runs."
            )),
            ApiError::Refused {
                status: 401, body, ..
            } => Self::Denied(format!("{}\n{GET_A_TOKEN}", in_words(body))),
            ApiError::Refused {
                status: 403, body, ..
            } => Self::Denied(in_words(body)),
            ApiError::Refused {
                status: 300..=399, ..
            } => Self::Failed(format!(
                "{error}\nThe server sends this elsewhere; give the address that it sends to, often the one with https://."
            )),
            ApiError::Refused { body, .. } if is_envelope(body) => Self::Failed(in_words(body)),
            ApiError::Refused { .. } | ApiError::Unusable { .. } => Self::Failed(error.to_string()),
        }
    }
}

/// Returns true for a failure as this shop writes it, not a proxy before it.
pub(super) fn is_envelope(body: &str) -> bool {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    parsed.is_some_and(|body| body.pointer("/error/code").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_and_nothing_more() {
        for good in [
            "https://shop.example.com",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://example.com/shop",
        ] {
            assert!(is_server(good), "{good}");
        }
        for bad in [
            "",
            "shop.example.com",
            "localhost:8080",
            "ftp://shop.example.com",
            "https://",
            "https://sari@shop.example.com",
            "https://:secret@shop.example.com",
            "https://shop.example.com?a=1",
            "https://shop.example.com#a",
        ] {
            assert!(!is_server(bad), "{bad}");
        }
    }
}
