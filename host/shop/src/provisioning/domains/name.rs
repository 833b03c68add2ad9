//! Names that customers may bring: of the public DNS, and not the shop's own.

use std::net::IpAddr;

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

use super::proof::PREFIX;
use crate::text;

/// Longest name that DNS has.
const LONGEST_OF_DNS: usize = 253;
/// Longest name that the name of its record fits in front of; the bound of requests, too.
const LONGEST: usize = LONGEST_OF_DNS - PREFIX.len();
/// Ends of names that the public DNS will never have, or has for machines alone.
const RESERVED: [&str; 9] = [
    "alt",
    "arpa",
    "example",
    "internal",
    "invalid",
    "local",
    "localhost",
    "onion",
    "test",
];
/// Ends of names within a cluster, as its pods write them; the whole ones end with `local`.
const OF_CLUSTERS: [&str; 2] = ["pod", "svc"];

/// Names of the shop, which no customer has.
#[derive(Debug, Clone, Default)]
pub struct OwnNames {
    /// Domain below which instances have names.
    base: String,
    /// Host of the shop's own pages.
    shop: Option<String>,
}

impl OwnNames {
    /// Collects the names of a shop from its settings.
    pub fn new(base_domain: &str, shop_url: Option<&str>) -> Self {
        let host = |url: &str| reqwest::Url::parse(url).ok()?.host_str().map(str::to_owned);
        Self {
            base: base_domain.to_owned(),
            shop: shop_url.and_then(host),
        }
    }

    /// Returns a name that a customer gave as DNS has it: in ASCII and lower case, without a dot at its end.
    ///
    /// # Errors
    /// A sentence that completes the field's name, when no customer can have it.
    pub(super) fn check(&self, given: &str) -> Result<String, String> {
        let given = text::identifier(given)?;
        let given = given.strip_suffix('.').unwrap_or(&given);
        if given.contains('*') {
            return Err("must be one name, without a wildcard".to_owned());
        }
        let address = given.trim_matches(['[', ']']);
        if address.parse::<IpAddr>().is_ok() {
            return Err("must be a name, not an IP address".to_owned());
        }
        let none = || "must be a domain, such as www.example.com".to_owned();
        let (hyphens, length) = (Hyphens::CheckFirstLast, DnsLength::Verify);
        let name = Uts46::new().to_ascii(given.as_bytes(), AsciiDenyList::STD3, hyphens, length);
        let name = name.map_err(|_| none())?.into_owned();
        let last = name.rsplit_once('.').map(|(_, last)| last);
        // Clients take a name whose end is a number for an address.
        let Some(last) = last.filter(|_| !text::is_address(&name)) else {
            return Err(none());
        };
        if name.len() > LONGEST {
            return Err(format!("must be at most {LONGEST} characters"));
        }
        if RESERVED.contains(&last) || OF_CLUSTERS.contains(&last) {
            return Err("must be a name that everybody can reach".to_owned());
        }
        if is_within(&name, &self.base) {
            let base = &self.base;
            return Err(format!(
                "must not be below {base}, where services have their own names"
            ));
        }
        if self
            .shop
            .as_ref()
            .is_some_and(|shop| is_within(&name, shop))
        {
            return Err("must not be the shop's own".to_owned());
        }
        Ok(name)
    }
}

/// Returns true for a domain and the names below it.
fn is_within(name: &str, domain: &str) -> bool {
    let rest = name.strip_suffix(domain);
    !domain.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnNames {
        let shop = "https://toko.example.com:8443/a";
        OwnNames::new("apps.dermaga.example.com", Some(shop))
    }

    #[test]
    fn a_name_is_kept_as_dns_has_it() {
        for (given, kept) in [
            ("www.example.com", "www.example.com"),
            (" WWW.Example.COM. ", "www.example.com"),
            ("bücher.example.com", "xn--bcher-kva.example.com"),
            ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
            ("ｗｗｗ.example.com", "www.example.com"),
            ("\u{200b}ab.example.com", "ab.example.com"),
            ("r3---sn.example.com", "r3---sn.example.com"),
            ("1.example.com", "1.example.com"),
            ("0x1.example.com", "0x1.example.com"),
            ("a.0xyz", "a.0xyz"),
            ("test.example.com", "test.example.com"),
            ("svc.example.com", "svc.example.com"),
            ("a.testing", "a.testing"),
            ("example.com", "example.com"),
            ("co.id", "co.id"),
            ("dermaga.example.com", "dermaga.example.com"),
            ("bukantoko.example.com", "bukantoko.example.com"),
        ] {
            assert_eq!(own().check(given).as_deref(), Ok(kept), "{given}");
        }
        let label = "a".repeat(61);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(LONGEST - 3 * 62));
        assert_eq!(longest.len(), LONGEST);
        assert_eq!(own().check(&longest), Ok(longest));
    }

    #[test]
    fn what_no_customer_can_have_is_refused_with_the_reason() {
        let label = "a".repeat(61);
        let long = format!("{label}.{label}.{label}.{label}");
        for (given, message) in [
            ("", "must be a domain"),
            ("example", "must be a domain"),
            ("exam ple.com", "must be a domain"),
            ("a\u{200b}b.example.com", "must not have"),
            ("https://example.com", "must be a domain"),
            ("example.com/path", "must be a domain"),
            ("example.com:80", "must be a domain"),
            ("sari@example.com", "must be a domain"),
            ("a..example.com", "must be a domain"),
            (".example.com", "must be a domain"),
            ("-a.example.com", "must be a domain"),
            ("a-.example.com", "must be a domain"),
            ("a_b.example.com", "must be a domain"),
            ("xn--a.example.com", "must be a domain"),
            ("1.2.3.example.4", "must be a domain"),
            ("a.example.0x10", "must be a domain"),
            ("a.0x1", "must be a domain"),
            ("a.0X1f", "must be a domain"),
            ("a.0x", "must be a domain"),
            ("*.example.com", "without a wildcard"),
            ("192.0.2.1", "not an IP address"),
            ("[2001:db8::1]", "not an IP address"),
            ("2001:db8::1", "not an IP address"),
            ("printer.local", "everybody can reach"),
            ("a.localhost", "everybody can reach"),
            ("cluster.local", "everybody can reach"),
            ("a.svc.cluster.local", "everybody can reach"),
            ("postgres.toko.svc", "everybody can reach"),
            ("foo.svc", "everybody can reach"),
            ("10-0-0-1.toko.pod", "everybody can reach"),
            ("1.0.0.127.in-addr.arpa", "everybody can reach"),
            ("toko.test", "everybody can reach"),
            ("toko.EXAMPLE", "everybody can reach"),
            ("toko.invalid.", "everybody can reach"),
            ("toko.internal", "everybody can reach"),
            ("toko.onion", "everybody can reach"),
            ("toko.alt", "everybody can reach"),
            ("apps.dermaga.example.com", "must not be below apps.dermaga"),
            (
                "a.apps.dermaga.example.com",
                "must not be below apps.dermaga",
            ),
            (
                "A.APPS.Dermaga.example.COM",
                "must not be below apps.dermaga",
            ),
            ("toko.example.com", "must not be the shop's own"),
            ("www.toko.example.com", "must not be the shop's own"),
            (long.as_str(), "must be at most 244 characters"),
        ] {
            let refused = own().check(given).unwrap_err();
            assert!(refused.contains(message), "{given}: {refused}");
        }
        let nothing = OwnNames::new("", None);
        let name = "toko.example.com";
        assert_eq!(nothing.check(name).as_deref(), Ok(name));
    }
}
