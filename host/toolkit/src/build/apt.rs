//! Debian packages: installs missing ones, or names the command that does.

use std::{path::Path, process::Command};

use super::{
    error::BuildError,
    process::{print, run},
    progress::{Event, Leave, Progress},
};

/// Checks for Debian and its package tools.
pub(super) fn is_here() -> bool {
    Path::new("/etc/debian_version").exists() && Path::new("/usr/bin/apt-get").exists()
}

pub(super) fn is_root() -> bool {
    print(Path::new("/"), "id", &["-u"]).as_deref() == Some("0")
}

/// Command line that installs packages.
pub(super) fn command(packages: &[&str]) -> String {
    format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs packages with the leave of the person at the terminal; this process must be root.
pub(super) fn install(
    why: &str,
    packages: &[&str],
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let advice = command(packages);
    match progress.may_install(why, &advice) {
        Leave::Given => {}
        Leave::Refused => {
            let why = why.to_owned();
            return Err(BuildError::NoToolchain { why, advice });
        }
        Leave::NotAsked => {
            let why = why.to_owned();
            return Err(BuildError::NotAsked { why, advice });
        }
    }
    let text = format!("{why}; installing it: {advice}");
    progress.report(&Event::Note(&text));
    // The lists may be old or empty; if the update fails, the installation says what is missing.
    let _ = run(Command::new("apt-get").args(["update", "-qq"]));
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    run(&mut command).map(drop)
}

/// Makes sure that programs are on the PATH: installs Debian packages when running as root, and
/// fails with the command to run otherwise. `elsewhere` is the advice on other systems.
pub(super) fn require(
    programs: &[&str],
    packages: &[&str],
    elsewhere: &str,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let missing = || {
        let gone = |program: &&&str| print(Path::new("/"), program, &["--version"]).is_none();
        programs.iter().find(gone)
    };
    let Some(program) = missing() else {
        return Ok(());
    };
    let why = format!("{program} is not on the PATH");
    if is_here() && is_root() {
        install(&why, packages, progress)?;
        if missing().is_none() {
            return Ok(());
        }
    }
    let advice = if is_here() {
        format!("sudo {}", command(packages))
    } else {
        elsewhere.to_owned()
    };
    Err(BuildError::NoToolchain { why, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receiver with one answer, which never sees an installation begin.
    struct Answering(Leave);

    impl Progress for Answering {
        fn report(&self, event: &Event<'_>) {
            panic!("{event}");
        }

        fn may_install(&self, _why: &str, _command: &str) -> Leave {
            self.0
        }
    }

    #[test]
    fn nothing_is_installed_without_leave() {
        for (leave, told) in [
            (Leave::NotAsked, "add --yes to have it run"),
            (Leave::Refused, "Run this once, then try again"),
        ] {
            let why = "clang is not on the PATH";
            let refused = install(why, &["clang", "lld"], &Answering(leave));
            let said = refused.unwrap_err().to_string();
            for part in [
                why,
                told,
                "apt-get install -y --no-install-recommends clang lld",
            ] {
                assert!(said.contains(part), "{leave:?}: {said}");
            }
        }
    }
}
