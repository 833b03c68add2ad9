//! URLs as they are read, and as they are shown: without what lets those in who read it.

use std::net::IpAddr;

use reqwest::Url;

/// Sign in the place of what is not shown.
const HIDDEN: &str = "***";

/// Returns true for a host that clients take for an IP address: one that is written as such, and a name whose end is
/// a number.
pub fn is_address(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    let name = bare.strip_suffix('.').unwrap_or(bare);
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    let is_decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hexadecimal =
        hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_decimal || is_hexadecimal || bare.parse::<IpAddr>().is_ok()
}

/// Returns true when two hexadecimal digits follow each `%` of a URL, and the text that they make is UTF-8 without a
/// zero byte. Readers of URLs leave any other `%` as it is, or replace what it makes.
pub fn is_escaped(url: &str) -> bool {
    let mut parts = url.split('%');
    let mut text = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let Some((digits, rest)) = part.split_at_checked(2) else {
            return false;
        };
        let Ok(escaped) = hex::decode(digits) else {
            return false;
        };
        text.extend(escaped);
        text.extend_from_slice(rest.as_bytes());
    }
    !text.contains(&0) && std::str::from_utf8(&text).is_ok()
}

/// Returns the URL of a database without its password. Its user stays, for tools that are called with it.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut shown = format!("{scheme}://");
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split_once(':').map_or(user, |(name, _)| name);
            shown.push_str(&format!("{name}@{host}"));
        }
        None => shown.push_str(authority),
    }
    shown.push_str(path);
    let kept = query.split('&').filter(|part| !part.is_empty());
    let kept = kept.filter(|part| !is_password(part));
    for (part, before) in kept.zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
        shown.push(before);
        shown.push_str(part);
    }
    shown
}

/// Returns true for the part of a query that is a password, however its name is written.
fn is_password(part: &str) -> bool {
    let query = Url::parse(&format!("sqlite:?{part}"));
    query.is_ok_and(|url| url.query_pairs().any(|(name, _)| name == "password"))
}

/// Returns an address of the web with `***` for its user and password, for the values of its query and for its
/// fragment, of which any may be a key.
pub fn without_secrets(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else {
        return HIDDEN.to_owned();
    };
    let has_user = has_user(&url);
    let values = url.query().map(|query| {
        let parts: Vec<String> = query.split('&').map(without_value).collect();
        parts.join("&")
    });
    let has_fragment = url.fragment().is_some_and(|fragment| !fragment.is_empty());
    if !has_user && values.is_none() && !has_fragment {
        return address.to_owned();
    }
    if has_user {
        // An address that has a user can have another.
        let _ = (url.set_username(HIDDEN), url.set_password(None));
    }
    url.set_query(values.as_deref());
    if has_fragment {
        url.set_fragment(Some(HIDDEN));
    }
    url.into()
}

/// Returns an address of the web without its user and password, for a client that has no use for them.
pub fn without_user(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if has_user(&url) => {
            let _ = (url.set_username(""), url.set_password(None));
            url.into()
        }
        _ => address.to_owned(),
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Hides the value of a part of a query, and all of a part without a name.
fn without_value(part: &str) -> String {
    match part.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None if part.is_empty() => String::new(),
        None => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_whose_end_is_a_number_is_an_address() {
        for address in [
            "192.0.2.1",
            "192.0.2.1.",
            "192.0.2",
            "2130706433",
            "0x7f.1",
            "a.example.4",
            "a.0x7F",
            "a.0x",
            "::1",
            "[2001:db8::1]",
        ] {
            assert!(is_address(address), "{address}");
        }
        for name in [
            "",
            "a",
            "4a.example",
            "1.example",
            "a.0xyz",
            "apps.localhost.",
        ] {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn an_escape_has_two_digits_and_makes_a_text() {
        for good in [
            "",
            "a",
            "%25",
            "a%2Fb%2f",
            "%C3%A9",
            "postgres://a:%25%40@b/c",
        ] {
            assert!(is_escaped(good), "{good}");
        }
        for broken in [
            "%", "%4", "%zz", "a%+4", "100% a", "%%25", "%ff", "%C3/%A9", "%00", "%é",
        ] {
            assert!(!is_escaped(broken), "{broken}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://shop:s3cret@db/shop", "postgres://shop@db/shop"),
            (
                "postgres://shop:p@ss@db:5432/shop?password=s3cret&sslmode=require",
                "postgres://shop@db:5432/shop?sslmode=require",
            ),
            ("postgres://shop@db/shop", "postgres://shop@db/shop"),
            (
                "postgres://shop@db/shop?%70assword=s3cret&port=5433",
                "postgres://shop@db/shop?port=5433",
            ),
            (
                "postgres://db?application_name=x",
                "postgres://db?application_name=x",
            ),
            ("sqlite://data/dermaga.db", "sqlite://data/dermaga.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn an_address_is_shown_without_what_lets_in() {
        for (address, shown) in [
            ("https://toko.example", "https://toko.example"),
            ("http://collector:4318/a/", "http://collector:4318/a/"),
            (
                "https://toko:s3cret@host.example/a",
                "https://***@host.example/a",
            ),
            ("https://s3cret@host.example", "https://***@host.example/"),
            ("https://:s3cret@host.example/", "https://***@host.example/"),
            (
                "https:\\\\toko:s3@cret@host.example",
                "https://***@host.example/",
            ),
            (
                "https://host.example/?key=s3cret&b=&s3cret&",
                "https://host.example/?key=***&b=***&***&",
            ),
            (
                "https://a:s3cret@host.example/?k=s3cret",
                "https://***@host.example/?k=***",
            ),
            (
                "https://host.example/a#token=s3cret",
                "https://host.example/a#***",
            ),
            (
                "https://host.example/?k=s3cret#s3cret",
                "https://host.example/?k=***#***",
            ),
            ("https://host.example/a#", "https://host.example/a#"),
            ("s3cret", "***"),
        ] {
            assert_eq!(without_secrets(address), shown, "{address}");
        }
        let plain = "http://127.0.0.1:9000";
        assert_eq!(without_user(plain), plain);
        let known = without_user("http://a:b@127.0.0.1:9000/x?y=z");
        assert_eq!(known, "http://127.0.0.1:9000/x?y=z");
    }
}
