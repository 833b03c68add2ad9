//! Texts to values. Every failure is a sentence that completes the setting's name: "must be ...".

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use chrono_tz::{TZ_VARIANTS, Tz};
use dermaga_shop::{
    crypto::Secret,
    db::{Pooler, Tls},
    text,
    wallet::Typeface,
};

use super::names::nearest;

/// Likeness from which a name is taken for a misspelt one.
const ALIKE: f64 = 0.9;

/// A whole number within bounds; `_` may group its digits.
pub(super) fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: &RangeInclusive<T>,
) -> Result<T, String> {
    let wrong = || {
        format!(
            "must be a whole number from {} to {}",
            range.start(),
            range.end()
        )
    };
    let number = text.replace('_', "").parse().map_err(|_| wrong())?;
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(wrong())
    }
}

/// `90s`, `15m`, `24h` or `7d`; a bare number is seconds.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let wrong = || {
        let (least, most) = (describe(*range.start()), describe(*range.end()));
        format!("must be a time from {least} to {most}, such as 90s, 15m, 24h or 7d")
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let duration = Duration::from_secs(count.checked_mul(seconds).ok_or_else(wrong)?);
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err(wrong())
    }
}

/// The shortest way [`duration`] reads.
fn describe(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let fitting = units
        .into_iter()
        .find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    fitting.map_or_else(
        || format!("{seconds}s"),
        |(size, unit)| format!("{}{unit}", seconds / size),
    )
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// Parses one of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of: {}", words.join(", "))
    })
}

/// A protection of connections to the database.
pub(super) fn database_tls(text: &str) -> Result<Tls, String> {
    word(text, &Tls::WORDS)
}

/// A program between the servers and the database.
pub(super) fn pooler(text: &str) -> Result<Pooler, String> {
    word(
        text,
        &[
            ("auto", Pooler::Auto),
            ("none", Pooler::None),
            ("transaction", Pooler::Transaction),
        ],
    )
}

/// Address of a name server, at the port of DNS unless said.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53;
    let alone = |address: IpAddr| SocketAddr::new(address, DNS);
    let address = text
        .parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(alone));
    address
        .map_err(|_| "must be an IP address, or one with a port, such as 192.0.2.53:53".to_owned())
}

/// Secret of the Standard Webhooks specification.
pub(super) fn signing_secret(text: &str) -> Result<Secret, String> {
    if dermaga_shop::webhooks::is_secret(text) {
        return Ok(Secret::new(text));
    }
    let message = "must be `whsec_` and 24 bytes or more in Base64; `echo whsec_$(openssl rand -base64 32)` makes one";
    Err(message.to_owned())
}

/// Region of a bucket.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=50).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("must be lower-case letters, digits and hyphens, such as us-east-1".to_owned())
}

/// Part of a path that is not to be guessed.
pub(super) fn path_secret(text: &str) -> Result<Secret, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain && (32..=200).contains(&text.len()) {
        return Ok(Secret::new(text));
    }
    Err("must be 32 to 200 letters and digits; `openssl rand -hex 32` makes one".to_owned())
}

/// A name that people read: one line of 1 to 60 characters.
pub(super) fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=60).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("must be a name of 1 to 60 characters".to_owned())
    }
}

/// A font, read from the file of this name.
pub(super) fn font(text: &str) -> Result<Typeface, String> {
    let bytes = std::fs::read(text).map_err(|error| {
        format!("must be the path of a font file; {text} cannot be read: {error}")
    })?;
    Typeface::read(bytes)
        .map_err(|error| format!("must be a TrueType or OpenType font; {text} is none: {error}"))
}

/// A domain of at most 200 characters, so that instances' host names fit below it.
pub(super) fn domain(text: &str) -> Result<String, String> {
    if text::is_address(text) {
        return Err("must be a domain name, such as apps.example.com, not an IP address".into());
    }
    dns_name(text)
}

/// Labels of DNS with dots between them: a domain, or the name of an object in a cluster.
pub(super) fn dns_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() > 200 || !text.split('.').all(label) {
        return Err("must be a DNS name in lower case, such as apps.example.com".into());
    }
    Ok(text.to_owned())
}

/// The name of a Kubernetes object.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    dns_name(text).map_err(|_| "must be the name of a Kubernetes object, such as nginx".into())
}

/// The name of a namespace in a cluster, which has no dots.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let name = dns_name(text).ok().filter(|name| !name.contains('.'));
    name.ok_or_else(|| "must be the name of a namespace, such as ingress-nginx".into())
}

/// A name of the IANA time zone database.
pub(super) fn time_zone(text: &str) -> Result<Tz, String> {
    text.parse::<Tz>().map_err(|_| {
        let rule = "must be a time zone such as Asia/Jakarta";
        let names = TZ_VARIANTS.iter().copied().map(Tz::name);
        let is_city = |name: &&str| {
            let (_, city) = name.rsplit_once('/').unwrap_or(("", *name));
            city.eq_ignore_ascii_case(text)
        };
        let meant = names.clone().find(is_city);
        match meant.or_else(|| nearest(text, names, ALIKE)) {
            Some(name) => format!("{rule}; did you mean {name}?"),
            None => rule.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let range = Duration::from_secs(60)..=Duration::from_secs(30 * 86_400);
        for (text, seconds) in [
            ("90s", 90),
            ("90", 90),
            ("15m", 900),
            ("24h", 86_400),
            ("7d", 604_800),
        ] {
            assert_eq!(duration(text, &range).unwrap().as_secs(), seconds, "{text}");
        }
        for wrong in [
            "",
            "h",
            "1.5h",
            "-1h",
            "59s",
            "31d",
            "1w",
            "99999999999999999999d",
            "213503982334602d",
        ] {
            let message = duration(wrong, &range).unwrap_err();
            assert_eq!(
                message, "must be a time from 1m to 30d, such as 90s, 15m, 24h or 7d",
                "{wrong}"
            );
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(
            number("10_000_000", &(1..=100_000_000_u64)).unwrap(),
            10_000_000
        );
        assert_eq!(
            number("0", &(1..=5_u64)).unwrap_err(),
            "must be a whole number from 1 to 5"
        );
    }

    #[test]
    fn a_time_zone_is_proposed_for_a_misspelt_one() {
        assert_eq!(time_zone("Asia/Jakarta"), Ok(Tz::Asia__Jakarta));
        for misspelt in ["asia/jakarta", "ASIA/JAKARTA", "Asia/Jakarat", "jakarta"] {
            assert_eq!(
                time_zone(misspelt).unwrap_err(),
                "must be a time zone such as Asia/Jakarta; did you mean Asia/Jakarta?",
                "{misspelt}"
            );
        }
        let said = time_zone("America/New York").unwrap_err();
        assert!(said.ends_with("did you mean America/New_York?"), "{said}");
        let said = time_zone("WIB").unwrap_err();
        assert_eq!(said, "must be a time zone such as Asia/Jakarta");
    }

    #[test]
    fn a_name_server_has_the_port_of_dns_unless_said() {
        for (text, address) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            assert_eq!(name_server(text).unwrap().to_string(), address);
        }
        for wrong in ["", "ns.example.com", "192.0.2.53:", "192.0.2"] {
            assert!(name_server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_have_dots_and_namespaces_have_none() {
        assert_eq!(object_name("nginx-1.2"), Ok("nginx-1.2".to_owned()));
        assert_eq!(namespace("pintu-masuk"), Ok("pintu-masuk".to_owned()));
        for wrong in ["", "a.b", "192.0.2.1", "A", "a_b", "-a"] {
            let said = namespace(wrong).unwrap_err();
            assert!(
                said.starts_with("must be the name of a namespace"),
                "{said}"
            );
        }
    }

    #[test]
    fn domains() {
        assert!(domain("apps.localhost").is_ok());
        assert!(domain("1.example").is_ok());
        for wrong in ["", "Apps.example.com", "a..b", "-a.b", "a_b", "https://a.b"] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
        for address in ["192.0.2.1", "10.1", "7", "a.0x1", "::1", "[2001:db8::1]"] {
            let said = domain(address).unwrap_err();
            assert!(said.ends_with("not an IP address"), "{address}: {said}");
        }
    }
}
