//! Finds plugins that can be built.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use dermaga_runtime::{SizeClass, contract::Kind};

use super::{error::BuildError, manifest};

/// A folder that a plugin is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSource {
    /// Id of the plugin, and name of its component.
    pub name: String,
    /// Absolute path, without symbolic links.
    pub folder: PathBuf,
    pub language: Language,
}

/// Language of a plugin, told by the manifest in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Language {
    /// `Cargo.toml`: a crate that depends on the SDK.
    Rust,
    /// `package.json` with a `dermaga` member; `entry` is the module that exports the plugin,
    /// relative to the folder.
    JavaScript { kind: Kind, entry: PathBuf },
    /// `plugin.toml` with `language = "c"`; every `*.c` in the folder is compiled.
    C { kind: Kind },
}

impl Language {
    /// Returns the size class that its component needs: one in JavaScript contains the engine.
    pub const fn class(&self) -> SizeClass {
        match self {
            Self::JavaScript { .. } => SizeClass::Large,
            Self::Rust | Self::C { .. } => SizeClass::Standard,
        }
    }
}

impl PluginSource {
    /// Reads the plugin in this folder.
    ///
    /// # Errors
    /// When the folder holds no plugin.
    pub fn at(folder: &Path) -> Result<Self, BuildError> {
        let folder = fs::canonicalize(folder).map_err(BuildError::reading(folder))?;
        let (name, language) = manifest::read(&folder)?;
        Ok(Self {
            name,
            folder,
            language,
        })
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.folder.join(match self.language {
            Language::Rust => manifest::CARGO,
            Language::JavaScript { .. } => manifest::PACKAGE,
            Language::C { .. } => manifest::PLUGIN,
        })
    }

    /// Returns the file with the plugin's texts in other languages, if it has one.
    pub(super) fn texts(&self) -> Option<PathBuf> {
        let file = self.folder.join(manifest::PLUGIN);
        file.is_file().then_some(file)
    }

    /// Folder of the plugin's golden cases.
    pub fn cases(&self) -> PathBuf {
        self.folder.join("cases")
    }
}

/// Returns all plugins directly in a folder, by name. Other crates and packages are skipped; a
/// missing folder has none.
///
/// # Errors
/// When a manifest cannot be read.
pub fn discover(folder: &Path) -> Result<Vec<PluginSource>, BuildError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(BuildError::reading(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(BuildError::reading(folder))?.path();
        if !manifest::is_in(&path) {
            continue;
        }
        match PluginSource::at(&path) {
            Ok(plugin) => found.push(plugin),
            Err(BuildError::NotAPlugin { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    unique(found)
}

/// Returns the plugins that paths on a command line name: each path is a plugin or a folder of
/// plugins. Without paths it is the current folder, or `plugins` in it.
///
/// # Errors
/// When a path holds no plugin, and when two plugins have one name.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PluginSource>, BuildError> {
    let here = [PathBuf::from(".")];
    let mut found = Vec::new();
    for path in if paths.is_empty() { &here } else { paths } {
        let plugins = if manifest::is_in(path) {
            match PluginSource::at(path) {
                Err(BuildError::NotAPlugin { .. }) if path.join("plugins").is_dir() => {
                    discover(&path.join("plugins"))?
                }
                other => vec![other?],
            }
        } else {
            discover(path)?
        };
        if plugins.is_empty() {
            return Err(BuildError::NoPlugins { path: path.clone() });
        }
        found.extend(plugins);
    }
    unique(found)
}

fn unique(mut plugins: Vec<PluginSource>) -> Result<Vec<PluginSource>, BuildError> {
    plugins.sort_by(|a, b| (&a.name, &a.folder).cmp(&(&b.name, &b.folder)));
    plugins.dedup();
    let mut names: BTreeMap<&str, &PluginSource> = BTreeMap::new();
    for one in &plugins {
        if let Some(first) = names.insert(&one.name, one) {
            return Err(BuildError::SameName {
                name: one.name.clone(),
                first: first.folder.clone(),
                second: one.folder.clone(),
            });
        }
    }
    Ok(plugins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, folder: &str) -> PluginSource {
        PluginSource {
            name: name.to_owned(),
            folder: folder.into(),
            language: Language::Rust,
        }
    }

    #[test]
    fn a_folder_that_is_found_twice_is_built_once() {
        let found = vec![source("b", "/b"), source("a", "/a"), source("b", "/b")];
        assert_eq!(
            unique(found).unwrap(),
            [source("a", "/a"), source("b", "/b")]
        );
        assert!(unique(Vec::new()).unwrap().is_empty());
    }

    /// Both would be written into one file.
    #[test]
    fn two_folders_of_one_name_are_both_named() {
        let refused = unique(vec![source("a", "/two"), source("a", "/one")]).unwrap_err();
        let BuildError::SameName {
            name,
            first,
            second,
        } = refused
        else {
            panic!("another refusal");
        };
        assert_eq!(
            (name.as_str(), first, second),
            ("a", "/one".into(), "/two".into())
        );
    }
}
