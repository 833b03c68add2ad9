//! Journal of a run: its log, the secrets in it, and what was sent and answered.
//!
//! `DERMAGA_TEST_JOURNAL` names the folder for it. `.ci/secrets` searches the log for the secrets, and
//! `.ci/examples` takes the examples of the API's document from what was answered.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::{Mutex, OnceLock},
};

use reqwest::{Request, header::HeaderMap};
use serde_json::{Value, json};

/// Events of the log: ours in detail, without the statements that the database runs.
const EVENTS: &str = "info,dermaga=debug,dermaga_shop=debug,dermaga_runtime=debug,kube=debug,lettre=debug,\
                      hyper=debug,hyper_util=debug,reqwest=debug";

/// Names of fields whose values are secrets.
const SECRET_FIELDS: [&str; 9] = [
    "accessToken",
    "refreshToken",
    "token",
    "secret",
    "challenge",
    "codes",
    "password",
    "currentPassword",
    "newPassword",
];
/// Shorter texts are found by chance.
const SHORTEST_SECRET: usize = 12;

/// Files that a run of tests writes.
#[derive(Debug)]
pub(crate) struct Journal {
    secrets: Mutex<File>,
    exchanges: Mutex<File>,
}

/// A request as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    method: String,
    path: String,
    query: Option<String>,
    body: Value,
}

/// Returns the journal when one is wanted, and begins the log.
pub(crate) fn open() -> Option<&'static Journal> {
    static OPENED: OnceLock<Option<Journal>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        let folder = std::env::var_os("DERMAGA_TEST_JOURNAL")?;
        let folder = Path::new(&folder);
        fs::create_dir_all(folder).expect("a folder for the journal");
        let file = |name: &str| {
            let name = format!("{name}-{}", std::process::id());
            File::create(folder.join(name)).expect("a file of the journal")
        };
        // Events of a server carry its request's id by their span.
        tracing_subscriber::fmt()
            .with_env_filter(EVENTS)
            .with_ansi(false)
            .with_writer(Mutex::new(file("log")))
            .init();
        Some(Journal {
            secrets: Mutex::new(file("secrets")),
            exchanges: Mutex::new(file("exchanges")),
        })
    });
    opened.as_ref()
}

impl Journal {
    /// Notes the secrets of a request before it is sent.
    pub(crate) fn sent(&self, request: &Request) -> Sent {
        let body = request.body().and_then(reqwest::Body::as_bytes);
        let body = body.and_then(|body| serde_json::from_slice(body).ok());
        let sent = Sent {
            method: request.method().to_string(),
            path: request.url().path().to_owned(),
            query: request.url().query().map(str::to_owned),
            body: body.unwrap_or_default(),
        };
        self.note_secrets(&sent.path, &sent.body);
        sent
    }

    /// Notes an answer and the secrets in it.
    pub(crate) fn note(&self, sent: &Sent, status: u16, headers: &HeaderMap, body: &Value) {
        self.note_secrets(&sent.path, body);
        let kind = headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        let line = json!({
            "method": sent.method, "path": sent.path, "query": sent.query, "request": sent.body,
            "status": status, "type": kind, "answer": body,
        });
        let mut exchanges = self.exchanges.lock().expect("no panic");
        writeln!(exchanges, "{line}").expect("the exchange is noted");
    }

    fn note_secrets(&self, path: &str, body: &Value) {
        // Names of Secret objects there, and of tokens.
        if path.contains("/k8s/") || path.contains("/audit") || path.contains("/notifications") {
            return;
        }
        let mut found = Vec::new();
        secrets(body, &mut found);
        let mut file = self.secrets.lock().expect("no panic");
        for secret in found
            .iter()
            .filter(|secret| secret.len() >= SHORTEST_SECRET)
        {
            writeln!(file, "{secret}").expect("the secret is noted");
        }
    }
}

fn secrets<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| secrets(item, found)),
        Value::Object(fields) => {
            // Credentials of an instance.
            if fields.get("isSecret") == Some(&Value::Bool(true)) {
                found.extend(fields["value"].as_str());
            }
            for (name, field) in fields {
                match field {
                    _ if !SECRET_FIELDS.contains(&name.as_str()) => secrets(field, found),
                    Value::String(text) => found.push(text),
                    Value::Array(items) => found.extend(items.iter().filter_map(Value::as_str)),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
