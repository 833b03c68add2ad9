//! Beginning a top-up, asking about it, giving it up, paying it back.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Payment, PaymentMethod, PaymentState, Payments,
    asking::{self, Learned, News},
    gateway::PAGE_MINUTES,
    janitor, page, problem,
    settlement::{self, Applied},
    state::Claim,
    store,
};
use crate::{
    Code, Error, Result,
    crypto::Hidden,
    db::{Conn, Uncommitted, new_id},
    ids::{PaymentId, TransactionId, UserId},
    money::Rupiah,
    wallet::{self, LockedWallet, TopUp, Transaction, TransactionNumber},
};

/// Smallest and largest top-up, in rupiah.
pub const SMALLEST_TOP_UP: i64 = 10_000;
pub const LARGEST_TOP_UP: i64 = 10_000_000;
/// Time for which an unanswered request is known, as long as an `Idempotency-Key`.
const KNOWN: TimeDelta = TimeDelta::hours(24);
/// Orders that one request makes at the most: a second one where the gateway has a page of the first
/// that never arrived.
const ORDERS: usize = 2;
/// Attempts to cancel one top-up that changes meanwhile.
const ROUNDS: usize = 3;

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
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) expires_at: DateTime<Utc>,
}

/// A top-up that a customer asks for.
#[derive(Debug, Clone)]
pub struct NewTopUp {
    pub user_id: UserId,
    pub amount: Rupiah,
    pub method: PaymentMethod,
    /// Names the request by its `Idempotency-Key`, so that a repetition is the same top-up.
    pub intent: Option<String>,
}

/// Begins a top-up: the transaction is written down first, then the gateway makes the payment page,
/// with no database transaction open, and the page is kept. A repeated request continues after the
/// last of these steps that was taken. When the gateway refuses, the top-up is `FAILED`; also when it
/// does not answer, unless the request can be repeated.
///
/// # Errors
/// `PAYMENTS_NOT_CONFIGURED`, `TOO_MANY_OPEN_TOP_UPS`, `BALANCE_CAP_EXCEEDED`, `TOO_MANY_REQUESTS`
/// for one customer's too many at once, `GATEWAY_UNAVAILABLE`, `GATEWAY_REFUSED`; `CONFLICT` when it was
/// cancelled before its page was there, also for a repetition of the request.
pub async fn begin(payments: &Payments, new: &NewTopUp) -> Result<Uncommitted<OpenTopUp>> {
    payments.gateway()?;
    payments.budget.spend(new.user_id, payments.clock.now())?;
    for _ in 0..ORDERS {
        let payment = write_down(payments, new).await?;
        let _turn = payments.turns.take(payment.id).await;
        let payment = asking::reread(payments, &payment).await?;
        if let Some(payment) = with_page(payments, new, payment).await? {
            return answer(payments, new, payment).await;
        }
    }
    Err(Error::new(
        Code::GatewayRefused,
        "The payment gateway refused this.",
    ))
}

/// Returns the top-up with its page, for which the gateway is asked if need be; `None` when it has
/// ended without money.
async fn with_page(
    payments: &Payments,
    new: &NewTopUp,
    payment: Payment,
) -> Result<Option<Payment>> {
    if payment.problem.is_some() {
        return Err(problem::refusal());
    }
    if payment.state == PaymentState::Cancelled {
        return Err(page::cancelled());
    }
    if !page::is_missing(&payment) {
        let is_good = payment.state.is_waiting() || payment.credited.is_positive();
        return Ok(is_good.then_some(payment));
    }
    let opened = Box::pin(page::open(payments, &payment)).await;
    if let Err(error) = &opened {
        not_opened(payments, new, &payment, error).await?;
    }
    opened
}

/// Ends a top-up that got no page. One that the gateway has not answered waits for the repetition of
/// its request.
async fn not_opened(
    payments: &Payments,
    new: &NewTopUp,
    payment: &Payment,
    error: &Error,
) -> Result<()> {
    match (error.code, &new.intent) {
        (Code::GatewayRefused, _) | (Code::GatewayUnavailable, None) => {
            let failed = Claim::Failed.into();
            let mut conn = payments.db.begin().await?;
            settlement::apply(&mut conn, &payments.clock, payment, &failed).await?;
            conn.commit().await?;
        }
        (Code::GatewayUnavailable, Some(_)) => {
            asking::failed(payments, payment, error).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Answers with the page of a top-up. Its request is known by this answer from the commit on.
async fn answer(
    payments: &Payments,
    new: &NewTopUp,
    payment: Payment,
) -> Result<Uncommitted<OpenTopUp>> {
    let (Some(token), Some(redirect_url)) = (payment.token, payment.redirect_url) else {
        let message = "This top-up has been paid already.";
        return Err(Error::new(Code::InvalidState, message));
    };
    let mut conn = payments.db.begin().await?;
    let transaction = wallet::transaction(&mut conn, payment.transaction_id).await?;
    if new.intent.is_some() {
        store::forget_intent(&mut conn, payment.id).await?;
    }
    // Another server may have cancelled it since its page was kept; the request is not forgotten then.
    let now_is = store::by_id(&mut conn, payment.id).await?;
    if now_is.is_some_and(|payment| payment.state == PaymentState::Cancelled) {
        return Err(page::cancelled());
    }
    let open = OpenTopUp {
        transaction_id: transaction.id,
        number: transaction.number,
        amount: payment.amount,
        payment_method: payment.method,
        token,
        client_key: payments.settings.midtrans.client_key.clone(),
        redirect_url,
        expires_at: payment.expires_at,
    };
    Ok(Uncommitted::new(conn, open))
}

/// Writes a top-up down, unless an earlier request with the same intent did.
async fn write_down(payments: &Payments, new: &NewTopUp) -> Result<Payment> {
    let (clock, now) = (&payments.clock, payments.clock.now());
    let question = payments.page_question();
    let mut conn = payments.db.begin().await?;
    let wallet = wallet::lock(&mut conn, new.user_id).await?;
    wallet.check_owner(&mut conn).await?;
    if let Some(known) = repeated(&mut conn, new, now).await? {
        if page::is_missing(&known) {
            store::ask_again(&mut conn, known.id, question).await?;
        }
        conn.commit().await?;
        return Ok(known);
    }
    check_limits(payments, &mut conn, &wallet, new.amount).await?;
    let top_up = TopUp {
        user_id: new.user_id,
        amount: new.amount,
        method: new.method.to_string(),
    };
    let transaction = wallet::announce_top_up(&mut conn, clock, &top_up).await?;
    let id = new_id(clock);
    let mut payment = Payment {
        id,
        transaction_id: transaction.id,
        user_id: new.user_id,
        order_id: order_id(&transaction, id),
        method: new.method,
        amount: new.amount,
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
    store::insert(&mut conn, &payment, new.intent.as_deref(), question).await?;
    conn.commit().await?;
    Ok(payment)
}

/// Finds the top-up that an unanswered request with the same intent wrote down. One that cannot be
/// paid any more leaves the intent to another, unless its customer has cancelled it.
async fn repeated(conn: &mut Conn, new: &NewTopUp, now: DateTime<Utc>) -> Result<Option<Payment>> {
    let Some(intent) = &new.intent else {
        return Ok(None);
    };
    let Some(known) = store::of_intent(conn, intent).await? else {
        return Ok(None);
    };
    let is_payable = known.token.is_none() || now < known.expires_at;
    let is_open = known.state.is_waiting() && is_payable;
    let is_settled = known.credited.is_positive() || known.state == PaymentState::Cancelled;
    if now < known.created_at + KNOWN && (is_open || is_settled) {
        return Ok(Some(known));
    }
    store::forget_intent(conn, known.id).await?;
    Ok(None)
}

/// Refuses more than a customer may have waiting, or hold. Top-ups that got no page, and for which no
/// server asks any more, are given up first and do not count.
async fn check_limits(
    payments: &Payments,
    conn: &mut Conn,
    wallet: &LockedWallet,
    amount: Rupiah,
) -> Result<()> {
    let user_id = wallet.user_id;
    let failed = Claim::Failed.into();
    for left in store::without_page(conn, user_id, payments.clock.now()).await? {
        settlement::apply(conn, &payments.clock, &left, &failed).await?;
    }
    let most = payments.settings.open_top_ups;
    if store::count_awaited(conn, user_id).await? >= most {
        return Err(too_many_open(most));
    }
    // Top-ups that wait to be paid count too.
    let awaited = store::awaited(conn, user_id).await?;
    wallet::check_cap(&payments.wallets.settings, wallet, awaited.plus(amount)?)
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
    // The end of an id is random; its beginning is the time.
    let tail = tail.get(20..).unwrap_or(&tail);
    format!("{}-{tail}", transaction.number)
}

/// Cancels a waiting top-up, at the gateway too.
///
/// # Errors
/// `INVALID_STATE` when it does not wait any more, be it that it has just been paid, and when a
/// person must settle it; `TOO_MANY_REQUESTS`; `GATEWAY_REFUSED`, or `GATEWAY_UNAVAILABLE`, and nothing has
/// changed then.
pub async fn cancel(payments: &Payments, payment: &Payment) -> Result<Payment> {
    // The request that waits for the page has the turn, and finds the cancellation by itself.
    let _turn = if page::is_missing(payment) {
        None
    } else {
        Some(payments.turns.take(payment.id).await)
    };
    let mut seen = asking::reread(payments, payment).await?;
    check_waiting(&seen)?;
    payments.gateway()?;
    payments.budget.spend(seen.user_id, payments.clock.now())?;
    for _ in 0..ROUNDS {
        let found = end(payments, seen.clone()).await?;
        if found.state == PaymentState::Cancelled {
            return Ok(found);
        }
        check_waiting(&found)?;
        if (found.state, &found.redirect_url) == (seen.state, &seen.redirect_url) {
            let message =
                "The payment gateway does not cancel this top-up now. Try again in a moment.";
            return Err(Error::new(Code::GatewayRefused, message).retry_after(30));
        }
        // Its page has arrived meanwhile, and must be closed, too.
        seen = found;
    }
    Err(asking::is_changing())
}

/// Cancels a top-up at the gateway, and here when the gateway has; returns it as it is then.
async fn end(payments: &Payments, payment: Payment) -> Result<Payment> {
    if payments.gateway()?.cancel(&payment).await? {
        return give_up(payments, payment).await;
    }
    // Paid in the same moment, perhaps.
    let learned = asking::learn(payments, payment).await?.commit().await?;
    match learned {
        Learned {
            news: News::Unusable(_),
            ..
        } => Err(problem::refusal()),
        Learned {
            payment,
            news: News::Nothing,
        } => give_up(payments, payment).await,
        Learned { payment, .. } => Ok(payment),
    }
}

/// Cancels here what the gateway has cancelled; a payment that has ended meanwhile is asked about.
async fn give_up(payments: &Payments, payment: Payment) -> Result<Payment> {
    let mut conn = payments.db.begin().await?;
    let cancelled = Claim::Cancelled.into();
    match settlement::apply(&mut conn, &payments.clock, &payment, &cancelled).await? {
        Applied::Done(settled) => {
            conn.commit().await?;
            Ok(settled.payment)
        }
        Applied::Changed(fresh) if fresh.state.is_waiting() => Ok(fresh),
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

/// Refuses to cancel what does not wait any more, or must be settled by a person.
fn check_waiting(payment: &Payment) -> Result<()> {
    if !payment.state.is_waiting() {
        let message = format!(
            "Only a pending top-up can be cancelled; this one is {}.",
            payment.state
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    match payment.problem {
        Some(_) => Err(problem::refusal()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sqlx::types::Json;

    use super::*;
    use crate::{
        payments::model::tests::payment,
        wallet::{TransactionStatus, TransactionType},
    };

    fn transaction(number: &str) -> Transaction {
        Transaction {
            id: TransactionId::from_u128(1),
            number: number.parse().unwrap(),
            user_id: UserId::from_u128(2),
            kind: TransactionType::TopUp,
            status: TransactionStatus::Pending,
            amount: Rupiah::new(10_000),
            balance_before: None,
            balance_after: None,
            description: String::new(),
            details: Json(Value::Null),
            subscription_id: None,
            coupon_id: None,
            price_decision_id: None,
            coupon_decision_id: None,
            created_at: DateTime::UNIX_EPOCH,
            completed_at: None,
        }
    }

    /// Midtrans takes at most 50 of these characters.
    #[test]
    fn the_name_of_an_order_fits_at_the_gateway() {
        for number in ["TXMP-101", "TXMP-9223372036854775807"] {
            let name = order_id(&transaction(number), PaymentId::from_u128(u128::MAX));
            assert_eq!(name, format!("{number}-ffffffffffff"));
            assert!(name.len() <= 50, "{name}");
        }
        let [one, other] = [1, 2].map(PaymentId::from_u128);
        let named = transaction("TXMP-101");
        assert_ne!(order_id(&named, one), order_id(&named, other));
    }

    #[test]
    fn the_open_top_ups_are_counted_in_the_refusal() {
        for (most, told) in [
            (
                1,
                "You have a top-up waiting for payment. Pay or cancel it first.",
            ),
            (
                5,
                "You have 5 top-ups waiting for payment. Pay or cancel one first.",
            ),
        ] {
            let refused = too_many_open(most);
            assert_eq!(
                (refused.code, refused.message.as_str()),
                (Code::TooManyOpenTopUps, told)
            );
        }
    }

    #[test]
    fn only_a_clear_top_up_that_waits_is_cancelled() {
        for &state in PaymentState::ALL {
            let plain = payment(state, 10_000);
            let cancelled = check_waiting(&plain).map_err(|error| error.code);
            let expected = state.is_waiting().then_some(()).ok_or(Code::InvalidState);
            assert_eq!(cancelled, expected, "{state}");
            let unclear = Payment {
                problem: Some("Its currency is USD, not IDR.".to_owned()),
                ..plain
            };
            let refused = check_waiting(&unclear).unwrap_err();
            assert_eq!(refused.message == problem::NOTICE, state.is_waiting());
        }
    }
}
