//! Entries of a ledger in any number, as the shop posts them: chained, balanced, and so good for a proof.

use dermaga_shop::{
    db::{Clock, Db},
    ids::UserId,
    money::Rupiah,
    wallet::{
        self, Account, NewTransaction, TransactionType,
        ledger::{self, Movement},
    },
};
use serde_json::Value;

/// Rupiah of each entry.
const AMOUNT: Rupiah = Rupiah::new(5);

/// Entries of one transaction, which are all in memory until it ends.
const TOGETHER: usize = 1_000;

/// Posts `each` top-ups to each wallet. Keys begin with `name`, which is another one each time.
pub async fn post(db: &Db, clock: &Clock, users: &[UserId], name: &str, each: usize) {
    let movement = Movement {
        paid: AMOUNT,
        bonus: Rupiah::ZERO,
        others: vec![(Account::Gateway, AMOUNT.negated())],
    };
    for user_id in users {
        for first in (0..each).step_by(TOGETHER) {
            let mut conn = db.begin().await.unwrap();
            let mut wallet = wallet::lock(&mut conn, *user_id).await.unwrap();
            for number in first..each.min(first + TOGETHER) {
                let key = format!("{user_id}-{name}-{number}");
                let new = top_up(*user_id);
                ledger::post(&mut conn, clock, &mut wallet, &movement, &key, new)
                    .await
                    .unwrap();
            }
            conn.commit().await.unwrap();
        }
    }
}

fn top_up(user_id: UserId) -> NewTransaction {
    NewTransaction {
        user_id,
        kind: TransactionType::TopUp,
        description: "Top-up".to_owned(),
        details: Value::Null,
        subscription_id: None,
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    }
}
