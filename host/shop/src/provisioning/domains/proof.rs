//! Proof that a domain is a customer's: a TXT record of it, or a file on the web server that it leads to.

use std::time::Duration;

use tokio::time::timeout;

use super::{Domains, model::ProvenBy};
use crate::crypto;

/// Beginning of the name of a record.
pub(super) const PREFIX: &str = "_dermaga.";
/// Longest time that name servers may take.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a file may take.
pub(super) const FILE_TIMEOUT: Duration = Duration::from_secs(5);
const OK: u16 = 200;

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
        let silent = || format!("The name servers of {name} do not answer.");
        let asked = timeout(DNS_TIMEOUT, self.records.of(&name)).await;
        let found = asked.map_err(|_| silent())?.map_err(|error| {
            tracing::debug!(domain, %error, "domain.record_not_read");
            silent()
        })?;
        if found.iter().any(|text| text.trim() == value) {
            Ok(())
        } else if found.is_empty() {
            Err(format!("There is no TXT record of {name}."))
        } else {
            Err(format!("The TXT record of {name} has another value."))
        }
    }

    async fn look_for_file(&self, domain: &str, token: &str) -> Result<(), String> {
        let url = file_url(domain, token, self.settings.web_port);
        let fetched = self.files.fetch(&url).await;
        let file = fetched.map_err(|reason| format!("The file {url} cannot be read: {reason}."))?;
        match file.status {
            OK if file.text.trim() == file_content(token) => Ok(()),
            OK => Err(format!("The file {url} has another content.")),
            status => Err(format!("The file {url} is answered with status {status}.")),
        }
    }
}
