//! From SQLite to PostgreSQL, by a command that is killed again and again.

use std::{
    io::{BufRead as _, BufReader},
    process::{Output, Stdio},
};

use dermaga_shop::{db::Db, ids::CategoryId};
use dermaga_tests::{postgres, skip};

use super::{
    backup::Shop,
    site::{Server, Site},
    stderr, stdout,
};

/// Lines after which the command is killed.
const DEATHS: [usize; 5] = [1, 6, 13, 22, 40];

/// Copies the site's SQLite database into this one.
fn transfer(site: &Site, to: &str) -> Output {
    site.run(&["migrate", "--from", "sqlite", "--to", to])
}

/// Begins to copy, and kills the command when it has written so many lines.
fn killed_after(site: &Site, to: &str, lines: usize) {
    let mut child = site
        .command(&["migrate", "--from", "sqlite", "--to", to])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let read = output.lines().take(lines).map(Result::unwrap);
    assert_eq!(read.count(), lines, "it ended before");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", stdout(output));
    assert!(stderr(output).contains(why), "{}", stderr(output));
}

/// A category that comes before its parent in the order of keys.
async fn nest_a_category(site: &Site) {
    let db = site.database().await;
    let mut conn = db.begin().await.unwrap();
    let sql = "INSERT INTO service_categories (id, slug, name, description, parent_id)
               SELECT $1, 'nested', 'Nested', '', id FROM service_categories ORDER BY id DESC LIMIT 1";
    let made = dermaga_shop::execute!(conn, sql, CategoryId::from_u128(1)).unwrap();
    assert_eq!(made, 1);
    conn.commit().await.unwrap();
    db.close().await;
}

/// Counts the events of customers by their kinds.
async fn events(database: &str) -> Vec<(String, i64)> {
    let db = Db::connect(database).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT kind, count(*) FROM customer_events GROUP BY kind ORDER BY kind";
    let counts = dermaga_shop::fetch_all!(conn, (String, i64), sql).unwrap();
    drop(conn);
    db.close().await;
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_moves_to_postgresql_by_a_command_that_is_killed() {
    let postgres = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let mut site = Site::new(false).await.unwrap();
    let server = Server::start(&site);
    let shop = Shop::open(&site).await;
    nest_a_category(&site).await;
    let to = postgres.empty_database().await;
    refused(&transfer(&site, &to), "a server uses");
    drop(server);
    let before = site.books();
    let events_before = events(&site.database_url()).await;
    let has_ticket = events_before.iter().any(|(kind, _)| kind == "ticket");
    assert!(has_ticket, "{events_before:?}");

    for lines in DEATHS {
        killed_after(&site, &to, lines);
        if lines == DEATHS[0] {
            let mut verify = site.command(&["ledger", "verify"]);
            let half = verify.env("DATABASE_URL", &to).output().unwrap();
            refused(&half, "has a part of a shop only");
        }
    }
    let done = transfer(&site, &to);
    assert!(done.status.success(), "{}{}", stdout(&done), stderr(&done));
    let head = before["heads"].as_str().unwrap();
    assert_eq!(stdout(&done).matches(head).count(), 2, "{}", stdout(&done));
    let again = transfer(&site, &to);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(
        stdout(&again).contains("nothing is left to copy"),
        "{}",
        stdout(&again)
    );
    assert_eq!(
        site.books()["heads"],
        before["heads"],
        "the source is as it was"
    );

    let events_after = events(&to).await;
    assert_eq!(events_after, events_before, "triggers add none");

    site.set("DATABASE_URL", &to);
    site.set("DERMAGA_CLOCK", "+32d");
    assert_eq!(site.books()["heads"], before["heads"]);
    let server = Server::start(&site);
    shop.renews_at(&site).await;
    drop(server);
    let after = site.books();
    assert!(
        after["entries"].as_u64() > before["entries"].as_u64(),
        "{after:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_empty_database_and_a_source_at_rest_are_taken() {
    let postgres = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let site = Site::new(false).await.unwrap();
    let missing = transfer(&site, "postgres://dermaga@127.0.0.1/none");
    refused(&missing, "there is no database at");
    drop(Server::start(&site));

    let foreign = postgres.empty_database().await;
    let db = Db::connect(&foreign).await.unwrap();
    let mut conn = db.begin().await.unwrap();
    dermaga_shop::execute!(conn, "CREATE TABLE notes (id BIGINT)").unwrap();
    conn.commit().await.unwrap();
    refused(&transfer(&site, &foreign), "tables of another program");
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let (tables,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(tables, 1, "nothing is made in it");
    drop(conn);
    db.close().await;

    let other = postgres.new_database().await;
    let create = [
        "admin",
        "create",
        "--email",
        "b@example.com",
        "--name",
        "Budi",
    ];
    let mut create = site.command(&create);
    let made = create.env("DATABASE_URL", &other).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    refused(&transfer(&site, &other), "is a shop of its own");

    let begun = postgres.empty_database().await;
    killed_after(&site, &begun, 1);
    let made = site.run(&[
        "admin",
        "create",
        "--email",
        "c@example.com",
        "--name",
        "Citra",
    ]);
    assert!(made.status.success(), "{}", stderr(&made));
    refused(&transfer(&site, &begun), "before it was changed");

    let usage = site.run(&["migrate", "--from", "sqlite", "--to", "postgres"]);
    assert_eq!(usage.status.code(), Some(2), "{}", stderr(&usage));
    let half = site.run(&["migrate", "--from", "sqlite"]);
    assert_eq!(half.status.code(), Some(2), "{}", stderr(&half));
}
