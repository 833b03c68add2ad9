//! The public API as the demo and the commands for administrators use it: over HTTP, like any other
//! client.

use std::time::Duration;

use dermaga_shop::{crypto::Hidden, error::with_causes};
use reqwest::{Method, RequestBuilder, header::ACCEPT_LANGUAGE, multipart::Form, redirect::Policy};
use serde_json::Value;

/// Longest time for connecting to a server.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for the answer of a command, with the upload of a component.
const ANSWER: Duration = Duration::from_secs(600);

/// A client of the running server, signed in or not.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<Hidden>,
}

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{method} {path} got no answer: {}", with_causes(source))]
    Unreachable {
        method: Method,
        path: String,
        source: reqwest::Error,
    },
    #[error("{method} {path} answered {status}: {}", in_words(body))]
    Refused {
        method: Method,
        path: String,
        status: u16,
        /// Body of the whole response.
        body: String,
    },
    #[error("{what} cannot be used: {reason}")]
    Unusable { what: &'static str, reason: String },
}

impl Api {
    pub(crate) fn new(base: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            base,
            token: None,
        }
    }

    pub(crate) fn signed_in(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned().into()),
            ..self.clone()
        }
    }

    /// Returns the same client for a command: it waits for a bounded time and is sent nowhere else,
    /// since a request that is sent elsewhere may arrive as another one.
    pub(crate) fn bounded(self) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(Policy::none())
            .build();
        Self {
            http: http.unwrap_or(self.http),
            ..self
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Presses a button of a page, as a browser does.
    pub(crate) async fn press(&self, page: &str, action: &str) -> Result<(), ApiError> {
        let unreachable = |source| ApiError::Unreachable {
            method: Method::POST,
            path: page.to_owned(),
            source,
        };
        let request = self.http.post(page).body(format!("action={action}"));
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(ApiError::Refused {
            method: Method::POST,
            path: page.to_owned(),
            status: status.as_u16(),
            body: response.text().await.unwrap_or_default(),
        })
    }

    /// Sends a form; the server works on it after its answer.
    pub(crate) async fn upload(&self, path: &str, form: Form) -> Result<Value, ApiError> {
        let request = self.request(Method::POST, path).multipart(form);
        let request = request.header("Prefer", "respond-async");
        answer(request, Method::POST, path).await
    }

    /// Sends a request and returns the whole envelope of a success.
    pub(crate) async fn envelope(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<Value, ApiError> {
        let request = self.request(method.clone(), path);
        let request = match content {
            Content::Nothing => request,
            Content::Json(body) => request.json(&body),
            Content::Form(form) => request.multipart(form),
        };
        whole(request, method, path).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let mut request = self.request(method.clone(), path);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request, method, path).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        // Commands print what the server says among words of their own, which are English.
        let request = request.header(ACCEPT_LANGUAGE, "en");
        match &self.token {
            Some(token) => request.bearer_auth(&**token),
            None => request,
        }
    }
}

/// Content of a request.
#[derive(Debug)]
pub(crate) enum Content {
    Nothing,
    Json(Value),
    Form(Form),
}

/// Returns the `data` of a success; anything else is an error.
async fn answer(request: RequestBuilder, method: Method, path: &str) -> Result<Value, ApiError> {
    let mut answer = whole(request, method, path).await?;
    Ok(answer.get_mut("data").map(Value::take).unwrap_or_default())
}

/// Returns the envelope of a success; anything else is an error.
async fn whole(request: RequestBuilder, method: Method, path: &str) -> Result<Value, ApiError> {
    let unreachable = |source| ApiError::Unreachable {
        method: method.clone(),
        path: path.to_owned(),
        source,
    };
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let text = response.text().await.map_err(unreachable)?;
    if status.is_success() {
        return Ok(serde_json::from_str(&text).unwrap_or_default());
    }
    Err(ApiError::Refused {
        method,
        path: path.to_owned(),
        status: status.as_u16(),
        body: text,
    })
}

/// Formats the sentence, code and details of a failure; returns a foreign body as it is.
pub(crate) fn in_words(body: &str) -> String {
    let Ok(failure) = serde_json::from_str::<Value>(body) else {
        return body.to_owned();
    };
    let text = |pointer: &str| failure.pointer(pointer).and_then(Value::as_str);
    let (Some(message), Some(code)) = (text("/message"), text("/error/code")) else {
        return body.to_owned();
    };
    sentence(message, code, failure.pointer("/error/details"))
}

/// Same as [`in_words`], for a failure inside an answer.
pub(crate) fn refusal(failure: &Value) -> String {
    let text = |key| failure.get(key).and_then(Value::as_str).unwrap_or_default();
    sentence(text("message"), text("code"), failure.get("details"))
}

fn sentence(message: &str, code: &str, details: Option<&Value>) -> String {
    let details = details.and_then(Value::as_array);
    let lines = details.into_iter().flatten().map(|detail| {
        let text = |key| detail.get(key).and_then(Value::as_str).unwrap_or_default();
        format!("\n  {} {}", text("field"), text("message"))
    });
    format!("{message} ({code}){}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_in_words() {
        let ours = r#"{"success":false,"message":"No.","error":{"code":"CONFLICT","details":[{"field":"a","message":"is taken"}]}}"#;
        assert_eq!(in_words(ours), "No. (CONFLICT)\n  a is taken");
        for other in ["<html>bad gateway</html>", "{}", ""] {
            assert_eq!(in_words(other), other);
        }
    }
}
