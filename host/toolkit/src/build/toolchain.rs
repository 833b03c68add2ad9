//! Chooses a Rust compiler for WebAssembly.
//!
//! Most machines have rustup and its `wasm32-unknown-unknown` target. Without that target, Debian's
//! compiler builds the standard library from Debian's sources, which needs `RUSTC_BOOTSTRAP`
//! because `-Z build-std` is not stable.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::{apt, cargo::TARGET, error::BuildError, process::print, progress::Progress};

/// Oldest compiler that the SDK compiles with.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");
/// Debian's current Rust, kept new for browsers, with the sources of its standard library and its linker.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A way to compile to WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// The compiler on the PATH has the target.
    Installed { version: String },
    /// Debian's compiler, building the standard library too.
    BuildStd {
        version: String,
        linker: PathBuf,
        sources: PathBuf,
    },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { version } => write!(f, "rustc {version}"),
            Self::BuildStd { version, .. } => write!(
                f,
                "Debian's rustc {version} and a standard library built from source"
            ),
        }
    }
}

/// Compilers found on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Machine {
    /// Version of the compiler on the PATH, when it has the target.
    installed: Option<String>,
    debian: Option<Debian>,
    linkers: Vec<PathBuf>,
    rustup: bool,
    apt: bool,
    root: bool,
}

/// Debian's own Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Debian {
    version: String,
    /// The standard library's sources, if they are installed.
    sources: Option<PathBuf>,
}

/// Decision on the compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    Use(Toolchain),
    /// Install Debian's packages, then look again.
    Install,
    /// Ask the user; this program cannot help itself.
    Advise {
        why: String,
        advice: String,
    },
}

impl Toolchain {
    /// Finds a compiler as seen from a folder (a `rust-toolchain.toml` there counts). Installs
    /// Debian's packages when only they are missing and this process is root.
    pub(super) fn find(folder: &Path, progress: &dyn Progress) -> Result<Self, BuildError> {
        let mut machine = Machine::look(folder);
        if machine.choose() == Choice::Install {
            apt::install(
                "no WebAssembly target is installed, and Debian's Rust can make one",
                &PACKAGES,
                progress,
            )?;
            machine = Machine::look(folder);
            // Another attempt would have the same result.
            machine.root = false;
        }
        match machine.choose() {
            Choice::Use(toolchain) => Ok(toolchain),
            Choice::Advise { why, advice } => Err(BuildError::NoToolchain { why, advice }),
            Choice::Install => Err(BuildError::NoToolchain {
                why: "its packages are missing".into(),
                advice: apt::command(&PACKAGES),
            }),
        }
    }
}

impl Machine {
    pub(super) fn choose(&self) -> Choice {
        if let Some(version) = &self.installed {
            return Choice::Use(Toolchain::Installed {
                version: version.clone(),
            });
        }
        if let Some(toolchain) = self.build_std() {
            return Choice::Use(toolchain);
        }
        let why = format!("rustc on the PATH has no standard library for {TARGET}");
        if self.apt && self.root {
            return Choice::Install;
        }
        let advice = match (self.rustup, self.apt) {
            (true, _) => format!("rustup target add {TARGET}"),
            (false, true) => format!("sudo {}", apt::command(&PACKAGES)),
            (false, false) => format!(
                "install Rust {MINIMUM} or newer from https://rustup.rs, then: rustup target add {TARGET}"
            ),
        };
        Choice::Advise { why, advice }
    }

    fn build_std(&self) -> Option<Toolchain> {
        let Debian { version, sources } = self.debian.as_ref()?;
        if !is_at_least(version, MINIMUM) {
            return None;
        }
        Some(Toolchain::BuildStd {
            version: version.clone(),
            linker: self.linkers.first()?.clone(),
            sources: sources.clone()?,
        })
    }

    fn look(folder: &Path) -> Self {
        if let Some(version) = installed_version(folder) {
            return Self {
                installed: Some(version),
                ..Self::default()
            };
        }
        Self {
            installed: None,
            debian: debian(),
            linkers: linkers(folder),
            rustup: print(folder, "rustup", &["--version"]).is_some(),
            apt: apt::is_here(),
            root: apt::is_root(),
        }
    }
}

fn installed_version(folder: &Path) -> Option<String> {
    let libraries = print(
        folder,
        "rustc",
        &["--print", "target-libdir", "--target", TARGET],
    )?;
    let has = |prefix: &str| {
        fs::read_dir(&libraries).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            })
        })
    };
    if has("libcore-") && has("libstd-") {
        version(folder, "rustc")
    } else {
        None
    }
}

fn debian() -> Option<Debian> {
    let root = Path::new("/");
    if !Path::new(DEBIAN_CARGO).exists() {
        return None;
    }
    let version = version(root, DEBIAN_RUSTC)?;
    let sysroot = print(root, DEBIAN_RUSTC, &["--print", "sysroot"])?;
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    let sources = sources.join("std/Cargo.toml").exists().then_some(sources);
    Some(Debian { version, sources })
}

/// Returns the WebAssembly linkers on this machine, the one for Debian's compiler first.
fn linkers(folder: &Path) -> Vec<PathBuf> {
    let rustup = print(folder, "rustc", &["--print", "sysroot"]).and_then(|sysroot| {
        let host = print(folder, "rustc", &["--print", "host-tuple"])?;
        Some(
            Path::new(&sysroot)
                .join("lib/rustlib")
                .join(host)
                .join("bin/rust-lld"),
        )
    });
    let candidates = ["/usr/bin/rust-lld".into()]
        .into_iter()
        .chain(rustup)
        .chain(["/usr/bin/wasm-ld".into()]);
    candidates.filter(|path| path.exists()).collect()
}

/// Returns `1.96.0` out of `rustc 1.96.0 (ac68faa20 2026-05-25)`.
fn version(folder: &Path, rustc: &str) -> Option<String> {
    print(folder, rustc, &["--version"])?
        .split_whitespace()
        .nth(1)
        .map(str::to_owned)
}

fn is_at_least(version: &str, minimum: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.')
            .map_while(|part| part.parse().ok())
            .collect()
    };
    numbers(version) >= numbers(minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_debian(version: &str, sources: bool, linker: bool) -> Machine {
        Machine {
            debian: Some(Debian {
                version: version.into(),
                sources: sources.then(|| "/library".into()),
            }),
            linkers: linker
                .then(|| "/usr/bin/rust-lld".into())
                .into_iter()
                .collect(),
            apt: true,
            ..Machine::default()
        }
    }

    #[test]
    fn an_installed_target_is_preferred() {
        let machine = Machine {
            installed: Some("1.95.0".into()),
            ..with_debian("1.96.0", true, true)
        };
        assert_eq!(
            machine.choose(),
            Choice::Use(Toolchain::Installed {
                version: "1.95.0".into()
            })
        );
    }

    #[test]
    fn debian_builds_the_standard_library_when_all_its_parts_are_there() {
        assert!(matches!(
            with_debian("1.96.0", true, true).choose(),
            Choice::Use(Toolchain::BuildStd { version, .. }) if version == "1.96.0"
        ));
        for lacking in [
            with_debian("1.63.0", true, true),
            with_debian("1.96.0", false, true),
            with_debian("1.96.0", true, false),
            Machine {
                apt: true,
                ..Machine::default()
            },
        ] {
            let root = Machine {
                root: true,
                ..lacking.clone()
            };
            assert_eq!(root.choose(), Choice::Install, "{root:?}");
            assert!(
                matches!(lacking.choose(), Choice::Advise { advice, .. } if advice.starts_with("sudo apt-get install")),
                "{lacking:?}"
            );
        }
    }

    #[test]
    fn advice_is_one_command_for_this_machine() {
        let advice = |machine: Machine| match machine.choose() {
            Choice::Advise { advice, .. } => advice,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            advice(Machine {
                rustup: true,
                apt: true,
                ..Machine::default()
            }),
            "rustup target add wasm32-unknown-unknown"
        );
        assert!(advice(Machine::default()).contains("rustup.rs"));
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_at_least("1.96.0", "1.95"));
        assert!(is_at_least("1.95.0-nightly", "1.95"));
        assert!(is_at_least("1.100.1", "1.95"));
        assert!(!is_at_least("1.63.0", "1.95"));
        assert!(!is_at_least("unknown", "1.95"));
    }
}
