//! Runs programs, isolated from a cargo that may be running this one.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::error::BuildError;

/// Most lines shown of a failed compilation.
const SHOWN_LINES: usize = 60;

/// Returns the output from the first error on, without the progress before it.
pub(super) fn excerpt(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    let first = lines
        .iter()
        .position(|line| line.trim_start().starts_with("error"));
    let from = first.unwrap_or_else(|| lines.len().saturating_sub(SHOWN_LINES));
    let shown: Vec<_> = lines.iter().skip(from).take(SHOWN_LINES).copied().collect();
    let left = lines.len().saturating_sub(from + shown.len());
    let more = match left {
        0 => String::new(),
        1 => "\n... and 1 more line".to_owned(),
        _ => format!("\n... and {left} more lines"),
    };
    format!("{}{more}", shown.join("\n"))
}

/// Builds a command without the variables of an outer cargo or rustup, which would choose another
/// compiler or change its output.
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

/// Runs a short command and returns its standard output.
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

/// Returns the output of a program; `None` when it is missing or fails.
pub(super) fn print(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let output = command(program)
        .current_dir(folder)
        .args(arguments)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
        let longer_by_one = "error: x\n".repeat(SHOWN_LINES + 1);
        assert!(excerpt(&longer_by_one).ends_with("... and 1 more line"));
    }
}
