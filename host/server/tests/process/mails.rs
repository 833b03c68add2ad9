//! `kill -9` while mails go out: none is lost, and none comes twice but those that were in flight.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dermaga_shop::{
    db::{Clock, Db},
    outbox::{self, Topic},
};
use dermaga_tests::MailServer;
use rand::RngExt as _;
use serde_json::json;
use uuid::Uuid;

use super::site::{Patient, Server, Site, end_leases, seeded};

const MAILS: usize = 300;
/// Time that the mail server takes for each on one connection; with [`MAILS`] and [`LONGEST_LIFE`] it makes for a
/// dozen deaths.
const PAUSE: Duration = Duration::from_millis(15);
/// The longest that a server lives after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 700;
/// Deaths after which the last server may live.
const DEATHS: usize = 30;

/// Writes messages for a reader, each with its number.
async fn write_messages(db: &Db, reader: Uuid) {
    let clock = Clock::system();
    let mut conn = db.begin().await.unwrap();
    for number in 0..MAILS {
        let payload = json!({ "amount": 10_000, "number": format!("TX-{number}-") });
        let what = (Topic::TopUpReceived, reader);
        let key = number.to_string();
        outbox::put_once(&mut conn, &clock, what, &key, payload)
            .await
            .unwrap();
    }
    conn.commit().await.unwrap();
}

/// Returns the number of messages and deliveries that are still to be worked on.
async fn open(db: &Db) -> i64 {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM outbox WHERE handled_at IS NULL)
                 + (SELECT count(*) FROM notification_deliveries WHERE state <> 'SENT')";
    let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    count
}

async fn killed_while_it_delivers(on_postgres: bool, connections: u32) {
    let Some(site) = Site::new(on_postgres).await else {
        return;
    };
    let mails = MailServer::start().await;
    mails.pause(PAUSE * connections);
    let mut site = site
        .with("SMTP_URL", mails.url())
        .with("MAIL_FROM", "Toko <toko@example.com>".to_owned())
        .with("SMTP_CONNECTIONS", connections.to_string());
    let mut random = seeded();
    let register = async |site: &Site| Patient::new(site).registered("kabar@example.com").await;
    let account = site.opened(register).await;
    let mut server = Server::start(&site);
    let reader = account["user"]["id"].as_str().unwrap().parse().unwrap();
    let db = site.database().await;
    write_messages(&db, reader).await;

    let mut left = Vec::new();
    while left.len() < DEATHS {
        let life = random.random_range(0..LONGEST_LIFE);
        tokio::time::sleep(Duration::from_millis(life)).await;
        drop(server);
        end_leases(&db, "notification_deliveries").await;
        left.push(open(&db).await);
        server = Server::start(&site);
        if left.last() == Some(&0) {
            break;
        }
    }
    for _ in 0..1200 {
        if open(&db).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("left after each death: {left:?}");
    assert_eq!(open(&db).await, 0, "all went out");
    db.close().await;
    drop(server);

    let received = mails.received();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for mail in &received {
        *times.entry(mail.header("Message-ID").unwrap()).or_default() += 1;
        let text = mail.unfolded();
        numbers.extend((0..MAILS).filter(|number| text.contains(&format!("TX-{number}-"))));
    }
    assert_eq!(numbers.len(), MAILS, "each message arrived");
    // One is the mail that confirms the address.
    assert_eq!(times.len(), MAILS + 1, "each message is one mail");
    let doubled = received.len() - times.len();
    let deaths = left.len();
    println!("{deaths} deaths, {doubled} mails came twice");
    assert!(deaths > 3, "it died too seldom to show anything");
    assert!(
        doubled <= deaths * usize::try_from(connections).unwrap(),
        "{doubled} came twice in {deaths} deaths"
    );
}

/// One mail at a time: at each death one may have been taken without the server knowing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_on_sqlite_survive_deaths() {
    killed_while_it_delivers(false, 1).await;
}

/// Four at a time, with marks that share commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_on_postgresql_survive_deaths() {
    killed_while_it_delivers(true, 4).await;
}
