//! Origin of a sign-in, as its owner recognises it in the list of sessions.

use std::{borrow::Cow, net::IpAddr};

use serde::Serializer;

use crate::language::{self, Language};

/// Browsers by their names in `User-Agent`; those that also call themselves by another's name first.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("FxiOS", "Firefox"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];
/// Longest name of a program that is none of these.
const LONGEST: usize = 40;
/// Word between a browser and its system, which no name of a program has.
const ON: &str = " on ";
const UNKNOWN: &str = "unknown";

/// Device and address of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    /// Browser and system in a few words.
    pub device: String,
}

impl Origin {
    /// Returns the origin of a request with this `User-Agent`, of which only the browser and the
    /// system are kept.
    pub fn new(address: Option<IpAddr>, user_agent: &str) -> Self {
        Self {
            address,
            device: device(user_agent),
        }
    }
}

fn device(user_agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        let found = known.iter().find(|(sign, _)| user_agent.contains(sign));
        found.map(|(_, name)| *name)
    };
    match (find(BROWSERS), find(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser}{ON}{system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => program(user_agent),
    }
}

/// Returns the name that a program begins its `User-Agent` with.
fn program(user_agent: &str) -> String {
    let is_of_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = user_agent
        .chars()
        .take_while(is_of_name)
        .take(LONGEST)
        .collect();
    if name.is_empty() {
        UNKNOWN.to_owned()
    } else {
        name
    }
}

/// Writes a device in the current language, for `#[serde(serialize_with)]`.
pub(crate) fn device_in_words<S: Serializer>(
    device: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&said(device, language::current()))
}

/// Says a device in a language: names of programs stay.
fn said(device: &str, language: Language) -> Cow<'_, str> {
    match (language, device.split_once(ON)) {
        (Language::Indonesian, Some((browser, system))) => {
            Cow::Owned(format!("{browser} di {system}"))
        }
        (Language::Indonesian, None) if device == UNKNOWN => Cow::Borrowed("tidak dikenal"),
        _ => Cow::Borrowed(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_said_in_both_languages() {
        for (device, indonesian) in [
            ("Firefox on Linux", "Firefox di Linux"),
            ("curl", "curl"),
            ("iPhone", "iPhone"),
            (UNKNOWN, "tidak dikenal"),
        ] {
            assert_eq!(said(device, Language::Indonesian), indonesian);
            assert_eq!(said(device, Language::English), device);
        }
    }

    #[test]
    fn a_device_is_named_in_a_few_words() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126.0 Safari/537.36 Edg/126.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605 Version/17.5 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.5.0", "curl"),
            ("<script>", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(device(user_agent), expected, "{user_agent}");
        }
        assert_eq!(device(&"x".repeat(500)).len(), LONGEST);
    }
}
