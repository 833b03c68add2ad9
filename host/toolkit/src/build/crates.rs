//! Finding plugin crates.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::Table;

use super::error::BuildError;

/// What a crate depends on to be a plugin.
const SDK: &str = "dermaga-plugin-sdk";

/// The crate of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginCrate {
    /// The package's name, and its component's.
    pub name: String,
    /// Absolute, without symbolic links.
    pub folder: PathBuf,
}

impl PluginCrate {
    /// The crate in this folder.
    ///
    /// # Errors
    /// When there is none, or it is not a plugin.
    pub fn at(folder: &Path) -> Result<Self, BuildError> {
        let folder = fs::canonicalize(folder).map_err(BuildError::reading(folder))?;
        let manifest = manifest(&folder)?;
        let not = |why: String| BuildError::NotAPlugin {
            path: folder.clone(),
            why,
        };
        let name = package_name(&manifest)
            .ok_or_else(|| not("its Cargo.toml has no [package] with a name".into()))?;
        if !is_cdylib(&manifest) {
            return Err(not(
                "its Cargo.toml must say [lib] crate-type = [\"cdylib\"]".into(),
            ));
        }
        if !uses_sdk(&manifest) {
            return Err(not(format!("it does not depend on {SDK}")));
        }
        Ok(Self {
            name: name.to_owned(),
            folder,
        })
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.folder.join("Cargo.toml")
    }

    /// Where authors keep the golden cases of a plugin.
    pub fn cases(&self) -> PathBuf {
        self.folder.join("cases")
    }
}

/// All plugin crates directly in a folder, by name. Other crates are passed over; a folder that is
/// not there has none.
///
/// # Errors
/// When a manifest cannot be read.
pub fn discover(folder: &Path) -> Result<Vec<PluginCrate>, BuildError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(BuildError::reading(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(BuildError::reading(folder))?.path();
        if !path.join("Cargo.toml").is_file() {
            continue;
        }
        match PluginCrate::at(&path) {
            Ok(plugin) => found.push(plugin),
            Err(BuildError::NotAPlugin { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    unique(found)
}

/// The plugin crates a person means: each path is a crate or a folder of crates; none at all is the
/// current folder, or `plugins` in it.
///
/// # Errors
/// When a path holds no plugin, and when two plugins have one name.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PluginCrate>, BuildError> {
    let here = [PathBuf::from(".")];
    let mut found = Vec::new();
    for path in if paths.is_empty() { &here } else { paths } {
        let crates = if path.join("Cargo.toml").is_file() {
            match PluginCrate::at(path) {
                Err(BuildError::NotAPlugin { .. }) if path.join("plugins").is_dir() => {
                    discover(&path.join("plugins"))?
                }
                other => vec![other?],
            }
        } else {
            discover(path)?
        };
        if crates.is_empty() {
            return Err(BuildError::NoPlugins { path: path.clone() });
        }
        found.extend(crates);
    }
    unique(found)
}

fn unique(mut crates: Vec<PluginCrate>) -> Result<Vec<PluginCrate>, BuildError> {
    crates.sort();
    crates.dedup();
    let mut names: BTreeMap<&str, &PluginCrate> = BTreeMap::new();
    for one in &crates {
        if let Some(first) = names.insert(&one.name, one) {
            return Err(BuildError::SameName {
                name: one.name.clone(),
                first: first.folder.clone(),
                second: one.folder.clone(),
            });
        }
    }
    Ok(crates)
}

fn manifest(folder: &Path) -> Result<Table, BuildError> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(BuildError::reading(&path))?;
    text.parse()
        .map_err(|error: toml::de::Error| BuildError::NotAPlugin {
            path: folder.to_owned(),
            why: format!("its Cargo.toml is not TOML: {}", error.message()),
        })
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
