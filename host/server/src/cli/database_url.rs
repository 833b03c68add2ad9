//! URLs of databases as they are shown and typed.

/// Returns a URL without its password.
pub(super) fn without_password(url: &str) -> String {
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
    let kept = kept.filter(|part| !part.starts_with("password="));
    for (part, before) in kept.zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
        shown.push(before);
        shown.push_str(part);
    }
    shown
}

/// Returns a text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "postgres://db?application_name=x",
                "postgres://db?application_name=x",
            ),
            ("sqlite://data/dermaga.db", "sqlite://data/dermaga.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn a_shell_reads_one_word() {
        assert_eq!(quoted("/it's here"), r"'/it'\''s here'");
    }
}
