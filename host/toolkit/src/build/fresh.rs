//! Finds components that are up to date with their sources, without asking cargo.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use dermaga_runtime::Digest;
use serde::{Deserialize, Serialize};

use super::{
    c,
    error::BuildError,
    javascript,
    output::{Built, Change, component_path, stamp_path},
    sources::{Language, PluginSource},
};

/// Version of the build procedure; raising it makes every component stale.
const RECIPE: u32 = 2;

/// Record of the inputs of a component, kept in a file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stamp {
    recipe: u32,
    component: Digest,
    /// Digest of the text that this program adds to the sources.
    embedded: Digest,
    /// Digest of the names and contents of `files`.
    sources: Digest,
    /// Sources, contract, manifests and lock file.
    files: BTreeSet<PathBuf>,
}

impl Stamp {
    pub(super) fn of(
        one: &PluginSource,
        files: BTreeSet<PathBuf>,
        component: Digest,
    ) -> Result<Self, BuildError> {
        let sources =
            digest_of(&files).map_err(|(path, error)| BuildError::reading(&path)(error))?;
        Ok(Self {
            recipe: RECIPE,
            component,
            embedded: embedded(&one.language),
            sources,
            files,
        })
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// Returns the files a crate was compiled from, out of the `.d` file that cargo leaves beside the
/// module, with the manifests and the lock file.
pub(super) fn read_by_cargo(
    one: &PluginSource,
    root: &Path,
    module: &Path,
) -> Result<BTreeSet<PathBuf>, BuildError> {
    let list = module.with_extension("d");
    let text = fs::read_to_string(&list).map_err(BuildError::reading(&list))?;
    let mut files: BTreeSet<PathBuf> = dependencies(&text).into_iter().collect();
    let manifests: Vec<_> = files.iter().filter_map(|file| manifest_of(file)).collect();
    files.extend(manifests);
    files.extend([
        one.manifest(),
        root.join("Cargo.toml"),
        root.join("Cargo.lock"),
    ]);
    files.extend(one.texts());
    Ok(files)
}

fn embedded(language: &Language) -> Digest {
    let text = match language {
        Language::Rust => String::new(),
        Language::JavaScript { .. } => javascript::embedded(),
        Language::C { .. } => c::embedded(),
    };
    Digest::of(text.as_bytes())
}

/// Checks that no source was added or removed since, which digests of the old files do not show. For Rust, these are
/// texts in other languages alone.
fn same_files(one: &PluginSource, files: &BTreeSet<PathBuf>) -> bool {
    let now = match one.language {
        Language::Rust => return one.texts().is_none_or(|texts| files.contains(&texts)),
        Language::JavaScript { .. } => javascript::files(one),
        Language::C { .. } => c::files(one),
    };
    now.is_ok_and(|now| now == *files)
}

/// Returns the component of a plugin in this folder, if it is intact and no source has changed.
pub(super) fn check(one: &PluginSource, folder: &Path) -> Option<Built> {
    let stamp: Stamp =
        serde_json::from_slice(&fs::read(stamp_path(folder, &one.name)).ok()?).ok()?;
    let component = component_path(folder, &one.name);
    let bytes = fs::read(&component).ok()?;
    let digest = Digest::of(&bytes);
    // Another plugin of this name, in another checkout, may have been built into the same folder.
    let same = stamp.recipe == RECIPE
        && stamp.component == digest
        && stamp.embedded == embedded(&one.language)
        && stamp.files.contains(&one.manifest())
        && same_files(one, &stamp.files);
    if !same || digest_of(&stamp.files).ok()? != stamp.sources {
        return None;
    }
    let plugin = one.name.clone();
    Some(Built {
        plugin,
        component,
        bytes: bytes.len(),
        digest,
        change: Change::Unchanged,
    })
}

fn digest_of(files: &BTreeSet<PathBuf>) -> Result<Digest, (PathBuf, std::io::Error)> {
    let mut all = Vec::new();
    for file in files {
        let bytes = fs::read(file).map_err(|error| (file.clone(), error))?;
        // Names, too: two files that changed places are another source.
        all.extend_from_slice(file.as_os_str().as_encoded_bytes());
        all.extend_from_slice(Digest::of(&bytes).as_bytes());
    }
    Ok(Digest::of(&all))
}

/// Finds the manifest of the crate that a source file belongs to.
fn manifest_of(source: &Path) -> Option<PathBuf> {
    let folder = source
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("Cargo.toml").is_file())?;
    Some(folder.join("Cargo.toml"))
}

/// Reads the files after the colon in `module: file file ...`; a backslash escapes a space in a
/// name.
fn dependencies(list: &str) -> Vec<PathBuf> {
    let Some((_, files)) = list.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    files
        .replace("\\ ", "\0")
        .split_whitespace()
        .map(|file| PathBuf::from(file.replace('\0', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_read() {
        let list = "/t/a.wasm: /p/src/lib.rs /my\\ wit/types.wit\n";
        assert_eq!(
            dependencies(list),
            [
                PathBuf::from("/p/src/lib.rs"),
                PathBuf::from("/my wit/types.wit")
            ]
        );
        assert!(dependencies("").is_empty());
    }

    #[test]
    fn a_component_is_fresh_until_a_source_or_the_component_changes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("Cargo.toml", "[package]"),
            ("Cargo.lock", ""),
            ("lib.rs", "one"),
            ("x.wasm", "component"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        fs::write(at("x.d"), format!("x.wasm: {}\n", at("lib.rs").display())).unwrap();
        let one = PluginSource {
            name: "x".into(),
            folder: folder.path().to_owned(),
            language: Language::Rust,
        };
        let write = || {
            let files = read_by_cargo(&one, folder.path(), &at("x.wasm")).unwrap();
            let stamp = Stamp::of(&one, files, Digest::of(b"component")).unwrap();
            fs::write(stamp_path(folder.path(), "x"), stamp.to_json()).unwrap();
        };
        assert_eq!(check(&one, folder.path()), None);
        write();
        assert_eq!(check(&one, folder.path()).unwrap().bytes, 9);
        fs::write(at("lib.rs"), "two").unwrap();
        assert_eq!(check(&one, folder.path()), None);
        write();
        assert!(check(&one, folder.path()).is_some());
        fs::write(at("plugin.toml"), "[texts.id]").unwrap();
        assert_eq!(check(&one, folder.path()), None);
        write();
        assert!(check(&one, folder.path()).is_some());
        fs::remove_file(at("plugin.toml")).unwrap();
        assert_eq!(check(&one, folder.path()), None);
        write();
        fs::write(at("x.wasm"), "another").unwrap();
        assert_eq!(check(&one, folder.path()), None);
        fs::remove_file(at("x.wasm")).unwrap();
        assert_eq!(check(&one, folder.path()), None);
    }
}
