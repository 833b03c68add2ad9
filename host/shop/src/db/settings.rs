//! Settings of connections to PostgreSQL.

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use sqlx::{
    error::BoxDynError,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{Address, KEPT_STATEMENTS, ambient};

/// Parameter of a URL that says how many prepared statements a connection keeps.
const CAPACITY: &str = "statement-cache-capacity";

/// Program between the servers and PostgreSQL that lends its connections to several sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Found out when the first connection is made.
    #[default]
    Auto,
    /// Absent, or one that keeps a connection for each session.
    None,
    /// One that lends a connection for one transaction.
    Transaction,
}

/// Protection of connections, as `sslmode` of PostgreSQL's own programs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Disable,
    /// Encrypted where the server offers it.
    Prefer,
    /// Encrypted, without a look at the server's certificate.
    Require,
    /// Encrypted, with a certificate of a known authority.
    VerifyCa,
    /// Encrypted, with a certificate of a known authority for the name that is connected to.
    VerifyFull,
}

/// Settings of connections to PostgreSQL. SQLite needs none.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections that are open at most.
    pub connections: u32,
    /// Longest wait for a free connection.
    pub acquire: Duration,
    /// Time without use after which a connection is closed.
    pub idle: Duration,
    /// Longest time of a statement.
    pub statement: Duration,
    pub pooler: Pooler,
    /// `None`: as the URL says.
    pub tls: Option<Tls>,
    /// Certificates of authorities that are believed beside those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 20,
            acquire: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            statement: Duration::from_secs(300),
            pooler: Pooler::default(),
            tls: None,
            ca_file: None,
        }
    }
}

impl Tls {
    /// Words for protections, as `sslmode` has them.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// Returns true when the certificate of the server is checked by an authority.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }

    const fn mode(self) -> PgSslMode {
        match self {
            Self::Disable => PgSslMode::Disable,
            Self::Prefer => PgSslMode::Prefer,
            Self::Require => PgSslMode::Require,
            Self::VerifyCa => PgSslMode::VerifyCa,
            Self::VerifyFull => PgSslMode::VerifyFull,
        }
    }
}

impl Settings {
    /// Returns the options of a connection to a URL.
    ///
    /// # Errors
    /// When the URL is none, when authorities are given that nothing would be checked by, and when the environment
    /// would change the connection.
    pub(super) fn options(&self, url: &str) -> sqlx::Result<PgConnectOptions> {
        let address =
            Address::parse(url).map_err(|fault| configuration(format!("the URL {fault}")))?;
        let is_set = |name: &str| std::env::var(name).is_ok();
        ambient::refuse(&address, self.ca_file.is_some(), is_set).map_err(configuration)?;
        // PostgreSQL prints numbers whole without this parameter, which poolers refuse.
        let options = PgConnectOptions::from_str(url)?.extra_float_digits(None::<i8>);
        let mut options = ambient::take_back(options, &address);
        if !address.has(CAPACITY) {
            options = options.statement_cache_capacity(KEPT_STATEMENTS);
        }
        let Some(ca_file) = &self.ca_file else {
            return Ok(match self.tls {
                Some(tls) => options.ssl_mode(tls.mode()),
                None => options,
            });
        };
        let mode = match (self.tls, options.get_ssl_mode()) {
            (Some(tls), _) => tls.mode(),
            (None, PgSslMode::VerifyCa) => PgSslMode::VerifyCa,
            (None, _) => PgSslMode::VerifyFull,
        };
        if !matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            let message = "DERMAGA_DATABASE_CA_FILE needs DERMAGA_DATABASE_TLS=verify-full or verify-ca, which check by it";
            return Err(configuration(message));
        }
        Ok(options.ssl_mode(mode).ssl_root_cert(ca_file))
    }
}

fn configuration(fault: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::Configuration(fault.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "postgres://shop@db/shop";

    fn mode(tls: Option<Tls>, ca_file: Option<&str>, url: &str) -> Option<String> {
        let settings = Settings {
            tls,
            ca_file: ca_file.map(PathBuf::from),
            ..Settings::default()
        };
        let options = settings.options(url).ok()?;
        Some(format!("{:?}", options.get_ssl_mode()))
    }

    #[test]
    fn a_setting_wins_over_the_url_and_an_authority_is_never_idle() {
        let verifying = "postgres://shop@db/shop?sslmode=verify-ca";
        let found = |tls, ca_file, url| mode(tls, ca_file, url).unwrap_or_default();
        assert_eq!(found(None, None, PLAIN), "Prefer");
        assert_eq!(found(None, None, verifying), "VerifyCa");
        assert_eq!(found(Some(Tls::Require), None, verifying), "Require");
        assert_eq!(found(None, Some("ca.pem"), PLAIN), "VerifyFull");
        assert_eq!(found(None, Some("ca.pem"), verifying), "VerifyCa");
        for idle in [Tls::Disable, Tls::Prefer, Tls::Require] {
            assert_eq!(mode(Some(idle), Some("ca.pem"), PLAIN), None, "{idle:?}");
        }
    }

    #[test]
    fn a_connection_keeps_the_statements_of_a_journey_unless_its_url_says_otherwise() {
        let few = format!("{PLAIN}?statement-cache-capacity=10");
        for (url, kept) in [(PLAIN, KEPT_STATEMENTS), (few.as_str(), 10)] {
            let options = Settings::default().options(url).unwrap();
            let written = format!("statement_cache_capacity: {kept}");
            assert!(format!("{options:?}").contains(&written), "{url}");
        }
    }
}
