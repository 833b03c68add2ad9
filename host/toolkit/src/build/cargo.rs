//! Running cargo, apart from whatever cargo may be running this program.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde::Deserialize;

use super::{
    crates::PluginCrate,
    error::BuildError,
    progress::{Event, Progress},
    toolchain::Toolchain,
};

pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Lines of a failed compilation that are shown.
const SHOWN_LINES: usize = 60;

/// Small code, and aborting: a plugin's panic is a trap. Given by environment, so that crates of any
/// workspace are built alike, whatever their own profiles say.
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
    /// The workspace of a crate.
    pub(super) fn of(toolchain: &Toolchain, one: &PluginCrate) -> Result<Self, BuildError> {
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

    pub(super) fn has(&self, one: &PluginCrate) -> bool {
        self.members.contains(&one.folder)
    }
}

/// Compiles crates of one workspace in one run and gives the path of each one's core module, in the
/// order of the crates.
pub(super) fn build(
    toolchain: &Toolchain,
    workspace: &Workspace,
    crates: &[&PluginCrate],
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

/// Keeps the machine's paths out of panic messages, so that they do not reach the component.
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

/// One line of cargo's messages.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Runs the compilation: progress from its messages, modules by manifest.
fn compile(
    mut command: Command,
    crates: &[&PluginCrate],
    progress: &dyn Progress,
) -> Result<BTreeMap<PathBuf, PathBuf>, BuildError> {
    let start = |error| BuildError::Start {
        command: "cargo".into(),
        error,
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let errors = child
        .stderr
        .take()
        .map(|stderr| thread::spawn(move || read(stderr)));
    let mut modules = BTreeMap::new();
    let mut done = 0;
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
        .map_while(Result::ok)
    {
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        let (Some(manifest), Some(target)) = (message.manifest_path, message.target) else {
            continue;
        };
        if message.reason != "compiler-artifact" {
            continue;
        }
        // Build scripts are cargo's own affair, and all have the same name.
        if target.kind.iter().any(|kind| kind == "custom-build") {
            continue;
        }
        done += 1;
        progress.report(&Event::Crate {
            name: &target.name,
            done,
        });
        let is_wasm = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        };
        if let Some(module) = message
            .filenames
            .into_iter()
            .find(is_wasm)
            .filter(|_| target.kind.iter().any(|kind| kind == "cdylib"))
        {
            modules.insert(manifest, module);
        }
    }
    let status = child.wait().map_err(start)?;
    let said = errors
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    if status.success() {
        return Ok(modules);
    }
    let names: Vec<_> = crates.iter().map(|one| one.name.as_str()).collect();
    Err(BuildError::Compile {
        plugins: names.join(", "),
        output: excerpt(&said),
    })
}

fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // A broken pipe leaves what was said until then, which is what will be shown.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// From the first error on; what was compiled before it is of no interest.
fn excerpt(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    let first = lines
        .iter()
        .position(|line| line.trim_start().starts_with("error"));
    let from = first.unwrap_or_else(|| lines.len().saturating_sub(SHOWN_LINES));
    let shown: Vec<_> = lines.iter().skip(from).take(SHOWN_LINES).copied().collect();
    let left = lines.len().saturating_sub(from + shown.len());
    let more = if left > 0 {
        format!("\n... and {left} more lines")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join("\n"))
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

/// A command without what an outer cargo or rustup put into the environment: it would choose
/// another compiler, or change what this one makes.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(leaks) {
            command.env_remove(name);
        }
    }
    command
}

fn leaks(name: &str) -> bool {
    const KEPT: [&str; 5] = [
        "CARGO_HOME",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_JOBS",
        "CARGO_TERM_COLOR",
        "RUSTUP_HOME",
    ];
    const KEPT_PREFIXES: [&str; 4] = [
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    const LEAKING: [&str; 9] = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
    ];
    let kept = KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    LEAKING.contains(&name) || (name.starts_with("CARGO_") && !kept)
}

/// Runs a short command and gives what it printed.
pub(super) fn run(command: &mut Command) -> Result<String, BuildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let first = command
        .get_args()
        .next()
        .map(|argument| argument.to_string_lossy().into_owned());
    let name = format!("{program} {}", first.unwrap_or_default());
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| BuildError::Start {
            command: name.clone(),
            error,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BuildError::Command {
        command: name,
        output: excerpt(&String::from_utf8_lossy(&output.stderr)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_cargo_does_not_leak_in() {
        for name in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_RELEASE_DEBUG",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "RUSTC",
            "CARGO_BUILD_TARGET",
            "CARGO_UNSTABLE_BUILD_STD",
        ] {
            assert!(leaks(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_INDEX",
            "CARGO_BUILD_JOBS",
        ] {
            assert!(!leaks(name), "{name}");
        }
    }

    #[test]
    fn a_failure_is_shown_from_its_first_error() {
        let said = "   Compiling a\n   Compiling b\nerror[E0425]: cannot find\n --> src/lib.rs:1\n";
        assert_eq!(
            excerpt(said),
            "error[E0425]: cannot find\n --> src/lib.rs:1"
        );
        let long: String = (0..100).map(|line| format!("line {line}\n")).collect();
        assert!(excerpt(&long).starts_with("line 40\n"));
        assert!(excerpt(&format!("error: x\n{long}")).ends_with("... and 41 more lines"));
    }
}
