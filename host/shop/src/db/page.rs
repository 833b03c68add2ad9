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

/// Part of a list, and the length of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: i64,
}

impl<T> Page<T> {
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

/// Place of a row in a list that begins with the newest: its moment, and what orders rows of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<K> {
    pub at: DateTime<Utc>,
    pub tie: K,
}

/// Part of a list that grows at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span<K> {
    /// A page, whose rows move when newer ones come.
    Page(Part),
    /// At most so many rows after a place, whatever came since.
    After(Place<K>, i64),
}

/// Rows of a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked<T> {
    pub items: Vec<T>,
    /// Length of the list; counted for pages alone.
    pub total: Option<i64>,
    /// True when older rows follow.
    pub has_more: bool,
}

impl<T> Walked<T> {
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
    /// `SELECT count(*) FROM tables`, without the tables that neither filter nor multiply rows.
    pub count: &'static str,
    /// `ORDER BY columns`, the last of them unique.
    pub order: &'static str,
}

/// Fetches a page: its rows, then the number of all rows of the filter.
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
        let rows = Select {
            select: list.rows,
            filter,
            tail: list.order,
            part: Some(part),
        };
        let items = rows.fetch(conn, place).await?;
        let total = Select::all(list.count, filter).number(conn, place).await?;
        Ok(Page { items, total })
    }
}

/// Fetches a part of a list that begins with the newest. `place` is the condition that a row comes after a
/// place, by the columns of the list's order: `(created_at, id) < (?, ?)`.
///
/// # Errors
/// When the database refuses.
#[track_caller]
pub fn fetch_span<'c, T: Row, K: Value + 'c>(
    conn: &'c mut Conn,
    list: List,
    place: &'static str,
    filter: Filter<'c>,
    span: Span<K>,
) -> impl Future<Output = sqlx::Result<Walked<T>>> + Send {
    let caller = Location::caller();
    let (filter, part, is_page) = match span {
        Span::Page(part) => (filter, part, true),
        // One more than is wanted shows that more follow.
        Span::After(after, limit) => {
            let (offset, limit) = (0, limit + 1);
            let filter = filter.with_pair(place, after.at, after.tie);
            (filter, Part { offset, limit }, false)
        }
    };
    async move {
        let rows = Select {
            select: list.rows,
            filter: &filter,
            tail: list.order,
            part: Some(part),
        };
        let mut items: Vec<T> = rows.fetch(conn, caller).await?;
        let found = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if !is_page {
            let has_more = found == part.limit;
            items.truncate(usize::try_from(part.limit - 1).unwrap_or_default());
            let total = None;
            return Ok(Walked {
                items,
                total,
                has_more,
            });
        }
        let total = Select::all(list.count, &filter)
            .number(conn, caller)
            .await?;
        Ok(Walked {
            items,
            total: Some(total),
            has_more: part.offset + found < total,
        })
    }
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
    let rows = Select {
        tail,
        ..Select::all(select, filter)
    };
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
    let rows = Select {
        select,
        filter,
        tail,
        part: Some(Part { offset: 0, limit }),
    };
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
    let rows = Select::all(select, filter);
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
    let rows = Select::all(count, filter);
    async move { rows.number(conn, place).await }
}

/// A whole statement.
struct Select<'f, 'v> {
    select: &'static str,
    filter: &'f Filter<'v>,
    /// Text after the conditions; may be empty.
    tail: &'static str,
    part: Option<Part>,
}

impl<'f, 'v> Select<'f, 'v> {
    const fn all(select: &'static str, filter: &'f Filter<'v>) -> Self {
        Self {
            select,
            filter,
            tail: "",
            part: None,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}{}", self.select, self.filter.text());
        if !self.tail.is_empty() {
            text.push(' ');
            text.push_str(self.tail);
        }
        if self.part.is_some() {
            let values = self.filter.len();
            text.push_str(&format!(" LIMIT ${} OFFSET ${}", values + 1, values + 2));
        }
        text
    }

    fn for_sqlite(&self) -> sqlx::Result<SqliteArguments> {
        let mut arguments = self.filter.for_sqlite()?;
        if let Some(part) = self.part {
            bind(&mut arguments, part.limit)?;
            bind(&mut arguments, part.offset)?;
        }
        Ok(arguments)
    }

    fn for_postgres(&self) -> sqlx::Result<PgArguments> {
        let mut arguments = self.filter.for_postgres()?;
        if let Some(part) = self.part {
            bind(&mut arguments, part.limit)?;
            bind(&mut arguments, part.offset)?;
        }
        Ok(arguments)
    }

    async fn fetch<T: Row>(
        &self,
        conn: &mut Conn,
        place: &Location<'static>,
    ) -> sqlx::Result<Vec<T>> {
        let sql = self.text();
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
mod tests {
    use sqlx::Arguments as _;

    use super::*;
    use crate::{
        db::{Db, Statement},
        execute,
    };

    const FRUITS: List = List {
        rows: "SELECT name FROM fruits",
        count: "SELECT count(*) FROM fruits",
        order: "ORDER BY weight DESC, name",
    };

    /// Opens a table of four fruits.
    async fn market() -> (Db, Conn) {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        db.record();
        let mut conn = db.begin().await.unwrap();
        execute!(conn, "CREATE TABLE fruits (name TEXT, weight INTEGER)").unwrap();
        for (name, weight) in [("apel", 2), ("50%", 1), ("Mangga", 4), ("pisang", 2)] {
            let sql = "INSERT INTO fruits (name, weight) VALUES ($1, $2)";
            execute!(conn, sql, name, weight).unwrap();
        }
        (db, conn)
    }

    async fn page(conn: &mut Conn, filter: Filter<'_>, offset: i64) -> (Vec<String>, i64) {
        let part = Part { offset, limit: 2 };
        let page: Page<(String,)> = fetch_page(conn, FRUITS, &filter, part).await.unwrap();
        let page = page.map(|(name,)| name);
        (page.items, page.total)
    }

    #[tokio::test]
    async fn a_page_is_a_part_and_counts_the_whole() {
        let (_db, mut conn) = market().await;
        let first = page(&mut conn, Filter::default(), 0).await;
        assert_eq!(first, (vec!["Mangga".into(), "apel".into()], 4));
        let heavy = page(&mut conn, Filter::of("weight >= ?", 2), 2).await;
        assert_eq!(heavy, (vec!["pisang".into()], 3));
        let beyond = page(&mut conn, Filter::default(), 4).await;
        assert_eq!(beyond, (Vec::new(), 4));
    }

    #[tokio::test]
    async fn every_condition_gets_its_own_value() {
        let (_db, mut conn) = market().await;
        let filter = Filter::of("weight < ?", 4)
            .with_any("name", ["apel", "Mangga", "50%"])
            .with_some("(name = ? OR name || 'x' = ?)", Some("apel"));
        assert_eq!(page(&mut conn, filter, 0).await, (vec!["apel".into()], 1));
        let none = Filter::of("weight < ?", 4).with_any("name", [""; 0]);
        assert_eq!(page(&mut conn, none, 0).await, (Vec::new(), 0));
    }

    #[tokio::test]
    async fn a_search_finds_parts_in_any_case_and_no_wildcards() {
        let (_db, mut conn) = market().await;
        for (text, expected) in [("ANG", vec!["Mangga", "pisang"]), ("0%", vec!["50%"])] {
            let filter = Filter::default().containing(&["name"], Some(text));
            let found: Vec<(String,)> =
                fetch_where(&mut conn, FRUITS.rows, &filter, "ORDER BY name")
                    .await
                    .unwrap();
            let names: Vec<&str> = found.iter().map(|(name,)| name.as_str()).collect();
            assert_eq!(names, expected);
        }
    }

    #[tokio::test]
    async fn one_first_and_number_take_the_same_filter() {
        let (_db, mut conn) = market().await;
        let filter = Filter::of("weight = ?", 2);
        let first: Vec<(String,)> = fetch_first(&mut conn, FRUITS.rows, &filter, FRUITS.order, 1)
            .await
            .unwrap();
        assert_eq!(first, [("apel".to_owned(),)]);
        let number = count_where(&mut conn, FRUITS.count, &filter).await;
        assert_eq!(number.unwrap(), 2);
        let filter = Filter::of("name = ?", "kiwi");
        let none: Option<(String,)> = find_where(&mut conn, FRUITS.rows, &filter).await.unwrap();
        assert_eq!(none, None);
    }

    #[tokio::test]
    async fn a_walk_goes_on_after_its_place_whatever_comes_before_it() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let mut conn = db.begin().await.unwrap();
        execute!(conn, "CREATE TABLE posts (at TEXT, number INTEGER)").unwrap();
        let moment =
            |minute: i64| DateTime::from_timestamp(1_790_000_000 + 60 * minute, 0).unwrap();
        let post = async |conn: &mut Conn, minute: i64, number: i64| {
            let sql = "INSERT INTO posts (at, number) VALUES ($1, $2)";
            execute!(conn, sql, moment(minute), number).unwrap();
        };
        // Numbers 2 and 3 are of one moment.
        for (minute, number) in [(1, 1), (2, 2), (2, 3), (3, 4)] {
            post(&mut conn, minute, number).await;
        }
        let posts = List {
            rows: "SELECT at, number FROM posts",
            count: "SELECT count(*) FROM posts",
            order: "ORDER BY at DESC, number DESC",
        };
        let mut span = Span::Page(Part {
            offset: 0,
            limit: 2,
        });
        let mut seen = Vec::new();
        for newer in 5.. {
            let place = "(at, number) < (?, ?)";
            let filter = Filter::of("number > ?", 0_i64);
            let walked = fetch_span(&mut conn, posts, place, filter, span);
            let walked: Walked<(DateTime<Utc>, i64)> = walked.await.unwrap();
            let (at, tie) = *walked.items.last().unwrap();
            seen.extend(walked.items.iter().map(|(_, number)| *number));
            if !walked.has_more {
                break;
            }
            span = Span::After(Place { at, tie }, 1);
            post(&mut conn, newer, newer).await;
        }
        assert_eq!(seen, [4, 3, 2, 1]);
    }

    #[tokio::test]
    async fn statements_are_recorded_at_the_place_that_sends_them() {
        let (db, mut conn) = market().await;
        let filter = Filter::of("weight = ?", 2);
        let part = Part {
            offset: 0,
            limit: 2,
        };
        let before = line!();
        let page = fetch_page(&mut conn, FRUITS, &filter, part);
        let after = line!();
        let _: Page<(String,)> = page.await.unwrap();
        let is_here =
            |seen: &&Statement| seen.file == file!() && (before..after).contains(&seen.line);
        let seen = db.record().statements();
        let sent: Vec<&str> = seen
            .iter()
            .filter(is_here)
            .map(|one| one.sql.as_str())
            .collect();
        let count = "SELECT count(*) FROM fruits WHERE weight = $1";
        let rows = "SELECT name FROM fruits WHERE weight = $1 ORDER BY weight DESC, name LIMIT $2 OFFSET $3";
        assert_eq!(sent, [count, rows]);
    }

    #[test]
    fn both_engines_get_the_limit_after_the_values() {
        let filter = Filter::of("weight = ?", 2).with("name = ?", "apel");
        let select = Select {
            part: Some(Part {
                offset: 7,
                limit: 9,
            }),
            ..Select::all("SELECT 1", &filter)
        };
        let expected = "SELECT 1 WHERE weight = $1 AND name = $2 LIMIT $3 OFFSET $4";
        assert_eq!(select.text(), expected);
        assert_eq!(select.for_sqlite().unwrap().len(), 4);
        assert_eq!(select.for_postgres().unwrap().len(), 4);
    }
}
