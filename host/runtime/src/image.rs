//! References of container images.

/// Reports that a reference always means the same image, or at least not silently another one: it
/// has a digest, or a tag other than `latest`.
pub fn is_pinned(reference: &str) -> bool {
    if let Some((name, digest)) = reference.split_once('@') {
        return is_repository(untagged(name)) && is_digest(digest);
    }
    match tag(reference) {
        Some(tag) => is_tag(tag) && tag != "latest" && is_repository(untagged(reference)),
        None => false,
    }
}

/// Returns the tag of a reference; a colon before the last slash belongs to a registry's port.
fn tag(reference: &str) -> Option<&str> {
    let name = reference.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag)
}

fn untagged(reference: &str) -> &str {
    tag(reference)
        .and_then(|tag| reference.strip_suffix(tag)?.strip_suffix(':'))
        .unwrap_or(reference)
}

fn is_repository(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    (1..=255).contains(&name.len())
        && name.bytes().all(allowed)
        && name.split('/').all(|part| !part.is_empty())
}

fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&tag.len()) && tag.bytes().all(allowed)
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fixed_tag_or_a_digest_pins() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for good in [
            "ghost:5.130.1",
            "docker.io/n8nio/n8n:1.121.3",
            "localhost:5000/a/b:1",
            &format!("mysql@{digest}"),
            &format!("mysql:8.4@{digest}"),
        ] {
            assert!(is_pinned(good), "{good}");
        }
        for bad in [
            "",
            "ghost",
            "ghost:",
            "ghost:latest",
            "localhost:5000/ghost",
            "a//b:1",
            "gho st:1",
            "mysql@sha256:00",
            "mysql@md5:00",
            &format!("mysql@{}", digest.to_uppercase()),
        ] {
            assert!(!is_pinned(bad), "{bad}");
        }
    }
}
