//! The receipt of one transaction, as a PDF of a page or more.

#![expect(
    clippy::float_arithmetic,
    reason = "places on a page are measured in points"
)]

mod labels;

use std::{borrow::Cow, sync::Arc};

use chrono::DateTime;
use chrono_tz::Tz;
use krilla::{Document, geom::Point, metadata::Metadata, page::PageSettings};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    Transaction, TransactionName, TransactionNumber, TransactionStatus, Wallets, store,
    transaction_of,
    typeface::{Pen, Typeface},
};
use crate::{
    Code, Error, Result,
    ids::UserId,
    language::{self, Language},
    money::Rupiah,
};

/// Content of a receipt.
#[derive(Debug)]
pub struct Receipt<'a> {
    pub shop: &'a str,
    pub customer: &'a str,
    pub email: &'a str,
    pub transaction: &'a Transaction,
    /// Gain or payment of the wallet, by kind of credit.
    pub paid: Rupiah,
    pub bonus: Rupiah,
    pub zone: Tz,
    pub language: Language,
    /// Typeface for characters that the included one lacks.
    pub typeface: Option<&'a Typeface>,
}

/// Writes the receipt of a customer's transaction in the current language; returns the transaction's number and
/// the PDF.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` before the transaction is completed.
pub async fn of_transaction(
    wallets: &Wallets,
    user_id: UserId,
    name: TransactionName,
) -> Result<(TransactionNumber, Vec<u8>)> {
    let mut conn = wallets.db.read().await?;
    let transaction = transaction_of(&mut conn, user_id, name).await?;
    let number = transaction.number;
    if transaction.completed_at.is_none() {
        let message = format!(
            "{number} is {}: there is a receipt when it is completed.",
            transaction.status
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    let (paid, bonus) = store::movement_of(&mut conn, transaction.id).await?;
    let owner = store::owner(&mut conn, user_id).await?;
    let (name, email) = owner.ok_or_else(|| Error::not_found("customer"))?;
    drop(conn);
    let (settings, zone) = (Arc::clone(&wallets.settings), wallets.clock.zone());
    // Another thread does not know the request.
    let language = language::current();
    // Cutting the letters out of their fonts takes milliseconds.
    let written = tokio::task::spawn_blocking(move || {
        let receipt = Receipt {
            shop: &settings.shop_name,
            customer: &name,
            email: &email,
            transaction: &transaction,
            paid,
            bonus,
            zone,
            language,
            typeface: settings.receipt_font.as_ref(),
        };
        receipt.pdf()
    });
    Ok((number, written.await.map_err(Error::internal)??))
}

/// A4, in points of 1/72 inch.
const PAGE: (f32, f32) = (595.0, 842.0);
const LEFT: f32 = 57.0;
const RIGHT: f32 = 538.0;
/// Distance of the first line from the top of the page.
const TOP: f32 = 72.0;
const LEADING: f32 = 16.0;
const SIZE: f32 = 9.9;
const LINES_ON_A_PAGE: usize = 43;
/// Of the included typeface at this size, between the margins.
const COLUMNS: usize = 80;

/// Line of a page: text on the left, and perhaps an amount at the right margin.
#[derive(Debug, Default)]
struct Line {
    bold: bool,
    left: String,
    right: String,
}

impl Receipt<'_> {
    /// The same bytes for the same receipt.
    ///
    /// # Errors
    /// When the typeface that was added cannot be embedded.
    pub fn pdf(&self) -> Result<Vec<u8>> {
        render(
            &self.lines(),
            &self.transaction.number.to_string(),
            self.typeface,
        )
    }

    fn lines(&self) -> Vec<Line> {
        let (transaction, labels) = (self.transaction, labels::of(self.language));
        let at = transaction.completed_at.unwrap_or(transaction.created_at);
        let mut page = Page::default();
        page.title(self.shop);
        page.title(&format!("{} {}", labels.receipt, transaction.number));
        page.gap();
        page.pair(labels.date, &local(at, self.zone));
        page.pair(labels.customer, self.customer);
        page.pair(labels.email, self.email);
        page.pair(labels.kind, transaction.kind.as_str());
        if transaction.status != TransactionStatus::Completed {
            page.pair(labels.status, transaction.status.as_str());
        }
        page.pair(labels.purpose, &self.said(&transaction.description));
        page.gap();
        for (label, amount, reason) in priced(&transaction.details) {
            page.amount(&self.said(&label), amount);
            page.text(&format!("  {}", self.said(&reason)));
        }
        if let Some(reason) = transaction.details.get("reason").and_then(Value::as_str) {
            page.text(&self.said(reason));
        }
        page.gap();
        let total = if transaction.amount.is_negative() {
            labels.taken
        } else {
            labels.added
        };
        page.total(total, transaction.amount);
        page.amount(labels.of_paid, self.paid);
        page.amount(labels.of_bonus, self.bonus);
        if let (Some(before), Some(after)) = (transaction.balance_before, transaction.balance_after)
        {
            page.amount(labels.before, before);
            page.amount(labels.after, after);
        }
        page.0
    }

    /// Says a sentence of the shop in the language of the receipt.
    fn said<'s>(&self, sentence: &'s str) -> Cow<'s, str> {
        language::translated(sentence, self.language)
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

    /// Long text continues below; the amount is on the first line.
    fn push(&mut self, bold: bool, left: &str, right: &str) {
        let columns = COLUMNS - right.width() - usize::from(!right.is_empty());
        let mut line = Line {
            bold,
            right: right.to_owned(),
            ..Line::default()
        };
        let mut filled = 0;
        for one in left.chars().filter(|one| !one.is_control()) {
            let width = one.width().unwrap_or_default();
            if filled + width > columns {
                let next = Line {
                    bold,
                    ..Line::default()
                };
                self.0.push(std::mem::replace(&mut line, next));
                filled = 0;
            }
            filled += width;
            line.left.push(one);
        }
        self.0.push(line);
    }
}

fn render(lines: &[Line], title: &str, typeface: Option<&Typeface>) -> Result<Vec<u8>> {
    let mut document = Document::new();
    document.set_metadata(Metadata::new().title(title.to_owned()));
    let size = PageSettings::from_wh(PAGE.0, PAGE.1)
        .ok_or_else(|| Error::internal("a page has no size"))?;
    let pens = [false, true].map(|bold| Pen::new(bold, typeface, SIZE));
    let [plain, bold] = &pens;
    for lines in lines.chunks(LINES_ON_A_PAGE) {
        let mut page = document.start_page_with(size.clone());
        let mut surface = page.surface();
        let mut y = TOP;
        for line in lines {
            let pen = if line.bold { bold } else { plain };
            pen.write(&mut surface, Point::from_xy(LEFT, y), &line.left);
            let start = RIGHT - pen.width(&line.right);
            pen.write(&mut surface, Point::from_xy(start, y), &line.right);
            y += LEADING;
        }
        surface.finish();
        page.finish();
    }
    document
        .finish()
        .map_err(|error| Error::internal(format!("{error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_take_more_pages_and_long_text_goes_on_below() {
        let mut page = Page::default();
        page.amount(&"x".repeat(150), Rupiah::new(-1_500_000));
        assert_eq!(
            (page.0[0].right.as_str(), page.0[1].right.as_str()),
            ("-Rp1.500.000", "")
        );
        // Ideographs are two columns wide, and an accent none.
        page.text(&"\u{6e2f}".repeat(41));
        page.text(&"e\u{301}".repeat(80));
        let lefts: Vec<_> = page
            .0
            .iter()
            .map(|line| line.left.chars().count())
            .collect();
        assert_eq!(lefts, [67, 67, 16, 40, 1, 160]);
        for number in 0..100 {
            page.text(&format!("Line {number}"));
        }
        let pdf = render(&page.0, "TXMP-1", None).unwrap();
        let pages = pdf_extract::extract_text_from_mem_by_pages(&pdf).unwrap();
        assert_eq!(pages.len(), 3);
        assert!(pages[0].contains("-Rp1.500.000") && pages[2].contains("Line 99"));
        assert_eq!(pdf, render(&page.0, "TXMP-1", None).unwrap());
    }
}
