//! Addresses that webhooks may be sent to: public ones, checked when an endpoint is made and again
//! at each connection.
//!
//! The check is the resolver of the HTTP client, so that the address that was checked is the one
//! that is connected to, whatever the name resolves to a moment later.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::Settings;
use crate::{Error, Result, text};

/// Longest address of an endpoint, in characters.
pub const LONGEST_URL: usize = 500;

/// Addresses of a name, as they are being looked up.
pub type Lookups = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Source of addresses: the system's resolver, unless a test puts another one in its place.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Fn(&str) -> Lookups + Send + Sync>);

impl Lookup {
    /// Returns a source that asks a function.
    pub fn new(lookup: impl Fn(&str) -> Lookups + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }
}

impl Default for Lookup {
    fn default() -> Self {
        Self::new(|name| {
            let name = name.to_owned();
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// Reason why an address is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// An address that was written as such, and is not public.
    NotPublic(IpAddr),
    /// A name that is not known, or that has no address.
    NoAddress,
    /// A name that leads to an address that is not public.
    Private,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPublic(address) => {
                write!(f, "is {address}, which is not a public address")
            }
            // Which of the two is not said: strangers would learn the names that only this machine can find.
            Self::NoAddress | Self::Private => {
                f.write_str("has a name that leads to no public address")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Looks names up and refuses those of which any address is not public.
#[derive(Debug, Clone)]
pub(super) struct Checking {
    lookup: Lookup,
    permit_loopback: bool,
    /// Names are looked up as they are, and not below the domains of this machine.
    is_absolute: bool,
}

impl Checking {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            lookup: settings.lookup.clone(),
            permit_loopback: settings.permit_loopback,
            is_absolute: false,
        }
    }

    /// Returns the same for names that are looked up as they are: below a domain of this machine, another server
    /// could answer for them.
    pub(super) fn absolute(self) -> Self {
        Self {
            is_absolute: true,
            ..self
        }
    }

    /// Checks an address that is written as such, which no resolver is asked for.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refused> {
        literal(url).map_or(Ok(()), |address| self.check(address))
    }

    fn check(&self, address: IpAddr) -> Result<(), Refused> {
        if self.is_permitted(address) {
            Ok(())
        } else {
            Err(Refused::NotPublic(address))
        }
    }

    fn is_permitted(&self, address: IpAddr) -> bool {
        is_public(address) || (self.permit_loopback && address.to_canonical().is_loopback())
    }

    /// Returns the addresses of a name, all of them checked: one that is both public and private is
    /// an attempt to get past this. The reason of a refusal is for the log alone.
    async fn addresses(self, mut name: String) -> Result<Vec<IpAddr>, Refused> {
        if self.is_absolute && !name.ends_with('.') {
            name.push('.');
        }
        let found = match (self.lookup.0)(&name).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(webhook.host = name, %error, "webhook.name_not_found");
                return Err(Refused::NoAddress);
            }
        };
        let refused = found.iter().find(|address| !self.is_permitted(**address));
        if let Some(address) = refused {
            tracing::debug!(webhook.host = name, %address, "webhook.name_not_public");
            return Err(Refused::Private);
        }
        if found.is_empty() {
            return Err(Refused::NoAddress);
        }
        Ok(found)
    }

    /// Checks the address of a new endpoint; returns it as it is kept.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when nothing may be sent there.
    pub(super) async fn check_url(&self, given: &str, allow_http: bool) -> Result<Url> {
        let invalid = |message: String| Error::invalid("url", message);
        let given = given.trim();
        // The parser leaves some of them out without a word, and another address is called.
        let is_refused = |letter: char| {
            letter.is_control() || letter.is_whitespace() || text::is_invisible(letter)
        };
        if given.chars().any(is_refused) {
            let message =
                "must not have blanks, line breaks or other characters that print nothing";
            return Err(invalid(message.into()));
        }
        let url = Url::parse(given);
        let url =
            url.map_err(|_| invalid("must be an address such as https://example.com/hook".into()))?;
        let is_right = url.scheme() == "https" || (allow_http && url.scheme() == "http");
        if !is_right {
            return Err(invalid("must begin with https://".into()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not have a user or a password".into()));
        }
        if url.fragment().is_some() {
            return Err(invalid("must not have a fragment".into()));
        }
        if url.as_str().len() > LONGEST_URL {
            return Err(invalid(format!("must be at most {LONGEST_URL} characters")));
        }
        self.check_literal(&url)
            .map_err(|refused| invalid(refused.to_string()))?;
        if let (None, Some(host)) = (literal(&url), url.host_str()) {
            let addresses = self.clone().addresses(host.to_owned()).await;
            addresses.map_err(|refused| invalid(refused.to_string()))?;
        }
        Ok(url)
    }
}

impl Resolve for Checking {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.clone().addresses(name.as_str().to_owned());
        Box::pin(async move {
            let found = addresses.await?.into_iter();
            // The port is the URL's.
            Ok(Box::new(found.map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// Returns true for an address of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Refuses what the registry of special addresses of IANA has, multicast and the future.
const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
            // Answers machines of a cloud with their own secrets, behind a public number.
            | [168, 63, 129, 16]
    )
}

/// Admits what is given out to the public, and IPv4 within IPv6 as IPv4 itself is.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let [.., a, b, c, d] = address.octets();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo, benchmarks, documentation, 6to4: each can lead elsewhere or nowhere.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(lookup: Lookup, permit_loopback: bool) -> Settings {
        Settings {
            lookup,
            permit_loopback,
            ..Settings::default()
        }
    }

    #[test]
    fn only_public_addresses_are_admitted() {
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "168.63.129.15",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.8.8.8",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[tokio::test]
    async fn an_address_is_refused_for_its_form_and_for_where_it_leads() {
        let lookup = Lookup::new(|name| {
            let found = match name {
                "public.example" => vec!["8.8.8.8".parse().unwrap()],
                "private.example" => vec!["10.1.2.3".parse().unwrap()],
                // One public address does not excuse the other.
                "both.example" => vec!["8.8.8.8".parse().unwrap(), "::1".parse().unwrap()],
                "empty.example" => vec![],
                _ => return Box::pin(async { Err(io::ErrorKind::NotFound.into()) }),
            };
            Box::pin(async move { Ok(found) })
        });
        let checking = Checking::new(&settings(lookup.clone(), false));
        let good = checking
            .check_url(" https://PUBLIC.example/a?b=c ", false)
            .await;
        assert_eq!(good.unwrap().as_str(), "https://public.example/a?b=c");
        checking
            .check_url("https://8.8.8.8:8443/", false)
            .await
            .unwrap();
        let long = format!("https://public.example/{}", "a".repeat(LONGEST_URL));
        for (url, message) in [
            ("public.example", "must be an address"),
            ("http://public.example/", "must begin with https://"),
            ("ftp://public.example/", "must begin with https://"),
            ("https://user@public.example/", "must not have a user"),
            ("https://:word@public.example/", "must not have a user"),
            ("https://public.example/#a", "must not have a fragment"),
            (long.as_str(), "must be at most 500"),
            ("https://public.example/a\r\nb", "must not have blanks"),
            ("https://public.example/a\tb", "must not have blanks"),
            ("https://public.example/a b", "must not have blanks"),
            ("https://public.example/a\u{a0}b", "must not have blanks"),
            ("https://pub\nlic.example/", "must not have blanks"),
            ("ht\ntps://public.example/", "must not have blanks"),
            ("https://public.example/a?b=\u{7f}", "must not have blanks"),
            ("https://pub\u{200b}lic.example/", "must not have blanks"),
            ("https://127.0.0.1/", "is 127.0.0.1, which is not"),
            ("https://2130706433/", "is 127.0.0.1, which is not"),
            ("https://0x7f.1/", "is 127.0.0.1, which is not"),
            ("https://[::ffff:7f00:1]/", "which is not a public"),
            ("https://[fd00::1]:8443/", "which is not a public"),
        ] {
            let refused = checking.check_url(url, false).await.unwrap_err();
            let detail = &refused.details[0];
            assert!(
                detail.message.contains(message),
                "{url}: {}",
                detail.message
            );
        }
        // A stranger learns nothing of names that only this machine can find.
        for name in ["private", "both", "empty", "unknown"] {
            let url = format!("https://{name}.example/");
            let refused = checking.check_url(&url, false).await.unwrap_err();
            let told = refused.details[0].message.as_str();
            assert_eq!(told, "has a name that leads to no public address", "{url}");
        }
        // Loopback may be permitted, and nothing beside it.
        let checking = Checking::new(&settings(lookup, true));
        checking
            .check_url("http://127.0.0.1:9/", true)
            .await
            .unwrap();
        checking.check_url("http://[::1]:9/", true).await.unwrap();
        checking
            .check_url("http://10.0.0.1/", true)
            .await
            .unwrap_err();
    }
}
