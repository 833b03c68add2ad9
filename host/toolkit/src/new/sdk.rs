//! Where a new crate finds the SDK: in a checkout of Dermaga.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Stands in the manifest until the author says where the SDK is.
pub(super) const PLACEHOLDER: &str = "/path/to/dermaga/plugins/sdk";

/// A checkout, or none.
#[derive(Debug)]
pub(super) struct Sdk {
    /// As the manifest names it.
    path: Option<PathBuf>,
    checkout: Option<PathBuf>,
}

impl Sdk {
    /// Looks above the crate, above the working folder and above the running program. A crate in
    /// the checkout names the SDK relatively, so that both can move together.
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

    /// The line of the manifest.
    pub(super) fn dependency(&self) -> String {
        let placeholder = Path::new(PLACEHOLDER);
        let path = self.path.as_deref().unwrap_or(placeholder);
        let path = toml::Value::String(path.display().to_string());
        format!("dermaga-plugin-sdk = {{ path = {path} }}")
    }

    /// The versions of dependencies that this Dermaga is built with; cargo drops what is not used.
    pub(super) fn lock_file(&self) -> Option<String> {
        fs::read_to_string(self.checkout.as_ref()?.join("Cargo.lock")).ok()
    }
}

/// As many `..` as the path has components.
fn up(path: &Path) -> PathBuf {
    path.components().map(|_| Component::ParentDir).collect()
}
