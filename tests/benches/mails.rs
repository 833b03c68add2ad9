//! Measures how fast 10,000 notifications leave the outbox for a mail server on this machine, and the memory
//! that it takes.
//!
//! `cargo bench --package dermaga-tests --bench mails`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "what cannot go on must stop, and rates are numbers"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use dermaga_shop::{
    accounts::{Email, NewAccount, Role},
    notifications::{Sender, SmtpUrl},
    outbox::{self, Topic},
};
use dermaga_tests::{
    Engine, MailServer, Shop,
    bench::{self, durable_shop, on_both_engines, resident_kib, verdict},
};
use serde_json::json;
use uuid::Uuid;

const MAILS: usize = 10_000;
/// Mails a second.
const RATE: f64 = 100.0;
/// Memory at any moment against that after a tenth of the mails.
const GROWTH: f64 = 1.2;
/// Customers whom the mails go to.
const READERS: usize = 100;

fn main() -> ExitCode {
    on_both_engines(async |engine| Box::pin(measure(engine)).await);
    bench::end()
}

async fn measure(engine: Engine) {
    let server = MailServer::start().await;
    server.keep_nothing();
    let opened = durable_shop(engine, |config| {
        config.notifications.smtp = Some(SmtpUrl::parse(&server.url()).unwrap());
        config.notifications.from = Some(Sender::parse("Toko <toko@example.com>").unwrap());
        config.notifications.shop_url = Some("https://toko.example.com".to_owned());
    });
    let Some((shop, _database)) = opened.await else {
        return;
    };
    let readers = readers(&shop).await;
    let before = write_messages(&shop, &readers).await;
    let mut memory = Vec::new();
    while server.taken() < MAILS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(before.elapsed() < Duration::from_secs(600), "it stopped");
        if server.taken() >= MAILS / 10 {
            // The server and the mail server are in this process.
            memory.push(resident_kib());
        }
    }
    let rate = MAILS as f64 / before.elapsed().as_secs_f64();
    let first = memory.first().copied().unwrap_or_default();
    let most = memory.iter().copied().max().unwrap_or_default();
    let name = shop.state().db.engine_name();
    println!(
        "{name}: {MAILS} notifications by e-mail: {rate:.0} a second (target >= {RATE}): {}",
        verdict(rate >= RATE)
    );
    let growth = most as f64 / first.max(1) as f64;
    println!(
        "{name}: memory {} MiB after a tenth, {} MiB at most: {growth:.2} x (target <= {GROWTH}): {}",
        first / 1024,
        most / 1024,
        verdict(growth <= GROWTH)
    );
    assert_eq!(server.taken(), MAILS, "each once");
    shop.close().await;
}

/// Makes accounts, without the mails that confirm their addresses.
async fn readers(shop: &Shop) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for number in 0..READERS {
        let new = NewAccount {
            email: Email::parse(&format!("pembaca-{number}@example.com")).unwrap(),
            password: format!("kata sandi yang panjang {number}").into(),
            name: "Pembaca".to_owned(),
            phone: None,
            avatar: None,
            role: Role::User,
        };
        let user = shop.state().accounts.create(new).await.unwrap();
        ids.push(user.id.into());
    }
    ids
}

/// Writes all messages in one transaction; returns its end.
async fn write_messages(shop: &Shop, readers: &[Uuid]) -> Instant {
    let mut conn = shop.state().db.begin().await.unwrap();
    for (number, reader) in (0..MAILS).zip(readers.iter().cycle()) {
        let payload = json!({ "amount": 10_000, "number": format!("TX-{number}") });
        let (what, key) = ((Topic::TopUpReceived, *reader), number.to_string());
        outbox::put_once(&mut conn, shop.clock(), what, &key, payload)
            .await
            .unwrap();
    }
    conn.commit().await.unwrap();
    Instant::now()
}
