//! Deletion of an account: personal data are removed, the books stay, and money is settled first.
//!
//! Nothing is deleted while anything runs, is owed, or is on its way; credit that is left is given up
//! only if that was said. All of it is judged under the lock of the wallet, which every purchase and
//! every top-up takes first, and which is closed with the account.

use serde_json::json;
use uuid::Uuid;

use super::store;
use crate::{
    Code, Error, Result,
    accounts::{Accounts, deletion::Deleting},
    catalog::{Catalog, waitlist},
    coupons,
    crypto::Vault,
    db::{Clock, Conn},
    events, idempotency,
    ids::UserId,
    notifications, outbox, owners, plugins,
    provisioning::{domains, lifecycle},
    subscriptions::{self, Subscriptions},
    tickets,
    wallet::{self, Balance, LockedWallet},
    webhooks,
};

/// Deletes an account for its owner or by an administrator.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` with a detail for each thing that has to end first, and for the last
/// administrator; `FORBIDDEN` when the actor is no administrator any more.
pub async fn delete(
    (accounts, catalog): (&Accounts, &Catalog),
    by: Deleting<'_>,
    id: UserId,
    gives_up_credit: bool,
) -> Result<()> {
    let (mut conn, user) = accounts.begin_deletion(by, id).await?;
    let mut wallet = wallet::lock(&mut conn, id).await?;
    let obstacles = store::obstacles(&mut conn, id).await?;
    check(&obstacles, wallet.balance(), gives_up_credit)?;
    let balance = wallet.balance();
    let details = json!({ "paidGivenUp": balance.paid, "bonusGivenUp": balance.bonus });
    close(accounts, &mut conn, &mut wallet).await?;
    if coupons::was_welcomed(&mut conn, id).await? {
        accounts.keep_welcomed(&mut conn, &user.email).await?;
    }
    // Before the account's row is closed to others: what spreads a message holds it, and looks at that row.
    let messages = outbox::forget(&mut conn, id.into()).await?;
    outbox::forget_address(&mut conn, &user.email).await?;
    accounts.erase(&mut conn, by, user, details).await?;
    forget(&mut conn, id, &messages).await?;
    erase_decisions(&mut conn, accounts.vault(), accounts.clock(), id).await?;
    // Last, so that the rows of popular plans are not locked through all of it.
    waitlist::leave_all(&mut conn, catalog, id).await?;
    conn.commit().await?;
    accounts.forget_standing(id);
    tracing::info!(user.id = %id, "account.deleted");
    Ok(())
}

/// Takes the credit that is left, and closes the wallet for purchases and top-ups.
async fn close(accounts: &Accounts, conn: &mut Conn, wallet: &mut LockedWallet) -> Result<()> {
    let clock = accounts.clock();
    wallet::give_up(conn, clock, wallet).await?;
    wallet::close(conn, clock, wallet).await
}

/// Removes what other domains keep of a person.
async fn forget(conn: &mut Conn, id: UserId, messages: &[Uuid]) -> Result<()> {
    notifications::forget(conn, id).await?;
    tickets::forget(conn, id).await?;
    webhooks::forget(conn, id).await?;
    webhooks::forget_copies(conn, messages).await?;
    domains::forget(conn, id).await?;
    lifecycle::forget(conn, id).await?;
    subscriptions::forget(conn, id).await?;
    events::forget(conn, id).await?;
    idempotency::forget(conn, id).await
}

/// Erases what the decisions about an account say, once its row says that it is deleted.
async fn erase_decisions(conn: &mut Conn, vault: &Vault, clock: &Clock, id: UserId) -> Result<u64> {
    let now = clock.now();
    let erased = plugins::forget(conn, vault, id, now).await?;
    store::decisions_are_erased(conn, id, now).await?;
    Ok(erased)
}

/// Assigns failed looks at the health of instances that were recorded without an account to those of the instances, so
/// that they are erased with them.
async fn find_accounts_of_looks(shop: &Subscriptions) -> Result<()> {
    let mut last: Option<plugins::Look> = None;
    loop {
        let mut conn = shop.db.begin().await?;
        let mut looks = plugins::looks_without_account(&mut conn, last.as_ref()).await?;
        for look in &looks {
            find_account_of(&mut conn, look).await?;
        }
        conn.commit().await?;
        last = looks.pop();
        if last.is_none() {
            return Ok(());
        }
    }
}

async fn find_account_of(conn: &mut Conn, look: &plugins::Look) -> Result<()> {
    let Some(name) = &look.instance else {
        return Ok(());
    };
    let Some(owner) = lifecycle::owner_of_name(conn, name).await? else {
        return Ok(());
    };
    // A deletion under way ends before, and its account is noted again, or it begins after this and erases the look.
    owners::keep(conn, owner).await?;
    plugins::assign_look(conn, look.id, owner).await?;
    store::has_more_decisions(conn, owner).await?;
    Ok(())
}

/// Erases the decisions about accounts that a release without erasure has deleted, and failed looks at the health of
/// their instances that were recorded without an account; returns the number of decisions.
///
/// # Errors
/// When the database refuses; accounts that were done until then stay so.
pub async fn erase_decisions_of_deleted(shop: &Subscriptions) -> Result<u64> {
    find_accounts_of_looks(shop).await?;
    let mut erased = 0;
    loop {
        let mut conn = shop.db.begin().await?;
        let Some(id) = store::next_with_decisions(&mut conn).await? else {
            return Ok(erased);
        };
        erased += erase_decisions(&mut conn, &shop.instances.vault, &shop.clock, id).await?;
        conn.commit().await?;
    }
}

/// Refuses with a detail for each thing that has to end first.
fn check(obstacles: &store::Obstacles, balance: Balance, gives_up_credit: bool) -> Result<()> {
    let counted = [
        (
            "subscriptions",
            obstacles.subscriptions,
            "still to be cancelled",
        ),
        ("instances", obstacles.instances, "still to be removed"),
        ("topUps", obstacles.top_ups, "still to be paid or cancelled"),
        (
            "refunds",
            obstacles.refunds,
            "still to be answered by the gateway",
        ),
        ("debts", obstacles.debts, "still to be paid"),
    ];
    let message = "This account cannot be deleted yet.";
    let mut refusal = Error::new(Code::InvalidState, message);
    for (field, count, what) in counted {
        if count > 0 {
            refusal = refusal.with(field, format!("{count} {what}"));
        }
    }
    if balance.paid.is_positive() && !gives_up_credit {
        let message = format!(
            "the wallet holds {} of paid credit; spend it, ask for it back, or give it up",
            balance.paid
        );
        refusal = refusal.with("giveUpCredit", message);
    }
    if refusal.details.is_empty() {
        return Ok(());
    }
    Err(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Rupiah;

    const FREE: store::Obstacles = store::Obstacles {
        subscriptions: 0,
        instances: 0,
        top_ups: 0,
        refunds: 0,
        debts: 0,
    };

    fn obstacles(found: &store::Obstacles, paid: i64, bonus: i64, gives_up: bool) -> Vec<String> {
        let balance = Balance {
            paid: Rupiah::new(paid),
            bonus: Rupiah::new(bonus),
        };
        let refused = check(found, balance, gives_up).err();
        let details = refused.map(|error| error.details).unwrap_or_default();
        let told = details.into_iter();
        told.map(|detail| format!("{}: {}", detail.field, detail.message))
            .collect()
    }

    #[test]
    fn money_is_given_up_only_if_that_was_said() {
        let none: [&str; 0] = [];
        assert_eq!(obstacles(&FREE, 0, 0, false), none);
        assert_eq!(obstacles(&FREE, 1, 0, true), none);
        let told = "giveUpCredit: the wallet holds Rp1 of paid credit; spend it, ask for it back, or give it up";
        assert_eq!(obstacles(&FREE, 1, 0, false), [told]);
    }

    #[test]
    fn a_gift_is_no_obstacle() {
        assert!(obstacles(&FREE, 0, 1_000_000, false).is_empty());
    }

    /// A customer ends all of it at once, and not one after the other.
    #[test]
    fn everything_in_the_way_is_told_at_once() {
        let found = store::Obstacles {
            subscriptions: 1,
            instances: 2,
            top_ups: 3,
            refunds: 4,
            debts: 5,
        };
        let told = [
            "subscriptions: 1 still to be cancelled",
            "instances: 2 still to be removed",
            "topUps: 3 still to be paid or cancelled",
            "refunds: 4 still to be answered by the gateway",
            "debts: 5 still to be paid",
        ];
        assert_eq!(obstacles(&found, 0, 0, false), told);
        assert_eq!(obstacles(&found, 7, 0, true), told);
    }
}
