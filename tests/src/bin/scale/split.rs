//! The books of a real shop, split by wallet as its partitions would have them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Outcome, model::Partitions};

/// Sums of accounts, by name.
type Sums = BTreeMap<String, i64>;

/// Books of a shop in partitions.
#[derive(Debug)]
pub(crate) struct Split {
    /// Wallets with an entry, in each partition.
    wallets: Vec<BTreeSet<Uuid>>,
    sums: Vec<Sums>,
}

/// Reads the books of a shop and splits them.
///
/// # Errors
/// When an entry touches two wallets, or a partition does not balance, or they are not the whole together.
pub(crate) async fn read(conn: &mut PgConnection, partitions: usize) -> Outcome<Split> {
    let across = "SELECT count(*) FROM journal_entries e JOIN transactions t ON t.id = e.transaction_id
                  JOIN postings p ON p.entry_id = e.id WHERE t.user_id <> e.wallet_id OR p.user_id <> e.wallet_id";
    let across: i64 = sqlx::query_scalar(across).fetch_one(&mut *conn).await?;
    if across > 0 {
        return Err(format!("{across} lines are of another wallet than their entry").into());
    }
    let lines = "SELECT e.wallet_id, p.account, sum(p.amount)::bigint FROM postings p
                 JOIN journal_entries e ON e.id = p.entry_id GROUP BY e.wallet_id, p.account";
    let lines: Vec<(Uuid, String, i64)> = sqlx::query_as(lines).fetch_all(&mut *conn).await?;
    let whole = "SELECT account, sum(amount)::bigint FROM postings GROUP BY account";
    let whole: Vec<(String, i64)> = sqlx::query_as(whole).fetch_all(&mut *conn).await?;
    let split = Split::of(&lines, &Partitions::new(partitions))?;
    split.check(&whole.into_iter().collect())?;
    Ok(split)
}

impl Split {
    /// Puts the sums of each wallet into its partition.
    fn of(lines: &[(Uuid, String, i64)], partitions: &Partitions) -> Result<Self, String> {
        let mut split = Self {
            wallets: vec![BTreeSet::new(); partitions.count()],
            sums: vec![Sums::new(); partitions.count()],
        };
        for (wallet, account, amount) in lines {
            let place = partitions.of(wallet.as_u128());
            let wallets = split.wallets.get_mut(place);
            let sums = split.sums.get_mut(place);
            let (wallets, sums) = wallets.zip(sums).ok_or("a wallet in no partition")?;
            wallets.insert(*wallet);
            *sums.entry(account.clone()).or_default() += amount;
        }
        Ok(split)
    }

    fn check(&self, whole: &Sums) -> Result<(), String> {
        let mut together = Sums::new();
        for (place, sums) in self.sums.iter().enumerate() {
            let rest: i64 = sums.values().sum();
            if rest != 0 {
                return Err(format!("partition {place} is out by {rest}"));
            }
            for (account, amount) in sums {
                *together.entry(account.clone()).or_default() += amount;
            }
        }
        if together == *whole {
            return Ok(());
        }
        Err("the partitions together are not the shop's books".to_owned())
    }

    fn sizes(&self) -> impl Iterator<Item = usize> + Clone {
        self.wallets.iter().map(BTreeSet::len)
    }

    pub(crate) fn line(&self) -> String {
        let (least, most) = (self.sizes().min(), self.sizes().max());
        format!(
            "the books of these {} wallets in {} partitions ({} to {} wallets): each balances alone, together they are \
             the shop's; no entry touches two wallets",
            self.sizes().sum::<usize>(),
            self.wallets.len(),
            least.unwrap_or_default(),
            most.unwrap_or_default()
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "wallets": self.sizes().collect::<Vec<_>>(), "accounts": self.sums })
    }
}

#[cfg(test)]
mod tests {
    use dermaga_shop::{
        db::{Clock, new_id},
        ids::UserId,
        wallet::Account,
    };

    use super::*;
    use crate::model;

    fn wallet(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn entry(number: u128, amount: i64) -> [(Uuid, String, i64); 2] {
        [
            (wallet(number), "WALLET_PAID".to_owned(), amount),
            (wallet(number), "GATEWAY".to_owned(), -amount),
        ]
    }

    fn whole(amount: i64) -> Sums {
        let accounts = [("WALLET_PAID", amount), ("GATEWAY", -amount)];
        accounts.map(|(name, sum)| (name.to_owned(), sum)).into()
    }

    #[test]
    fn books_are_split_by_wallet_and_lose_nothing() {
        let lines: Vec<_> = (0..50).flat_map(|number| entry(number, 10)).collect();
        let split = Split::of(&lines, &Partitions::new(4)).unwrap();
        split.check(&whole(500)).unwrap();
        assert_eq!(split.sizes().sum::<usize>(), 50);
        assert!(split.sizes().all(|size| size > 0), "{split:?}");
        assert!(split.line().contains("50 wallets in 4 partitions"));
        assert!(split.check(&whole(501)).is_err());
        let torn = Split::of(&lines[..99], &Partitions::new(4)).unwrap();
        assert!(torn.check(&whole(500)).unwrap_err().contains("out by"));
    }

    /// The model's ids and accounts are those of the shop.
    #[test]
    fn the_shop_is_what_the_model_takes_it_for() {
        let clock = Clock::movable();
        let partitions = Partitions::new(16);
        let mut sizes = vec![0_u64; partitions.count()];
        for _ in 0..100_000 {
            let id: UserId = new_id(&clock);
            let id = Uuid::from(id);
            assert_eq!(id.get_version_num(), 7);
            sizes[partitions.of(id.as_u128())] += 1;
        }
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(*least > 5_900 && *most < 6_600, "{sizes:?}");
        let shop: Vec<&str> = Account::ALL
            .iter()
            .map(|account| account.as_str())
            .collect();
        assert_eq!(shop, model::account_names());
    }
}
