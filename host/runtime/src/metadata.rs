//! Checks of a component's description of itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    contract::{
        About, Answer, CouponDescription, Description, EndpointSpec, ImageSpec, Protocol,
        SecretKind, SecretSpec, ServiceDescription,
    },
    error::LoadError,
    image,
};

/// Maximum of secrets, endpoints, images, places or facts of one description.
const MAX_ENTRIES: usize = 32;

pub(crate) fn check_about(about: &About) -> Result<(), LoadError> {
    ensure(is_name(&about.id, 3, 50), "about.id", || {
        format!("`{}` is not `[a-z][a-z0-9-]{{2,49}}`", about.id)
    })?;
    ensure(is_semver(&about.version), "about.version", || {
        format!(
            "`{}` is not a semantic version such as `1.4.0`",
            about.version
        )
    })?;
    check_text(&about.title, 80, "about.title")?;
    check_text(&about.summary, 300, "about.summary")
}

pub(crate) fn check_description(description: &Description) -> Result<(), LoadError> {
    match description {
        Description::Service(Answer::Ok(service)) => check_service(service),
        // Without settings it describes nothing; a template's settings are checked on reading it.
        Description::Service(Answer::Problems(_)) => Ok(()),
        Description::Coupon(coupon) => check_coupon(coupon),
    }
}

fn check_coupon(coupon: &CouponDescription) -> Result<(), LoadError> {
    check_schema(&coupon.parameters_schema, "parametersSchema")?;
    ensure(!coupon.places.is_empty(), "places", || {
        "a coupon that can be presented nowhere is of no use: name at least one place".into()
    })?;
    check_unique(coupon.places.iter().map(|place| *place as u8), "places")?;
    check_unique(coupon.facts.iter().map(|fact| *fact as u8), "facts")
}

pub(crate) fn check_service(service: &ServiceDescription) -> Result<(), LoadError> {
    let ServiceDescription {
        config_schema,
        secrets,
        endpoints,
        images,
    } = service;
    check_schema(config_schema, "configSchema")?;
    check_unique(secrets.iter().map(|secret| &secret.name), "secrets")?;
    check_unique(endpoints.iter().map(|endpoint| &endpoint.name), "endpoints")?;
    check_unique(images.iter().map(|image| &image.name), "images")?;
    for (position, secret) in secrets.iter().enumerate() {
        check_secret(secret, &format!("secrets[{position}]"))?;
    }
    for (position, endpoint) in endpoints.iter().enumerate() {
        check_endpoint(endpoint, &format!("endpoints[{position}]"))?;
    }
    for (position, image) in images.iter().enumerate() {
        check_image(image, &format!("images[{position}]"))?;
    }
    ensure(!images.is_empty(), "images", || {
        "a service runs at least one image".into()
    })
}

fn check_secret(secret: &SecretSpec, at: &str) -> Result<(), LoadError> {
    ensure(is_name(&secret.name, 1, 50), &format!("{at}.name"), || {
        format!("`{}` is not `[a-z][a-z0-9-]{{0,49}}`", secret.name)
    })?;
    check_text(&secret.purpose, 300, &format!("{at}.purpose"))?;
    let (length, range) = match secret.kind {
        SecretKind::Password(characters) => (characters, 16..=128),
        SecretKind::HexBytes(bytes) => (bytes, 16..=64),
    };
    ensure(range.contains(&length), &format!("{at}.kind"), || {
        format!(
            "its length is {length} and must be {} to {}",
            range.start(),
            range.end()
        )
    })
}

fn check_endpoint(endpoint: &EndpointSpec, at: &str) -> Result<(), LoadError> {
    ensure(
        is_name(&endpoint.name, 1, 50),
        &format!("{at}.name"),
        || format!("`{}` is not `[a-z][a-z0-9-]{{0,49}}`", endpoint.name),
    )?;
    ensure(endpoint.port > 0, &format!("{at}.port"), || {
        "a port is 1 to 65535".into()
    })?;
    let reachable = endpoint.protocol == Protocol::Http || !endpoint.public;
    ensure(reachable, &format!("{at}.public"), || {
        "only an http endpoint can be public: a public host name goes through an Ingress".into()
    })
}

fn check_image(image: &ImageSpec, at: &str) -> Result<(), LoadError> {
    ensure(is_name(&image.name, 1, 50), &format!("{at}.name"), || {
        format!("`{}` is not `[a-z][a-z0-9-]{{0,49}}`", image.name)
    })?;
    let Some(reference) = &image.reference else {
        return Ok(());
    };
    ensure(
        image::is_pinned(reference),
        &format!("{at}.reference"),
        || format!("`{reference}` is not pinned: give it a tag other than `latest`, or a digest"),
    )
}

/// Checks that a schema describes an object; the compiler of schemas checks that it is valid JSON
/// Schema.
fn check_schema(schema: &Value, field: &str) -> Result<(), LoadError> {
    let typed = schema
        .as_object()
        .and_then(|schema| schema.get("type"))
        .and_then(Value::as_str);
    ensure(typed == Some("object"), field, || {
        "it must be a JSON Schema of an object, with `\"type\": \"object\"`".into()
    })
}

fn check_text(text: &str, max: usize, field: &str) -> Result<(), LoadError> {
    let length = text.chars().count();
    ensure(!text.trim().is_empty() && length <= max, field, || {
        format!("it has {length} characters and must have 1 to {max}")
    })?;
    ensure(!text.chars().any(char::is_control), field, || {
        "it holds control characters".into()
    })
}

fn check_unique<T: Ord>(items: impl Iterator<Item = T>, field: &str) -> Result<(), LoadError> {
    let mut seen = BTreeSet::new();
    for (position, item) in items.enumerate() {
        ensure(position < MAX_ENTRIES, field, || {
            format!("it has more than {MAX_ENTRIES} entries")
        })?;
        ensure(seen.insert(item), &format!("{field}[{position}]"), || {
            "it is there twice; names are unique".into()
        })?;
    }
    Ok(())
}

/// Matches `[a-z][a-z0-9-]*` of this many characters.
fn is_name(text: &str, min: usize, max: usize) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (min..=max).contains(&text.len())
        && text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase())
        && text.bytes().all(rest)
}

/// Matches `MAJOR.MINOR.PATCH`, then `-pre.release` and `+build` if any, as on semver.org.
fn is_semver(text: &str) -> bool {
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (core, pre) = text
        .split_once('-')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let number = |part: &str| {
        part.parse::<u64>().is_ok()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 100
        && core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|part| word(part) && (!digits_only(part) || number(part)))
        })
        && build.is_none_or(|build| build.len() <= 100 && build.split('.').all(word))
}

fn ensure(holds: bool, field: &str, message: impl FnOnce() -> String) -> Result<(), LoadError> {
    if holds {
        return Ok(());
    }
    Err(LoadError::BadMetadata {
        field: field.to_owned(),
        message: message(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantic_versions_are_as_the_specification_has_them() {
        for good in [
            "0.1.0",
            "1.4.0",
            "10.20.30-rc.1",
            "1.0.0-alpha-x.7+build.007",
        ] {
            assert!(is_semver(good), "{good}");
        }
        for bad in [
            "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "+1.2.3", "v1.2.3", "1.2.+3",
        ] {
            assert!(!is_semver(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_lower_case_and_start_with_a_letter() {
        assert!(is_name("service-n8n", 3, 50));
        for bad in ["ab", "8n8", "-ab", "Service", "a_b", "a.b", &"a".repeat(51)] {
            assert!(!is_name(bad, 3, 50), "{bad}");
        }
    }
}
