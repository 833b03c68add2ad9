//! Books over partitions: each partition has the wallets of its customers and its own part of the shop's accounts.
//!
//! An entry moves money between one wallet and accounts of the shop, as every entry of the shop's ledger does, so it is
//! written in the partition of its wallet alone. The shop's account is the sum of its parts.

use std::collections::BTreeMap;

/// Accounts, as the shop's ledger has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Account {
    WalletPaid,
    WalletBonus,
    Gateway,
    Revenue,
    Promotions,
    Refunds,
    Adjustments,
    Receivables,
}

/// Effect of an entry: on the wallet, and on accounts of the shop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Movement {
    pub(crate) paid: i64,
    pub(crate) bonus: i64,
    pub(crate) others: [(Account, i64); 2],
}

/// Credit of a customer in rupiah.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wallet {
    pub(crate) paid: i64,
    pub(crate) bonus: i64,
    /// Top-ups that were taken back after they were spent.
    pub(crate) debt: i64,
}

/// Sums of all accounts, in one partition or in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) accounts: BTreeMap<Account, i64>,
    pub(crate) entries: u64,
}

/// Sheets of all partitions, and what they would be in one ledger.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    sheets: Vec<Sheet>,
    whole: Sheet,
}

impl Account {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::WalletPaid,
        Self::WalletBonus,
        Self::Gateway,
        Self::Revenue,
        Self::Promotions,
        Self::Refunds,
        Self::Adjustments,
        Self::Receivables,
    ];

    /// Name in the shop's ledger.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WalletPaid => "WALLET_PAID",
            Self::WalletBonus => "WALLET_BONUS",
            Self::Gateway => "GATEWAY",
            Self::Revenue => "REVENUE",
            Self::Promotions => "PROMOTIONS",
            Self::Refunds => "REFUNDS",
            Self::Adjustments => "ADJUSTMENTS",
            Self::Receivables => "RECEIVABLES",
        }
    }
}

impl Movement {
    /// Money from or to one account of the shop.
    pub(crate) const fn with(account: Account, paid: i64, bonus: i64) -> Self {
        Self {
            paid,
            bonus,
            others: [(account, -(paid + bonus)), (Account::Adjustments, 0)],
        }
    }

    fn lines(self) -> impl Iterator<Item = (Account, i64)> {
        let own = [
            (Account::WalletPaid, self.paid),
            (Account::WalletBonus, self.bonus),
        ];
        let all = own.into_iter().chain(self.others);
        all.filter(|(_, amount)| *amount != 0)
    }
}

impl Wallet {
    pub(crate) const fn total(self) -> i64 {
        self.paid + self.bonus
    }

    /// Returns the payment of a price: bonus credit first, as the shop takes it.
    pub(crate) fn payment(self, price: i64) -> Movement {
        let bonus = self.bonus.min(price);
        Movement::with(Account::Revenue, bonus - price, -bonus)
    }
}

impl Sheet {
    fn add(&mut self, movement: Movement) {
        for (account, amount) in movement.lines() {
            *self.accounts.entry(account).or_default() += amount;
        }
        self.entries += 1;
    }

    pub(crate) fn of(&self, account: Account) -> i64 {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    fn sum(&self) -> i64 {
        self.accounts.values().sum()
    }
}

impl Books {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            sheets: vec![Sheet::default(); partitions.max(1)],
            whole: Sheet::default(),
        }
    }

    /// Sums over all partitions.
    pub(crate) const fn whole(&self) -> &Sheet {
        &self.whole
    }

    pub(crate) fn sheets(&self) -> &[Sheet] {
        &self.sheets
    }

    /// Begins to count entries: those before brought forward what was there.
    pub(crate) fn begin(&mut self) {
        for sheet in self.sheets.iter_mut().chain([&mut self.whole]) {
            sheet.entries = 0;
        }
    }

    /// Writes an entry into the partition of a wallet.
    ///
    /// # Errors
    /// When it does not balance, or the wallet does not hold enough.
    pub(crate) fn post(
        &mut self,
        partition: usize,
        wallet: &mut Wallet,
        movement: Movement,
    ) -> Result<(), String> {
        let sum: i64 = movement.lines().map(|(_, amount)| amount).sum();
        let (paid, bonus) = (wallet.paid + movement.paid, wallet.bonus + movement.bonus);
        if sum != 0 || paid < 0 || bonus < 0 {
            return Err(format!("{movement:?} does not fit to {wallet:?}"));
        }
        let sheet = self.sheets.get_mut(partition);
        let sheet = sheet.ok_or("a wallet in no partition")?;
        (wallet.paid, wallet.bonus) = (paid, bonus);
        sheet.add(movement);
        self.whole.add(movement);
        Ok(())
    }

    /// Proves the books: each partition balances and has what its wallets have, and all together are one ledger.
    ///
    /// # Errors
    /// A sentence about the first fault.
    pub(crate) fn check(
        &self,
        wallets: impl Iterator<Item = (usize, Wallet)>,
    ) -> Result<(), String> {
        let mut held = vec![(0_i64, 0_i64); self.sheets.len()];
        for (partition, wallet) in wallets {
            let sums = held.get_mut(partition).ok_or("a wallet in no partition")?;
            *sums = (sums.0 + wallet.paid, sums.1 + wallet.bonus);
        }
        let mut together = Sheet::default();
        for (number, (sheet, (paid, bonus))) in self.sheets.iter().zip(held).enumerate() {
            if sheet.sum() != 0 {
                return Err(format!("partition {number} is out by {}", sheet.sum()));
            }
            let booked = (
                sheet.of(Account::WalletPaid),
                sheet.of(Account::WalletBonus),
            );
            if booked != (paid, bonus) {
                return Err(format!("partition {number} has not what its wallets have"));
            }
            for (account, amount) in &sheet.accounts {
                *together.accounts.entry(*account).or_default() += amount;
            }
            together.entries += sheet.entries;
        }
        if together == self.whole {
            return Ok(());
        }
        Err("the partitions together are not the whole".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_kept_over_partitions() {
        let mut books = Books::new(3);
        let mut wallets = [Wallet::default(); 3];
        let top_up = Movement::with(Account::Gateway, 100, 0);
        for (partition, wallet) in wallets.iter_mut().enumerate() {
            books.post(partition, wallet, top_up).unwrap();
        }
        let gift = Movement::with(Account::Promotions, 0, 30);
        books.post(1, &mut wallets[1], gift).unwrap();
        let payment = wallets[1].payment(50);
        books.post(1, &mut wallets[1], payment).unwrap();
        let left = Wallet {
            paid: 80,
            ..Wallet::default()
        };
        assert_eq!(wallets[1], left);
        assert_eq!(wallets[1].total(), 80);
        books.check(wallets.into_iter().enumerate()).unwrap();
        let whole = books.whole();
        assert_eq!((whole.of(Account::Revenue), whole.entries), (50, 5));
        let mut later = books.clone();
        later.begin();
        later.check(wallets.into_iter().enumerate()).unwrap();
        assert_eq!(
            (later.whole().of(Account::Revenue), later.whole().entries),
            (50, 0)
        );
        assert_eq!(books.sheets()[1].of(Account::Gateway), -100);
    }

    #[test]
    fn an_entry_balances_and_overdraws_no_wallet() {
        let mut books = Books::new(1);
        let mut wallet = Wallet::default();
        let lopsided = Movement {
            paid: 5,
            bonus: 0,
            others: [(Account::Gateway, -5), (Account::Revenue, 1)],
        };
        assert!(books.post(0, &mut wallet, lopsided).is_err());
        let overdrawn = wallet.payment(1);
        assert!(books.post(0, &mut wallet, overdrawn).is_err());
        let nowhere = Movement::with(Account::Gateway, 5, 0);
        assert!(books.post(1, &mut wallet, nowhere).is_err());
        assert_eq!((wallet, books.whole().entries), (Wallet::default(), 0));
    }

    #[test]
    fn faults_are_noticed() {
        let mut books = Books::new(2);
        let mut wallet = Wallet::default();
        let top_up = Movement::with(Account::Gateway, 100, 0);
        books.post(0, &mut wallet, top_up).unwrap();
        // The wallet was moved, and its entries were not.
        let moved = books.check([(1, wallet)].into_iter()).unwrap_err();
        assert!(moved.contains("partition 0"), "{moved}");
        let mut torn = books.clone();
        torn.sheets[0].accounts.insert(Account::Gateway, -99);
        assert!(torn.check([(0, wallet)].into_iter()).is_err());
        let mut twice = books.clone();
        twice.sheets[1] = twice.sheets[0].clone();
        let wallets = [(0, wallet), (1, wallet)].into_iter();
        assert!(twice.check(wallets).unwrap_err().contains("whole"));
        books.check([(0, wallet)].into_iter()).unwrap();
    }

    #[test]
    fn accounts_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Account::ALL.map(Account::name).into();
        assert_eq!(names.len(), Account::ALL.len());
    }
}
