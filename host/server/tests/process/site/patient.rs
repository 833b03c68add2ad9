//! A client that does not mind servers that die.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde_json::Value;

use super::Site;

/// Longest wait for a limit, which is one of a minute.
const LONGEST_LIMIT: Duration = Duration::from_secs(90);

/// Returns the time to wait for a limit that was met, such as that of questions to the gateway, which no setting
/// raises.
fn limited(path: &str, response: &reqwest::Response) -> Option<Duration> {
    if response.status().as_u16() != 429 {
        return None;
    }
    let wait = response.headers().get("retry-after");
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    let wait = Duration::from_secs(wait.unwrap_or(1));
    assert!(wait <= LONGEST_LIMIT, "{path} is limited for {wait:?}");
    Some(wait)
}

/// Client that does not give up before it has an answer.
#[derive(Clone)]
pub(crate) struct Patient {
    pub(crate) http: reqwest::Client,
    base: String,
    token: String,
}

impl Patient {
    pub(crate) fn new(site: &Site) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: format!("http://{}", site.listen),
            token: String::new(),
        }
    }

    /// The answer's data, however often the server dies meanwhile. The same key each time.
    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        self.ask(path, |http, url| {
            http.post(url).header("Idempotency-Key", key).json(body)
        })
        .await
    }

    /// Posts once; returns true when a server took it.
    pub(crate) async fn attempt(&self, path: &str, key: &str, body: &Value) -> bool {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request.header("Idempotency-Key", key).json(body);
        let answer = request.bearer_auth(&self.token).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Uploads a plugin and waits for the answer to this one request.
    pub(crate) async fn upload(
        &self,
        component: Vec<u8>,
        prefer: &'static str,
    ) -> reqwest::Result<reqwest::Response> {
        let form = Form::new().part("component", Part::bytes(component));
        self.http
            .post(format!("{}/api/admin/plugins", self.base))
            .bearer_auth(&self.token)
            .header("Prefer", prefer)
            .multipart(form)
            .send()
            .await
    }

    /// Sends a form once, whatever becomes of the server.
    pub(crate) async fn form(&self, path: &str, form: Form) -> reqwest::Result<reqwest::Response> {
        let request = self.http.post(format!("{}{path}", self.base));
        request
            .bearer_auth(&self.token)
            .multipart(form)
            .send()
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(path, |http, url| http.get(url)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Value {
        self.ask(path, |http, url| http.put(url).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Value {
        self.ask(path, |http, url| http.delete(url)).await
    }

    /// Waits until a value of the answer, found by its JSON pointer, is this word.
    pub(crate) async fn until(&self, path: &str, pointer: &str, word: &str) {
        for _ in 0..600 {
            let found = self.get(path).await;
            if found.pointer(pointer).and_then(Value::as_str) == Some(word) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} never says {word}");
    }

    async fn ask(
        &self,
        path: &str,
        request: impl Fn(&reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Value {
        for _ in 0..1200 {
            let request = request(&self.http, format!("{}{path}", self.base));
            // Accounts that are made in no language keep the shop's own.
            let request = match self.token.as_str() {
                "" => request,
                _ => request.header("Accept-Language", "en"),
            };
            if let Ok(response) = request.bearer_auth(&self.token).send().await {
                let status = response.status().as_u16();
                if let Some(wait) = limited(path, &response) {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                match (status, response.json::<Value>().await) {
                    (200..=202, Ok(answer)) => return answer["data"].clone(),
                    // Being answered, or not able to at the moment.
                    (408 | 409 | 500.., _) | (_, Err(_)) => {}
                    (status, Ok(answer)) => panic!("{path} answered {status}: {answer:#}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} was never answered");
    }

    /// Opens a stream, which the caller reads.
    pub(crate) async fn stream(&self, path: &str) -> reqwest::Response {
        let request = self.http.get(format!("{}{path}", self.base));
        let opened = request.bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(opened.status().as_u16(), 200, "{path}");
        opened
    }

    /// Sends a request once, with an id that the log has; returns the status and the answer.
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        (id, body): (&str, Option<String>),
    ) -> (u16, Value) {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("X-Request-Id", id);
        let request = if self.token.is_empty() {
            request
        } else {
            request.bearer_auth(&self.token)
        };
        let request = match body {
            Some(body) => request
                .header("Content-Type", "application/json")
                .body(body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// The same person with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same person at another server.
    pub(crate) fn at(&self, listen: &str) -> Self {
        Self {
            base: format!("http://{listen}"),
            ..self.clone()
        }
    }

    pub(crate) fn signed_in(&self, session: &Value) -> Self {
        Self {
            token: session["accessToken"].as_str().unwrap().to_owned(),
            ..self.clone()
        }
    }
}
