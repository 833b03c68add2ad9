//! Cleans pasted text: invisible characters, and characters that look like others.

mod rules;
mod urls;

use std::{fmt::Display, iter};

use unicode_normalization::UnicodeNormalization as _;

pub use rules::{code, email, label, name, namespace, phone, prose, reason, title};
pub use urls::{without_password, without_secrets, without_user};

/// Returns a text as it was meant in one line: compatibility forms (full-width letters, ligatures)
/// folded, invisible characters removed, every hyphen a `-`, every blank a space, none at the ends.
pub fn tidy(text: &str) -> String {
    let shown = text.nfkc().filter(|letter| !is_invisible(*letter));
    let plain: String = shown.map(plain).collect();
    plain.trim().to_owned()
}

/// Writes a number with its noun: `1 object`, `2 objects`.
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn plain(letter: char) -> char {
    match letter {
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2e3a}'..='\u{2e3b}' => '-',
        letter if !letter.is_control() && letter.is_whitespace() => ' ',
        letter => letter,
    }
}

/// Returns true for a text that shows nothing.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// Counts the visible characters, a run of blanks as one.
pub fn visible_length(text: &str) -> usize {
    let shown: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let words = shown.split_whitespace();
    let letters = words.map(|word| word.chars().count() + 1).sum::<usize>();
    letters.saturating_sub(1)
}

/// Returns true for characters that print nothing: soft hyphens, zero-width spaces and joiners,
/// bidirectional marks, variation selectors, tags, fillers (Unicode's
/// `Default_Ignorable_Code_Point`, anchors of annotations, and the blank Braille pattern).
pub const fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns true for invisible characters that turn the direction of the text around them, so that one name
/// is shown as another.
pub const fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for those of them that turn a whole passage until another one ends it. Texts of several lines,
/// where marks beside Arabic or Hebrew words may be needed, lose or refuse these alone.
pub const fn turns_passages(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for invisible characters that change their neighbours, as in emoji and in Persian
/// or Indic names.
pub const fn joins(letter: char) -> bool {
    matches!(letter, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Returns true for the separators of lines and paragraphs that are no control characters.
pub const fn separates(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Returns a line without the characters that print nothing, but those at work in emoji and in the scripts that need
/// them.
pub fn shown(line: &str) -> String {
    // Joiners are idle once what is between them and their letters is gone.
    let plain = line.chars().filter(|c| joins(*c) || !is_invisible(*c));
    let plain: String = plain.collect();
    let shown = placed(&plain).filter(|placed| !is_idle(*placed));
    shown.map(|(_, letter, _)| letter).collect()
}

/// A character, with those before and after it.
type Placed = (Option<char>, char, Option<char>);

/// Returns the characters of a text in their places.
fn placed(text: &str) -> impl Iterator<Item = Placed> {
    let before = iter::once(None).chain(text.chars().map(Some));
    let after = text.chars().skip(1).map(Some).chain(iter::once(None));
    let letters = before.zip(text.chars()).zip(after);
    letters.map(|((before, letter), after)| (before, letter, after))
}

/// Returns true for a character that prints nothing and changes nothing where it is, so that two names with and
/// without it look the same. Emoji and the scripts that need joiners are beyond ASCII: a joiner is
/// at work between two of their characters, a variation selector behind one of them or in a keycap.
fn is_idle((before, letter, after): Placed) -> bool {
    let is_joined = |letter: Option<char>| letter.is_some_and(|letter| !letter.is_ascii());
    match letter {
        '\u{200c}' | '\u{200d}' => !(is_joined(before) && is_joined(after)),
        '\u{fe00}'..='\u{fe0f}' => {
            !is_joined(before) && !matches!(before, Some('0'..='9' | '#' | '*'))
        }
        letter => is_invisible(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_text_is_read_as_it_was_meant() {
        for (pasted, meant) in [
            ("\u{a0}abc\u{3000}", "abc"),
            ("a\u{200b}b\u{feff}c", "abc"),
            ("\u{202a}abc\u{202c}", "abc"),
            ("a\u{2011}b\u{2013}c\u{2212}d", "a-b-c-d"),
            ("ＡＢＣ－１", "ABC-1"),
            ("a\u{ad}b", "ab"),
            ("a\u{2009}b", "a b"),
        ] {
            assert_eq!(tidy(pasted), meant, "{pasted:?}");
        }
        assert!(is_blank("\u{200b}\u{a0} \u{3164}") && is_blank("") && !is_blank("a"));
        assert_eq!(visible_length(" a\u{200b}b   c "), 4);
        assert_eq!(visible_length("\u{200b}"), 0);
    }

    #[test]
    fn joiners_are_idle_where_they_have_nothing_to_join() {
        let idle = |text: &str| placed(text).filter(|placed| is_idle(*placed)).count();
        for at_work in [
            "",
            "Basic",
            "\u{645}\u{6cc}\u{200c}\u{62e}",
            "\u{1f469}\u{200d}\u{1f467}",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "1\u{fe0f}\u{20e3}",
        ] {
            assert_eq!(idle(at_work), 0, "{at_work:?}");
        }
        for (text, expected) in [
            ("Ba\u{200d}sic", 1),
            ("\u{200c}Basic\u{200d}", 2),
            ("Basic\u{fe0f}", 1),
            ("Ba\u{200b}sic\u{feff}", 2),
            ("\u{645}\u{200c}", 1),
            ("a\u{fff9}b\u{fffb}", 2),
        ] {
            assert_eq!(idle(text), expected, "{text:?}");
        }
    }
}
