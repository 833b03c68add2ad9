//! The contract that this program was built with, for tools that read it as files.

use std::{fs, path::Path};

use dermaga_runtime::contract::Kind;

use super::error::BuildError;

macro_rules! wit {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../wit/0.2.0/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = wit!(
    "coupon.wit",
    "log.wit",
    "metadata.wit",
    "service.wit",
    "types.wit",
    "worlds.wit",
);

/// Name of the world that a plugin of this kind implements.
pub(super) const fn world(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "service-plugin",
        Kind::Coupon => "coupon-plugin",
    }
}

/// Writes the contract into a folder.
pub(super) fn write(folder: &Path) -> Result<(), BuildError> {
    put(folder, FILES)
}

/// All of it, for knowing whether a component was made of this contract.
pub(super) fn text() -> String {
    FILES.iter().map(|(_, text)| *text).collect()
}

/// Writes embedded files into a folder, which is made.
pub(super) fn put(folder: &Path, files: &[(&str, &str)]) -> Result<(), BuildError> {
    fs::create_dir_all(folder).map_err(BuildError::writing(folder))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(BuildError::writing(&path))?;
    }
    Ok(())
}
