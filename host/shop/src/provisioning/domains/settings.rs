//! Settings of customers' domains.

use std::net::SocketAddr;

use super::records::Records;

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
