//! The plugin contract embedded in this program, for tools that read it as files.

use std::{fs, path::Path};

use dermaga_runtime::contract::Kind;

use super::error::BuildError;

macro_rules! wit {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../wit/0.2.0/", $name)))),*]
    };
}

/// Version of the contract, and name of its folder in `wit/`.
const VERSION: &str = "0.2.0";

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

/// Name under which a module imports an interface, for example `dermaga:plugin/log@0.2.0`.
pub(super) fn interface(name: &str) -> String {
    format!("dermaga:plugin/{name}@{VERSION}")
}

/// Writes the contract into a folder.
pub(super) fn write(folder: &Path) -> Result<(), BuildError> {
    put(folder, FILES)
}

/// Text of the whole contract; a change makes components stale.
pub(super) fn text() -> String {
    FILES.iter().map(|(_, text)| *text).collect()
}

/// Writes embedded files into a folder, which is created if missing.
pub(super) fn put(folder: &Path, files: &[(&str, &str)]) -> Result<(), BuildError> {
    fs::create_dir_all(folder).map_err(BuildError::writing(folder))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(BuildError::writing(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_files() {
        let package = format!("package dermaga:plugin@{VERSION};");
        assert!(FILES.iter().all(|(_, text)| text.starts_with(&package)));
    }
}
