//! The host that a request is for: in HTTP/1.1 the header `Host`, once (RFC 9112, section 3.2); in HTTP/2 mostly
//! `:authority` in its place (RFC 9113, section 8.3.1).

use std::net::Ipv6Addr;

use axum::{
    extract::Request,
    http::{
        self, HeaderValue, Version,
        header::{CONNECTION, HOST},
        uri::Authority,
    },
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{Code, Error};

use super::Refusal;

/// Mark of a request that came over a connection without a proper host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unaddressed;

/// Returns true for a request whose host is missing, is there twice, or is the name of no host.
pub(super) fn is_unaddressed<B>(request: &http::Request<B>) -> bool {
    let target = request.uri().authority();
    if target.is_some_and(|authority| !is_host(authority.as_str())) {
        return true;
    }
    let is_second = request.version() == Version::HTTP_2;
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // Versions before HTTP/1.1 do not have it.
        (None, _) => match request.version() {
            Version::HTTP_11 => true,
            _ => is_second && target.is_none(),
        },
        (Some(host), None) => {
            // An address within the request line of HTTP/1.1 has priority; HTTP/2 wants both to be the same.
            let is_other = |target: &Authority| {
                !host
                    .as_bytes()
                    .eq_ignore_ascii_case(target.as_str().as_bytes())
            };
            !is_host_value(host) || (is_second && target.is_some_and(is_other))
        }
        (Some(_), Some(_)) => true,
    }
}

fn is_host_value(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    if let Ok(text) = value.to_str()
        && text.as_bytes().iter().all(is_plain)
    {
        // Nearly all are so, and an authority of these letters says no more, but would be a copy.
        return is_host(text);
    }
    let read = Authority::try_from(value.as_bytes());
    read.is_ok_and(|authority| is_host(authority.as_str()))
}

/// Returns true for a name or an address with or without a port, and without a user.
fn is_host(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let is_alone = port.is_empty();
        let is_port = is_alone || port.strip_prefix(':').is_some_and(is_port);
        return is_port && address.parse::<Ipv6Addr>().is_ok();
    }
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    !name.is_empty() && !name.contains(['@', '[', ']']) && is_port(port)
}

/// Returns true for a number that a port can have, and for none, which is the port of the scheme.
fn is_port(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (text.is_empty() || text.parse::<u16>().is_ok())
}

/// Returns the refusal of a request without a proper host. In HTTP/1.1 its connection ends, as its next bytes may be
/// meant for another server.
pub(super) fn refuse_unaddressed(request: &Request) -> Option<Response> {
    request.extensions().get::<Unaddressed>()?;
    let is_second = request.version() == Version::HTTP_2;
    let message = "Send the header `Host` once, with the name of this server.";
    let mut response = Refusal(Error::new(Code::MalformedRequest, message)).into_response();
    if !is_second {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(version: Version, target: &str, hosts: &[&'static str]) -> bool {
        let builder = http::Request::get(target).version(version);
        let builder = hosts
            .iter()
            .fold(builder, |builder, host| builder.header(HOST, *host));
        is_unaddressed(&builder.body(()).unwrap())
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in [
            "toko.example",
            "toko.example:3000",
            "toko.example:",
            "127.0.0.1",
            "[::1]",
            "[::1]:3000",
            "my_shop",
            "a:65535",
        ] {
            assert!(!is_refused(Version::HTTP_11, "/", &[good]), "{good}");
            let target = format!("http://{good}/");
            assert!(!is_refused(Version::HTTP_2, &target, &[]), "{target}");
        }
        for wrong in [
            "",
            "a b",
            "a\tb",
            "toko@host",
            "a/b",
            "http://a",
            "a:99999",
            "a:65536",
            "a:x",
            "a:+80",
            "a:-1",
            "a:80:80",
            ":80",
            "[::1",
            "[::1]80",
            "[::1]:x",
            "[x]",
        ] {
            assert!(is_refused(Version::HTTP_11, "/", &[wrong]), "{wrong}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        assert!(is_refused(Version::HTTP_11, "/", &[]));
        assert!(!is_refused(Version::HTTP_10, "/", &[]));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert!(is_refused(version, "/", &["a", "a"]), "{version:?}");
        }
    }

    #[test]
    fn a_host_within_the_request_line_is_read_too() {
        for wrong in ["http://u@a/", "http://u:p@a/", "http://a:99999/"] {
            assert!(is_refused(Version::HTTP_11, wrong, &["a"]), "{wrong}");
            assert!(is_refused(Version::HTTP_2, wrong, &[]), "{wrong}");
        }
        // A proxy may have changed the header, and it is the request line that counts.
        assert!(!is_refused(Version::HTTP_11, "http://a/", &["b"]));
        assert!(is_refused(Version::HTTP_11, "http://a/", &[]));
    }

    #[test]
    fn http_2_has_an_authority_or_a_host_and_not_two_of_them() {
        assert!(!is_refused(Version::HTTP_2, "http://a/", &[]));
        assert!(!is_refused(Version::HTTP_2, "http://a/", &["A"]));
        assert!(!is_refused(Version::HTTP_2, "/", &["a"]));
        assert!(is_refused(Version::HTTP_2, "/", &[]));
        assert!(is_refused(Version::HTTP_2, "http://a/", &["b"]));
    }
}
