//! The receipt of one transaction, as a PDF of a page or more.

use chrono::DateTime;
use chrono_tz::Tz;
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use serde_json::Value;

use super::{Transaction, TransactionStatus};
use crate::money::Rupiah;

/// What stands on a receipt.
#[derive(Debug)]
pub(super) struct Receipt<'a> {
    pub(super) shop: &'a str,
    pub(super) customer: &'a str,
    pub(super) email: &'a str,
    pub(super) transaction: &'a Transaction,
    /// What the wallet gained or paid, by kind of credit.
    pub(super) paid: Rupiah,
    pub(super) bonus: Rupiah,
    pub(super) zone: Tz,
}

/// A4, in points of 1/72 inch.
const PAGE: (i16, i16) = (595, 842);
const LEFT: i16 = 57;
const RIGHT: i16 = 538;
const TOP: i16 = 770;
const LEADING: i16 = 16;
const LINES_ON_A_PAGE: usize = 43;
/// Characters of Courier at ten points, six points each, between the margins.
const COLUMNS: usize = 80;
const COURIER_WIDTH: i16 = 6;
const SIZE: i16 = 10;

/// One line of a page: text on the left, and perhaps an amount at the right margin.
#[derive(Debug, Default)]
struct Line {
    bold: bool,
    left: String,
    right: String,
}

impl Receipt<'_> {
    /// The same bytes for the same receipt.
    pub(super) fn pdf(&self) -> Vec<u8> {
        render(&self.lines(), &self.transaction.reference())
    }

    fn lines(&self) -> Vec<Line> {
        let transaction = self.transaction;
        let at = transaction.completed_at.unwrap_or(transaction.created_at);
        let mut page = Page::default();
        page.title(self.shop);
        page.title(&format!("Receipt {}", transaction.reference()));
        page.gap();
        page.pair("Date", &local(at, self.zone));
        page.pair("Customer", self.customer);
        page.pair("E-mail", self.email);
        page.pair("Type", transaction.kind.as_str());
        if transaction.status != TransactionStatus::Completed {
            page.pair("Status", transaction.status.as_str());
        }
        page.pair("For", &transaction.description);
        page.gap();
        for (label, amount, reason) in priced(&transaction.details) {
            page.amount(&label, amount);
            page.text(&format!("  {reason}"));
        }
        if let Some(reason) = transaction.details.get("reason").and_then(Value::as_str) {
            page.text(reason);
        }
        page.gap();
        let total = if transaction.amount.is_negative() {
            "Taken from the wallet"
        } else {
            "Added to the wallet"
        };
        page.total(total, transaction.amount);
        page.amount("  of paid credit", self.paid);
        page.amount("  of bonus credit", self.bonus);
        if let (Some(before), Some(after)) = (transaction.balance_before, transaction.balance_after)
        {
            page.amount("Balance before", before);
            page.amount("Balance after", after);
        }
        page.0
    }
}

fn local(at: DateTime<chrono::Utc>, zone: Tz) -> String {
    at.with_timezone(&zone)
        .format("%Y-%m-%d %H:%M:%S %Z")
        .to_string()
}

/// The price lines that a purchase recorded.
fn priced(details: &Value) -> Vec<(String, Rupiah, String)> {
    let lines = details.get("lines").and_then(Value::as_array);
    let text = |line: &Value, name: &str| {
        let value = line.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    lines
        .into_iter()
        .flatten()
        .filter_map(|line| {
            let amount = line.get("amount")?.as_i64()?;
            Some((
                text(line, "label"),
                Rupiah::new(amount),
                text(line, "reason"),
            ))
        })
        .collect()
}

#[derive(Debug, Default)]
struct Page(Vec<Line>);

impl Page {
    fn title(&mut self, text: &str) {
        self.push(true, text, "");
    }

    fn gap(&mut self) {
        self.0.push(Line::default());
    }

    fn text(&mut self, text: &str) {
        self.push(false, text, "");
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.push(false, &format!("{name:<12}{value}"), "");
    }

    fn amount(&mut self, label: &str, amount: Rupiah) {
        self.push(false, label, &amount.to_string());
    }

    fn total(&mut self, label: &str, amount: Rupiah) {
        self.push(true, label, &amount.to_string());
    }

    /// Long text goes on below; the amount stands on the first line.
    fn push(&mut self, bold: bool, left: &str, right: &str) {
        let characters: Vec<char> = left.chars().filter(|one| !one.is_control()).collect();
        let width = COLUMNS - right.len() - usize::from(!right.is_empty());
        let mut right = right.to_owned();
        for part in characters.chunks(width.max(20)) {
            self.0.push(Line {
                bold,
                left: part.iter().collect(),
                right: std::mem::take(&mut right),
            });
        }
    }
}

fn render(lines: &[Line], title: &str) -> Vec<u8> {
    let (catalog, tree, plain, bold) = (Ref::new(1), Ref::new(2), Ref::new(3), Ref::new(4));
    let pages: Vec<&[Line]> = lines.chunks(LINES_ON_A_PAGE).collect();
    let ids = |first: i32| (0_i32..).map(move |at| Ref::new(first + 2 * at));
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.document_info(Ref::new(5)).title(TextStr(title));
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(ids(6).take(pages.len())).count(count);
    for (font, name) in [(plain, "Courier"), (bold, "Courier-Bold")] {
        pdf.type1_font(font)
            .base_font(Name(name.as_bytes()))
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for ((page_id, content_id), lines) in ids(6).zip(ids(7)).zip(pages) {
        let mut page = pdf.page(page_id);
        let (width, height) = PAGE;
        page.media_box(Rect::new(0.0, 0.0, width.into(), height.into()))
            .parent(tree)
            .contents(content_id);
        let mut resources = page.resources();
        resources
            .fonts()
            .pair(Name(b"Plain"), plain)
            .pair(Name(b"Bold"), bold);
        resources.finish();
        page.finish();
        pdf.stream(content_id, &content(lines));
    }
    pdf.finish()
}

fn content(lines: &[Line]) -> Vec<u8> {
    let mut content = Content::new();
    let heights = (0_i16..).map(|at| TOP - at * LEADING);
    for (line, y) in lines.iter().zip(heights) {
        let font: &[u8] = if line.bold { b"Bold" } else { b"Plain" };
        let characters = i16::try_from(line.right.chars().count()).unwrap_or(0);
        let right_at = RIGHT - characters * COURIER_WIDTH;
        for (x, text) in [(LEFT, &line.left), (right_at, &line.right)] {
            if !text.is_empty() {
                content
                    .begin_text()
                    .set_font(Name(font), SIZE.into())
                    .next_line(x.into(), y.into())
                    .show(Str(&win_ansi(text)))
                    .end_text();
            }
        }
    }
    content.finish().to_vec()
}

/// The standard fonts have Latin letters only; every other one becomes a question mark.
fn win_ansi(text: &str) -> Vec<u8> {
    text.chars()
        .map(|one| {
            let byte = u8::try_from(one).ok();
            byte.filter(|byte| matches!(byte, 0x20..=0x7e | 0xa0..=0xff))
                .unwrap_or(b'?')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_take_more_pages_and_long_text_goes_on_below() {
        let mut page = Page::default();
        page.amount(&"x".repeat(200), Rupiah::new(-1_500_000));
        assert_eq!(page.0.len(), 3);
        assert_eq!(
            (page.0[0].right.as_str(), page.0[1].right.as_str()),
            ("-Rp1.500.000", "")
        );
        for number in 0..100 {
            page.text(&format!("Line {number} \u{1F600} é"));
        }
        let pdf = render(&page.0, "TXMP-1");
        let text = String::from_utf8_lossy(&pdf);
        assert!(text.contains("/Count 3") && text.contains("(-Rp1.500.000)"));
        assert_eq!(win_ansi("é\u{1F600}\u{0}"), [0xe9, b'?', b'?']);
        assert_eq!(pdf, render(&page.0, "TXMP-1"));
    }
}
