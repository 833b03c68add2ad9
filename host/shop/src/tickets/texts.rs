//! Texts of tickets, as they are kept.

use crate::{Error, Result, text};

/// Characters of a subject.
pub const SUBJECT: (usize, usize) = (5, 200);
/// Characters of the first message.
pub const DESCRIPTION: (usize, usize) = (10, 2000);
/// Characters of any further message.
pub const MESSAGE: (usize, usize) = (1, 2000);
/// Longest name of a file that is kept.
const LONGEST_NAME: usize = 100;

/// Returns a subject: one line, in which all that counts can be seen, and in one direction.
///
/// # Errors
/// `VALIDATION_FAILED`.
pub fn subject(given: &str) -> Result<String> {
    let subject = text::cleaned_line(given);
    let subject = subject.trim();
    let ends_line = |c: char| c.is_control() || text::separates(c);
    if subject.chars().any(ends_line) {
        let message = "must be one line, without control characters";
        return Err(Error::invalid("subject", message));
    }
    bounded("subject", subject, SUBJECT)
}

/// Returns the first message of a ticket.
///
/// # Errors
/// `VALIDATION_FAILED`.
pub fn description(given: &str) -> Result<String> {
    bounded("description", &lines(given), DESCRIPTION)
}

/// Returns a further message.
///
/// # Errors
/// `VALIDATION_FAILED`.
pub fn message(given: &str) -> Result<String> {
    bounded("message", &lines(given), MESSAGE)
}

/// Writes the ends of lines in one way, as forms send CR and LF, and leaves out what prints nothing and is of no use.
/// Numbers that are pasted from lists of contacts often have such characters around them.
pub(super) fn lines(given: &str) -> String {
    text::cleaned_prose(given)
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .trim()
        .to_owned()
}

fn bounded(field: &str, given: &str, (least, most): (usize, usize)) -> Result<String> {
    let is_odd = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    if given.chars().any(is_odd) {
        return Err(Error::invalid(field, "must not have control characters"));
    }
    let (length, visible) = (given.chars().count(), text::visible_length(given));
    if length > most {
        let message = format!("must have at most {most} characters, not {length}");
        return Err(Error::invalid(field, message));
    }
    if visible < least {
        let message = match least {
            1 => "must have at least one character that can be seen".to_owned(),
            _ => format!("must have at least {least} characters that can be seen, not {visible}"),
        };
        return Err(Error::invalid(field, message));
    }
    Ok(given.to_owned())
}

/// Returns the last part of a file's name, without what could deceive its readers.
pub(super) fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown = text::cleaned_line(last);
    let ends_line = |letter: char| letter.is_control() || text::separates(letter);
    let shown = shown.trim().chars().filter(|letter| !ends_line(*letter));
    let name: String = shown.take(LONGEST_NAME).collect();
    if text::is_unseen(&name) {
        "picture".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_bounds_in_characters_that_can_be_seen() {
        assert_eq!(subject("  Domain ").unwrap(), "Domain");
        let turned = "\u{202e}Domain\u{2069} \u{200f}";
        assert_eq!(subject(turned).unwrap(), "Domain");
        let hidden = "\u{feff}Do\u{200b}ma\u{ad}in\u{200d}";
        assert_eq!(subject(hidden).unwrap(), "Domain");
        let joined = "\u{1f469}\u{200d}\u{1f467} Domain";
        assert_eq!(subject(joined).unwrap(), joined);
        assert_eq!(subject(&"é".repeat(200)).unwrap().chars().count(), 200);
        let long = "é".repeat(201);
        for wrong in [
            "Help",
            "a\u{200b}b\u{200b}cd",
            "Two\nlines",
            "Two\u{2028}lines",
            "Bell \u{7} rings",
            long.as_str(),
        ] {
            let error = subject(wrong).unwrap_err();
            assert_eq!(error.details[0].field, "subject", "{wrong:?}");
        }
        assert_eq!(
            description("It does\r\nnot start.").unwrap(),
            "It does\nnot start."
        );
        assert!(description("Too short").is_err());
        assert!(description(&"a".repeat(2001)).is_err());
        assert_eq!(message("?").unwrap(), "?");
        let pasted = "Call \u{202a}+62 812\u{202c}, \u{200f}\u{5d0}\u{200b}";
        let kept = "Call +62 812, \u{200f}\u{5d0}\u{200b}";
        assert_eq!(message(pasted).unwrap(), kept);
        let private = "It stopped\u{e000} \u{f0b7} today.";
        assert_eq!(message(private).unwrap(), "It stopped  today.");
        let marks = "\u{301}".repeat(20);
        assert!(description(&marks).is_err() && subject(&marks).is_err());
        for wrong in ["", " \n ", "\u{200b}", "nul \0", "\u{1b}[31m", &marks] {
            assert!(message(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_keeps_the_last_part_of_its_name() {
        for (given, kept) in [
            ("screen shot.png", "screen shot.png"),
            ("../../etc/passwd", "passwd"),
            (r"C:\temp\a.png", "a.png"),
            ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
            ("photo\u{202e}gnp.exe", "photognp.exe"),
            ("", "picture"),
            ("\u{200b}", "picture"),
            ("\u{301}\u{302}", "picture"),
            (
                "\u{646}\u{645}\u{627}\u{200c}.png",
                "\u{646}\u{645}\u{627}.png",
            ),
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}.png",
                "\u{645}\u{6cc}\u{200c}\u{62e}.png",
            ),
        ] {
            assert_eq!(file_name(given), kept, "{given:?}");
        }
        assert_eq!(file_name(&"n".repeat(500)).len(), LONGEST_NAME);
    }
}
