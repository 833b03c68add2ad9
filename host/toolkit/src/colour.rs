//! Colours for reports on a terminal; elsewhere the same text is plain.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// Styles of the parts of a report.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Palette {
    pub(crate) good: Style,
    pub(crate) bad: Style,
    pub(crate) care: Style,
    pub(crate) advice: Style,
    pub(crate) strong: Style,
    pub(crate) quiet: Style,
}

impl Palette {
    pub(crate) const COLOURS: Self = Self {
        good: AnsiColor::Green.on_default(),
        bad: AnsiColor::Red.on_default().bold(),
        care: AnsiColor::Yellow.on_default(),
        advice: AnsiColor::Cyan.on_default(),
        strong: Style::new().bold(),
        quiet: Style::new().dimmed(),
    };

    /// Returns the style of a share of a limit: good up to 50 percent, a warning from 80 on.
    pub(crate) const fn of_share(&self, percent: u32) -> Style {
        match percent {
            0..=50 => self.good,
            51..=80 => self.care,
            _ => self.bad,
        }
    }
}

/// A text in a style.
#[derive(Debug)]
pub(crate) struct Painted<T>(pub(crate) Style, pub(crate) T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(style, text) = self;
        write!(f, "{style}{text}{style:#}")
    }
}

/// A report with a text in colours and one without.
pub trait Coloured {
    /// Returns the text with the escape codes of a terminal.
    fn coloured(&self) -> String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_good_to_its_half_and_bad_near_its_end() {
        let Palette {
            good, care, bad, ..
        } = Palette::COLOURS;
        for (percent, style) in [
            (0, good),
            (50, good),
            (51, care),
            (80, care),
            (81, bad),
            (100, bad),
            (u32::MAX, bad),
        ] {
            assert_eq!(Palette::COLOURS.of_share(percent), style, "{percent}");
        }
    }

    #[test]
    fn a_text_without_a_terminal_has_no_codes() {
        assert_eq!(Painted(Palette::default().bad, "no").to_string(), "no");
        let painted = Painted(Palette::COLOURS.good, "yes").to_string();
        assert_eq!(painted, "\u{1b}[32myes\u{1b}[0m");
    }
}
