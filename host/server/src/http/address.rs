//! Addresses of clients, as a trusted proxy saw them.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the address that the outermost trusted proxy saw; `None` without such a proxy, or when
/// it wrote something else.
///
/// Every proxy appends the address it saw, so the nth entry from the right is the one; entries left
/// of it are the client's own claim, whatever bytes they are.
pub(crate) fn forwarded_for(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
    let from_the_right = trusted_proxies.checked_sub(1)?;
    let values = headers.get_all(FORWARDED_FOR);
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    let entries = values
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','));
    let entry = entries.into_iter().nth(from_the_right)?;
    parse(std::str::from_utf8(entry).ok()?.trim())
}

/// Reads `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:4711`.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    bare.parse()
        .or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(values: &[&[u8]], proxies: usize) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
        }
        forwarded_for(&headers, proxies).map(|address| address.to_string())
    }

    #[test]
    fn believes_only_trusted_proxies() {
        let values: &[&[u8]] = &[b"198.51.100.1, 203.0.113.7", b"10.0.0.1"];
        assert_eq!(seen(values, 0), None);
        assert_eq!(seen(values, 1).as_deref(), Some("10.0.0.1"));
        assert_eq!(seen(values, 2).as_deref(), Some("203.0.113.7"));
        assert_eq!(seen(values, 4), None);
    }

    #[test]
    fn garbage_of_the_client_does_not_hide_it() {
        for claim in [&b"\xff\xfe"[..], b"unknown", b"", b",,,"] {
            let found = seen(&[claim, b"203.0.113.7"], 1);
            assert_eq!(found.as_deref(), Some("203.0.113.7"), "{claim:?}");
        }
        assert_eq!(seen(&[b"unknown"], 1), None);
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        for (entry, address) in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
        ] {
            assert_eq!(seen(&[entry.as_bytes()], 1).as_deref(), Some(address));
        }
    }
}
