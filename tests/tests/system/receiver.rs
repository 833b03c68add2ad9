//! A receiver of webhooks, which checks signatures by itself.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Debug, Default)]
struct Memory {
    received: Mutex<Vec<Received>>,
    /// Statuses of the next answers.
    answers: Mutex<VecDeque<u16>>,
    /// Status of all answers after those; 204 unless it is set.
    afterwards: Mutex<Option<u16>>,
    text: Mutex<String>,
    pause: Mutex<Duration>,
}

/// A server at work until it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    memory: Arc<Memory>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(
    State(memory): State<Arc<Memory>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let path = uri.path().to_owned();
    let received = Received {
        path,
        headers,
        body,
    };
    memory.received.lock().unwrap().push(received);
    let pause = *memory.pause.lock().unwrap();
    tokio::time::sleep(pause).await;
    let next = memory.answers.lock().unwrap().pop_front();
    let status = next.or(*memory.afterwards.lock().unwrap()).unwrap_or(204);
    let status = StatusCode::from_u16(status).unwrap();
    if status.is_redirection() {
        return (status, [(LOCATION, "/elsewhere")]).into_response();
    }
    (status, memory.text.lock().unwrap().clone()).into_response()
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory::default());
        let router = Router::new().fallback(take).with_state(Arc::clone(&memory));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            memory,
            serving,
        }
    }

    /// Returns an address of this receiver.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the statuses of the next answers.
    pub(crate) fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        *self.memory.answers.lock().unwrap() = statuses.into_iter().collect();
    }

    /// Sets the status of all answers after those.
    pub(crate) fn answer_always(&self, status: u16) {
        *self.memory.afterwards.lock().unwrap() = Some(status);
    }

    /// Sets the text of all answers.
    pub(crate) fn say(&self, text: &str) {
        text.clone_into(&mut self.memory.text.lock().unwrap());
    }

    /// Waits so long before each answer.
    pub(crate) fn pause(&self, pause: Duration) {
        *self.memory.pause.lock().unwrap() = pause;
    }

    /// Returns what came to a path.
    pub(crate) fn at(&self, path: &str) -> Vec<Received> {
        let received = self.memory.received.lock().unwrap();
        let of_path = received.iter().filter(|one| one.path == path);
        of_path.cloned().collect()
    }

    /// Returns what came to a path, once there are so many.
    pub(crate) async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        for _ in 0..400 {
            let received = self.at(path);
            if received.len() >= count {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let all = self.memory.received.lock().unwrap();
        panic!("{path}: not {count} came: {all:#?}");
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the number of signatures.
    pub(crate) fn signatures(&self) -> usize {
        self.header("webhook-signature").split(' ').count()
    }

    /// Returns true when one of the signatures was made with this secret.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").unwrap();
        let key = BASE64_STANDARD.decode(key).unwrap();
        assert!((24..=64).contains(&key.len()));
        let signed = format!(
            "{}.{}.{}",
            self.header("webhook-id"),
            self.header("webhook-timestamp"),
            self.body
        );
        let expected = format!(
            "v1,{}",
            BASE64_STANDARD.encode(hmac(&key, signed.as_bytes()))
        );
        let mut signatures = self.header("webhook-signature").split(' ');
        signatures.any(|signature| signature == expected)
    }
}

/// HMAC with SHA-256 as RFC 2104 defines it, for keys of up to a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner);
    outer.finalize().to_vec()
}
