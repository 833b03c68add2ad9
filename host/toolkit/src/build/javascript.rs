//! Plugins in JavaScript: `componentize-js` puts an engine and the sources into one component.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use dermaga_runtime::contract::Kind;

use super::{
    apt, contract,
    error::BuildError,
    manifest,
    process::{command, print, run},
    progress::{Event, Progress},
    sources::PluginSource,
};

const DRIVER: &str = include_str!("javascript.mjs");
/// Module that is evaluated before the plugin.
const GUARD: &str = include_str!("guard.mjs");
const LOCK: &str = "package-lock.json";
/// File that npm writes last, after it has installed everything.
const INSTALLED: &str = "node_modules/.package-lock.json";
const PACKAGES: [&str; 2] = ["nodejs", "npm"];
const ELSEWHERE: &str = "install Node.js 20 or newer from https://nodejs.org";
/// Oldest Node.js that componentize-js runs on.
const NODE: u32 = 20;

/// Makes sure that Node.js and npm are there; returns the version of Node.js, for display.
pub(super) fn toolchain(progress: &dyn Progress) -> Result<String, BuildError> {
    apt::require(&["node", "npm"], &PACKAGES, ELSEWHERE, progress)?;
    let version = print(Path::new("/"), "node", &["--version"]).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()).unwrap_or(0) < NODE {
        return Err(BuildError::NoToolchain {
            why: format!("node is {version}, which is too old"),
            advice: ELSEWHERE.to_owned(),
        });
    }
    Ok(format!("node {version}"))
}

/// Builds one plugin and returns the bytes of its component.
pub(super) fn build(
    one: &PluginSource,
    kind: Kind,
    entry: &Path,
    progress: &dyn Progress,
) -> Result<Vec<u8>, BuildError> {
    if !is_installed(&one.folder) {
        install(one, progress)?;
    }
    let wit = one.folder.join("target/contract");
    contract::write(&wit)?;
    let entry = guarded(one, entry)?;
    let output = tempfile::NamedTempFile::new().map_err(BuildError::writing(Path::new("/tmp")))?;
    let mut node = command("node");
    node.current_dir(&one.folder)
        .args(["--input-type=module", "--eval", DRIVER])
        .arg(wit)
        .arg(contract::world(kind))
        .arg(entry)
        .arg(output.path());
    run(&mut node).map_err(|error| match error {
        BuildError::Command { output, .. } => BuildError::Compile {
            plugins: one.name.clone(),
            output,
        },
        other => other,
    })?;
    fs::read(output.path()).map_err(BuildError::reading(output.path()))
}

/// Writes an entry module that disables clock and randomness and then re-exports the plugin's own.
fn guarded(one: &PluginSource, entry: &Path) -> Result<PathBuf, BuildError> {
    let folder = one.folder.join("target/guard");
    let module = entry.strip_prefix(".").unwrap_or(entry);
    let module = serde_json::Value::from(format!("../../{}", module.display()));
    let log = serde_json::Value::from(contract::interface("log"));
    let guard = GUARD.replace("\"LOG\"", &log.to_string());
    let whole =
        format!("import {{ built }} from \"./guard.mjs\";\nexport * from {module};\nbuilt();\n");
    contract::put(&folder, &[("guard.mjs", &guard), ("plugin.mjs", &whole)])?;
    Ok(folder.join("plugin.mjs"))
}

/// Files of the plugin that its component is made of.
pub(super) fn files(one: &PluginSource) -> Result<BTreeSet<PathBuf>, BuildError> {
    let mut files = BTreeSet::from([one.manifest()]);
    files.extend(Some(one.folder.join(LOCK)).filter(|lock| lock.is_file()));
    files.extend(one.texts());
    modules(&one.folder, &mut files)?;
    Ok(files)
}

/// Text of everything else that goes into a component: driver, guard and contract.
pub(super) fn embedded() -> String {
    [DRIVER, GUARD, &contract::text()].concat()
}

fn modules(folder: &Path, into: &mut BTreeSet<PathBuf>) -> Result<(), BuildError> {
    for entry in fs::read_dir(folder).map_err(BuildError::reading(folder))? {
        let path = entry.map_err(BuildError::reading(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "node_modules" | "target" | "cases") && !name.starts_with('.') {
                modules(&path, into)?;
            }
        } else if [".js", ".mjs"].iter().any(|end| name.ends_with(end)) {
            into.insert(path);
        }
    }
    Ok(())
}

/// Checks that npm has installed the dependencies as they are written now.
fn is_installed(folder: &Path) -> bool {
    let changed = |name: &str| fs::metadata(folder.join(name)).and_then(|file| file.modified());
    let Ok(installed) = changed(INSTALLED) else {
        return false;
    };
    [LOCK, manifest::PACKAGE]
        .iter()
        .filter_map(|name| changed(name).ok())
        .all(|changed| changed <= installed)
}

fn install(one: &PluginSource, progress: &dyn Progress) -> Result<(), BuildError> {
    let locked = one.folder.join(LOCK).is_file();
    let how = if locked { "ci" } else { "install" };
    progress.report(&Event::Note(&format!(
        "{}: npm {how} fetches componentize-js",
        one.name
    )));
    let mut npm = command("npm");
    npm.current_dir(&one.folder)
        .args([how, "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(&mut npm).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_of_a_plugin_are_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let own = ["plugin.js", "lib/rules.mjs", "lib/deep/er.js"];
        let others = [
            "node_modules/a/index.js",
            "target/guard/plugin.mjs",
            "cases/case.js",
            ".git/hook.js",
            "lib/types.ts",
            "package.json",
        ];
        for name in own.iter().chain(&others) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut found = BTreeSet::new();
        modules(folder.path(), &mut found).unwrap();
        let expected: BTreeSet<_> = own.iter().map(|name| folder.path().join(name)).collect();
        assert_eq!(found, expected);
    }
}
