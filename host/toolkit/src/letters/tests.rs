//! Invisible characters: those at work, and those that change nothing.

use super::*;

/// Malayalam, with the joiner of a chillu at the end.
const CHILLU: &str = "\u{d05}\u{d35}\u{d28}\u{d4d}\u{200d}";
/// Persian, with non-joiners within the word and at its end.
const PERSIAN: &str = "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{647}\u{200c}";
const SCOTLAND: &str = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";

fn idle(text: &str) -> usize {
    judged(text).iter().filter(|(_, is_idle)| *is_idle).count()
}

#[test]
fn what_changes_its_neighbours_is_at_work() {
    for at_work in [
        "",
        "Basic",
        CHILLU,
        PERSIAN,
        SCOTLAND,
        // joiners: a year in Persian, behind a letter that joins to nothing, before a lone letter
        "\u{6f1}\u{6f3} \u{647}\u{200d}",
        "\u{6a9}\u{627}\u{631}\u{200c}\u{647}\u{627}",
        "\u{200d}\u{647}",
        // Bengali, Sinhala, Tamil
        "\u{9b0}\u{200d}\u{9cd}\u{9af}\u{9be}\u{9ac}",
        "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
        "\u{b95}\u{bcd}\u{200c}\u{bb7}",
        // Khmer, behind the sign that shifts a register
        "\u{1794}\u{17c9}\u{200c}\u{17b8}",
        // emoji
        "\u{1f469}\u{200d}\u{1f467}",
        "\u{1f468}\u{1f3fd}\u{200d}\u{2695}\u{fe0f}",
        "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
        "1\u{fe0f}\u{20e3}",
        // variations of an ideograph, of a sign, and of a letter
        "\u{845b}\u{e0100}\u{98fe}",
        "\u{8fba}\u{e01ef}",
        "\u{2229}\u{fe00}",
        "\u{1000}\u{fe00}",
        // Mongolian: a form of a letter, and a vowel that is set apart
        "\u{1820}\u{180b}\u{1828}",
        "\u{182d}\u{180f}",
        "\u{182c}\u{180e}\u{1820}",
    ] {
        assert_eq!(idle(at_work), 0, "{at_work:?}");
        assert_eq!(shown_line(at_work), at_work);
        assert_eq!(shown_prose(at_work), at_work);
    }
}

#[test]
fn what_changes_nothing_is_idle() {
    for (text, expected) in [
        ("Ba\u{200d}sic", 1),
        ("\u{200c}Basic\u{200d}", 2),
        ("Basic\u{fe0f}", 1),
        ("1\u{fe0f}", 1),
        ("Ba\u{200b}sic\u{feff}", 2),
        ("a\u{fff9}b\u{fffb}", 2),
        // several in a row
        ("\u{645}\u{200c}\u{200c}\u{200c}\u{62e}", 2),
        ("\u{645}\u{200d}\u{200c}\u{62e}", 1),
        ("\u{1f469}\u{200d}\u{200d}\u{1f467}", 1),
        ("\u{2764}\u{fe0f}\u{fe0f}", 1),
        ("\u{845b}\u{e0100}\u{e0101}", 1),
        ("\u{1820}\u{180b}\u{180b}", 1),
        // behind what they say nothing about
        ("\u{631}\u{200c}", 1),
        ("\u{915}\u{200d}\u{916}", 1),
        ("\u{1f469}\u{200d}", 1),
        ("\u{e9}\u{fe0f}", 1),
        ("a\u{e0100}", 1),
        ("a\u{180b}", 1),
        ("\u{1820}\u{180e}", 1),
        // tags without a flag, without an end, and more than a region has
        ("a\u{e0067}\u{e0062}", 2),
        ("\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}", 5),
        (
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0061}\u{e0061}\u{e0061}\u{e0061}\u{e0061}\u{e007f}",
            8,
        ),
        // for private use, and no characters
        ("a\u{e000}\u{f0b7}\u{f8ff}\u{f0000}\u{10fffd}", 5),
        ("a\u{fdd0}\u{fdef}\u{fffe}\u{ffff}\u{1fffe}\u{10ffff}", 6),
    ] {
        assert_eq!(idle(text), expected, "{text:?}");
    }
}

/// Characters between a joiner and its letters count for nothing.
#[test]
fn a_joiner_works_over_what_is_left_out() {
    let text = "\u{645}\u{feff}\u{200c}\u{e000}\u{62e}";
    assert_eq!(shown_line(text), "\u{645}\u{200c}\u{62e}");
}

#[test]
fn prose_keeps_places_to_cut_words_and_marks_of_their_direction() {
    let given =
        "Call \u{202a}+62 812\u{202c},\n\u{200f}\u{5d0}\u{200b} wa\u{ad}rung\u{e000}\u{200d}";
    let kept = "Call +62 812,\n\u{200f}\u{5d0}\u{200b} wa\u{ad}rung";
    assert_eq!(shown_prose(given), kept);
    assert_eq!(shown_line(given), "Call +62 812,\n\u{5d0} warung");
}

#[test]
fn a_mark_is_seen_on_a_letter() {
    let marks = "\u{301}".repeat(20);
    for (text, length) in [
        ("", 0),
        ("\u{200b}", 0),
        (marks.as_str(), 0),
        ("\u{301} \u{20dd}\u{5b0}", 0),
        ("\u{93f}\u{93f}", 0),
        ("\u{e000}\u{ffff}", 0),
        (" a\u{200b}b   c ", 4),
        ("e\u{301}e\u{301}", 2),
        ("a \u{301}\u{302} b", 3),
        // each sign is a character of its own
        ("\u{938}\u{92e}\u{938}\u{94d}\u{92f}\u{93e}", 6),
        (SCOTLAND, 1),
    ] {
        assert_eq!(visible_length(text), length, "{text:?}");
        assert_eq!(is_unseen(text), length == 0, "{text:?}");
    }
    assert!(is_blank("\u{200b}\u{a0} \u{3164}\u{e000}") && is_blank("") && !is_blank("a"));
    assert!(!is_blank(&marks));
}
