//! Variables of the environment that sqlx reads by itself, such as PGPASSWORD: the settings say all that there is to
//! say about a connection, so that none of these changes it.

use std::path::Path;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::Address;

/// Port of PostgreSQL, unless another is named.
const PORT: u16 = 5432;
/// Folders in which PostgreSQL of the same machine may have its socket, as sqlx looks for it.
const SOCKETS: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];
/// Name of the shop's sessions in PostgreSQL, unless another is named.
const APPLICATION: &str = "dermaga";
/// Variables whose effect cannot be taken back, and the parameters of a URL that replace it.
const LASTING: [(&str, &str); 4] = [
    ("PGUSER", "user"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
];
/// Variable to which the options of a URL are added.
const OPTIONS: (&str, &str) = ("PGOPTIONS", "options");

/// Variable that would change connections without a word in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} in the environment would change connections to PostgreSQL. Unset it; where it is meant, write \
     `{parameter}` into DATABASE_URL"
)]
pub struct Ambient {
    variable: &'static str,
    parameter: &'static str,
}

/// Refuses a variable that would have an effect which cannot be taken back.
///
/// # Errors
/// The first one that is set. Its value, which may let in, is not in it.
pub(super) fn refuse(
    address: &Address,
    has_authorities: bool,
    is_set: impl Fn(&str) -> bool,
) -> Result<(), Ambient> {
    let is_replaced =
        |parameter: &str| address.has(parameter) || (parameter == "sslrootcert" && has_authorities);
    let lasting = LASTING.into_iter();
    let mut lasting = lasting
        .filter(|(_, parameter)| !is_replaced(parameter))
        .chain([OPTIONS]);
    match lasting.find(|(variable, _)| is_set(variable)) {
        Some((variable, parameter)) => Err(Ambient {
            variable,
            parameter,
        }),
        None => Ok(()),
    }
}

/// Gives each part that the URL leaves out the value that it has without an environment.
pub(super) fn take_back(mut options: PgConnectOptions, address: &Address) -> PgConnectOptions {
    if !address.has("port") {
        options = options.port(PORT);
    }
    if !address.has("host") {
        let host = own_host(options.get_port());
        options = options.host(host);
    }
    if !address.has("dbname") {
        let named_after_user = options.get_username().to_owned();
        options = options.database(&named_after_user);
    }
    if !address.has("password") {
        // From PGPASSWORD, or from a file of passwords. An empty one is what is sent without one.
        options = options.password("");
    }
    if !address.has("sslmode") {
        options = options.ssl_mode(PgSslMode::Prefer);
    }
    if !address.has("application_name") {
        options = options.application_name(APPLICATION);
    }
    options
}

/// Returns the folder of a socket on this machine, or its name.
fn own_host(port: u16) -> &'static str {
    let socket = format!(".s.PGSQL.{port}");
    let mut folders = SOCKETS.into_iter();
    let found = folders.find(|folder| Path::new(folder).join(&socket).exists());
    found.unwrap_or("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, has_authorities: bool, set: &str) -> Option<String> {
        let address = Address::parse(url).unwrap();
        let refused = refuse(&address, has_authorities, |name| name == set);
        refused.err().map(|ambient| ambient.to_string())
    }

    #[test]
    fn a_variable_that_would_last_is_refused_unless_the_url_replaces_it() {
        let bare = "postgres://db/shop";
        for (variable, parameter) in LASTING.into_iter().chain([OPTIONS]) {
            let said = refused(bare, false, variable).unwrap();
            assert!(said.starts_with(&format!("{variable} in ")), "{said}");
            assert!(said.contains(&format!("`{parameter}`")), "{said}");
        }
        for harmless in ["PGHOST", "PGPASSWORD", "PGSSLMODE", "PGAPPNAME", "PATH"] {
            assert_eq!(refused(bare, false, harmless), None, "{harmless}");
        }
        let full = "postgres://shop@db/shop?sslrootcert=a&sslcert=b&sslkey=c&options=-c%20d%3D1";
        for (variable, _) in LASTING {
            assert_eq!(refused(full, false, variable), None, "{variable}");
        }
        assert!(refused(full, false, "PGOPTIONS").is_some(), "it is added");
        assert_eq!(refused(bare, true, "PGSSLROOTCERT"), None);
        assert!(refused(bare, true, "PGSSLCERT").is_some());
    }

    #[test]
    fn parts_that_the_url_leaves_out_are_not_the_environments() {
        let of_environment = || {
            PgConnectOptions::new_without_pgpass()
                .host("elsewhere")
                .port(7)
                .username("shop")
                .password("s3cret")
                .database("other")
                .ssl_mode(PgSslMode::Disable)
                .application_name("psql")
        };
        let bare = Address::parse("postgres:///").unwrap();
        let options = take_back(of_environment(), &bare);
        assert_eq!(options.get_host(), own_host(PORT));
        assert_eq!(options.get_port(), PORT);
        assert_eq!(options.get_database(), Some("shop"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Prefer));
        assert_eq!(options.get_application_name(), Some("dermaga"));
        assert!(!format!("{options:?}").contains("s3cret"));

        let url = "postgres://shop:s3cret@elsewhere:7/other?sslmode=disable&application_name=psql";
        let options = take_back(of_environment(), &Address::parse(url).unwrap());
        assert_eq!((options.get_host(), options.get_port()), ("elsewhere", 7));
        assert_eq!(options.get_database(), Some("other"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Disable));
        assert_eq!(options.get_application_name(), Some("psql"));
        assert!(format!("{options:?}").contains("s3cret"));
    }
}
