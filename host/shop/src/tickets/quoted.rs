//! Replies by e-mail without what they quote.

/// Lines that an introduction of a quotation may be broken into.
const INTRODUCTION_LINES: usize = 3;
/// Longest introduction of a quotation.
const LONGEST_INTRODUCTION: usize = 300;
/// Ends of introductions: "On ... Sari wrote:", "Pada ... Sari menulis:".
const WROTE: [(&str, &str); 2] = [("on ", " wrote:"), ("pada ", " menulis:")];
/// Lines, in lower case, after which everything is quoted.
const RULES: [&str; 4] = [
    "-----original message-----",
    "-----pesan asli-----",
    "----- original message -----",
    "---------- forwarded message",
];

/// Lines of a mail that are read beside those that it quotes. A message has 2,000 characters, and each line is looked at several times.
const MOST_LINES: usize = 5_000;

/// Returns what its sender wrote: without quoted lines, their introduction and the signature.
pub(super) fn without(text: &str) -> String {
    let is_quoted = |line: &&str| line.trim_start().starts_with('>');
    let lines = text.lines().filter(|line| !is_quoted(line));
    let lines: Vec<&str> = lines.take(MOST_LINES).collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let rest = lines.get(at..).unwrap_or_default();
        if ends_here(line, rest) {
            break;
        }
        kept.push(line.trim_end());
    }
    let mut whole = kept.join("\n");
    while whole.contains("\n\n\n") {
        whole = whole.replace("\n\n\n", "\n\n");
    }
    whole.trim().to_owned()
}

fn ends_here(line: &str, rest: &[&str]) -> bool {
    let lower = line.trim().to_lowercase();
    // Two hyphens and a space begin a signature (RFC 3676); some programs drop the space.
    let is_signature = line == "-- " || line == "--";
    let is_rule = RULES.iter().any(|rule| lower.starts_with(rule));
    // Outlook draws a line before the head of the quoted mail.
    let is_drawn = lower.len() >= 20 && lower.bytes().all(|byte| byte == b'_');
    is_signature || is_rule || is_drawn || introduces(rest)
}

/// Returns true for lines that introduce a quotation, also one that was wrapped.
fn introduces(rest: &[&str]) -> bool {
    let mut joined = String::new();
    for line in rest.iter().take(INTRODUCTION_LINES) {
        if line.trim().is_empty() {
            return false;
        }
        joined.push(' ');
        joined.push_str(line.trim());
        let lower = joined.trim_start().to_lowercase();
        if lower.len() > LONGEST_INTRODUCTION {
            return false;
        }
        let names_a_day = lower.bytes().any(|byte| byte.is_ascii_digit());
        let mut forms = WROTE.iter();
        if names_a_day && forms.any(|(begin, end)| lower.starts_with(begin) && lower.ends_with(end))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_remains() {
        for (mail, kept) in [
            ("Thank you!\n", "Thank you!"),
            (
                "It works.\n\nOn Mon, 1 Feb 2027 at 10:00, Toko <toko@example.com> wrote:\n> Try again.\n",
                "It works.",
            ),
            (
                "Sudah.\n\nPada Sen, 1 Feb 2027 pukul 10.00 Toko yang\nnamanya panjang <toko@example.com> menulis:\n\n> Coba lagi.\n",
                "Sudah.",
            ),
            (
                "> Is it the domain?\nYes.\n> Which one?\nexample.com\n",
                "Yes.\nexample.com",
            ),
            ("Fine\n-- \nSari\nToko", "Fine"),
            (
                "Fine\n\n________________________________\nFrom: Toko\nSent: today",
                "Fine",
            ),
            ("Fine\n\n-----Original Message-----\nFrom: Toko", "Fine"),
            ("On Monday I wrote:\nnothing", "On Monday I wrote:\nnothing"),
            ("a\n\n\n\nb", "a\n\nb"),
            ("> all of it\n> is quoted", ""),
            ("", ""),
        ] {
            assert_eq!(without(mail), kept, "{mail}");
        }
        let below = "> quoted\n".repeat(MOST_LINES * 2) + "Yes.";
        assert_eq!(without(&below), "Yes.");
        let long = "line\n".repeat(MOST_LINES * 2);
        assert_eq!(without(&long).lines().count(), MOST_LINES);
    }
}
