//! Proof that a domain is a customer's: a TXT record of it, or a file on the web server that it leads to.

use std::{io::ErrorKind, time::Duration};

use tokio::time::timeout;

use super::{Domains, model::ProvenBy};
use crate::{crypto, webhooks::Unread};

/// Beginning of the name of a record.
pub(super) const PREFIX: &str = "_dermaga.";
/// Longest time that name servers may take.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a file may take.
pub(super) const FILE_TIMEOUT: Duration = Duration::from_secs(5);
const OK: u16 = 200;
/// Mark that some editors put before the text of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns the name of a domain's record.
pub(super) fn record_name(domain: &str) -> String {
    format!("{PREFIX}{domain}")
}

/// Returns the value of that record.
pub(super) fn record_value(token: &str) -> String {
    format!("dermaga-verify={token}")
}

/// Returns the address of the file.
pub(super) fn file_url(domain: &str, token: &str, port: Option<u16>) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("http://{domain}{port}/.well-known/dermaga/{token}")
}

/// Returns the content of that file. It is not in the address, so that a server that repeats what it is asked for
/// proves nothing.
pub(super) fn file_content(token: &str) -> String {
    crypto::sha256_hex(token)
}

/// Returns true for a file that holds nothing but this content.
fn holds(file: &str, content: &str) -> bool {
    let text = file.trim_start().trim_start_matches(BYTE_ORDER_MARK);
    text.trim() == content
}

impl Domains {
    /// Looks for the proof of a domain.
    ///
    /// # Errors
    /// Sentences about what was found in its place.
    pub(super) async fn look(&self, domain: &str, token: &str) -> Result<ProvenBy, String> {
        let Err(no_record) = self.look_for_record(domain, token).await else {
            return Ok(ProvenBy::Dns);
        };
        let Err(no_file) = self.look_for_file(domain, token).await else {
            return Ok(ProvenBy::Http);
        };
        Err(format!("{no_record} {no_file}"))
    }

    async fn look_for_record(&self, domain: &str, token: &str) -> Result<(), String> {
        let (name, value) = (record_name(domain), record_value(token));
        let found = self.texts_of(&name).await?.unwrap_or_default();
        if found.iter().any(|text| text.trim() == value) {
            Ok(())
        } else if found.is_empty() {
            Err(format!("There is no TXT record of {name}."))
        } else {
            Err(format!("The TXT record of {name} has another value."))
        }
    }

    /// Returns the texts of the TXT records of a name, or nothing when there is no such name.
    async fn texts_of(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let silent = || format!("The name servers of {name} do not answer.");
        let asked = timeout(DNS_TIMEOUT, self.records.of(name)).await;
        match asked.map_err(|_| silent())? {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                tracing::debug!(domain = name, %error, "domain.record_not_read");
                Err(silent())
            }
        }
    }

    async fn look_for_file(&self, domain: &str, token: &str) -> Result<(), String> {
        let url = file_url(domain, token, self.settings.web_port);
        let file = match self.files.fetch(&url).await {
            Ok(file) => file,
            Err(unread) => return Err(self.reason(unread, domain).await),
        };
        match file.status {
            OK if holds(&file.text, &file_content(token)) => Ok(()),
            OK => Err(format!("The file {url} has another content.")),
            status => Err(format!("The file {url} is answered with status {status}.")),
        }
    }

    /// Says why the file of a domain was not read.
    async fn reason(&self, unread: Unread, domain: &str) -> String {
        match unread {
            Unread::NoAddress => self.reason_without_address(domain).await,
            Unread::NotPublic => format!("The address of {domain} is not public."),
            Unread::TooSlow => format!("The web server of {domain} does not answer in time."),
            Unread::NotConnected => format!("The web server of {domain} takes no connection."),
            Unread::NotHttp => {
                format!(
                    "The web server of {domain} sends no valid HTTP answer, or ends the connection before it."
                )
            }
        }
    }

    /// Says why a domain leads to no address. The resolver of the system does not tell a name without addresses
    /// from one that does not exist; a question for its records does.
    async fn reason_without_address(&self, domain: &str) -> String {
        match self.texts_of(domain).await {
            Ok(None) => format!(
                "The name {domain} does not exist in DNS, or leads to a name that does not exist."
            ),
            Ok(Some(_)) => format!("The name {domain} has no address in DNS."),
            Err(silent) => silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_a_mark_and_blanks_around_its_content() {
        for file in [
            "a1b2",
            "a1b2\n",
            "\u{feff}a1b2",
            "\u{feff}a1b2\n",
            "\u{feff}\n  a1b2 \t\n\n",
            " \n\u{feff}a1b2 ",
        ] {
            assert!(holds(file, "a1b2"), "{file:?}");
        }
        for file in [
            "",
            "\u{feff}",
            "a1b",
            "a1b2 a1b2",
            "a1\u{feff}b2",
            "a1b2\nand more",
        ] {
            assert!(!holds(file, "a1b2"), "{file:?}");
        }
    }
}
