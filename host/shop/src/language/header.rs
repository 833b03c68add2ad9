//! Reads `Accept-Language`.

use super::Language;

/// Longest header that is read, and the most languages in it.
const MOST_BYTES: usize = 1_000;
const MOST_RANGES: usize = 32;
/// Weight of a language that names none, in thousandths.
const WHOLE: u16 = 1_000;

/// Returns the language that a header prefers of those there are; none when it names no such language. A part
/// that cannot be read counts as absent.
pub fn accepted(header: &str) -> Option<Language> {
    if header.len() > MOST_BYTES {
        return None;
    }
    let mut best: Option<(Language, u16)> = None;
    for range in header.split(',').take(MOST_RANGES) {
        // Among equals the first wins.
        if let Some((language, weight)) = range_of(range)
            && weight > best.map_or(0, |(_, weight)| weight)
        {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

/// Reads `id-ID;q=0.8`: a language that there is, and its weight. `*` names none.
fn range_of(range: &str) -> Option<(Language, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let tag = parts.next()?;
    let weight = match (parts.next(), parts.next()) {
        (None, _) => WHOLE,
        (Some(weight), None) => weight_of(weight)?,
        _ => return None,
    };
    let primary = tag.split('-').next()?;
    let is = |code: &str| primary.eq_ignore_ascii_case(code);
    let is_tag = tag
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // `in` was the code of Indonesian until 1989, which some clients still send.
    if is_tag && (is("id") || is("in")) {
        Some((Language::Indonesian, weight))
    } else if is_tag && is("en") {
        Some((Language::English, weight))
    } else {
        None
    }
}

/// Reads `q=0.8` as thousandths.
fn weight_of(text: &str) -> Option<u16> {
    let (name, value) = text.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = match value.trim().split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (value.trim(), ""),
    };
    let are_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 3 || !are_digits {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(WHOLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_is_taken() {
        const ID: Option<Language> = Some(Language::Indonesian);
        const EN: Option<Language> = Some(Language::English);
        for (header, expected) in [
            ("id", ID),
            ("ID-id", ID),
            ("in", ID),
            ("in-ID, en;q=0.9", ID),
            ("en", EN),
            ("en-GB,en;q=0.8", EN),
            ("en;q=0.5, id;q=0.7", ID),
            ("id;q=0.5, en", EN),
            ("en, id", EN),
            ("id, en", ID),
            ("de, fr;q=0.9, id;q=0.1", ID),
            ("en;q=0, id;q=0.001", ID),
            ("id ; Q = 0.25 , en;q=0.3", EN),
            ("*", None),
            ("*, id;q=0.2", ID),
            ("id;q=0", None),
            ("de", None),
            ("idx", None),
            ("", None),
            (",;,q=1,,", None),
            ("id;q=1.001", None),
            ("id;q=0.1234", None),
            ("id;q=-1, en;q=2", None),
            ("id;q=1;x=2", None),
            ("id\u{e9}", None),
            ("id_ID", None),
        ] {
            assert_eq!(accepted(header), expected, "{header:?}");
        }
        assert_eq!(accepted(&format!("id,{}", "x".repeat(2_000))), None);
        assert_eq!(accepted(&format!("{}id", "x,".repeat(40))), None);
    }
}
