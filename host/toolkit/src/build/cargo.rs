//! Runs cargo for core modules, with one profile for every crate.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::{
    compile::compile,
    error::BuildError,
    process::{command, run},
    progress::Progress,
    sources::PluginSource,
    toolchain::Toolchain,
};

pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Release profile of plugins: small code, and `abort`, so that a panic traps. Passed in the
/// environment, so that it overrides the profiles of the plugin's workspace.
const PROFILE: [(&str, &str); 8] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// A cargo workspace, or a single crate outside any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    target: PathBuf,
    /// Folders of its members.
    members: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    manifest_path: PathBuf,
}

impl Workspace {
    /// Asks cargo for the workspace of a crate.
    pub(super) fn of(toolchain: &Toolchain, one: &PluginSource) -> Result<Self, BuildError> {
        let mut command = cargo(toolchain, &one.folder);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = run(&mut command)?;
        let metadata: Metadata =
            serde_json::from_str(&output).map_err(|error| BuildError::Command {
                command: "cargo metadata".into(),
                output: error.to_string(),
            })?;
        let folder = |package: Package| package.manifest_path.parent().map(Path::to_owned);
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            members: metadata.packages.into_iter().filter_map(folder).collect(),
        })
    }

    pub(super) fn has(&self, one: &PluginSource) -> bool {
        self.members.contains(&one.folder)
    }
}

/// Compiles crates of one workspace in one run and returns the paths of their core modules, in the
/// order of the crates.
pub(super) fn build(
    toolchain: &Toolchain,
    workspace: &Workspace,
    crates: &[&PluginSource],
    target: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, BuildError> {
    let target = target.map_or_else(|| workspace.target.join("plugins"), Path::to_owned);
    let mut command = cargo(toolchain, &workspace.root);
    command
        .args([
            "build",
            "--release",
            "--lib",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(&target)
        .envs(PROFILE)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            remapping(toolchain, workspace, &target).join("\u{1f}"),
        );
    if let Toolchain::BuildStd { linker, .. } = toolchain {
        command
            .args(["-Z", "build-std=std,panic_abort"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    for one in crates {
        command.args(["--package", &one.name]);
    }
    let artifacts = compile(command, crates, progress)?;
    crates
        .iter()
        .map(|one| {
            let module = artifacts.get(&one.manifest()).cloned();
            module.ok_or_else(|| BuildError::NoModule {
                plugin: one.name.clone(),
            })
        })
        .collect()
}

/// Returns the flags that keep the machine's paths out of panic messages, and so out of the
/// component.
fn remapping(toolchain: &Toolchain, workspace: &Workspace, target: &Path) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let sources = match toolchain {
        Toolchain::Installed { .. } => None,
        Toolchain::BuildStd { sources, .. } => Some((sources.clone(), "/rust/library")),
    };
    // Of several that match, rustc takes the last: the target folder may lie inside the workspace.
    [
        Some((workspace.root.clone(), "/plugin")),
        home.map(|home| (home, "/cargo")),
        sources,
        Some((target.to_owned(), "/target")),
    ]
    .into_iter()
    .flatten()
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
    .collect()
}

fn cargo(toolchain: &Toolchain, folder: &Path) -> Command {
    let mut command = match toolchain {
        Toolchain::Installed { .. } => command("cargo"),
        Toolchain::BuildStd { .. } => {
            let mut command = command("/usr/bin/cargo");
            command.env("RUSTC", "/usr/bin/rustc");
            command
        }
    };
    command.current_dir(folder);
    command
}
