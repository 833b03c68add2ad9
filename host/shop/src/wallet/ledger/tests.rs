//! Postings to the wallet of one customer, on a real database.

use super::*;
use crate::{
    fetch_all,
    ids::{EntryId, TransactionId, UserId},
    test_database::TestDatabase,
    wallet::{self, Balance, Payment, TopUp},
};

fn rupiah(amount: i64) -> Rupiah {
    Rupiah::new(amount)
}

fn movement(paid: i64, bonus: i64, others: &[(Account, i64)]) -> Movement {
    let others = others
        .iter()
        .map(|(account, amount)| (*account, rupiah(*amount)));
    Movement {
        paid: rupiah(paid),
        bonus: rupiah(bonus),
        others: others.collect(),
    }
}

fn gift(amount: i64) -> Movement {
    movement(0, amount, &[(Account::Promotions, -amount)])
}

fn new(database: &TestDatabase, kind: TransactionType) -> NewTransaction {
    NewTransaction {
        user_id: database.user_id,
        kind,
        description: "As a test does.".to_owned(),
        details: json!({}),
        subscription_id: None,
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    }
}

impl TestDatabase {
    async fn post(&self, key: &str, movement: &Movement) -> Result<Transaction> {
        let mut conn = self.db.begin().await.unwrap();
        let mut wallet = wallet::lock(&mut conn, self.user_id).await?;
        let new = new(self, TransactionType::AdminAdjustment);
        let posted = post(&mut conn, &self.clock, &mut wallet, movement, key, new).await?;
        conn.commit().await?;
        Ok(posted)
    }

    async fn top_up(&self, amount: i64, key: &str) -> Result<Transaction> {
        let (clock, mut conn) = (&self.clock, self.db.begin().await.unwrap());
        let asked = TopUp {
            user_id: self.user_id,
            amount: rupiah(amount),
            method: "QRIS".to_owned(),
        };
        let announced = wallet::announce_top_up(&mut conn, clock, &asked).await?;
        let mut wallet = wallet::lock(&mut conn, self.user_id).await?;
        let credited = wallet::credit(&mut conn, clock, &mut wallet, announced, key).await?;
        conn.commit().await?;
        Ok(credited)
    }

    async fn pay(&self, price: i64, discount: i64) -> Result<Payment> {
        let (clock, mut conn) = (&self.clock, self.db.begin().await.unwrap());
        let mut wallet = wallet::lock(&mut conn, self.user_id).await?;
        let new = new(self, TransactionType::Subscription);
        let (price, discount) = (rupiah(price), rupiah(discount));
        let paid = wallet::pay(&mut conn, clock, &mut wallet, price, discount, "pay", new).await?;
        conn.commit().await?;
        Ok(paid)
    }

    async fn wallet(&self) -> WalletRow {
        let mut conn = self.db.read().await.unwrap();
        store::wallet(&mut conn, self.user_id)
            .await
            .unwrap()
            .unwrap()
    }

    async fn holds(&self, paid: i64, bonus: i64) {
        let (paid, bonus) = (rupiah(paid), rupiah(bonus));
        assert_eq!(self.wallet().await.balance(), Balance { paid, bonus });
    }

    /// The postings of a transaction, in the order of their accounts.
    async fn postings(&self, transaction: &Transaction) -> Vec<(Account, i64)> {
        let mut conn = self.db.read().await.unwrap();
        let sql =
            "SELECT p.account, p.amount FROM postings p JOIN journal_entries e ON e.id = p.entry_id
                   WHERE e.transaction_id = $1 ORDER BY p.account";
        fetch_all!(conn, (Account, i64), sql, transaction.id).unwrap()
    }

    async fn books_hold(&self) {
        let found = verify(&self.db, &self.clock).await.unwrap();
        assert_eq!(found.faults, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_top_up_is_paid_credit_from_the_gateway() {
    let database = TestDatabase::open().await;
    let credited = database.top_up(75_000, "gateway:1").await.unwrap();
    database.holds(75_000, 0).await;
    let expected = [(Account::Gateway, -75_000), (Account::WalletPaid, 75_000)];
    assert_eq!(database.postings(&credited).await, expected);
    let balances = (credited.balance_before, credited.balance_after);
    assert_eq!(balances, (Some(rupiah(0)), Some(rupiah(75_000))));
    assert_eq!(credited.status, TransactionStatus::Completed);
    assert_eq!(database.wallet().await.total_top_up, rupiah(75_000));
    database.books_hold().await;
}

/// Revenue is the price before the coupon, whose worth is a cost of promotions.
#[tokio::test]
async fn a_purchase_takes_bonus_first_and_cash_for_the_rest() {
    let database = TestDatabase::open().await;
    database.top_up(40_000, "gateway:1").await.unwrap();
    database.post("gift:1", &gift(15_000)).await.unwrap();
    let paid = database.pay(50_000, 10_000).await.unwrap();
    assert_eq!((paid.cash, paid.bonus), (rupiah(25_000), rupiah(15_000)));
    database.holds(15_000, 0).await;
    let expected = [
        (Account::Promotions, -10_000),
        (Account::Revenue, 50_000),
        (Account::WalletBonus, -15_000),
        (Account::WalletPaid, -25_000),
    ];
    assert_eq!(database.postings(&paid.transaction).await, expected);
    assert_eq!(paid.transaction.amount, rupiah(-40_000));
    let wallet = database.wallet().await;
    let totals = (wallet.total_spent, wallet.total_top_up);
    assert_eq!(totals, (rupiah(40_000), rupiah(40_000)));
    database.books_hold().await;
}

#[tokio::test]
async fn a_purchase_that_bonus_covers_leaves_the_cash() {
    let database = TestDatabase::open().await;
    database.top_up(40_000, "gateway:1").await.unwrap();
    database.post("gift:1", &gift(60_000)).await.unwrap();
    let paid = database.pay(50_000, 0).await.unwrap();
    assert_eq!((paid.cash, paid.bonus), (rupiah(0), rupiah(50_000)));
    database.holds(40_000, 10_000).await;
}

#[tokio::test]
async fn a_refund_returns_each_kind_of_credit_as_it_was() {
    let database = TestDatabase::open().await;
    database.top_up(40_000, "gateway:1").await.unwrap();
    database.post("gift:1", &gift(15_000)).await.unwrap();
    let paid = database.pay(50_000, 0).await.unwrap();
    database.holds(5_000, 0).await;
    let (clock, mut conn) = (&database.clock, database.db.begin().await.unwrap());
    let mut wallet = wallet::lock(&mut conn, database.user_id).await.unwrap();
    let new = new(&database, TransactionType::Refund);
    let back = (paid.cash, paid.bonus);
    let refund = wallet::give_back(&mut conn, clock, &mut wallet, back, "refund:1", new)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    database.holds(40_000, 15_000).await;
    let expected = [
        (Account::Refunds, -50_000),
        (Account::WalletBonus, 15_000),
        (Account::WalletPaid, 35_000),
    ];
    assert_eq!(database.postings(&refund).await, expected);
    assert_eq!(database.wallet().await.total_spent, rupiah(50_000));
    database.books_hold().await;
}

#[tokio::test]
async fn a_purchase_beyond_the_balance_is_refused_with_what_is_missing() {
    let database = TestDatabase::open().await;
    database.top_up(40_000, "gateway:1").await.unwrap();
    database.post("gift:1", &gift(5_000)).await.unwrap();
    let refused = database.pay(45_001, 0).await.unwrap_err();
    assert_eq!(refused.code, Code::InsufficientCredit);
    assert_eq!(refused.details[0].message, "1");
    database.holds(40_000, 5_000).await;
    database.pay(45_001, 1).await.unwrap();
    database.holds(0, 0).await;
}

/// One kind of credit never pays for the other.
#[tokio::test]
async fn no_balance_becomes_negative() {
    let database = TestDatabase::open().await;
    database.top_up(10_000, "gateway:1").await.unwrap();
    database.post("gift:1", &gift(10_000)).await.unwrap();
    for (paid, bonus) in [(-10_001, 0), (0, -10_001), (-10_001, 10_001)] {
        let taken = movement(paid, bonus, &[(Account::Adjustments, -(paid + bonus))]);
        let refused = database.post("take", &taken).await.unwrap_err();
        assert_eq!(refused.code, Code::InsufficientCredit, "{paid} {bonus}");
    }
    database.holds(10_000, 10_000).await;
    assert_eq!(database.wallet().await.entries, 2);
    let all = movement(-10_000, -10_000, &[(Account::Adjustments, 20_000)]);
    database.post("take", &all).await.unwrap();
    database.holds(0, 0).await;
}

#[tokio::test]
async fn postings_that_do_not_balance_are_refused_whole() {
    let database = TestDatabase::open().await;
    for others in [&[(Account::Promotions, -999)][..], &[]] {
        let crooked = movement(0, 1_000, others);
        let refused = database.post("crooked", &crooked).await.unwrap_err();
        assert_eq!(refused.code, Code::Internal, "{others:?}");
    }
    database.holds(0, 0).await;
    let left = database.number("SELECT count(*) FROM transactions").await;
    assert_eq!(left, 0);
    database.books_hold().await;
}

#[tokio::test]
async fn an_amount_that_cannot_be_counted_is_refused() {
    let database = TestDatabase::open().await;
    database.post("gift:1", &gift(i64::MAX)).await.unwrap();
    assert!(database.post("gift:2", &gift(1)).await.is_err());
    assert!(database.top_up(1, "gateway:1").await.is_err());
    database.holds(0, i64::MAX).await;
}

#[tokio::test]
async fn an_idempotency_key_is_posted_once() {
    let database = TestDatabase::open().await;
    database.post("gift:1", &gift(1_000)).await.unwrap();
    for again in [gift(1_000), gift(2_000)] {
        let refused = database.post("gift:1", &again).await.unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
    }
    let refused = database.top_up(5_000, "gift:1").await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    database.holds(0, 1_000).await;
    let left = database.number("SELECT count(*) FROM transactions").await;
    assert_eq!(left, 1);
    database.post("gift:2", &gift(1_000)).await.unwrap();
    database.holds(0, 2_000).await;
}

#[tokio::test]
async fn an_announced_top_up_is_credited_once() {
    let database = TestDatabase::open().await;
    let credited = database.top_up(5_000, "gateway:1").await.unwrap();
    let (clock, mut conn) = (&database.clock, database.db.begin().await.unwrap());
    let mut wallet = wallet::lock(&mut conn, database.user_id).await.unwrap();
    let again = wallet::credit(&mut conn, clock, &mut wallet, credited, "gateway:2").await;
    assert_eq!(again.unwrap_err().code, Code::Conflict);
    conn.rollback().await.unwrap();
    database.holds(5_000, 0).await;
}

#[tokio::test]
async fn a_free_purchase_is_a_transaction_without_an_entry() {
    let database = TestDatabase::open().await;
    let paid = database.pay(0, 0).await.unwrap();
    assert_eq!(paid.transaction.status, TransactionStatus::Completed);
    assert_eq!(database.postings(&paid.transaction).await, []);
    let wallet = database.wallet().await;
    assert_eq!(wallet.entries, 0);
    assert_eq!(wallet.head_hash, genesis(database.user_id));
    database.books_hold().await;
}

#[tokio::test]
async fn each_entry_continues_the_chain_from_the_genesis_to_the_head() {
    let database = TestDatabase::open().await;
    for number in 1..=3 {
        let key = format!("gift:{number}");
        database.post(&key, &gift(number * 1_000)).await.unwrap();
    }
    let mut conn = database.db.read().await.unwrap();
    let sql = "SELECT position, previous_hash, hash FROM journal_entries ORDER BY position";
    let entries = fetch_all!(conn, (i64, String, String), sql).unwrap();
    let mut head = genesis(database.user_id);
    for ((position, previous, hash), expected) in entries.into_iter().zip(1..) {
        assert_eq!((position, previous), (expected, head));
        head = hash;
    }
    let wallet = database.wallet().await;
    assert_eq!((wallet.entries, wallet.head_hash), (3, head));
    database.books_hold().await;
}

/// Two wallets whose entries are alike have chains of their own.
#[test]
fn a_hash_covers_every_part_of_an_entry() {
    let user_id = UserId::from_u128(1);
    let entry = EntryRow {
        id: EntryId::from_u128(2),
        transaction_id: TransactionId::from_u128(3),
        wallet_id: user_id,
        position: 1,
        posted_at: chrono::DateTime::UNIX_EPOCH,
        previous_hash: genesis(user_id),
        hash: String::new(),
        idempotency_key: "gift:1".to_owned(),
    };
    let lines = gift(1_000).postings(user_id);
    let changes: [fn(&mut EntryRow); 7] = [
        |entry| entry.id = EntryId::from_u128(9),
        |entry| entry.transaction_id = TransactionId::from_u128(9),
        |entry| entry.wallet_id = UserId::from_u128(9),
        |entry| entry.position = 2,
        |entry| entry.posted_at += chrono::TimeDelta::milliseconds(1),
        |entry| entry.previous_hash = genesis(UserId::from_u128(9)),
        |entry| entry.idempotency_key = "gift:2".to_owned(),
    ];
    let mut seen = std::collections::HashSet::from([hash(&entry, &lines)]);
    for change in changes {
        let mut changed = entry.clone();
        change(&mut changed);
        assert!(seen.insert(hash(&changed, &lines)), "{changed:?}");
    }
    assert!(seen.insert(hash(&entry, &gift(1_001).postings(user_id))));
    let elsewhere = gift(1_000).postings(UserId::from_u128(9));
    assert!(seen.insert(hash(&entry, &elsewhere)));
}
