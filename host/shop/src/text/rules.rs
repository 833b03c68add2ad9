//! One rule for each kind of text that people type or paste. Each returns the text as it is kept, or a
//! sentence that completes the field's name.

use super::{
    cleaned_line, cleaned_reason, is_blank, is_invisible, is_unseen, judged, separates,
    shown_prose, tidy, turns, turns_passages, visible_length,
};

/// Rule that a text breaks whose letters are not read in the order in which they are written.
const TURNED: &str = "must not have characters that turn the direction of the text";
/// Rule that an identifier breaks which is another one without what cannot be seen of it.
const HIDDEN: &str = "must not have characters that print nothing";
/// Rule that a text breaks of which nothing is seen.
const UNSEEN: &str = "must have at least one character that can be seen";
/// Rule that a text breaks which is no e-mail address.
const NO_EMAIL: &str = "must be an e-mail address, such as sari@example.com";

/// Returns what identifies something, without the blanks around it and the marks that come along when a text is
/// copied from a page or a list of contacts, and that change nothing of how it is read.
///
/// # Errors
/// When it has others that print nothing: without them it would be another one than was typed.
fn as_typed(text: &str) -> Result<&str, String> {
    let comes_along = |letter: char| {
        letter.is_whitespace()
            || matches!(
                letter,
                '\u{200b}'
                    | '\u{200e}'
                    | '\u{202a}'
                    | '\u{202c}'
                    | '\u{2060}'
                    | '\u{2066}'
                    | '\u{2068}'
                    | '\u{2069}'
                    | '\u{feff}'
            )
    };
    let typed = text.trim_matches(comes_along);
    if typed.chars().any(is_invisible) {
        return Err(HIDDEN.to_owned());
    }
    Ok(typed)
}

/// Returns an identifier with compatibility forms, hyphens and blanks folded, as [`tidy`] does.
///
/// # Errors
/// When a character within it prints nothing.
pub fn identifier(text: &str) -> Result<String, String> {
    as_typed(text).map(tidy)
}

/// An e-mail address in lower case, of a form that mail servers deliver to: no dots at the ends of its first part or
/// in a row, and a domain of two names at least.
///
/// # Errors
/// When it is none.
pub fn email(text: &str) -> Result<String, String> {
    let email = account_email(text)?;
    let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
    // The last name of a domain has letters, unlike the end of an address on the network.
    let has_names = domain
        .rsplit_once('.')
        .is_some_and(|(_, last)| last.bytes().any(|letter| letter.is_ascii_alphabetic()));
    if !has_names || email.parse::<lettre::Address>().is_err() {
        return Err(NO_EMAIL.to_owned());
    }
    Ok(email)
}

/// An e-mail address in lower case, as [`email`] reads it, or one that an account has from a release that took more.
///
/// # Errors
/// When it is none.
pub fn account_email(text: &str) -> Result<String, String> {
    let typed = as_typed(text)?;
    // Letters of full width are the same ones; any other that is folded makes another address.
    let is_kept = |letter: char| letter.is_ascii() || matches!(letter, '\u{ff01}'..='\u{ff5e}');
    let email = tidy(typed).to_ascii_lowercase();
    if !typed.chars().all(is_kept)
        || email.len() > 254
        || garde::rules::email::parse_email(&email).is_err()
    {
        return Err(NO_EMAIL.to_owned());
    }
    Ok(email)
}

/// An Indonesian mobile number: `+62` and nine to twelve digits.
///
/// # Errors
/// When it is none.
pub fn phone(text: &str) -> Result<String, String> {
    let wrong = || {
        "must be an Indonesian mobile number, such as 0812-3456-7890 or +62 812 3456 7890"
            .to_owned()
    };
    let mut compact = identifier(text)?;
    compact.retain(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')'));
    let national = ["+62", "62", "0"]
        .iter()
        .find_map(|prefix| compact.strip_prefix(prefix))
        .ok_or_else(wrong)?;
    let digits = national.bytes().all(|byte| byte.is_ascii_digit());
    if text.chars().count() > 40
        || !digits
        || !national.starts_with('8')
        || !(9..=12).contains(&national.len())
    {
        return Err(wrong());
    }
    Ok(format!("+62{national}"))
}

/// A name of 1 to 100 characters, without those that print nothing. Joiners stay where they have something to join:
/// Persian and Indic names need them.
///
/// # Errors
/// When nothing of it is seen, it is too long, or has control characters.
pub fn name(text: &str) -> Result<String, String> {
    let cleaned = cleaned_line(text);
    if is_unseen(&cleaned) {
        return Err(UNSEEN.to_owned());
    }
    if cleaned.trim().chars().any(char::is_control) {
        return Err("must be one line, without control characters".into());
    }
    let words: Vec<&str> = cleaned
        .split_whitespace()
        .filter(|word| !is_blank(word))
        .collect();
    let name = words.join(" ");
    match name.chars().count() {
        1..=100 => Ok(name),
        length => Err(format!("must be at most 100 characters, not {length}")),
    }
}

/// A coupon's code in upper case.
///
/// # Errors
/// When it is none.
pub fn code(text: &str) -> Result<String, String> {
    let code = identifier(text)?.to_ascii_uppercase();
    let allowed = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    if (3..=50).contains(&code.len()) && code.bytes().all(allowed) {
        Ok(code)
    } else {
        Err("must be 3 to 50 letters, digits, underscores or hyphens".into())
    }
}

/// A rule of garde: a text of any number of lines, which is shown as it is written and may be empty.
///
/// # Errors
/// When a passage of it is turned, or another character prints nothing and is of no use.
pub fn prose(text: &str, (): &()) -> garde::Result {
    if text.chars().any(turns_passages) {
        return Err(garde::Error::new(TURNED));
    }
    if shown_prose(text) != text {
        return Err(garde::Error::new(HIDDEN));
    }
    Ok(())
}

/// Checks a name of a namespace in the cluster.
///
/// # Errors
/// A sentence that completes "namespace ...".
pub fn namespace(text: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(fits) {
        Ok(())
    } else {
        Err("must be 1 to 63 lower-case letters, digits and hyphens".to_owned())
    }
}

/// A rule of garde: a text of which something can be seen.
///
/// # Errors
/// When nothing can.
pub fn label(text: &str, (): &()) -> garde::Result {
    if is_unseen(text) {
        return Err(garde::Error::new(UNSEEN));
    }
    Ok(())
}

/// A rule of garde: a name or another line that is shown beside others, as it is written.
///
/// Each of its characters can be seen, so that it is not shown as another one: those that print nothing are refused,
/// but joiners and variation selectors in emoji and in the scripts that need them.
///
/// # Errors
/// When nothing of it can be seen, a character turns its direction or prints nothing, or it is more than a line.
pub fn title(text: &str, (): &()) -> garde::Result {
    label(text, &())?;
    if text.chars().any(turns) {
        return Err(garde::Error::new(TURNED));
    }
    let ends_line = |letter: char| letter.is_control() || separates(letter);
    let is_hidden = judged(text).iter().any(|(_, is_idle)| *is_idle);
    if text.chars().any(ends_line) || is_hidden {
        let message = "must be one line, without characters that print nothing";
        return Err(garde::Error::new(message));
    }
    Ok(())
}

/// A rule of garde: a reason that others can read.
///
/// # Errors
/// When fewer than ten characters of it can be seen, or a passage of it is turned.
pub fn reason(text: &str, (): &()) -> garde::Result {
    if visible_length(text) < 10 {
        let message = "must say why, in at least 10 characters that can be seen";
        return Err(garde::Error::new(message));
    }
    prose(text, &())
}

/// A reason of 10 to 500 characters, cleaned and without the blanks around it.
///
/// # Errors
/// When it is none.
pub fn given_reason(text: &str) -> Result<String, String> {
    let given = cleaned_reason(text);
    reason(&given, &()).map_err(|fault| fault.message().to_owned())?;
    match given.chars().count() {
        0..=500 => Ok(given),
        length => Err(format!("must be at most 500 characters, not {length}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_values_are_the_typed_ones() {
        let pasted = "\u{202a}+62\u{a0}812\u{2011}3456\u{2011}7890\u{202c}";
        assert_eq!(phone(pasted).unwrap(), "+6281234567890");
        assert_eq!(phone("０８１２３４５６７８９０").unwrap(), "+6281234567890");
        assert_eq!(
            email("\u{200b}Sari@Example.com\u{a0}").unwrap(),
            "sari@example.com"
        );
        assert_eq!(code(" hemat\u{2013}10\u{200b} ").unwrap(), "HEMAT-10");
        assert_eq!(code("ＨＥＭＡＴ").unwrap(), "HEMAT");
        assert_eq!(
            name("\u{feff}Sari\u{a0} Dewi\u{200b}").unwrap(),
            "Sari Dewi"
        );
        assert_eq!(name("A").unwrap(), "A");
        assert_eq!(name("Rene\u{301}").unwrap(), "Ren\u{e9}");
        assert_eq!(
            name("\u{645}\u{6cc}\u{200c}\u{62e}").unwrap(),
            "\u{645}\u{6cc}\u{200c}\u{62e}"
        );
        assert_eq!(name(&"é".repeat(100)).unwrap().chars().count(), 100);
    }

    #[test]
    fn an_email_address_is_one_that_mail_is_delivered_to() {
        let local = "a".repeat(64);
        // 64, the sign, and four names with their dots: 254.
        let domain = format!("{0}.{0}.{0}.net", "b".repeat(61));
        for good in [
            "a@x.id",
            "sari.dewi+toko@contoh.id",
            "100%_@mail.example.com",
            "sari@xn--80ak6aa92e.com",
            &format!("{local}@{domain}"),
        ] {
            assert_eq!(email(good).unwrap(), good);
        }
        for refused in [
            "a@x",
            "sari@localhost",
            ".a@x.id",
            "a.@x.id",
            "a..b@x.id",
            "a@x..id",
            "a@.x.id",
            "a@x.id.",
            "a@-x.id",
            "a@x_y.id",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "a@[2001:db8::1]",
            "\"a b\"@x.id",
            "a@b@x.id",
            &format!("{local}a@x.id"),
            &format!("{local}@b{domain}"),
        ] {
            assert_eq!(email(refused).unwrap_err(), NO_EMAIL, "{refused}");
        }
        // Who has one of a former release signs in with it.
        assert_eq!(account_email("A@x").unwrap(), "a@x");
        assert!(account_email("a@x y").is_err());
    }

    /// Without what cannot be seen, or with another letter in the place of one, it would be another one than was typed.
    #[test]
    fn an_identifier_is_never_another_one_than_was_typed() {
        for hidden in [
            '\u{ad}',
            '\u{200b}',
            '\u{200d}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{3164}',
            '\u{feff}',
            '\u{e0041}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{ffff}',
        ] {
            for refused in [
                email(&format!("sa{hidden}ri@example.com")),
                phone(&format!("0812{hidden}34567890")),
                code(&format!("HEMAT{hidden}10")),
                identifier(&format!("https://a.example/{hidden}b")),
            ] {
                assert_eq!(refused.unwrap_err(), HIDDEN, "{hidden:?}");
            }
        }
        // Marks that turn the text do not come along.
        for turned in ['\u{202b}', '\u{202d}', '\u{202e}', '\u{2067}', '\u{200f}'] {
            assert!(email(&format!("{turned}sari@example.com")).is_err());
            assert!(phone(&format!("081234567890{turned}")).is_err());
        }
        for other in [
            "\u{fb01}sh@example.com",
            "\u{212a}artika@example.com",
            "sari\u{2013}dewi@example.com",
            "s\u{430}ri@example.com",
        ] {
            assert!(email(other).is_err(), "{other:?}");
        }
        let wide = "ｓａｒｉ＠example.com";
        assert_eq!(email(wide).unwrap(), "sari@example.com");
    }

    #[test]
    fn names_in_all_scripts_stay_as_they_are_written() {
        for written in [
            // Malayalam and Persian, with a joiner at the end of a word
            "\u{d05}\u{d35}\u{d28}\u{d4d}\u{200d}",
            "\u{62e}\u{627}\u{646}\u{647}\u{200c} Sari",
            "\u{845b}\u{e0100}\u{57ce}",
            "\u{1820}\u{180b}\u{1828}",
            // letters that are folded in identifiers
            "\u{fdfa}",
            "\u{fb01}",
            "Ｓａｒｉ",
            "Alba \u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
        ] {
            assert_eq!(name(written).unwrap(), written);
            title(written, &()).unwrap();
            prose(written, &()).unwrap();
        }
    }

    #[test]
    fn a_title_is_read_in_one_direction() {
        title("Basis data", &()).unwrap();
        title("\u{645}\u{6cc}\u{200c}\u{62e}", &()).unwrap();
        assert!(title("\u{200b}", &()).is_err());
        for turning in [
            '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
        ] {
            assert!(title(&format!("a{turning}b"), &()).is_err(), "{turning:?}");
            assert_eq!(name(&format!("a{turning}b")).unwrap(), "ab");
        }
    }

    /// A plan "Ba\u{200b}sic" would be shown as another "Basic".
    #[test]
    fn a_title_shows_each_of_its_characters() {
        for good in [
            "Basis data",
            "\u{1f469}\u{200d}\u{1f467} Keluarga",
            "\u{2764}\u{fe0f} Toko",
            "\u{30c8}\u{30b3}\u{3000}\u{5e97}",
        ] {
            title(good, &()).unwrap();
        }
        for hidden in [
            '\u{ad}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e000}',
            '\u{ffff}',
            '\n',
            '\t',
            '\u{7}',
            '\u{85}',
        ] {
            let refused = title(&format!("Ba{hidden}sic"), &()).unwrap_err();
            assert_eq!(
                refused.message(),
                "must be one line, without characters that print nothing",
                "{hidden:?}"
            );
        }
        assert_eq!(name("Ad\u{200d}min").unwrap(), "Admin");
        assert_eq!(name("Ad\u{fe0f}min\u{2028}a").unwrap(), "Admin a");
    }

    #[test]
    fn a_text_of_several_lines_keeps_all_but_what_turns_it() {
        for good in [
            "",
            "One\nTwo\u{2028}",
            "Ba\u{200b}sic",
            "\u{200f}\u{5d0}\u{200e} a",
        ] {
            prose(good, &()).unwrap();
        }
        for turned in ["a\u{202e}b", "a\u{2066}b\u{2069}"] {
            assert_eq!(prose(turned, &()).unwrap_err().message(), TURNED);
            let told = format!("A reason that is long enough: {turned}");
            assert_eq!(reason(&told, &()).unwrap_err().message(), TURNED);
        }
        for hidden in ["a\u{e000}b", "\u{645}\u{200c}\u{200c}\u{62e}", "a\u{fffe}"] {
            assert_eq!(prose(hidden, &()).unwrap_err().message(), HIDDEN);
        }
        assert!(label(&"\u{301}".repeat(20), &()).is_err());
        assert!(reason(&"\u{301}".repeat(20), &()).is_err());
    }

    #[test]
    fn what_shows_nothing_is_no_name() {
        for wrong in [
            "",
            " \u{a0}",
            "\u{200b}\u{200d}",
            "\u{3164}",
            "\u{2800}",
            "\u{e000}\u{ffff}",
            &"\u{301}".repeat(20),
            "\u{301} \u{302}",
            "a\nb",
            &"a".repeat(101),
        ] {
            assert!(name(wrong).unwrap_err().starts_with("must "), "{wrong:?}");
        }
        for wrong in ["ab", "a b c", "kupon!", "\u{200b}\u{200b}\u{200b}"] {
            assert!(code(wrong).is_err(), "{wrong:?}");
        }
    }
}
