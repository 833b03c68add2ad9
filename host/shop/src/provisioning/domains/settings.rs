//! Settings of customers' domains.

use std::{io, net::SocketAddr};

use super::records::Records;

/// Name that is asked for in a probe: it belongs to all, and nothing depends on its records.
const PROBED: &str = "example.com";

/// Settings of customers' domains.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Domains that one instance may have; 0 takes none: what is proven stays, and claims end without a proof.
    pub per_instance: usize,
    /// Name server that is asked for records; `None` asks those of the system.
    pub name_server: Option<SocketAddr>,
    /// Source of records in the place of name servers, for tests.
    pub records: Option<Records>,
    /// Port of the web servers with files, for tests; `None` for that of the web.
    pub web_port: Option<u16>,
}

impl Settings {
    /// Asks the name server that the operator names for a record; `None` where none is named. An answer that there is no
    /// record is one.
    pub async fn probe(&self) -> Option<io::Result<()>> {
        let records = Records::of_server(Some(self.name_server?));
        Some(match records.of(PROBED).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(()),
        })
    }
}
