//! Rules about the settings of the database: a protection that is asked for is never left out without a word.

use dermaga_shop::db::{Address, Tls};

use super::Config;

/// Reports every broken rule by the name of a setting to change.
pub(super) fn check(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    // A URL that cannot be read is reported already, and those of files have no protection.
    let address = Address::parse(&config.database_url());
    if let Ok(address) = address
        && address.is_server()
    {
        check_protection(config, &address, problem);
    }
}

fn check_protection(config: &Config, address: &Address, problem: &mut impl FnMut(&str, &str)) {
    let (set, of_url) = (config.database.tls, address.tls());
    if set.is_some() && of_url.is_some() && set != of_url {
        problem(
            "DERMAGA_DATABASE_TLS",
            "is another protection than `sslmode` in DATABASE_URL; leave one of them out",
        );
        return;
    }
    let asked = set.or(of_url);
    let verifies = asked.is_some_and(Tls::verifies);
    let has_file = config.database.ca_file.is_some();
    if has_file && address.has("sslrootcert") {
        problem(
            "DERMAGA_DATABASE_CA_FILE",
            "and `sslrootcert` in DATABASE_URL name authorities; leave one of them out",
        );
    } else if has_file && asked.is_some() && !verifies {
        problem(
            "DERMAGA_DATABASE_CA_FILE",
            "needs DERMAGA_DATABASE_TLS=verify-full or verify-ca, or such an `sslmode` in DATABASE_URL: only these check by it",
        );
    } else if address.has("sslrootcert") && !verifies {
        problem(
            "DATABASE_URL",
            "has `sslrootcert`, which needs `sslmode=verify-full` or verify-ca, or such a DERMAGA_DATABASE_TLS: only these check by it",
        );
    }
    let has_own = address.has("sslcert") || address.has("sslkey");
    if asked == Some(Tls::Disable) && has_own {
        problem(
            "DATABASE_URL",
            "has `sslcert` or `sslkey`, which have no effect without TLS",
        );
    }
}

#[cfg(test)]
mod tests {
    use dermaga_shop::crypto::Secret;

    use super::*;

    /// Returns the name of the setting that is refused beside a file of authorities.
    fn refused(query: &str, tls: Option<Tls>) -> Option<String> {
        let mut config = Config {
            database_url: Some(Secret::new(format!("postgres://toko@db/toko{query}"))),
            ..Config::default()
        };
        config.database.tls = tls;
        config.database.ca_file = Some("ca.pem".into());
        let mut names = Vec::new();
        check(&config, &mut |name: &str, _: &str| {
            names.push(name.to_owned());
        });
        assert!(names.len() < 2, "{names:?}");
        names.pop()
    }

    #[test]
    fn authorities_are_never_idle() {
        let name = Some("DERMAGA_DATABASE_CA_FILE".to_owned());
        for (query, tls) in [
            ("?sslmode=disable", None),
            ("?sslmode=prefer", None),
            ("?sslmode=require", None),
            ("", Some(Tls::Disable)),
            ("", Some(Tls::Require)),
            ("?sslrootcert=other.pem", None),
            ("?sslmode=verify-full&sslrootcert=other.pem", None),
        ] {
            assert_eq!(refused(query, tls), name, "{query} {tls:?}");
        }
        for (query, tls) in [
            ("", None),
            ("?sslmode=verify-ca", None),
            ("", Some(Tls::VerifyFull)),
            ("?sslmode=verify-ca", Some(Tls::VerifyCa)),
        ] {
            assert_eq!(refused(query, tls), None, "{query} {tls:?}");
        }
        let name = Some("DERMAGA_DATABASE_TLS".to_owned());
        let differs = refused("?sslmode=verify-ca", Some(Tls::VerifyFull));
        assert_eq!(differs, name);
    }
}
