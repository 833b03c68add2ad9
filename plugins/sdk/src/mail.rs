//! Outgoing mail of a service: by its customer's own mail server, else by the operator's relay.

use serde::Deserialize;

use crate::service::{Instance, Problem, SecretKey, SecretKind, SecretSpec, Value, json};

/// Name of the secret with the password of the customer's mail server.
const PASSWORD: &str = "mail-password";
/// Port of servers that speak TLS from the first byte.
const IMPLICIT_TLS: u16 = 465;

/// Mail server of a customer, a part of a configuration; see [`schema`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailServer {
    host: String,
    #[serde(default = "submission")]
    port: u16,
    user: Option<String>,
    /// A mark that there is one; the host keeps the value as a secret.
    password: Option<String>,
    from: String,
}

/// Relay of the operator, a part of a template's settings. It lets the cluster in by its address,
/// since a template never holds a password.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    host: String,
    #[serde(default = "submission")]
    port: u16,
    from: String,
}

const fn submission() -> u16 {
    587
}

/// Server that a service sends its mail by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub host: String,
    pub port: u16,
    /// Address of the sender.
    pub from: String,
    /// User and password, where the server asks for them.
    pub login: Option<(String, SecretKey)>,
}

impl Outgoing {
    /// Chooses the customer's own server, else the relay; `None` without either.
    ///
    /// # Errors
    /// When the host keeps no password for the customer's server.
    pub fn of(
        own: Option<&MailServer>,
        relay: Option<&Relay>,
        instance: &Instance,
    ) -> Result<Option<Self>, Problem> {
        let Some(own) = own else {
            return Ok(relay.map(|relay| Self {
                host: relay.host.clone(),
                port: relay.port,
                from: relay.from.clone(),
                login: None,
            }));
        };
        let login = match (&own.user, &own.password) {
            (Some(user), Some(_)) => Some((user.clone(), instance.secret(PASSWORD)?)),
            _ => None,
        };
        Ok(Some(Self {
            host: own.host.clone(),
            port: own.port,
            from: own.from.clone(),
            login,
        }))
    }

    /// Returns true for a server that speaks TLS from the first byte; others upgrade to it.
    pub const fn has_implicit_tls(&self) -> bool {
        self.port == IMPLICIT_TLS
    }
}

/// Returns the secret that a service with mail lists among its own.
pub fn secret() -> SecretSpec {
    SecretSpec {
        name: PASSWORD.to_owned(),
        kind: SecretKind::Password(32),
        purpose: "Password of the customer's own mail server, when there is one.".to_owned(),
    }
}

/// Returns the JSON Schema of a [`MailServer`], for a property named `mail`.
pub fn schema() -> Value {
    let text = |title: &str, description: &str| json!({"type": "string", "minLength": 1, "maxLength": 200, "title": title, "description": description});
    let mut password = text("Password", "Kept as a secret and never shown again.");
    let mut from = text("Sender", "Address that mail comes from.");
    let mut host = text("Host", "Name of the mail server.");
    for (field, key, value) in [
        (&mut password, "writeOnly", json!(true)),
        (&mut from, "pattern", json!("^[^@\\s]+@[^@\\s]+$")),
        (&mut host, "pattern", json!("^[A-Za-z0-9.-]+$")),
    ] {
        if let Some(field) = field.as_object_mut() {
            field.insert(key.to_owned(), value);
        }
    }
    json!({
        "type": "object",
        "title": "Mail server",
        "description": "Your own server for outgoing mail (SMTP).",
        "properties": {
            "host": host,
            "port": {"type": "integer", "minimum": 1, "maximum": 65_535, "default": submission(), "title": "Port",
                "description": "587, or 465 for TLS from the first byte."},
            "user": text("User", "Name to log in with, if it asks for one."),
            "password": password,
            "from": from,
        },
        "required": ["host", "from"],
        "additionalProperties": false,
    })
}

/// Returns the sentence for customers about the mail of their service.
pub const fn note(own: Option<&MailServer>, relay: Option<&Relay>) -> &'static str {
    match (own, relay) {
        (Some(_), _) => "It sends mail by your own mail server.",
        (None, Some(_)) => "It sends mail by our relay.",
        (None, None) => {
            "It cannot send mail: no mail server is in its configuration, and we offer no relay."
        }
    }
}
