//! Addresses of databases, read before anything connects: sqlx leaves out a parameter that it does not know, and
//! writes it into the log with its value.

use std::collections::BTreeSet;

use reqwest::Url;

use super::settings::Tls;
use crate::text::is_escaped;

/// Schemes of PostgreSQL.
const SERVERS: [&str; 2] = ["postgres://", "postgresql://"];
/// Names of parameters that sqlx reads for PostgreSQL, and the one name of each.
const OF_SERVERS: [(&str, &str); 18] = [
    ("sslmode", "sslmode"),
    ("ssl-mode", "sslmode"),
    ("sslrootcert", "sslrootcert"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("sslcert", "sslcert"),
    ("ssl-cert", "sslcert"),
    ("sslkey", "sslkey"),
    ("ssl-key", "sslkey"),
    ("host", "host"),
    ("hostaddr", "host"),
    ("port", "port"),
    ("dbname", "dbname"),
    ("user", "user"),
    ("password", "password"),
    ("application_name", "application_name"),
    ("options", OPTIONS),
    ("statement-cache-capacity", "statement-cache-capacity"),
];
/// Refusal of an escape that sqlx would leave as it is, or replace.
const BROKEN_ESCAPE: &str = "must have two hexadecimal digits behind each `%`, which make a text in UTF-8; write a `%` \
                             itself as %25";
/// Parameter that may come again: each one is added.
const OPTIONS: &str = "options";
/// Parameters that sqlx reads for SQLite, and their values; any value where none is listed.
const OF_FILES: [(&str, &[&str]); 4] = [
    ("mode", &["ro", "rw", "rwc", "memory"]),
    ("cache", &["private", "shared"]),
    ("immutable", &["true", "1", "false", "0"]),
    ("vfs", &[]),
];

/// Address of a database. It keeps nothing that lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    is_server: bool,
    tls: Option<Tls>,
    /// Names of its parameters, whether they are before the `?` or behind it.
    parameters: BTreeSet<&'static str>,
}

impl Address {
    /// Reads the URL of a database.
    ///
    /// # Errors
    /// A sentence that completes the name of a setting. It repeats nothing of the URL, any part of which may be
    /// a part of a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let is_server = SERVERS.iter().any(|scheme| url.starts_with(scheme));
        if (is_server || url.starts_with("sqlite:")) && !is_escaped(url) {
            return Err(BROKEN_ESCAPE.to_owned());
        }
        if is_server {
            return Self::of_server(url);
        }
        match url.strip_prefix("sqlite:") {
            Some(file) => Self::of_file(file),
            None => Err("must begin with sqlite:// or postgres://".to_owned()),
        }
    }

    /// Returns true for PostgreSQL.
    pub const fn is_server(&self) -> bool {
        self.is_server
    }

    /// Returns the protection that `sslmode` asks for.
    pub const fn tls(&self) -> Option<Tls> {
        self.tls
    }

    /// Returns true when the address has a parameter, by its plain name, such as `sslrootcert`.
    pub fn has(&self, parameter: &str) -> bool {
        self.parameters.contains(parameter)
    }

    fn of_server(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|_| {
            "must be an address such as postgres://user:password@host:5432/database; in a password, write all but \
             letters and digits as % and two hexadecimal digits"
                .to_owned()
        })?;
        if url.fragment().is_some() {
            return Err("must have no `#`; within a password, write it as %23".to_owned());
        }
        let mut address = Self {
            is_server: true,
            ..Self::default()
        };
        for (name, is_given) in [
            ("user", !url.username().is_empty()),
            ("password", url.password().is_some()),
            ("host", url.host_str().is_some_and(|host| !host.is_empty())),
            ("port", url.port().is_some()),
            ("dbname", !url.path().trim_start_matches('/').is_empty()),
        ] {
            if is_given {
                address.parameters.insert(name);
            }
        }
        let mut options = BTreeSet::new();
        for (at, (key, value)) in pairs(&url).into_iter().enumerate() {
            if let Some(option) = key.strip_prefix("options[")
                && let Some(option) = option.strip_suffix(']')
            {
                if !options.insert(option.to_owned()) {
                    return Err("must have each of its options once, not twice".to_owned());
                }
                continue;
            }
            let name = of_servers(&key).ok_or_else(|| unknown(at, &names_of_servers()))?;
            address.take(name)?;
            if name == "sslmode" {
                address.tls = Some(protection(&value)?);
            }
        }
        Ok(address)
    }

    fn of_file(file: &str) -> Result<Self, String> {
        let query = file.split_once('?').map_or("", |(_, query)| query);
        // sqlx knows no fragment there.
        let url = Url::parse(&format!("sqlite:?{}", query.replace('#', "%23")));
        let url = url.map_err(|_| "must be an address such as sqlite://path".to_owned())?;
        let mut address = Self::default();
        for (at, (key, value)) in pairs(&url).into_iter().enumerate() {
            let mut known = OF_FILES.into_iter();
            let found = known.find(|(name, _)| *name == key);
            let (name, values) =
                found.ok_or_else(|| unknown(at, &OF_FILES.map(|(name, _)| name)))?;
            address.take(name)?;
            if !values.is_empty() && !values.contains(&value.as_str()) {
                return Err(format!("must have a `{name}` of: {}", values.join(", ")));
            }
        }
        Ok(address)
    }

    /// Notes a parameter. Of two that are the same, one would have no effect.
    fn take(&mut self, name: &'static str) -> Result<(), String> {
        if !self.parameters.insert(name) && name != OPTIONS {
            return Err(format!("must have its `{name}` once, not twice"));
        }
        Ok(())
    }
}

/// Returns the parameters of a query, decoded.
fn pairs(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}

fn of_servers(key: &str) -> Option<&'static str> {
    let mut known = OF_SERVERS.into_iter();
    known.find(|(name, _)| *name == key).map(|(_, plain)| plain)
}

/// Returns the plain names of parameters for PostgreSQL.
fn names_of_servers() -> Vec<&'static str> {
    let plain = OF_SERVERS.into_iter().filter(|(name, plain)| name == plain);
    plain.map(|(name, _)| name).collect()
}

fn unknown(at: usize, known: &[&str]) -> String {
    format!(
        "must have no unknown parameter: number {} behind the `?` is none of {}",
        at + 1,
        known.join(", ")
    )
}

fn protection(word: &str) -> Result<Tls, String> {
    let mut known = Tls::WORDS.into_iter();
    let found = known.find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, tls)| tls).ok_or_else(|| {
        let words = Tls::WORDS.map(|(name, _)| name);
        format!("must have an `sslmode` of: {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_are_read() {
        for url in [
            "postgres://shop:s3cret@db:5433/shop",
            "postgresql:///shop?host=/run/postgresql&user=shop&password=s3cret",
            "postgres://shop@%2Frun%2Fpostgresql/shop",
            "postgres://shop@db/shop?options=-c%20a%3D1&options=-c%20b%3D2&options[c]=3&options[d]=4",
            "postgres://shop@db/shop?application_name=shop&statement-cache-capacity=10&port=5433",
        ] {
            let address = Address::parse(url).unwrap();
            assert!(address.is_server() && address.tls().is_none(), "{url}");
        }
        let url = "postgres://shop@db/shop?sslmode=verify-full&ssl-ca=ca.pem";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.tls(), Some(Tls::VerifyFull));
        assert!(address.has("sslrootcert") && !address.has("sslcert"));
        for url in [
            "sqlite::memory:",
            "sqlite:shop.db",
            "sqlite:///data/a#b.db?mode=rwc&cache=private",
        ] {
            let address = Address::parse(url).unwrap();
            assert!(!address.is_server(), "{url}");
        }
    }

    /// A part of a password may be anywhere behind a `?` or a `#` that was not written as it must be.
    #[test]
    fn what_would_be_left_out_is_refused_and_not_repeated() {
        for (url, fault) in [
            (
                "postgres://shop@db/shop?sslmod=s3cret",
                "must have no unknown parameter: number 1 ",
            ),
            (
                "postgres://shop@db/shop?port=1&s3cret",
                "must have no unknown parameter: number 2 ",
            ),
            (
                "postgres://shop@db/shop?options[s3cret=1",
                "must have no unknown parameter: number 1 ",
            ),
            (
                "postgres://shop@db/shop?sslmode=require&sslmode=s3cret",
                "must have its `sslmode` once",
            ),
            (
                "postgres://shop@db/shop?sslmode=require&ssl-mode=require",
                "must have its `sslmode` once",
            ),
            (
                "postgres://shop:s3cret@db/shop?password=s3cret",
                "must have its `password` once",
            ),
            (
                "postgres://shop@db/shop?host=s3cret",
                "must have its `host` once",
            ),
            (
                "postgres://shop@db/shop?options[a]=s3cret&options[a]=2",
                "must have each of its options once",
            ),
            (
                "postgres://shop@db/shop?sslmode=s3cret",
                "must have an `sslmode` of: disable, prefer",
            ),
            // sqlx takes it for `disable`.
            (
                "postgres://shop@db/shop?sslmode=allow",
                "must have an `sslmode` of: disable, prefer",
            ),
            ("postgres://shop:12#s3cret@db/shop", "must have no `#`"),
            ("postgres://shop:s3cret/1@db/shop", "must be an address"),
            (
                "postgres://shop:s3cret%zz@db/shop",
                "must have two hexadecimal",
            ),
            (
                "postgres://shop:s3cret@db/shop?options=%4",
                "must have two hexadecimal",
            ),
            (
                "postgres://shop:s3cret%ff@db/shop",
                "must have two hexadecimal",
            ),
            (
                "postgres://shop:s3cret@db/shop%",
                "must have two hexadecimal",
            ),
            ("sqlite://s3cret%zz.db", "must have two hexadecimal"),
            (
                "sqlite://shop.db?mod=s3cret",
                "must have no unknown parameter: number 1 ",
            ),
            (
                "sqlite://shop.db?mode=s3cret",
                "must have a `mode` of: ro, rw, rwc, memory",
            ),
            (
                "sqlite://shop.db?mode=rwc&mode=ro",
                "must have its `mode` once",
            ),
            ("s3cret", "must begin with sqlite:// or postgres://"),
        ] {
            let said = Address::parse(url).unwrap_err();
            assert!(said.starts_with(fault), "{url}: {said}");
            assert!(!said.contains("s3cret"), "{url}: {said}");
        }
    }
}
