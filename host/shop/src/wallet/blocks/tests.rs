//! Statements and proofs of a chain of several thousand entries, with and without blocks.

use chrono::TimeDelta;
use chrono_tz::Tz;
use serde_json::Value;

use super::*;
use crate::{
    calendar,
    db::Db,
    execute,
    language::{self, Language},
    test_database::TestDatabase,
    wallet::{
        self, NewTransaction, Settings, TransactionType,
        ledger::{self, Movement},
        statement::{Dates, Statement},
    },
};

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn block(number: i64, first: i64, last: i64) -> Block {
    Block {
        number,
        paid: Rupiah::new(number),
        bonus: Rupiah::ZERO,
        first_at: at(first),
        last_at: at(last),
    }
}

#[test]
fn a_stretch_reads_the_blocks_it_meets_and_what_is_after_them() {
    let blocks = Blocks {
        user_id: UserId::MIN,
        blocks: vec![block(1, 0, 10), block(2, 9, 20), block(3, 21, 30)],
        last: 4_200,
    };
    let all = [
        (0, 1_000),
        (1_000, 2_000),
        (2_000, 3_000),
        (3_000, 4_000),
        (4_000, 4_200),
    ];
    let of = |from, to| Vec::from(blocks.parts(at(from), at(to)));
    assert_eq!(of(0, 100), all);
    assert_eq!(of(10, 21), [all[0], all[1], all[3], all[4]]);
    assert_eq!(of(40, 50), all[3..]);
    let none = Blocks {
        user_id: UserId::MIN,
        blocks: Vec::new(),
        last: 0,
    };
    assert!(none.parts(at(0), at(1)).is_empty());
}

impl TestDatabase {
    /// Posts so many gifts of one rupiah, and as many top-ups of two.
    async fn post_many(&self, name: &str, each: usize) {
        let mut conn = self.db.begin().await.unwrap();
        let mut wallet = wallet::lock(&mut conn, self.user_id).await.unwrap();
        for number in 0..each {
            for (paid, bonus, other) in [(0, 1, Account::Promotions), (2, 0, Account::Gateway)] {
                let movement = Movement {
                    paid: Rupiah::new(paid),
                    bonus: Rupiah::new(bonus),
                    others: vec![(other, Rupiah::new(-paid - bonus))],
                };
                let new = NewTransaction {
                    user_id: self.user_id,
                    kind: TransactionType::AdminAdjustment,
                    description: name.to_owned(),
                    details: Value::Null,
                    subscription_id: None,
                    coupon_id: None,
                    price_decision_id: None,
                    coupon_decision_id: None,
                };
                let key = format!("{name}:{number}:{other}");
                ledger::post(&mut conn, &self.clock, &mut wallet, &movement, &key, new)
                    .await
                    .unwrap();
            }
        }
        conn.commit().await.unwrap();
    }

    async fn faults(&self) -> Vec<String> {
        let found = ledger::verify(&self.db, &self.clock).await.unwrap();
        found.faults
    }
}

/// Returns the statement of a day, and the number of its parts.
async fn statement(db: &Db, user_id: UserId, day: DateTime<Utc>) -> (String, usize) {
    let first = calendar::date(Tz::UTC, day);
    let dates = Dates { first, last: first };
    let mut statement = Statement::open(db, user_id, dates, Tz::UTC).await.unwrap();
    let (mut text, mut parts) = (Vec::new(), 0);
    while let Some(part) = statement.part().await.unwrap() {
        text.extend(part);
        parts += 1;
    }
    (String::from_utf8(text).unwrap(), parts)
}

#[tokio::test]
async fn a_statement_is_the_same_with_and_without_blocks() {
    let database = TestDatabase::open().await;
    let (db, user_id) = (&database.db, database.user_id);
    let wallets = Wallets::new(db.clone(), database.clock.clone(), Settings::default());
    // At noon, so that what is posted together is of one day.
    let now = database.clock.now();
    let day = calendar::start_of_day(Tz::UTC, calendar::date(Tz::UTC, now));
    database.clock.advance(day + TimeDelta::hours(36) - now);
    let first = database.clock.now();
    database.post_many("first", 750).await;
    database.clock.advance(TimeDelta::days(1));
    let second = database.clock.now();
    database.post_many("second", 350).await;

    let (first_day, _) = statement(db, user_id, first).await;
    let (second_day, parts) = statement(db, user_id, second).await;
    assert_eq!(parts, 3, "every thousand is looked at");
    assert_eq!(second_day.lines().count(), 703);
    let opening = second_day.lines().nth(1).unwrap();
    assert!(
        opening.ends_with(",Opening balance,,,1500,750"),
        "{opening}"
    );
    assert!(second_day.ends_with(",Closing balance,,,2200,1100\n"));

    assert_eq!(close_blocks(&wallets).await.unwrap(), 2);
    assert_eq!(close_blocks(&wallets).await.unwrap(), 0, "once");
    assert_eq!(statement(db, user_id, first).await.0, first_day);
    assert_eq!(statement(db, user_id, second).await, (second_day, 2));
    assert_eq!(database.faults().await, Vec::<String>::new());

    // A block begins at the end of the one before it.
    database.post_many("third", 400).await;
    assert_eq!(close_blocks(&wallets).await.unwrap(), 1);
    assert_eq!(database.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn all_parts_are_in_the_language_in_which_a_statement_was_opened() {
    let database = TestDatabase::open().await;
    database.post_many("all", 600).await;
    let day = calendar::date(Tz::UTC, database.clock.now());
    let dates = Dates {
        first: day,
        last: day,
    };
    let opened = Statement::open(&database.db, database.user_id, dates, Tz::UTC);
    let opened = language::within(Some(Language::Indonesian), opened).await;
    let mut statement = opened.unwrap();
    for words in ["Saldo awal", "Saldo akhir"] {
        let part = statement.part().await.unwrap().unwrap();
        let part = String::from_utf8(part).unwrap();
        assert!(part.contains(words), "{part}");
    }
    assert!(statement.is_over());
}

#[tokio::test]
async fn a_block_that_says_something_else_is_a_fault() {
    let database = TestDatabase::open().await;
    let wallets = Wallets::new(
        database.db.clone(),
        database.clock.clone(),
        Settings::default(),
    );
    database.post_many("all", 500).await;
    assert_eq!(close_blocks(&wallets).await.unwrap(), 1);
    let change = "UPDATE ledger_blocks SET paid = paid + 1";
    let mut conn = database.db.begin().await.unwrap();
    execute!(conn, change).unwrap_err();
    execute!(conn, "DROP TRIGGER ledger_blocks_frozen").unwrap();
    execute!(conn, change).unwrap();
    conn.commit().await.unwrap();
    let faults = database.faults().await;
    let expected = format!(
        "Block 1 of wallet {} is not what its entries add up to.",
        database.user_id
    );
    assert_eq!(faults, [expected]);
}

#[tokio::test]
async fn a_block_in_the_place_of_others_is_a_fault() {
    let database = TestDatabase::open().await;
    let wallets = Wallets::new(
        database.db.clone(),
        database.clock.clone(),
        Settings::default(),
    );
    database.post_many("all", 1_000).await;
    assert_eq!(close_blocks(&wallets).await.unwrap(), 2);
    let expected = [format!(
        "The blocks of wallet {} have a gap, or are of entries that it does not have.",
        database.user_id
    )];
    let mut conn = database.db.begin().await.unwrap();
    execute!(conn, "DROP TRIGGER ledger_blocks_kept").unwrap();
    conn.commit().await.unwrap();
    for (change, back) in [
        (
            "INSERT INTO ledger_blocks (wallet_id, number, paid, bonus, first_at, last_at)
             SELECT wallet_id, 3, paid, bonus, first_at, last_at FROM ledger_blocks WHERE number = 2",
            "DELETE FROM ledger_blocks WHERE number = 3",
        ),
        (
            "INSERT INTO ledger_blocks (wallet_id, number, paid, bonus, first_at, last_at)
             SELECT wallet_id, 0, paid, bonus, first_at, last_at FROM ledger_blocks WHERE number = 1",
            "DELETE FROM ledger_blocks WHERE number = 0",
        ),
        ("DELETE FROM ledger_blocks WHERE number = 1", ""),
    ] {
        let mut conn = database.db.begin().await.unwrap();
        assert_eq!(execute!(conn, change).unwrap(), 1);
        conn.commit().await.unwrap();
        assert_eq!(database.faults().await, expected, "{change}");
        if !back.is_empty() {
            let mut conn = database.db.begin().await.unwrap();
            assert_eq!(execute!(conn, back).unwrap(), 1);
            conn.commit().await.unwrap();
            assert_eq!(database.faults().await, Vec::<String>::new());
        }
    }
}
