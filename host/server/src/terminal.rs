//! Progress of a plugin build: one line that overwrites itself on a terminal, and only the
//! important lines anywhere else.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use dermaga_toolkit::build::{Event, Leave, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget};

const TICK: Duration = Duration::from_millis(120);

static ASSUME_YES: AtomicBool = AtomicBool::new(false);

/// Answers every question of this process with yes, as `--yes` asks for.
pub(crate) fn assume_yes() {
    ASSUME_YES.store(true, Ordering::Relaxed);
}

/// Asks the person at the terminal, where `--yes` has not answered.
fn ask(question: &str) -> Leave {
    let (input, output) = (std::io::stdin(), std::io::stderr());
    if ASSUME_YES.load(Ordering::Relaxed) {
        return Leave::Given;
    }
    if !input.is_terminal() || !output.is_terminal() {
        return Leave::NotAsked;
    }
    let mut answer = String::new();
    let asked =
        write!(&output, "{question} [Y/n] ").and_then(|()| input.lock().read_line(&mut answer));
    if asked.is_ok() && is_yes(&answer) {
        Leave::Given
    } else {
        Leave::Refused
    }
}

/// Reads an answer; an empty line agrees, the end of the input does not.
fn is_yes(answer: &str) -> bool {
    matches!(
        answer.to_lowercase().as_str(),
        "\n" | "\r\n" | "y\n" | "y\r\n" | "yes\n" | "yes\r\n"
    )
}

fn spinner() -> ProgressBar {
    if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
    }
}

/// Shows a build on stderr until it is dropped. `line` receives the lasting lines, one at a time.
pub(crate) struct BuildProgress<L> {
    bar: ProgressBar,
    line: L,
}

impl<L: Fn(&str) + Send + Sync> BuildProgress<L> {
    pub(crate) fn new(line: L) -> Self {
        Self {
            bar: spinner(),
            line,
        }
    }
}

impl<L: Fn(&str) + Send + Sync> Progress for BuildProgress<L> {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Crate { .. } => self.bar.set_message(event.to_string()),
            Event::Note(_) | Event::Compiling { .. } | Event::Built { .. } => {
                self.bar.suspend(|| (self.line)(&event.to_string()));
            }
        }
        // Only now, so that what needs no compiler shows no spinner.
        if matches!(event, Event::Compiling { .. }) {
            self.bar.set_message("starting the compiler");
            self.bar.enable_steady_tick(TICK);
        }
    }

    fn may_install(&self, why: &str, command: &str) -> Leave {
        let question = format!("{why}. Install it with `{command}`?");
        self.bar.suspend(|| ask(&question))
    }
}

/// Line with the elapsed time on a terminal, while something is waited for.
pub(crate) struct Waiting(ProgressBar);

impl Waiting {
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = spinner();
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl<L> Drop for BuildProgress<L> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn an_empty_line_agrees_and_an_ended_input_does_not() {
        for (answer, agrees) in [
            ("\n", true),
            ("Y\r\n", true),
            ("yes\n", true),
            ("n\n", false),
            ("later\n", false),
            ("", false),
        ] {
            assert_eq!(is_yes(answer), agrees, "{answer:?}");
        }
    }

    #[test]
    fn what_stays_is_not_every_crate() {
        let lines = Mutex::new(Vec::new());
        let progress = BuildProgress::new(|line: &str| lines.lock().unwrap().push(line.to_owned()));
        progress.report(&Event::Compiling {
            plugins: 2,
            toolchain: "rustc",
        });
        for done in 1..=80 {
            progress.report(&Event::Crate { name: "core", done });
        }
        progress.report(&Event::Note("packages are being installed"));
        drop(progress);
        assert_eq!(
            lines.into_inner().unwrap(),
            [
                "building 2 plugins with rustc",
                "packages are being installed"
            ]
        );
    }
}
