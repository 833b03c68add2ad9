//! `completions`: scripts with which shells complete the commands.

use clap::{CommandFactory as _, ValueEnum};

use super::Cli;

/// Shell to complete in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Returns the script of a shell.
pub(super) fn script(shell: Shell) -> String {
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let (mut command, mut script) = (Cli::command(), Vec::new());
    clap_complete::generate(generator, &mut command, "dermaga", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_the_commands_of_the_tables() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for word in ["doctor", "force-cancel", "past_due", "remove-two-factor"] {
                let script = script.to_lowercase();
                assert!(script.contains(word), "{shell:?} {word}");
            }
        }
    }
}
