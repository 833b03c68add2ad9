//! Text of files that people open with a spreadsheet.

use std::borrow::Cow;

/// Returns text that a spreadsheet shows and does not run: a would-be formula gets an apostrophe in
/// front (OWASP, "CSV Injection").
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn formulas_are_text() {
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "=HYPERLINK(\"http://x\")",
        ] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        for text in ["", "Coupon HEMAT", "1-2", "a=b", "'quoted"] {
            assert_eq!(cell(text), text);
        }
    }
}
