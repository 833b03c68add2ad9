//! Manifest of a plugin's folder, which names the plugin and its language.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dermaga_runtime::{Texts, contract::Kind};
use serde::Deserialize;
use toml::Table;

use super::{
    error::BuildError,
    sources::{Language, PluginSource},
};

pub(super) const CARGO: &str = "Cargo.toml";
pub(super) const PACKAGE: &str = "package.json";
pub(super) const PLUGIN: &str = "plugin.toml";

/// Dependency that makes a crate a plugin.
const SDK: &str = "dermaga-plugin-sdk";

/// Checks for any manifest, which need not be a plugin's.
pub(super) fn is_in(folder: &Path) -> bool {
    [CARGO, PACKAGE, PLUGIN]
        .iter()
        .any(|name| folder.join(name).is_file())
}

/// Reads the plugin's name and language.
pub(super) fn read(folder: &Path) -> Result<(String, Language), BuildError> {
    let read = |name: &str| {
        let path = folder.join(name);
        if path.is_file() {
            fs::read_to_string(&path)
                .map(Some)
                .map_err(BuildError::reading(&path))
        } else {
            Ok(None)
        }
    };
    let found = if let Some(text) = read(CARGO)? {
        cargo(&text)
    } else if let Some(text) = read(PACKAGE)? {
        package(&text)
    } else if let Some(text) = read(PLUGIN)? {
        plugin(&text)
    } else {
        Err(format!(
            "it has no {CARGO} (Rust), {PACKAGE} (JavaScript) or {PLUGIN} (C)"
        ))
    };
    found.map_err(|why| BuildError::NotAPlugin {
        path: folder.to_owned(),
        why,
    })
}

fn cargo(text: &str) -> Result<(String, Language), String> {
    let manifest: Table = text.parse().map_err(|error: toml::de::Error| {
        format!("its {CARGO} is not TOML: {}", error.message())
    })?;
    let name = package_name(&manifest)
        .ok_or_else(|| format!("its {CARGO} has no [package] with a name"))?;
    if !is_cdylib(&manifest) {
        return Err(format!(
            "its {CARGO} must say [lib] crate-type = [\"cdylib\"]"
        ));
    }
    if !uses_sdk(&manifest) {
        return Err(format!("it does not depend on {SDK}"));
    }
    Ok((name.to_owned(), Language::Rust))
}

fn package_name(manifest: &Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

fn is_cdylib(manifest: &Table) -> bool {
    let types = manifest
        .get("lib")
        .and_then(|lib| lib.get("crate-type").or_else(|| lib.get("crate_type")));
    types
        .and_then(toml::Value::as_array)
        .is_some_and(|types| types.iter().any(|one| one.as_str() == Some("cdylib")))
}

fn uses_sdk(manifest: &Table) -> bool {
    let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table) else {
        return false;
    };
    dependencies.iter().any(|(key, value)| {
        key == SDK || value.get("package").and_then(toml::Value::as_str) == Some(SDK)
    })
}

/// The fields of a `package.json` that concern a plugin.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    #[serde(default = "default_entry")]
    main: PathBuf,
    dermaga: Option<Dermaga>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dermaga {
    kind: Kind,
}

fn default_entry() -> PathBuf {
    "plugin.js".into()
}

fn package(text: &str) -> Result<(String, Language), String> {
    let Package {
        name,
        main: entry,
        dermaga,
    } = serde_json::from_str(text).map_err(|error| format!("its {PACKAGE}: {error}"))?;
    let Some(Dermaga { kind }) = dermaga else {
        return Err(format!(
            "its {PACKAGE} must say \"dermaga\": {{\"kind\": \"coupon\"}}, or \"service\""
        ));
    };
    file_name(&name)?;
    Ok((name, Language::JavaScript { kind, entry }))
}

/// Contents of a `plugin.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginManifest {
    name: String,
    kind: Kind,
    language: Written,
    #[serde(default)]
    texts: Languages,
}

/// Contents of a `plugin.toml` beside the manifest of another language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    texts: Languages,
}

/// Sentences of a plugin in other languages, by their codes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Languages {
    #[serde(default)]
    id: Texts,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    C,
}

fn plugin(text: &str) -> Result<(String, Language), String> {
    let PluginManifest {
        name,
        kind,
        language: Written::C,
        texts: _,
    } = toml::from_str(text).map_err(|error| format!("its {PLUGIN}: {}", error.message()))?;
    file_name(&name)?;
    Ok((name, Language::C { kind }))
}

/// Reads the texts of a plugin in Indonesian; none when it has no `plugin.toml`.
pub(super) fn texts(one: &PluginSource) -> Result<Texts, BuildError> {
    let path = one.folder.join(PLUGIN);
    if !path.is_file() {
        return Ok(Texts::default());
    }
    let text = fs::read_to_string(&path).map_err(BuildError::reading(&path))?;
    let languages = match one.language {
        Language::C { .. } => toml::from_str(&text).map(|own: PluginManifest| own.texts),
        Language::Rust | Language::JavaScript { .. } => {
            toml::from_str(&text).map(|own: Beside| own.texts)
        }
    };
    let checked = languages
        .map_err(|error| error.message().to_owned())
        .and_then(|Languages { id }| {
            id.check()
                .map(|()| id)
                .map_err(|why| format!("texts.id: {why}"))
        });
    checked.map_err(|why| BuildError::Texts { path, why })
}

/// Checks that a name can be a file's; for Rust, cargo does so itself.
fn file_name(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.bytes().all(good) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not a plugin's id: lower-case letters, digits and hyphens"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_the_plugin_is_or_what_is_missing() {
        let kind = Kind::Coupon;
        let name = || "coupon-x".to_owned();
        let entry = default_entry();
        assert_eq!(
            package(r#"{"name": "coupon-x", "dermaga": {"kind": "coupon"}}"#),
            Ok((name(), Language::JavaScript { kind, entry }))
        );
        assert_eq!(
            plugin("name = \"coupon-x\"\nkind = \"coupon\"\nlanguage = \"c\""),
            Ok((name(), Language::C { kind }))
        );
        let why = |found: Result<(String, Language), String>| found.unwrap_err();
        assert!(why(package(r#"{"name": "x"}"#)).contains("\"dermaga\""));
        assert!(
            why(package(
                r#"{"name": "../x", "dermaga": {"kind": "coupon"}}"#
            ))
            .contains("id")
        );
        assert!(
            why(plugin("name = \"x\"\nkind = \"coupon\"\nlanguage = \"go\""))
                .contains("unknown variant `go`")
        );
        assert!(why(cargo("[package]")).contains("no [package] with a name"));
    }

    #[test]
    fn texts_are_in_plugin_toml_in_any_language() {
        let folder = tempfile::tempdir().unwrap();
        let texts_of = |language: Language, text: &str| {
            fs::write(folder.path().join(PLUGIN), text).unwrap();
            let one = PluginSource {
                name: "coupon-x".to_owned(),
                folder: folder.path().to_owned(),
                language,
            };
            texts(&one).map_err(|error| error.to_string())
        };
        let kind = Kind::Coupon;
        let written = "[texts.id]\n\"Amount\" = \"Jumlah\"\n";
        let own = format!("name = \"coupon-x\"\nkind = \"coupon\"\nlanguage = \"c\"\n{written}");
        let rust = texts_of(Language::Rust, written).unwrap();
        assert_eq!(rust.iter().collect::<Vec<_>>(), [("Amount", "Jumlah")]);
        assert_eq!(texts_of(Language::C { kind }, &own).unwrap(), rust);
        assert_eq!(plugin(&own).unwrap().1, Language::C { kind });
        for (text, why) in [
            (own.as_str(), "unknown field `kind`, expected `texts`"),
            ("[texts.de]\n", "unknown field `de`"),
            (
                "[texts.id]\n\"Off {}.\" = \"Potongan.\"\n",
                "texts.id: `Off {}.`: both",
            ),
        ] {
            let told = texts_of(Language::Rust, text).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        fs::remove_file(folder.path().join(PLUGIN)).unwrap();
        let one = PluginSource {
            name: "coupon-x".to_owned(),
            folder: folder.path().to_owned(),
            language: Language::Rust,
        };
        assert!(texts(&one).unwrap().is_empty());
    }
}
