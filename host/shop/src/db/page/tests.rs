//! Tests of lists and their pages, on a database with a few rows.

use sqlx::Arguments as _;

use super::*;
use crate::{
    db::{Db, Statement},
    execute,
};

const FRUITS: List = List {
    rows: "SELECT name FROM fruits",
    from: "FROM fruits",
    key: "name",
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
async fn pages_tell_the_length_of_the_list_with_and_without_its_end() {
    let (_db, mut conn) = market().await;
    for (offset, limit) in [(0, 5), (0, 4), (2, 3), (3, 1), (4, 2), (9, 2)] {
        let (filter, part) = (Filter::default(), Part { offset, limit });
        let found = fetch_page(&mut conn, FRUITS, &filter, part).await;
        let found: Page<(String,)> = found.unwrap();
        assert_eq!(found.total, 4, "{limit} after {offset}");
    }
    let ends = (end(0, 0), end(20, 3), end(20, 0));
    assert_eq!(ends, (Some(0), Some(23), None));
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
        let found: Vec<(String,)> = fetch_where(&mut conn, FRUITS.rows, &filter, "ORDER BY name")
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
    let count = "SELECT count(*) FROM fruits";
    let number = count_where(&mut conn, count, &filter).await;
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
    let moment = |minute: i64| DateTime::from_timestamp(1_790_000_000 + 60 * minute, 0).unwrap();
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
        from: "FROM posts",
        key: "number",
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
    let is_here = |seen: &&Statement| seen.file == file!() && (before..after).contains(&seen.line);
    let seen = db.record().statements();
    let sent: Vec<&str> = seen
        .iter()
        .filter(is_here)
        .map(|one| one.sql.as_str())
        .collect();
    let count =
        "SELECT count(*) FROM (SELECT 1 FROM fruits WHERE weight = $1 LIMIT 10001) AS counted";
    let rows = "SELECT name FROM fruits WHERE name IN (SELECT name FROM fruits WHERE weight = $1 \
                ORDER BY weight DESC, name LIMIT 2 OFFSET $2) ORDER BY weight DESC, name";
    assert_eq!(sent, [count, rows]);
}

#[tokio::test]
async fn a_long_list_is_counted_to_ten_thousand_and_read_to_its_end() {
    let (_db, mut conn) = market().await;
    let more = "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10100) \
                INSERT INTO fruits (name, weight) SELECT 'kurma ' || n, -n FROM s";
    execute!(conn, more).unwrap();
    let beyond = page(&mut conn, Filter::default(), 10_102).await;
    let last = vec!["kurma 10099".to_owned(), "kurma 10100".to_owned()];
    assert_eq!(beyond, (last, MOST_COUNTED + 1));
    let few = page(&mut conn, Filter::of("weight > ?", -9_996), 0).await;
    assert_eq!(few.1, 9_999);
    let all = page(&mut conn, Filter::of("weight > ?", -9_997), 9_999).await;
    assert_eq!(all, (vec!["kurma 9996".to_owned()], MOST_COUNTED));
    let span = Span::<String>::Page(Part {
        offset: 10_101,
        limit: 2,
    });
    let place = "(weight, name) < (?, ?)";
    let walked = fetch_span(&mut conn, FRUITS, place, Filter::default(), span);
    let walked: Walked<(String,)> = walked.await.unwrap();
    assert_eq!(walked.total, Some(MOST_COUNTED + 1));
    assert!(walked.has_more, "{:?}", walked.items);
}

#[test]
fn both_engines_get_the_number_after_the_values() {
    let filter = Filter::of("weight = ?", 2).with("name = ?", "apel");
    let part = Part {
        offset: 7,
        limit: 9,
    };
    let select = Select::part(FRUITS, &filter, part);
    assert!(select.text.contains("LIMIT 9 OFFSET $3"), "{}", select.text);
    assert_eq!(select.for_sqlite().unwrap().len(), 3);
    assert_eq!(select.for_postgres().unwrap().len(), 3);
    let first = Select::first("SELECT 1", &filter, "ORDER BY name", 5);
    let expected = "SELECT 1 WHERE weight = $1 AND name = $2 ORDER BY name LIMIT $3";
    assert_eq!(first.text, expected);
    assert_eq!(first.for_postgres().unwrap().len(), 3);
    assert_eq!(
        Select::count(FRUITS, &filter).for_sqlite().unwrap().len(),
        2
    );
}
