//! The files of a new crate.

use std::path::PathBuf;

use dermaga_runtime::contract::Kind;

use super::{Names, sdk::Sdk};

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
const COUPON: &[(&str, &str)] = embedded!("coupon":
    "lib.rs",
    "README.md",
    "cases/check-accepts.json",
    "cases/describe.json",
    "cases/evaluate-free-plan.json",
    "cases/evaluate-grants.json",
    "cases/evaluate-wrong-place.json",
);
const MANIFEST: &str = include_str!("../../templates/manifest.toml");
const GITIGNORE: &str = include_str!("../../templates/gitignore");

/// Path within the crate, and text.
pub(super) fn of(names: &Names, kind: Kind, sdk: &Sdk) -> Vec<(PathBuf, String)> {
    let own = match kind {
        Kind::Service => SERVICE,
        Kind::Coupon => COUPON,
    };
    let common = [("Cargo.toml", MANIFEST), (".gitignore", GITIGNORE)];
    let fill = |text: &str| {
        text.replace("__ID__", &names.id)
            .replace("__SLUG__", &names.slug)
            .replace("__TITLE__", &names.title)
            .replace("__SDK__", &sdk.dependency())
    };
    common
        .iter()
        .chain(own)
        .map(|(name, text)| (place(name, names), fill(text)))
        .collect()
}

fn place(name: &str, names: &Names) -> PathBuf {
    match name {
        "lib.rs" => "src/lib.rs".into(),
        "template.toml" => format!("service-templates/{}.toml", names.slug).into(),
        other => other.into(),
    }
}
