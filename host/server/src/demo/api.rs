//! The public API as the demo uses it: over HTTP, like any other client.

use reqwest::Method;
use serde_json::Value;

/// A client of the running server, signed in or not.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A step of the demo that did not go as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{method} {path} got no answer: {source}")]
    Unreachable {
        method: Method,
        path: String,
        source: reqwest::Error,
    },
    #[error("{method} {path} answered {status}: {body}")]
    Refused {
        method: Method,
        path: String,
        status: u16,
        body: String,
    },
}

impl Api {
    pub(super) fn new(base: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            base,
            token: None,
        }
    }

    pub(super) fn signed_in(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// The `data` of a success; anything else is an error that shows the whole answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let unreachable = |source| ApiError::Unreachable {
            method: method.clone(),
            path: path.to_owned(),
            source,
        };
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(answer.get_mut("data").map(Value::take).unwrap_or_default());
        }
        Err(ApiError::Refused {
            method,
            path: path.to_owned(),
            status: status.as_u16(),
            body: text,
        })
    }
}
