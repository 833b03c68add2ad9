//! Values of a request in the sentences that refuse them: shortened, so that an answer is never as
//! long as what was sent.

/// Longest value between quotes; more is cut to [`KEPT`].
const LONGEST: usize = 60;
const KEPT: usize = 40;
/// Longest sentence.
const SENTENCE: usize = 1_000;

/// The sentence with every long value in it cut, between `"` or backticks, and cut itself when it
/// is still long.
pub(super) fn shortened(sentence: &str) -> String {
    let mut short = String::new();
    let mut rest = sentence;
    while let Some(start) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(start);
        short.push_str(before);
        let end = end_of_value(quoted);
        let (value, after) = quoted.split_at(end);
        push_value(&mut short, value);
        rest = after;
    }
    short.push_str(rest);
    cut(&short, SENTENCE)
}

/// A name or path that a client sent, cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Length of a quoted value with both quotes; all of it where the second one is missing.
fn end_of_value(quoted: &str) -> usize {
    let mut letters = quoted.char_indices();
    let Some((_, quote)) = letters.next() else {
        return 0;
    };
    let mut is_escaped = false;
    for (at, letter) in letters {
        if letter == quote && !is_escaped {
            return at + letter.len_utf8();
        }
        is_escaped = quote == '"' && letter == '\\' && !is_escaped;
    }
    quoted.len()
}

fn push_value(short: &mut String, value: &str) {
    if value.chars().count() <= LONGEST + 2 {
        short.push_str(value);
        return;
    }
    short.push_str(&cut(value, KEPT + 1));
    // The closing quote.
    short.extend(value.chars().next());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_short_ones_stay() {
        let x = |times: usize| "x".repeat(times);
        for (sentence, expected) in [
            (
                "invalid type: string \"abc\", expected i64".to_owned(),
                "invalid type: string \"abc\", expected i64".to_owned(),
            ),
            (
                format!(
                    "unknown variant `{}`, expected one of `QRIS`, `E_WALLET`",
                    x(9_000)
                ),
                format!(
                    "unknown variant `{}…`, expected one of `QRIS`, `E_WALLET`",
                    x(40)
                ),
            ),
            (
                format!(
                    "invalid type: string \"{}\\\"{}\", expected i64",
                    x(30),
                    x(500)
                ),
                format!(
                    "invalid type: string \"{}\\\"{}…\", expected i64",
                    x(30),
                    x(8)
                ),
            ),
            (format!("a `{}", x(100)), format!("a `{}…`", x(40))),
            (x(5_000), format!("{}…", x(1_000))),
            (
                format!("`{}`", "é".repeat(60)),
                format!("`{}`", "é".repeat(60)),
            ),
        ] {
            assert_eq!(shortened(&sentence), expected);
        }
        assert!(shortened(&"`a".repeat(10_000)).chars().count() <= SENTENCE + 1);
    }
}
