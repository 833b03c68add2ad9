//! Files of a new plugin.

use std::path::PathBuf;

use dermaga_runtime::contract::Kind;

use super::{Language, Names, sdk::Sdk};

macro_rules! embedded {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../templates/", $folder, "/", $name)))),*]
    };
}

const SERVICE: &[(&str, &str)] = embedded!("service":
    "lib.rs",
    "README.md",
    "template.toml",
    "cases/access.json",
    "cases/check-accepts.json",
    "cases/check-unknown-field.json",
    "cases/describe.json",
    "cases/manifests-basic.json",
    "cases/price-first.json",
);
/// Files of a new coupon plugin in any language: its guide and its golden cases.
const COUPON: &[(&str, &str)] = embedded!("coupon":
    "README.md",
    "cases/check-accepts.json",
    "cases/describe.json",
    "cases/evaluate-free-plan.json",
    "cases/evaluate-grants.json",
    "cases/evaluate-wrong-place.json",
);
const COUPON_RUST: &[(&str, &str)] = embedded!("coupon/rust": "lib.rs");
const COUPON_JAVASCRIPT: &[(&str, &str)] =
    embedded!("coupon/javascript": "package.json", "plugin.js");
const COUPON_C: &[(&str, &str)] = embedded!("coupon/c": "plugin.toml", "plugin.c");
const CARGO: &[(&str, &str)] = &[("Cargo.toml", include_str!("../../templates/manifest.toml"))];
const GITIGNORE: &[(&str, &str)] = &[(".gitignore", include_str!("../../templates/gitignore"))];
/// Lock file of the example, so that new plugins use the versions tested there.
const PACKAGE_LOCK: &str =
    include_str!("../../../../plugins/examples/coupon-javascript/package-lock.json");

/// Returns the files of a new plugin as paths within its folder and texts.
pub(super) fn of(
    names: &Names,
    kind: Kind,
    language: Language,
    sdk: &Sdk,
) -> Vec<(PathBuf, String)> {
    let own: &[&[(&str, &str)]] = match (kind, language) {
        (Kind::Service, _) => &[CARGO, SERVICE],
        (Kind::Coupon, Language::Rust) => &[CARGO, COUPON_RUST, COUPON],
        (Kind::Coupon, Language::JavaScript) => &[COUPON_JAVASCRIPT, COUPON],
        (Kind::Coupon, Language::C) => &[COUPON_C, COUPON],
    };
    let fill = |text: &str| {
        text.replace("__ID__", &names.id)
            .replace("__SLUG__", &names.slug)
            .replace("__TITLE__", &names.title)
            .replace("__SOURCE__", language.source())
            .replace("__SDK__", &sdk.dependency())
    };
    let mut files: Vec<_> = [GITIGNORE]
        .iter()
        .chain(own)
        .flat_map(|files| files.iter())
        .map(|(name, text)| (place(name, names), fill(text)))
        .collect();
    if language == Language::JavaScript {
        let lock = PACKAGE_LOCK.replace("coupon-javascript", &names.id);
        files.push(("package-lock.json".into(), lock));
    }
    files
}

fn place(name: &str, names: &Names) -> PathBuf {
    match name {
        "lib.rs" => "src/lib.rs".into(),
        "template.toml" => format!("service-templates/{}.toml", names.slug).into(),
        other => other.into(),
    }
}
