//! Checks of folders that a server writes into: they take files, or can be made.

use std::{io, path::Path};

use dermaga_shop::crypto;

use super::report::{Finding, Part};
use crate::config::Config;

/// Advice about what lies in a data folder that a start could not make.
const NO_DATA_FOLDER: &str = "Run this again once the data folder is well.";

/// Checks that the data folder takes files.
pub(super) fn data(config: &Config) -> Option<Finding> {
    let folder = &config.data_dir;
    let trouble = trouble(folder)?;
    Some(Part::Configuration.failed(
        format!("the data folder {} {trouble}", folder.display()),
        "Give it to the user of the server, or name another with DERMAGA_DATA_DIR.",
    ))
}

/// Returns advice about what a start makes in the data folder, if it can.
pub(super) fn made_in_data(config: &Config, otherwise: &'static str) -> &'static str {
    trouble(&config.data_dir).map_or(otherwise, |_| NO_DATA_FOLDER)
}

/// Checks that the folder of a provisioner without a cluster takes files.
pub(super) fn manifests(config: &Config) -> Option<Finding> {
    let folder = config.manifests_dir();
    // One that is made in the data folder is as good as that one.
    if config.manifests_dir.is_none() && !folder.exists() {
        return None;
    }
    let trouble = trouble(&folder)?;
    Some(Part::Cluster.failed(
        format!("the folder of manifests {} {trouble}", folder.display()),
        "Give it to the user of the server, or name another with DERMAGA_MANIFESTS_DIR.",
    ))
}

/// Returns what keeps files out of a folder, which completes a sentence. One that is not there is made by a server, in
/// the nearest folder above it that is there.
pub(super) fn trouble(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|above| above.exists());
    let error = probe(there.unwrap_or(Path::new("."))).err()?;
    let cannot = if there == Some(folder) {
        "written"
    } else {
        "made"
    };
    Some(format!("cannot be {cannot}: {error}"))
}

/// Writes a file into a folder, and removes it.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".probe-{}", crypto::random_hex(8)));
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_folder_and_nothing_can_be_made_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        std::fs::write(&file, "").unwrap();
        let told = trouble(&file).unwrap();
        assert!(told.starts_with("cannot be written: "), "{told}");
        let told = trouble(&file.join("a/b")).unwrap();
        assert!(told.starts_with("cannot be made: "), "{told}");
        assert_eq!(trouble(folder.path()), None);
        assert_eq!(trouble(&folder.path().join("a/b")), None);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is made, and the probe is removed");
    }
}
