//! Lists and pages of them: one filter, run for the rows and for their number.

use std::panic::Location;

use chrono::{DateTime, Utc};
use sqlx::{
    AssertSqlSafe, FromRow,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    batch::bind,
    boxed::{postgres, sqlite},
    conn::{Conn, Engine},
    filter::{Filter, Value},
};

/// Row that both engines can return.
pub trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

impl<T> Row for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

/// Part of a list that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Items before it.
    pub offset: i64,
    /// Items in it, at most.
    pub limit: i64,
}

/// Most rows of a list that are counted.
pub const MOST_COUNTED: i64 = 10_000;

/// Part of a list, and the length of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Length of the list; more than [`MOST_COUNTED`] says only that it is longer than that.
    pub total: i64,
}

impl<T> Page<T> {
    /// Returns a part of a list that was read as a whole.
    pub fn of(all: Vec<T>, part: Part) -> Self {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let offset = usize::try_from(part.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(part.limit).unwrap_or_default();
        Self {
            items: all.into_iter().skip(offset).take(limit).collect(),
            total,
        }
    }

    /// Number of the list's rows, as far as they were counted.
    pub fn counted(&self) -> i64 {
        self.total.min(MOST_COUNTED)
    }

    /// Converts each item.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            total: self.total,
        }
    }

    /// Converts each item, as long as that succeeds.
    ///
    /// # Errors
    /// The first that a conversion returns.
    pub fn try_map<U, E>(self, convert: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        Ok(Page {
            items: self
                .items
                .into_iter()
                .map(convert)
                .collect::<Result<_, E>>()?,
            total: self.total,
        })
    }
}

/// Place of a row in a list: the value that orders the list, a moment in one that begins with the newest, and what
/// orders rows of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<K, V = DateTime<Utc>> {
    pub at: V,
    pub tie: K,
}

/// Part of a list that is long, or grows at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span<K, V = DateTime<Utc>> {
    /// A page, whose rows move when newer ones come.
    Page(Part),
    /// At most so many rows after a place, whatever came since.
    After(Place<K, V>, i64),
}

/// Rows of a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked<T> {
    pub items: Vec<T>,
    /// Length of the list, as that of a [`Page`]; counted for pages alone.
    pub total: Option<i64>,
    /// True when more rows follow.
    pub has_more: bool,
}

impl<T> Walked<T> {
    /// Returns the page that was read. The length of the list is 0 after a place, as it is not counted there.
    pub fn into_page(self) -> Page<T> {
        Page {
            items: self.items,
            total: self.total.unwrap_or_default(),
        }
    }

    /// Converts each item.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Walked<U> {
        Walked {
            items: self.items.into_iter().map(convert).collect(),
            total: self.total,
            has_more: self.has_more,
        }
    }

    /// Converts each item, as long as that succeeds.
    ///
    /// # Errors
    /// The first that a conversion returns.
    pub fn try_map<U, E>(self, convert: impl FnMut(T) -> Result<U, E>) -> Result<Walked<U>, E> {
        Ok(Walked {
            items: self
                .items
                .into_iter()
                .map(convert)
                .collect::<Result<_, E>>()?,
            total: self.total,
            has_more: self.has_more,
        })
    }
}

/// SQL of a list, without its filter.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// `SELECT columns FROM tables`
    pub rows: &'static str,
    /// `FROM tables`, without the tables that neither filter nor multiply rows.
    pub from: &'static str,
    /// Column of these tables that no two rows share.
    pub key: &'static str,
    /// `ORDER BY columns` of these tables, the last of them unique.
    pub order: &'static str,
}

/// Fetches a page: its rows, then the number of all rows of the filter, unless the page shows it.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn fetch_page<'c, T: Row>(
    conn: &'c mut Conn,
    list: List,
    filter: &'c Filter<'_>,
    part: Part,
) -> impl Future<Output = sqlx::Result<Page<T>>> + Send {
    let place = Location::caller();
    async move {
        let rows = Select::part(list, filter, part);
        let items: Vec<T> = rows.fetch(conn, place).await?;
        let is_last = i64::try_from(items.len()).is_ok_and(|found| found < part.limit);
        let end = end(part.offset, items.len()).filter(|_| is_last);
        let total = length(conn, list, filter, end, place).await?;
        Ok(Page { items, total })
    }
}

/// Fetches a part of a list. `place` is the condition that a row comes after a place, by the columns of the list's
/// order: `(created_at, id) < (?, ?)` in one that begins with the newest.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn fetch_span<'c, T: Row, K: Value + 'c, V: Value + 'c>(
    conn: &'c mut Conn,
    list: List,
    place: &'static str,
    filter: Filter<'c>,
    span: Span<K, V>,
) -> impl Future<Output = sqlx::Result<Walked<T>>> + Send {
    let caller = Location::caller();
    let (filter, part, is_page) = match span {
        Span::Page(part) => (filter, part, true),
        Span::After(after, limit) => {
            let filter = filter.with_pair(place, after.at, after.tie);
            (filter, Part { offset: 0, limit }, false)
        }
    };
    async move {
        // One more than is wanted shows that more follow.
        let limit = part.limit.saturating_add(1);
        let rows = Select::part(list, &filter, Part { limit, ..part });
        let mut items: Vec<T> = rows.fetch(conn, caller).await?;
        let wanted = usize::try_from(part.limit).unwrap_or_default();
        let has_more = items.len() > wanted;
        items.truncate(wanted);
        let total = if is_page {
            let end = end(part.offset, items.len()).filter(|_| !has_more);
            Some(length(conn, list, &filter, end, caller).await?)
        } else {
            None
        };
        Ok(Walked {
            items,
            total,
            has_more,
        })
    }
}

/// Returns the length of a list of which this was the end; `None` where nothing was found, as it may end before.
fn end(offset: i64, found: usize) -> Option<i64> {
    let found = i64::try_from(found).ok()?;
    (found > 0 || offset == 0).then(|| offset.saturating_add(found))
}

/// Counts a list, unless its end was read.
async fn length(
    conn: &mut Conn,
    list: List,
    filter: &Filter<'_>,
    end: Option<i64>,
    place: &Location<'static>,
) -> sqlx::Result<i64> {
    let count = Select::count(list, filter);
    let Some(end) = end else {
        return count.number(conn, place).await;
    };
    // Other pages of the list send it: those who look at all statements look at this one, too.
    conn.note(place.file(), place.line(), &count.text);
    Ok(end.min(MOST_COUNTED + 1))
}

/// Fetches all rows of a filter; `tail` is the text after its conditions, as `ORDER BY columns`.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn fetch_where<'c, T: Row>(
    conn: &'c mut Conn,
    select: &'static str,
    filter: &'c Filter<'_>,
    tail: &'static str,
) -> impl Future<Output = sqlx::Result<Vec<T>>> + Send {
    let place = Location::caller();
    let rows = Select::all(select, filter, tail);
    async move { rows.fetch(conn, place).await }
}

/// Fetches the first rows of a filter, as [`fetch_where`] fetches all.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn fetch_first<'c, T: Row>(
    conn: &'c mut Conn,
    select: &'static str,
    filter: &'c Filter<'_>,
    tail: &'static str,
    limit: i64,
) -> impl Future<Output = sqlx::Result<Vec<T>>> + Send {
    let place = Location::caller();
    let rows = Select::first(select, filter, tail, limit);
    async move { rows.fetch(conn, place).await }
}

/// Finds the one row of a filter.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn find_where<'c, T: Row>(
    conn: &'c mut Conn,
    select: &'static str,
    filter: &'c Filter<'_>,
) -> impl Future<Output = sqlx::Result<Option<T>>> + Send {
    let place = Location::caller();
    let rows = Select::all(select, filter, "");
    async move { Ok(rows.fetch(conn, place).await?.into_iter().next()) }
}

/// Counts the rows of a filter.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn count_where<'c>(
    conn: &'c mut Conn,
    count: &'static str,
    filter: &'c Filter<'_>,
) -> impl Future<Output = sqlx::Result<i64>> + Send {
    let place = Location::caller();
    let rows = Select::all(count, filter, "");
    async move { rows.number(conn, place).await }
}

/// A whole statement.
struct Select<'f, 'v> {
    text: String,
    filter: &'f Filter<'v>,
    /// Argument after the values of the filter.
    number: Option<i64>,
}

impl<'f, 'v> Select<'f, 'v> {
    /// Selects all rows; `tail` may be empty.
    fn all(select: &str, filter: &'f Filter<'v>, tail: &str) -> Self {
        let mut text = format!("{select}{}", filter.text());
        if !tail.is_empty() {
            text.push(' ');
            text.push_str(tail);
        }
        Self {
            text,
            filter,
            number: None,
        }
    }

    /// Selects the first rows.
    fn first(select: &str, filter: &'f Filter<'v>, tail: &str, limit: i64) -> Self {
        let all = Self::all(select, filter, tail);
        let text = format!("{} LIMIT ${}", all.text, filter.len() + 1);
        Self {
            text,
            number: Some(limit),
            ..all
        }
    }

    /// Selects a part of a list. Its keys come first, from an index where one has all that is asked for, so that
    /// rows before the part are neither read nor joined. The limit is part of the text, since PostgreSQL would
    /// plan for a tenth of the table without it.
    fn part(list: List, filter: &'f Filter<'v>, Part { offset, limit }: Part) -> Self {
        let List {
            rows,
            from,
            key,
            order,
        } = list;
        let (conditions, last) = (filter.text(), filter.len() + 1);
        let keys = format!("SELECT {key} {from}{conditions} {order} LIMIT {limit} OFFSET ${last}");
        Self {
            text: format!("{rows} WHERE {key} IN ({keys}) {order}"),
            filter,
            number: Some(offset),
        }
    }

    /// Counts the rows of a list, up to one more than [`MOST_COUNTED`].
    fn count(List { from, .. }: List, filter: &'f Filter<'v>) -> Self {
        let (conditions, most) = (filter.text(), MOST_COUNTED + 1);
        let counted = format!("SELECT 1 {from}{conditions} LIMIT {most}");
        Self {
            text: format!("SELECT count(*) FROM ({counted}) AS counted"),
            filter,
            number: None,
        }
    }

    fn for_sqlite(&self) -> sqlx::Result<SqliteArguments> {
        let mut arguments = self.filter.for_sqlite()?;
        if let Some(number) = self.number {
            bind(&mut arguments, number)?;
        }
        Ok(arguments)
    }

    fn for_postgres(&self) -> sqlx::Result<PgArguments> {
        let mut arguments = self.filter.for_postgres()?;
        if let Some(number) = self.number {
            bind(&mut arguments, number)?;
        }
        Ok(arguments)
    }

    async fn fetch<T: Row>(
        &self,
        conn: &mut Conn,
        place: &Location<'static>,
    ) -> sqlx::Result<Vec<T>> {
        let sql = self.text.clone();
        // Texts come from the code and values are arguments, so the text is safe.
        match conn.engine_for(place.file(), place.line(), &sql).await? {
            Engine::Sqlite(engine) => {
                let arguments = self.for_sqlite()?;
                let query = sqlx::query_as_with(AssertSqlSafe(sql), arguments);
                sqlite::fetch_all(query, engine).await
            }
            Engine::Postgres(engine) => {
                let arguments = self.for_postgres()?;
                let query = sqlx::query_as_with(AssertSqlSafe(sql), arguments);
                postgres::fetch_all(query, engine).await
            }
        }
    }

    async fn number(&self, conn: &mut Conn, place: &Location<'static>) -> sqlx::Result<i64> {
        let rows = self.fetch::<(i64,)>(conn, place).await?;
        Ok(rows.first().map_or(0, |(number,)| *number))
    }
}

#[cfg(test)]
mod tests;
