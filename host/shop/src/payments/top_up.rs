//! Beginning a top-up, asking about it, giving it up, paying it back.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Payment, PaymentMethod, PaymentState, Payments,
    asking::{self, Learned, News},
    gateway::PAGE_MINUTES,
    janitor, problem,
    settlement::{self, Applied},
    state::Claim,
    store,
};
use crate::{
    Code, Error, Result,
    crypto::Hidden,
    db::{Uncommitted, new_id},
    ids::{PaymentId, TransactionId, UserId},
    money::Rupiah,
    wallet::{self, TopUp, Transaction, TransactionNumber},
};

/// Smallest and largest top-up, in rupiah.
pub const SMALLEST_TOP_UP: i64 = 10_000;
pub const LARGEST_TOP_UP: i64 = 10_000_000;

/// A top-up whose payment page is open.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenTopUp {
    pub(super) transaction_id: TransactionId,
    /// `TXMP-101`
    #[schema(value_type = String)]
    pub(super) number: TransactionNumber,
    pub(super) amount: Rupiah,
    pub(super) payment_method: PaymentMethod,
    /// Token for Midtrans' own JavaScript (Snap).
    #[schema(value_type = String)]
    pub(super) token: Hidden,
    /// Goes with the token; absent when the shop has not set it.
    pub(super) client_key: Option<String>,
    /// Or send the customer here.
    pub(super) redirect_url: String,
    /// The page cannot be paid after this.
    pub(super) expires_at: DateTime<Utc>,
}

/// Begins a top-up: the transaction is written down first, then the gateway makes the payment page,
/// with no database transaction open. When it does not, the top-up is `FAILED`.
///
/// # Errors
/// `PAYMENTS_NOT_CONFIGURED`, `TOO_MANY_OPEN_TOP_UPS`, `BALANCE_CAP_EXCEEDED`, `TOO_MANY_REQUESTS`
/// for one customer's too many at once, `GATEWAY_UNAVAILABLE`, `GATEWAY_REFUSED`.
pub async fn begin(
    payments: &Payments,
    user_id: UserId,
    amount: Rupiah,
    method: PaymentMethod,
) -> Result<Uncommitted<OpenTopUp>> {
    let gateway = payments.gateway()?;
    payments.budget.spend(user_id, payments.clock.now())?;
    let (transaction, payment) = write_down(payments, user_id, amount, method).await?;
    let name = format!("Wallet top-up {}", transaction.number);
    let page = match gateway.create_page(&payment, &name).await {
        Ok(page) => page,
        Err(error) => {
            let mut conn = payments.db.begin().await?;
            let failed = Claim::Failed.into();
            settlement::apply(&mut conn, &payments.clock, &payment, &failed).await?;
            conn.commit().await?;
            return Err(error.into());
        }
    };
    let now = payments.clock.now();
    let mut conn = payments.db.begin().await?;
    let (token, url) = (&*page.token, page.redirect_url.as_str());
    if !store::keep_page(&mut conn, payment.id, token, url, now).await? {
        let message = "This top-up ended while its payment page was being created.";
        return Err(Error::new(Code::InvalidState, message).retry_after(1));
    }
    let open = OpenTopUp {
        transaction_id: transaction.id,
        number: transaction.number,
        amount,
        payment_method: method,
        token: page.token,
        client_key: payments.settings.midtrans.client_key.clone(),
        redirect_url: page.redirect_url,
        expires_at: payment.expires_at,
    };
    Ok(Uncommitted::new(conn, open))
}

async fn write_down(
    payments: &Payments,
    user_id: UserId,
    amount: Rupiah,
    method: PaymentMethod,
) -> Result<(Transaction, Payment)> {
    let (clock, now) = (&payments.clock, payments.clock.now());
    let mut conn = payments.db.begin().await?;
    let wallet = wallet::lock(&mut conn, user_id).await?;
    wallet.check_owner(&mut conn).await?;
    let most = payments.settings.open_top_ups;
    if store::count_awaited(&mut conn, user_id).await? >= most {
        return Err(too_many_open(most));
    }
    // Top-ups that wait to be paid count too.
    let awaited = store::awaited(&mut conn, user_id).await?;
    wallet::check_cap(&payments.wallets.settings, &wallet, awaited.plus(amount)?)?;
    let new = TopUp {
        user_id,
        amount,
        method: method.to_string(),
    };
    let transaction = wallet::announce_top_up(&mut conn, clock, &new).await?;
    let id = new_id(clock);
    let mut payment = Payment {
        id,
        transaction_id: transaction.id,
        user_id,
        order_id: order_id(&transaction, id),
        method,
        amount,
        state: PaymentState::Starting,
        credited: Rupiah::ZERO,
        reversed: Rupiah::ZERO,
        token: None,
        redirect_url: None,
        payment_type: None,
        fee: Rupiah::ZERO,
        expires_at: now + TimeDelta::minutes(PAGE_MINUTES),
        next_check_at: None,
        checks: 0,
        last_error: None,
        problem: None,
        created_at: now,
        updated_at: now,
    };
    payment.next_check_at = janitor::next_check(&payment, now);
    store::insert(&mut conn, &payment).await?;
    conn.commit().await?;
    Ok((transaction, payment))
}

fn too_many_open(most: i64) -> Error {
    let message = match most {
        1 => "You have a top-up waiting for payment. Pay or cancel it first.".to_owned(),
        _ => format!("You have {most} top-ups waiting for payment. Pay or cancel one first."),
    };
    Error::new(Code::TooManyOpenTopUps, message)
}

/// The gateway knows an order for ever; a number alone would come back with a fresh database.
fn order_id(transaction: &Transaction, id: PaymentId) -> String {
    let tail = Uuid::from(id).simple().to_string();
    let tail = tail.get(20..).unwrap_or(&tail);
    format!("{}-{tail}", transaction.number)
}

/// Cancels a waiting top-up, at the gateway too.
///
/// # Errors
/// `INVALID_STATE` when it does not wait any more, be it that it has just been paid, and when a
/// person must settle it; `TOO_MANY_REQUESTS`; `GATEWAY_UNAVAILABLE`, and nothing has changed then.
pub async fn cancel(payments: &Payments, payment: &Payment) -> Result<Payment> {
    let _turn = payments.turns.take(payment.id).await;
    let payment = asking::reread(payments, payment).await?;
    if !payment.state.is_waiting() {
        return Err(not_waiting(payment.state));
    }
    if payment.problem.is_some() {
        return Err(problem::refusal());
    }
    let gateway = payments.gateway()?;
    let now = payments.clock.now();
    payments.budget.spend(payment.user_id, now)?;
    let payment = if gateway.cancel(&payment).await? {
        give_up(payments, payment).await?
    } else {
        // Paid in the same moment, perhaps.
        let learned = asking::learn(payments, payment).await?.commit().await?;
        match learned {
            Learned {
                news: News::Unusable(_),
                ..
            } => return Err(problem::refusal()),
            Learned {
                payment,
                news: News::Nothing,
            } => give_up(payments, payment).await?,
            Learned { payment, .. } => payment,
        }
    };
    match payment.state {
        PaymentState::Cancelled => Ok(payment),
        other => Err(not_waiting(other)),
    }
}

/// Cancels here what the gateway has cancelled; a payment that has changed meanwhile is asked
/// about.
async fn give_up(payments: &Payments, payment: Payment) -> Result<Payment> {
    let mut conn = payments.db.begin().await?;
    let cancelled = Claim::Cancelled.into();
    match settlement::apply(&mut conn, &payments.clock, &payment, &cancelled).await? {
        Applied::Done(settled) => {
            conn.commit().await?;
            Ok(settled.payment)
        }
        Applied::Changed(fresh) => {
            drop(conn);
            Ok(asking::learn(payments, fresh)
                .await?
                .commit()
                .await?
                .payment)
        }
    }
}

fn not_waiting(state: PaymentState) -> Error {
    let message = format!("Only a pending top-up can be cancelled; this one is {state}.");
    Error::new(Code::InvalidState, message)
}
