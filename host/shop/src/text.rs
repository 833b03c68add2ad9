//! Cleans pasted text: invisible characters, and characters that look like others.

mod rules;
mod typed;
mod urls;

use std::fmt::Display;

use unicode_normalization::UnicodeNormalization as _;

pub use dermaga_toolkit::letters::{
    is_blank, is_invisible, is_unseen, judged, separates, shown_line, shown_prose, turns,
    turns_passages, visible_length,
};
pub use rules::{
    account_email, code, email, given_reason, identifier, label, name, namespace, phone, prose,
    reason, title,
};
pub use typed::{Typed, typed_line, typed_prose, typed_reason, typed_search};
pub use urls::{is_address, is_escaped, without_password, without_secrets, without_user};

/// Returns a text as it was meant in one line: compatibility forms (full-width letters, ligatures)
/// folded, invisible characters removed, every hyphen a `-`, every blank a space, none at the ends.
pub fn tidy(text: &str) -> String {
    let shown = text.nfkc().filter(|letter| !is_invisible(*letter));
    let plain: String = shown.map(plain).collect();
    plain.trim().to_owned()
}

/// Returns a line that people typed: its letters composed with their marks (NFC), without the characters that print
/// nothing. Nothing else of it is folded, so that it is shown as it was typed.
pub fn cleaned_line(text: &str) -> String {
    shown_line(&composed(text))
}

/// Returns a text of any number of lines as [`cleaned_line`] does, with what serves such texts.
pub fn cleaned_prose(text: &str) -> String {
    shown_prose(&composed(text))
}

/// Returns a reason as [`cleaned_prose`] does, without the blanks around it.
fn cleaned_reason(text: &str) -> String {
    cleaned_prose(text).trim().to_owned()
}

fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Writes a number with its noun: `1 object`, `2 objects`, `2 entries`.
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    match noun.strip_suffix("ry") {
        _ if number == "1" => format!("1 {noun}"),
        Some(stem) => format!("{number} {stem}ries"),
        None => format!("{number} {noun}s"),
    }
}

fn plain(letter: char) -> char {
    match letter {
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2e3a}'..='\u{2e3b}' => '-',
        letter if !letter.is_control() && letter.is_whitespace() => ' ',
        letter => letter,
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
    }

    #[test]
    fn one_thing_is_counted_apart() {
        for (number, told) in [
            (0, "0 objects"),
            (1, "1 object"),
            (2, "2 objects"),
            (21, "21 objects"),
            (-1, "-1 objects"),
        ] {
            assert_eq!(counted(number, "object"), told);
        }
        for (number, told) in [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")] {
            assert_eq!(counted(number, "entry"), told);
        }
    }

    #[test]
    fn a_reason_is_counted_in_letters_and_after_it_was_cleaned() {
        let letters = |count: usize| "é".repeat(count);
        assert_eq!(given_reason(&letters(500)).unwrap(), letters(500));
        let padded = format!("  {}\n ", letters(500));
        assert_eq!(given_reason(&padded).unwrap(), letters(500));
        let refused = given_reason(&letters(501)).unwrap_err();
        assert_eq!(refused, "must be at most 500 characters, not 501");
        for (count, is_good) in [(9, false), (10, true)] {
            assert_eq!(given_reason(&letters(count)).is_ok(), is_good, "{count}");
        }
        assert!(given_reason("a        b").is_err(), "blanks are not seen");
    }

    #[test]
    fn a_namespace_is_a_label_of_a_host_name() {
        let longest = "a".repeat(63);
        for good in ["a", "shop-1", &longest] {
            namespace(good).unwrap();
        }
        let too_long = "a".repeat(64);
        for bad in ["", "Shop", "shop_1", "shop.1", "toko-é", &too_long] {
            assert!(namespace(bad).is_err(), "{bad:?}");
        }
    }

    /// A letter and its accent are one character, however they were typed. Letters that others only resemble stay.
    #[test]
    fn a_text_is_composed_and_not_folded() {
        for (typed, kept) in [
            ("Rene\u{301}", "Ren\u{e9}"),
            ("Ren\u{e9}\u{200b}", "Ren\u{e9}"),
            ("\u{fdfa}", "\u{fdfa}"),
            ("\u{fb01}sh \u{2460} m\u{b2}", "\u{fb01}sh \u{2460} m\u{b2}"),
            ("Ｓａｒｉ\u{2026}", "Ｓａｒｉ\u{2026}"),
        ] {
            assert_eq!(cleaned_line(typed), kept, "{typed:?}");
            let lines = format!("{typed}\nSari");
            assert_eq!(cleaned_prose(&lines), composed(&lines));
        }
    }
}
