//! Texts to decisions about what is put into a cluster. Every failure completes the setting's name.

use std::collections::BTreeMap;

use dermaga_shop::provisioning::{Issuer, Mirror, Toleration};

use super::{lists::each_once, parse};

/// Domain of labels and annotations that the server writes itself.
const OWN_DOMAIN: &str = "dermaga.dev";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `letsencrypt`, `cluster-issuer/letsencrypt` or `issuer/own`.
pub(super) fn issuer(text: &str) -> Result<Issuer, String> {
    let name = |name: &str| {
        parse::object_name(name)
            .map_err(|_| "must be the name of a ClusterIssuer, or issuer/NAME".to_owned())
    };
    match text.split_once('/') {
        Some(("issuer", own)) => Ok(Issuer::Namespaced(name(own)?)),
        Some(("cluster-issuer", shared)) => Ok(Issuer::Cluster(name(shared)?)),
        _ => Ok(Issuer::Cluster(name(text)?)),
    }
}

/// `KEY=VALUE`, separated by semicolons, since values have commas.
pub(super) fn annotations(text: &str) -> Result<BTreeMap<String, String>, String> {
    let rule = "must be KEY=VALUE, separated by semicolons, such as external-dns.alpha.kubernetes.io/ttl=60, and none of dermaga.dev";
    pairs(text, ';', |_| true, rule)
}

/// `KEY=VALUE`, separated by commas.
pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let rule = "must be KEY=VALUE, separated by commas, such as pool=customers";
    pairs(text, ',', is_label_value, rule)
}

/// `KEY=VALUE:EFFECT`, separated by commas; value and effect may be absent.
pub(super) fn tolerations(text: &str) -> Result<Vec<Toleration>, String> {
    let all = text.split(',').map(str::trim).map(toleration);
    let all: Option<Vec<Toleration>> = all.collect();
    let all = all.ok_or_else(|| {
        format!(
            "must be KEY=VALUE:EFFECT, separated by commas, such as pool=customers:NoSchedule; effects are {}",
            EFFECTS.join(", ")
        )
    })?;
    each_once(text.split(',').map(str::trim))?;
    Ok(all)
}

fn toleration(text: &str) -> Option<Toleration> {
    let (taint, effect) = match text.split_once(':') {
        Some((taint, effect)) => {
            let known = EFFECTS.into_iter().find(|known| *known == effect)?;
            (taint, Some(known))
        }
        None => (text, None),
    };
    let (key, value) = match taint.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (taint, None),
    };
    let is_good = is_key(key) && value.is_none_or(is_label_value);
    is_good.then(|| Toleration {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect,
    })
}

/// `FROM=TO`, separated by commas: parts of references of images.
pub(super) fn mirrors(text: &str) -> Result<Vec<Mirror>, String> {
    let all = text.split(',').map(|mirror| {
        let (from, to) = mirror.trim().split_once('=')?;
        (is_place(from) && is_place(to)).then(|| Mirror {
            from: from.to_owned(),
            to: to.to_owned(),
        })
    });
    let all: Option<Vec<Mirror>> = all.collect();
    let all = all.ok_or_else(|| {
        "must be FROM=TO, separated by commas, such as docker.io=mirror.example.com/hub".to_owned()
    })?;
    each_once(all.iter().map(|mirror| mirror.from.as_str()))?;
    for Mirror { from, to } in &all {
        if from == to {
            return Err(format!(
                "must have another place than `{from}` behind its `=`"
            ));
        }
        if !has_registry(from) {
            return Err(format!(
                "must begin each place with its registry, as docker.io/library does; `{from}` fits no image"
            ));
        }
    }
    Ok(all)
}

/// Returns true for a place that begins with a registry, as references of images are completed to do.
fn has_registry(place: &str) -> bool {
    let (registry, _) = place.split_once('/').unwrap_or((place, ""));
    registry.contains(['.', ':']) || registry == "localhost"
}

/// A registry, or a part of one, without a tag.
fn is_place(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    let mut parts = text.split('/');
    text.len() <= 255 && parts.all(|part| !part.is_empty() && part.bytes().all(is_plain))
}

fn pairs(
    text: &str,
    separator: char,
    is_good: impl Fn(&str) -> bool,
    rule: &str,
) -> Result<BTreeMap<String, String>, String> {
    let all = text.split(separator).map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (is_key(key) && is_good(value)).then_some((key, value))
    });
    let all: Option<Vec<(&str, &str)>> = all.collect();
    let all = all.ok_or_else(|| rule.to_owned())?;
    each_once(all.iter().map(|(key, _)| *key))?;
    let owned = all.into_iter();
    let owned = owned.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(owned.collect())
}

/// A name, or a domain and a name, as keys of labels and annotations are.
fn is_key(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let is_domain = |domain| parse::dns_name(domain).is_ok() && domain != OWN_DOMAIN;
    !name.is_empty() && is_label_value(name) && domain.is_none_or(is_domain)
}

/// Up to 63 letters, digits, hyphens, dots and underscores between letters or digits.
fn is_label_value(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_end = |letter: char| letter.is_ascii_alphanumeric();
    text.len() <= 63
        && text.bytes().all(is_plain)
        && (text.is_empty() || (text.starts_with(is_end) && text.ends_with(is_end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_of_the_cluster_unless_they_say_otherwise() {
        let shared = Issuer::Cluster("letsencrypt".to_owned());
        assert_eq!(issuer("letsencrypt"), Ok(shared.clone()));
        assert_eq!(issuer("cluster-issuer/letsencrypt"), Ok(shared));
        assert_eq!(
            issuer("issuer/own"),
            Ok(Issuer::Namespaced("own".to_owned()))
        );
        for wrong in ["", "Letsencrypt", "issuer/", "other/a"] {
            assert!(issuer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn annotations_have_values_with_commas_and_are_not_the_servers_own() {
        let read = annotations("a.example/allow=10.0.0.0/8,192.168.0.0/16; team=toko").unwrap();
        let expected = [
            ("a.example/allow", "10.0.0.0/8,192.168.0.0/16"),
            ("team", "toko"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read, BTreeMap::from(expected));
        for wrong in [
            "",
            "team",
            "=a",
            "dermaga.dev/plugin=a",
            "A.B/c=d",
            "a/b/c=d",
        ] {
            assert!(annotations(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_have_values_of_labels() {
        let read = labels("pool=customers, disk=").unwrap();
        assert_eq!(
            (read["pool"].as_str(), read["disk"].as_str()),
            ("customers", "")
        );
        for wrong in [
            "pool",
            "pool=a b",
            "pool=-a",
            &format!("pool={}", "a".repeat(64)),
        ] {
            assert!(labels(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_toleration_may_leave_out_value_and_effect() {
        let read = tolerations("pool=customers:NoSchedule, spot:NoExecute,any").unwrap();
        let expected = |key: &str, value: Option<&str>, effect| Toleration {
            key: key.to_owned(),
            value: value.map(str::to_owned),
            effect,
        };
        let expected = [
            expected("pool", Some("customers"), Some("NoSchedule")),
            expected("spot", None, Some("NoExecute")),
            expected("any", None, None),
        ];
        assert_eq!(read, expected);
        for wrong in ["", "pool:Never", "pool=a=b", ":NoExecute"] {
            assert!(tolerations(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_comes_once() {
        let refused = "must have `pool` once, not twice";
        assert_eq!(labels("pool=a, disk=ssd, pool=b").unwrap_err(), refused);
        assert_eq!(annotations("pool=a;pool=a").unwrap_err(), refused);
        assert_eq!(tolerations("pool,spot, pool").unwrap_err(), refused);
        let refused = "must have `docker.io` once, not twice";
        assert_eq!(mirrors("docker.io=a,docker.io=b").unwrap_err(), refused);
        // A taint may have several effects.
        let effects = tolerations("pool:NoSchedule,pool:NoExecute").unwrap();
        assert_eq!(effects.len(), 2);
    }

    #[test]
    fn a_mirror_fits_images_and_is_another_place() {
        for good in ["docker.io/n8nio=a.example", "localhost/a=b", "a:5000=b"] {
            assert_eq!(mirrors(good).unwrap().len(), 1, "{good}");
        }
        for idle in ["n8nio=a.example", "library/redis=a.example"] {
            let said = mirrors(idle).unwrap_err();
            assert!(said.ends_with("fits no image"), "{said}");
        }
        let said = mirrors("ghcr.io=a.example,docker.io=docker.io").unwrap_err();
        assert!(said.contains("another place than `docker.io`"), "{said}");
    }

    #[test]
    fn mirrors_are_places_without_blanks() {
        let read = mirrors("docker.io=mirror.example.com:5000/hub,ghcr.io=a.example").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].to, "mirror.example.com:5000/hub");
        for wrong in ["", "docker.io", "docker.io=", "a//b=c", "a b=c", "a=b/"] {
            assert!(mirrors(wrong).is_err(), "{wrong}");
        }
    }
}
