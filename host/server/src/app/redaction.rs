//! Secrets and types that can be printed: a secret in one of them is of a type that prints as `***`.

use super::document::{sources, type_name};

/// Parts of the names of fields that hold secrets.
const SECRET: [&str; 5] = ["password", "secret", "token", "challenge", "recovery"];

/// Fields that are called so and hold something else.
const NO_SECRETS: [(&str, &str); 14] = [
    // Names of Secret objects.
    ("IngressTlsView", "secret"),
    ("Moved", "new_secrets"),
    ("Pods", "pull_secret"),
    ("Directory", "secret_store"),
    ("Entry", "tls_secret"),
    ("UpdateView", "new_secrets"),
    // Hashes of random tokens, and what the vault sealed.
    ("Attempt", "secret"),
    ("NewMailedToken", "token_hash"),
    ("NewRefreshToken", "token_hash"),
    // Text that a customer publishes, to prove a domain.
    ("Domain", "token"),
    // People and payments of the demo, which is for show.
    ("Login", "password"),
    ("Outcome", "customer_token"),
    ("Order", "token"),
    ("NewOrder", "token"),
];

/// A field of a type that derives `Debug`.
struct Field {
    owner: String,
    name: String,
    kind: String,
}

fn printable_fields(text: &str) -> Vec<Field> {
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let (mut owner, mut derives, mut fields) = (None, false, Vec::new());
    for line in shipped.lines() {
        if line.trim_start().starts_with("#[derive(") {
            derives = line.contains("Debug");
        } else if let Some(name) = type_name(line) {
            owner = derives.then(|| name.to_owned());
            derives = false;
        } else if line == "}" {
            owner = None;
        } else if let Some(owner) = &owner
            && let Some((name, kind)) = line.trim().trim_end_matches(',').split_once(": ")
            && !name.starts_with(['/', '#'])
        {
            fields.push(Field {
                owner: owner.clone(),
                name: name.rsplit(' ').next().unwrap_or(name).to_owned(),
                kind: kind.to_owned(),
            });
        }
    }
    fields
}

#[test]
fn a_secret_in_a_type_that_can_be_printed_is_redacted() {
    let (mut redacted, mut plain) = (0, Vec::new());
    for (file, text) in sources() {
        for field in printable_fields(&text) {
            let is_secret = SECRET.iter().any(|part| field.name.contains(part));
            let is_text = ["String", "str", "Value", "u8"];
            let known = (field.owner.as_str(), field.name.as_str());
            if !is_secret || NO_SECRETS.contains(&known) {
                continue;
            }
            if field.kind.contains("Hidden") || field.kind.contains("Secret") {
                redacted += 1;
            } else if is_text.iter().any(|part| field.kind.contains(part)) {
                plain.push(format!("{file}: {}.{}: {}", known.0, known.1, field.kind));
            }
        }
    }
    assert!(redacted > 10, "{redacted}");
    assert!(plain.is_empty(), "{plain:#?}");
}
