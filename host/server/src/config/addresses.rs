//! Texts to addresses and paths. Every failure is a sentence that completes the setting's name, and repeats no part of
//! a text that may have a password.

use dermaga_shop::{crypto::Secret, db::Address, text::is_escaped};
use reqwest::Url;

/// An address on the web.
pub(super) fn url(text: &str) -> Result<String, String> {
    parsed(text).map(|_| text.to_owned())
}

/// An address of a server that this one talks to.
pub(super) fn server(text: &str) -> Result<String, String> {
    let url = parsed(text)?;
    if !is_escaped(text) {
        return Err("must have two hexadecimal digits behind each `%`".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must have no `#`: what is behind it is sent to no server".to_owned());
    }
    Ok(text.to_owned())
}

/// An address of a service that has buckets: names of files are added to it, and errors of its client show it.
pub(super) fn buckets(text: &str) -> Result<String, String> {
    let url = parsed(text)?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if is_plain && url.query().is_none() && url.fragment().is_none() {
        return Ok(text.to_owned());
    }
    let message = "must be an address without user, password, `?` and `#`, such as https://s3.example.com; keys are in \
                   DERMAGA_S3_ACCESS_KEY and DERMAGA_S3_SECRET_KEY";
    Err(message.to_owned())
}

fn parsed(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| "must be an address such as https://shop.example.com/topped-up".to_owned())
}

/// A path on this machine. An address in its place may have a password, and would be shown.
pub(super) fn path(text: &str) -> Result<&str, String> {
    if text.contains("://") {
        return Err("must be a path on this machine, not an address".to_owned());
    }
    Ok(text)
}

/// A database: a server, or a file.
pub(super) fn database(text: &str) -> Result<Secret, String> {
    let address = Address::parse(text)?;
    if !address.is_server() {
        let file = text.trim_start_matches("sqlite:").trim_start_matches("//");
        let (file, _) = file.split_once('?').unwrap_or((file, ""));
        if file.is_empty() || file == ":memory:" || text.contains("mode=memory") {
            return Err("must name a file: a database in memory is forgotten".to_owned());
        }
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_server_or_a_file() {
        for url in [
            "postgres://a@b/c",
            "postgres://a@b/c?sslmode=verify-full",
            "sqlite://kept.db",
            "sqlite:kept.db",
            "sqlite:///a/b.db?mode=rwc",
        ] {
            assert_eq!(database(url).unwrap().reveal(), url);
        }
        for url in [
            "mysql://a",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://a?mode=memory",
            "postgres://a@b/c?sslmod=verify-full",
            "sqlite://kept.db?mod=rwc",
            "postgres://a:%zz@b/c",
            "sqlite://kept%4",
        ] {
            assert!(database(url).is_err(), "{url}");
        }
    }

    #[test]
    fn addresses_have_only_what_is_used() {
        let plain = "https://s3.example.com/files";
        for read in [url, server, buckets] {
            assert_eq!(read(plain).as_deref(), Ok(plain));
            for wrong in ["s3.example.com", "ftp://s3.example.com", "", "s3cret"] {
                let said = read(wrong).unwrap_err();
                assert!(said.starts_with("must be an address"), "{said}");
            }
        }
        let fragment = "https://host.example/#s3cret";
        assert!(url(fragment).is_ok() && server("https://host.example/?a=b").is_ok());
        assert!(server(fragment).unwrap_err().starts_with("must have no"));
        let broken = server("https://toko:s3cret%zz@host.example").unwrap_err();
        assert!(broken.starts_with("must have two hexadecimal"), "{broken}");
        assert!(!broken.contains("s3cret"), "{broken}");
        for wrong in [
            fragment,
            "https://toko:s3cret@host.example",
            "https://s3cret@host.example",
            "https://host.example?s3cret",
        ] {
            let said = buckets(wrong).unwrap_err();
            assert!(said.contains("without user, password"), "{said}");
            assert!(!said.contains("s3cret") && !said.contains("host.example"));
        }
    }

    #[test]
    fn an_address_is_no_path_and_is_not_repeated() {
        for good in ["/srv/shop", "./data", "a:b", "C:/shop", "/etc/a:/etc/b"] {
            assert_eq!(path(good), Ok(good));
        }
        let said = path("https://toko:s3cret@host.example/shop").unwrap_err();
        assert_eq!(said, "must be a path on this machine, not an address");
    }
}
