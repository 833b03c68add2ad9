//! A wallet's statement: what it held, everything that was posted, what it holds then.

use std::collections::VecDeque;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;

use super::{
    Balance, TransactionNumber, TransactionType,
    blocks::{Blocks, Positions},
    store,
};
use crate::{
    Error, Result, calendar,
    db::Db,
    ids::UserId,
    language::{self, Language, translated},
    money::Rupiah,
};

/// A statement is about so many days at the most.
const MOST_DAYS: i64 = 366;

const COLUMNS: [&str; 8] = [
    "time",
    "number",
    "type",
    "description",
    "paid",
    "bonus",
    "paid_balance",
    "bonus_balance",
];

/// Effect of one entry on a wallet, in rupiah.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct StatementLine {
    posted_at: DateTime<Utc>,
    number: TransactionNumber,
    kind: TransactionType,
    description: String,
    paid: Rupiah,
    bonus: Rupiah,
}

/// First and last date, both included, in the shop's calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    pub(super) first: NaiveDate,
    pub(super) last: NaiveDate,
}

impl Dates {
    /// Returns this month until today where nothing is set.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the last comes before the first, or is more than 366 days away.
    pub fn of(
        (from, to): (Option<NaiveDate>, Option<NaiveDate>),
        zone: Tz,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let month = calendar::start_of_month(zone, now);
        let first = from.unwrap_or_else(|| calendar::date(zone, month));
        let last = to.unwrap_or_else(|| calendar::date(zone, now));
        match (last - first).num_days() {
            days if days < 0 && from.is_some() => {
                Err(Error::invalid("from", "must not be after `to`"))
            }
            days if days < 0 => Err(Error::invalid("to", "must not be before `from`")),
            days if days >= MOST_DAYS => Err(Error::invalid(
                "to",
                format!("must be within {MOST_DAYS} days from `from` on"),
            )),
            _ => Ok(Self { first, last }),
        }
    }

    fn moments(self, zone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
        let after = self
            .last
            .checked_add_days(Days::new(1))
            .unwrap_or(self.last);
        (
            calendar::start_of_day(zone, self.first),
            calendar::start_of_day(zone, after),
        )
    }

    pub fn file_name(self) -> String {
        format!("dermaga-statement-{}-{}.csv", self.first, self.last)
    }
}

/// The statement as CSV (RFC 4180), written a part at a time: a header, the opening balance, a line for each entry
/// in the order of the ledger, the closing balance. Amounts are whole rupiah; what is said of an entry is in the
/// language that was current when it was opened, and the names of the columns are in none.
///
/// No transaction stays open between parts: entries never change, and those that come later are left out.
#[derive(Debug)]
pub struct Statement {
    db: Db,
    user_id: UserId,
    zone: Tz,
    /// Parts are written after the request, when no language is current.
    language: Language,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// Balance after the lines that are written.
    balance: Balance,
    /// Entries that are not read yet.
    parts: VecDeque<Positions>,
    step: Step,
}

/// Next part of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Opening,
    Lines,
    Over,
}

impl Statement {
    /// Begins the statement of a wallet.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such wallet.
    pub async fn open(db: &Db, user_id: UserId, dates: Dates, zone: Tz) -> Result<Self> {
        let mut conn = db.snapshot().await?;
        let wallet = store::wallet(&mut conn, user_id).await?;
        let wallet = wallet.ok_or_else(|| Error::not_found("wallet"))?;
        let (from, to) = dates.moments(zone);
        let blocks = Blocks::of(&mut conn, &wallet).await?;
        Ok(Self {
            db: db.clone(),
            user_id,
            zone,
            language: language::current(),
            from,
            to,
            balance: blocks.balance_before(&mut conn, from).await?,
            parts: blocks.parts(from, to),
            step: Step::Opening,
        })
    }

    /// Returns true when all of it was written.
    pub fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// Writes the next part; `None` after the last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn part(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_over() {
            return Ok(None);
        }
        let lines = match self.parts.pop_front() {
            Some(positions) => {
                let mut conn = self.db.read().await?;
                let stretch = (self.from, self.to);
                store::statement(&mut conn, self.user_id, positions, stretch).await?
            }
            None => Vec::new(),
        };
        self.write(&lines).map(Some)
    }

    fn write(&mut self, lines: &[StatementLine]) -> Result<Vec<u8>> {
        let (zone, language) = (self.zone, self.language);
        let said = |sentence| translated(sentence, language);
        let time = |moment: DateTime<Utc>| {
            let local = moment.with_timezone(&zone);
            local.to_rfc3339_opts(SecondsFormat::Secs, false)
        };
        let mut out = csv::Writer::from_writer(Vec::new());
        let mut row = |cells: [&str; 8]| out.write_record(cells).map_err(Error::internal);
        if self.step == Step::Opening {
            self.step = Step::Lines;
            row(COLUMNS)?;
            row(
                bound(&time(self.from), &said("Opening balance"), self.balance)
                    .each_ref()
                    .map(String::as_str),
            )?;
        }
        for line in lines {
            self.balance.paid = self.balance.paid.plus(line.paid)?;
            self.balance.bonus = self.balance.bonus.plus(line.bonus)?;
            row([
                &time(line.posted_at),
                &line.number.to_string(),
                line.kind.as_str(),
                &crate::csv::cell(&said(&line.description)),
                &line.paid.get().to_string(),
                &line.bonus.get().to_string(),
                &self.balance.paid.get().to_string(),
                &self.balance.bonus.get().to_string(),
            ])?;
        }
        if self.parts.is_empty() {
            self.step = Step::Over;
            row(
                bound(&time(self.to), &said("Closing balance"), self.balance)
                    .each_ref()
                    .map(String::as_str),
            )?;
        }
        out.into_inner()
            .map_err(|error| Error::internal(error.to_string()))
    }
}

/// The first or the last line.
fn bound(time: &str, what: &str, balance: Balance) -> [String; 8] {
    let (paid, bonus) = (balance.paid.get(), balance.bonus.get());
    let text = |text: &str| text.to_owned();
    [
        text(time),
        text(""),
        text(""),
        text(what),
        text(""),
        text(""),
        paid.to_string(),
        bonus.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn dates_are_the_shops_and_bounded() {
        let zone = chrono_tz::Asia::Jakarta;
        // 1 March in Jakarta.
        let now = "2026-02-28T17:30:00Z".parse().unwrap();
        let dates = Dates::of((None, None), zone, now).unwrap();
        assert_eq!(
            (dates.first, dates.last),
            (date("2026-03-01"), date("2026-03-01"))
        );
        assert_eq!(
            dates.moments(zone).1 - dates.moments(zone).0,
            chrono::TimeDelta::days(1)
        );
        let of = |from, to| Dates::of((Some(date(from)), Some(date(to))), zone, now);
        assert!(of("2026-01-01", "2027-01-01").is_ok());
        for (from, to) in [("2026-01-01", "2027-01-02"), ("2026-01-02", "2026-01-01")] {
            assert!(of(from, to).is_err(), "{from} to {to}");
        }
    }
}
