//! Finds the SDK for a new crate, in a checkout of Dermaga.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Path in the manifest until the author sets that of the SDK.
pub(super) const PLACEHOLDER: &str = "/path/to/dermaga/plugins/sdk";

/// SDK of a checkout, if one was found.
#[derive(Debug)]
pub(super) struct Sdk {
    /// Path as the manifest has it.
    path: Option<PathBuf>,
    checkout: Option<PathBuf>,
}

impl Sdk {
    /// Searches the folders above the crate, the working folder and the running program. A crate
    /// inside the checkout gets a relative path, so that both can move together.
    pub(super) fn find(folder: &Path) -> Self {
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let places = [
            Some(folder.clone()),
            std::env::current_dir().ok(),
            std::env::current_exe().ok(),
        ];
        let checkout = places
            .iter()
            .flatten()
            .flat_map(|place| place.ancestors())
            .find(|place| {
                place.join("plugins/sdk/Cargo.toml").is_file() && place.join("wit").is_dir()
            })
            .map(Path::to_owned);
        let path = checkout.as_ref().map(|checkout| {
            let sdk = checkout.join("plugins/sdk");
            folder
                .strip_prefix(checkout)
                .map(|inside| up(inside).join("plugins/sdk"))
                .unwrap_or(sdk)
        });
        Self { path, checkout }
    }

    pub(super) const fn is_found(&self) -> bool {
        self.path.is_some()
    }

    /// Returns the manifest's line for the SDK.
    pub(super) fn dependency(&self) -> String {
        let placeholder = Path::new(PLACEHOLDER);
        let path = self.path.as_deref().unwrap_or(placeholder);
        let path = toml::Value::String(path.display().to_string());
        format!("dermaga-plugin-sdk = {{ path = {path} }}")
    }

    /// Reads the checkout's lock file, for the same versions of dependencies; cargo drops unused
    /// ones.
    pub(super) fn lock_file(&self) -> Option<String> {
        fs::read_to_string(self.checkout.as_ref()?.join("Cargo.lock")).ok()
    }
}

/// Returns as many `..` as the path has components.
fn up(path: &Path) -> PathBuf {
    path.components().map(|_| Component::ParentDir).collect()
}
