//! Limits of requests that three servers hold together.

use std::time::{Duration, Instant};

use dermaga::config::Config;
use dermaga_shop::execute;
use dermaga_tests::{Client, Engine, Shop};
use futures::future::join_all;
use reqwest::Method;

const LIMIT: u32 = 100;
const WINDOW: Duration = Duration::from_secs(20);
const READ: &str = "/api/catalog/categories";

fn limits(config: &mut Config) {
    config.rates.catalogue = LIMIT;
    config.rates.customers = 60;
    config.rates.window = WINDOW;
    config.http.trusted_proxies = 1;
}

async fn three_servers() -> Option<[Shop; 3]> {
    let one = Shop::open_with(Engine::Postgres, limits).await?;
    let (two, three) = (one.second_server().await, one.second_server().await);
    Some([one, two, three])
}

/// Sends requests of one address, eight at a time; returns how many were admitted.
async fn hammer(client: &Client, path: &str, address: &str, times: usize) -> usize {
    let send = async || {
        let mut admitted = 0_usize;
        for _ in 0..times / 8 {
            let request = client.request(Method::GET, path);
            let answer = client
                .send(request.header("x-forwarded-for", address))
                .await;
            match answer.status {
                200 => admitted += 1,
                429 => {}
                other => panic!("{other}: {}", answer.text),
            }
        }
        admitted
    };
    join_all((0..8).map(|_| send())).await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_admit_at_most_a_tenth_more_than_the_limit() {
    let Some(servers) = three_servers().await else {
        return;
    };
    let began = Instant::now();
    let all = servers
        .iter()
        .map(|server| hammer(server.client(), READ, "192.0.2.1", 160));
    let admitted = join_all(all).await;
    assert!(began.elapsed() < WINDOW, "the machine is too slow to tell");
    let sum: usize = admitted.iter().sum();
    assert!((100..=110).contains(&sum), "{admitted:?}");

    let customer = servers[0].customer("bertiga@example.com").await;
    let began = Instant::now();
    let customers = servers
        .each_ref()
        .map(|server| customer.moved_to(server.client()));
    let all = customers
        .iter()
        .map(|client| hammer(client, "/api/wallet/info", "192.0.2.2", 80));
    let admitted = join_all(all).await;
    assert!(began.elapsed() < WINDOW, "the machine is too slow to tell");
    let sum: usize = admitted.iter().sum();
    assert!((60..=66).contains(&sum), "{admitted:?}");

    // One after the other, as behind a proxy that takes turns.
    let mut sum = 0;
    for number in 0..150 {
        sum += hammer_once(&servers[number % 3], "192.0.2.3").await;
    }
    assert!((100..=110).contains(&sum), "{sum} in turns");
}

async fn hammer_once(server: &Shop, address: &str) -> usize {
    let request = server.client().request(Method::GET, READ);
    let request = request.header("x-forwarded-for", address);
    usize::from(server.client().send(request).await.status == 200)
}

/// Requests of a window are counted by few writes, and quiet parties by none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_without_a_write_for_each() {
    let Some(shop) = Shop::open_with(Engine::Postgres, limits).await else {
        return;
    };
    for number in 0..50 {
        let quiet = format!("198.51.100.{number}");
        assert_eq!(hammer_once(&shop, &quiet).await, 1);
    }
    let rows = async || {
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT count(*), coalesce(max(used), 0)::bigint FROM rate_windows";
        dermaga_shop::fetch_one!(conn, (i64, i64), sql).unwrap()
    };
    assert_eq!(rows().await, (0, 0), "a quiet party is not written");
    let watched = [
        "CREATE SEQUENCE writes".to_owned(),
        "CREATE FUNCTION note_write() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM nextval('writes'); RETURN NULL; END $$"
            .to_owned(),
        "CREATE TRIGGER noted AFTER INSERT OR UPDATE ON rate_windows \
         FOR EACH ROW EXECUTE FUNCTION note_write()"
            .to_owned(),
    ];
    shop.rewrite(&watched).await.unwrap();
    for _ in 0..LIMIT {
        assert_eq!(hammer_once(&shop, "192.0.2.1").await, 1);
    }
    for _ in 0..50 {
        assert_eq!(hammer_once(&shop, "192.0.2.1").await, 0);
    }
    assert_eq!(rows().await, (1, i64::from(LIMIT)));
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT last_value FROM writes";
    let (writes,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert!(writes <= 20, "{writes} writes for {LIMIT} requests");
}

/// A server whose clock is wrong counts in the same windows, since the database's clock ends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_of_servers_do_not_matter() {
    let Some([one, two, _three]) = three_servers().await else {
        return;
    };
    two.clock().step(chrono::TimeDelta::hours(3));
    let admitted = tokio::join!(
        hammer(one.client(), READ, "192.0.2.1", 160),
        hammer(two.client(), READ, "192.0.2.1", 160),
    );
    let sum = admitted.0 + admitted.1;
    assert!((100..=110).contains(&sum), "{admitted:?}");
}

/// While the counts cannot be reached, each server holds the limit alone; then they do together again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_reach_the_counts_holds_the_limit_alone() {
    let Some([one, two, _three]) = three_servers().await else {
        return;
    };
    let mut conn = one.state().db.begin().await.unwrap();
    execute!(conn, "LOCK TABLE rate_windows IN ACCESS EXCLUSIVE MODE").unwrap();
    let began = Instant::now();
    for server in [&one, &two] {
        assert_eq!(hammer(server.client(), READ, "192.0.2.1", 160).await, 100);
    }
    assert!(
        began.elapsed() < WINDOW,
        "requests do not wait for the counts"
    );
    conn.rollback().await.unwrap();
    // The database is asked again a second after it was found away.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let admitted = tokio::join!(
        hammer(one.client(), READ, "192.0.2.9", 160),
        hammer(two.client(), READ, "192.0.2.9", 160),
    );
    let sum = admitted.0 + admitted.1;
    assert!((100..=110).contains(&sum), "{admitted:?}");
}
