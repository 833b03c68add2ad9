//! HTTP client for tests, and the answers it reads.

use reqwest::{
    Method,
    header::{ACCEPT_LANGUAGE, HeaderMap},
};
use serde_json::Value;

use crate::journal;

/// Language of answers that a client asks for, unless said otherwise.
const DEFAULT_LANGUAGE: &str = "en";
const REGISTRATION: &str = "/api/auth/register";

/// A client of one server, signed in or not.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    idempotency_key: Option<String>,
    language: Option<String>,
}

/// An answer: status and whole envelope.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// Body, with replacement characters for bytes that are not UTF-8.
    pub text: String,
    pub body: Value,
}

impl Client {
    pub fn new(base: impl Into<String>) -> Self {
        // The process needs one TLS provider; a second installation fails and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::new(),
            base: base.into(),
            token: None,
            idempotency_key: None,
            language: Some(DEFAULT_LANGUAGE.to_owned()),
        }
    }

    /// Returns the same client with an access token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// Returns the same client, sending this `Idempotency-Key`.
    #[must_use]
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self {
            idempotency_key: Some(key.into()),
            ..self.clone()
        }
    }

    /// Returns the same client, sending this `Accept-Language`, or none.
    #[must_use]
    pub fn in_language(&self, language: Option<&str>) -> Self {
        Self {
            language: language.map(str::to_owned),
            ..self.clone()
        }
    }

    /// Returns the same user as a client of the server that `other` uses.
    #[must_use]
    pub fn moved_to(&self, other: &Self) -> Self {
        Self {
            base: other.base.clone(),
            ..self.clone()
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body))
            .await
    }

    /// Sends a DELETE with a body.
    pub async fn delete_with(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::DELETE, path).json(&body))
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends a form of texts and of files in the parts `attachments`.
    pub async fn post_form(
        &self,
        path: &str,
        texts: &[(&str, &str)],
        files: &[(&str, &[u8])],
    ) -> Answer {
        let form = texts
            .iter()
            .fold(reqwest::multipart::Form::new(), |form, (name, text)| {
                form.text((*name).to_owned(), (*text).to_owned())
            });
        let form = files.iter().fold(form, |form, (name, content)| {
            let part = reqwest::multipart::Part::bytes(content.to_vec());
            form.part("attachments", part.file_name((*name).to_owned()))
        });
        self.send(self.request(Method::POST, path).multipart(form))
            .await
    }

    /// Uploads a component, to be compiled after the answer.
    pub async fn upload_async(&self, component: Vec<u8>) -> Answer {
        let part = reqwest::multipart::Part::bytes(component).file_name("component.wasm");
        let form = reqwest::multipart::Form::new().part("component", part);
        let request = self.request(Method::POST, "/api/admin/plugins");
        self.send(request.header("prefer", "respond-async").multipart(form))
            .await
    }

    /// Uploads a component as an administrator does.
    pub async fn upload(&self, component: Vec<u8>) -> Answer {
        self.upload_with(component, &[]).await
    }

    /// Uploads a component with further fields of the form.
    pub async fn upload_with(&self, component: Vec<u8>, fields: &[(&str, &str)]) -> Answer {
        let part = reqwest::multipart::Part::bytes(component).file_name("component.wasm");
        let form = reqwest::multipart::Form::new().part("component", part);
        let form = fields.iter().fold(form, |form, (name, value)| {
            form.text((*name).to_owned(), (*value).to_owned())
        });
        self.send(
            self.request(Method::POST, "/api/admin/plugins")
                .multipart(form),
        )
        .await
    }

    /// Returns the server's address and the access token, for tests that send HTTP themselves.
    pub fn address_and_token(&self) -> (&str, &str) {
        let address = self.base.trim_start_matches("http://");
        (address, self.token.as_deref().unwrap_or_default())
    }

    /// Builds a request that can be changed before it is sent.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        // New accounts keep the shop's language, unless a test asks for another one.
        let is_default = self.language.as_deref() == Some(DEFAULT_LANGUAGE);
        let language = self.language.as_deref();
        let language = language.filter(|_| !(is_default && path == REGISTRATION));
        let request = match language {
            Some(language) => request.header(ACCEPT_LANGUAGE, language),
            None => request,
        };
        match &self.idempotency_key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let sent = journal::open().map(|journal| (journal, journal.sent(&request)));
        let response = self
            .http
            .execute(request)
            .await
            .expect("the server answers");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await.expect("the whole answer").to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        if let Some((journal, sent)) = sent {
            journal.note(&sent, status, &headers, &body);
        }
        Answer {
            status,
            headers,
            bytes,
            text,
            body,
        }
    }
}

impl Answer {
    /// True when this repeats the answer to an earlier request with the same key.
    pub fn is_replayed(&self) -> bool {
        self.headers
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true")
    }

    /// Returns the text of the PDF in the body.
    pub fn pdf_text(&self) -> String {
        assert_eq!(
            self.headers["content-type"], "application/pdf",
            "{}",
            self.text
        );
        pdf_extract::extract_text_from_mem(&self.bytes).expect("a PDF with text")
    }

    /// Asserts this status and returns the data.
    #[track_caller]
    pub fn data(self, status: u16) -> Value {
        assert_eq!(
            (self.status, &self.body["success"]),
            (status, &Value::Bool(true)),
            "{:#}",
            self.body
        );
        self.body["data"].clone()
    }

    /// Asserts a failure with this status and code, in the envelope.
    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) -> &Self {
        let got = (self.status, self.body["error"]["code"].as_str());
        assert_eq!(got, (status, Some(code)), "{:#}", self.body);
        assert_eq!(self.body["success"], false);
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(
            message.ends_with(['.', '!', '?']),
            "not a sentence: {message}"
        );
        self
    }

    /// Returns the `message` of the failure's detail about `field`.
    pub fn detail(&self, field: &str) -> Option<&str> {
        let details = self.body["error"]["details"].as_array()?;
        details.iter().find(|detail| detail["field"] == field)?["message"].as_str()
    }
}
