//! SQL of payments, notices and debts.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    DebtFilter, DebtView, NoticeOutcome, NoticeView, Payment, PaymentFilter, janitor::NextCheck,
};
use crate::{
    db::{
        Conn, Filter, Lease, LeasedQueue, List, Span, Walked, fetch_span, fetch_where, find_where,
    },
    execute, fetch_all, fetch_one,
    ids::{DebtId, NoticeId, PaymentId, TransactionId, UserId},
    money::Rupiah,
};

/// Longer than any pause between two questions: one that lasts longer was begun by a clock that was ahead.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(15);

/// A question to the gateway about one payment, which no other is asked beside until a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// The server that asks for a page, whose death ends the question; none for a short one.
    pub(super) by: Option<Uuid>,
    pub(super) until: DateTime<Utc>,
}

const PAYMENTS: List = List {
    rows: "SELECT id, transaction_id, user_id, order_id, method, amount, state, credited, reversed, token, redirect_url,
        payment_type, fee, expires_at, next_check_at, checks, last_error, problem, created_at, updated_at FROM payments",
    from: "FROM payments",
    key: "id",
    order: "ORDER BY created_at DESC, id DESC",
};

/// Writes down a payment, whose page is asked for. The intent is that of its request.
pub(super) async fn insert(
    conn: &mut Conn,
    new: &Payment,
    intent: Option<&str>,
    question: Question,
) -> sqlx::Result<()> {
    execute!(
        conn,
        "INSERT INTO payments (id, transaction_id, user_id, order_id, method, amount, state, expires_at,
           next_check_at, created_at, updated_at, intent, ask_after, asked_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12, $13)",
        new.id,
        new.transaction_id,
        new.user_id,
        &new.order_id,
        new.method,
        new.amount,
        new.state,
        new.expires_at,
        new.next_check_at,
        new.created_at,
        intent,
        question.until,
        question.by,
    )
    .map(|_| ())
}

pub(super) async fn by_id(conn: &mut Conn, id: PaymentId) -> sqlx::Result<Option<Payment>> {
    find_where(conn, PAYMENTS.rows, &Filter::of("id = ?", id)).await
}

pub(super) async fn by_order(conn: &mut Conn, order_id: &str) -> sqlx::Result<Option<Payment>> {
    find_where(conn, PAYMENTS.rows, &Filter::of("order_id = ?", order_id)).await
}

pub(super) async fn by_transaction(
    conn: &mut Conn,
    id: TransactionId,
) -> sqlx::Result<Option<Payment>> {
    find_where(conn, PAYMENTS.rows, &Filter::of("transaction_id = ?", id)).await
}

/// Returns the payment that a request with this intent wrote down and that has not answered it.
pub(super) async fn of_intent(conn: &mut Conn, intent: &str) -> sqlx::Result<Option<Payment>> {
    find_where(conn, PAYMENTS.rows, &Filter::of("intent = ?", intent)).await
}

/// Forgets the request of a payment: it is answered, or another payment answers it.
pub(super) async fn forget_intent(conn: &mut Conn, id: PaymentId) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET intent = NULL WHERE id = $1";
    execute!(conn, sql, id).map(|_| ())
}

/// Returns a customer's payments without a page, for which no server asks at `now`.
pub(super) async fn without_page(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Payment>> {
    let filter = Filter::of("user_id = ?", user_id)
        .and("state = 'STARTING' AND token IS NULL AND problem IS NULL")
        .with(
            "((last_error IS NOT NULL AND asked_by IS NULL) OR ask_after IS NULL OR ask_after <= ?)",
            now,
        );
    fetch_where(conn, PAYMENTS.rows, &filter, "ORDER BY created_at, id").await
}

/// The sum that waiting top-ups would add to a wallet, without those that a person must settle.
pub(super) async fn awaited(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Rupiah> {
    let sql = "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM payments
               WHERE user_id = $1 AND state IN ('STARTING', 'PENDING') AND problem IS NULL";
    let (amount,) = fetch_one!(conn, (Rupiah,), sql, user_id)?;
    Ok(amount)
}

/// Top-ups of a customer that wait to be paid, without those that a person must settle.
pub(super) async fn count_awaited(conn: &mut Conn, user_id: UserId) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM payments WHERE user_id = $1 AND state IN ('STARTING', 'PENDING') AND problem IS NULL";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id)?;
    Ok(count)
}

/// Keeps the page of a payment that waits for one; false when it does not wait any more, or has one. The caller
/// holds its wallet's lock.
pub(super) async fn keep_page(
    conn: &mut Conn,
    id: PaymentId,
    token: &str,
    redirect_url: &str,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE payments SET token = $2, redirect_url = $3, expires_at = $4, state = 'PENDING', updated_at = $5,
                 ask_after = NULL, asked_by = NULL, last_error = NULL
               WHERE id = $1 AND state IN ('STARTING', 'PENDING') AND token IS NULL";
    execute!(conn, sql, id, token, redirect_url, expires_at, now).map(|rows| rows == 1)
}

/// Writes the progress of a payment: state, sums, when to ask again. The caller holds its wallet's
/// lock.
pub(super) async fn update(conn: &mut Conn, now_is: &Payment) -> sqlx::Result<()> {
    execute!(
        conn,
        "UPDATE payments SET state = $2, credited = $3, reversed = $4, payment_type = $5, next_check_at = $6,
           last_error = $7, updated_at = $8, fee = $9, problem = $10 WHERE id = $1",
        now_is.id,
        now_is.state,
        now_is.credited,
        now_is.reversed,
        &now_is.payment_type,
        now_is.next_check_at,
        &now_is.last_error,
        now_is.updated_at,
        now_is.fee,
        &now_is.problem,
    )
    .map(|_| ())
}

/// Writes down why what the gateway says of a payment cannot be used; `false` when the payment is
/// not as it was `seen` any more.
pub(super) async fn note_problem(
    conn: &mut Conn,
    seen: &Payment,
    problem: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE payments SET problem = $2, updated_at = $3
               WHERE id = $1 AND state = $4 AND reversed = $5";
    let rows = execute!(conn, sql, seen.id, problem, now, seen.state, seen.reversed)?;
    Ok(rows == 1)
}

/// Notes that the gateway knows nothing of a payment yet, and that all is clear.
pub(super) async fn clear(conn: &mut Conn, id: PaymentId) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET problem = NULL, last_error = NULL WHERE id = $1";
    execute!(conn, sql, id).map(|_| ())
}

// ---- asking for customers ----

/// Takes the one question that may be asked about a payment at a time; `false` when it is taken.
pub(super) async fn take_question(
    conn: &mut Conn,
    id: PaymentId,
    now: DateTime<Utc>,
    question: Question,
) -> sqlx::Result<bool> {
    let sql = "UPDATE payments SET ask_after = $3, asked_by = $4
               WHERE id = $1 AND (ask_after IS NULL OR ask_after <= $2 OR ask_after > $5)";
    let (until, unbelieved) = (question.until, now + LONGEST_PAUSE);
    Ok(execute!(conn, sql, id, now, until, question.by, unbelieved)? == 1)
}

/// Takes the question about a payment, also when it is taken: its page is asked for again.
pub(super) async fn ask_again(
    conn: &mut Conn,
    id: PaymentId,
    question: Question,
) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET ask_after = $2, asked_by = $3, last_error = NULL WHERE id = $1";
    execute!(conn, sql, id, question.until, question.by).map(|_| ())
}

/// Ends the questions of a server; returns their number.
pub(super) async fn drop_questions(conn: &mut Conn, server: Uuid) -> sqlx::Result<u64> {
    let sql = "UPDATE payments SET ask_after = NULL, asked_by = NULL WHERE asked_by = $1";
    execute!(conn, sql, server)
}

/// Notes a question that failed, and when the next one may be asked.
pub(super) async fn question_failed(
    conn: &mut Conn,
    id: PaymentId,
    until: DateTime<Utc>,
    error: &str,
) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET ask_after = $2, asked_by = NULL, last_error = $3 WHERE id = $1";
    execute!(conn, sql, id, until, error).map(|_| ())
}

// ---- asking by the clock ----

/// Payments, each asked about by one server at a time.
pub(super) const CHECKS: LeasedQueue = LeasedQueue {
    table: "payments",
    due: "next_check_at",
    open: "next_check_at IS NOT NULL",
};

/// Releases a payment after it was asked about, and sets when to ask again.
pub(super) async fn checked(conn: &mut Conn, lease: &Lease, next: &NextCheck) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET checks = checks + 1, next_check_at = $3, last_error = $4,
                 lease_holder = NULL, lease_until = NULL WHERE id = $1 AND lease_holder = $2";
    execute!(conn, sql, lease.id, lease.holder, next.at, &next.error).map(|_| ())
}

/// Sets the moment of the clock's next question; `None` stops asking.
pub(super) async fn ask_at(
    conn: &mut Conn,
    id: PaymentId,
    at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET next_check_at = $2 WHERE id = $1";
    execute!(conn, sql, id, at).map(|_| ())
}

/// Asks about a payment at `at`, unless it would be asked before anyway.
pub(super) async fn ask_by(conn: &mut Conn, id: PaymentId, at: DateTime<Utc>) -> sqlx::Result<()> {
    let sql = "UPDATE payments SET next_check_at = $2
               WHERE id = $1 AND (next_check_at IS NULL OR next_check_at > $2)";
    execute!(conn, sql, id, at).map(|_| ())
}

// ---- notices ----

/// An authentic notice as it came in.
pub(super) struct NewNotice<'n> {
    pub(super) id: NoticeId,
    pub(super) payment_id: PaymentId,
    pub(super) body: &'n str,
    pub(super) body_hash: &'n str,
    pub(super) claims: &'n str,
    pub(super) now: DateTime<Utc>,
}

/// Stores a notice, or counts it when it came before. Returns its id and its outcome.
pub(super) async fn store_notice(
    conn: &mut Conn,
    new: &NewNotice<'_>,
) -> sqlx::Result<(NoticeId, NoticeOutcome)> {
    fetch_one!(
        conn,
        (NoticeId, NoticeOutcome),
        "INSERT INTO payment_notices (id, payment_id, body, body_hash, claims, times_received, outcome, message, received_at)
         VALUES ($1, $2, $3, $4, $5, 1, 'RECEIVED', 'It has not been applied yet.', $6)
         ON CONFLICT (payment_id, body_hash) DO UPDATE SET times_received = payment_notices.times_received + 1
         RETURNING id, outcome",
        new.id,
        new.payment_id,
        new.body,
        new.body_hash,
        new.claims,
        new.now,
    )
}

pub(super) async fn close_notice(
    conn: &mut Conn,
    id: NoticeId,
    outcome: NoticeOutcome,
    message: &str,
    applied_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    let sql = "UPDATE payment_notices SET outcome = $2, message = $3, applied_at = $4
               WHERE id = $1 AND outcome <> 'APPLIED'";
    execute!(conn, sql, id, outcome, message, applied_at).map(|_| ())
}

pub(super) async fn notices(
    conn: &mut Conn,
    payment_id: PaymentId,
) -> sqlx::Result<Vec<NoticeView>> {
    let sql = "SELECT id, payment_id, body, claims, times_received, outcome, message, received_at, applied_at
               FROM payment_notices WHERE payment_id = $1 ORDER BY received_at, id";
    fetch_all!(conn, NoticeView, sql, payment_id)
}

// ---- debts ----

pub(super) async fn insert_debt(conn: &mut Conn, new: &DebtView) -> sqlx::Result<()> {
    let sql =
        "INSERT INTO debts (id, user_id, payment_id, transaction_id, amount, paid, created_at)
               VALUES ($1, $2, $3, $4, $5, 0, $6)";
    execute!(
        conn,
        sql,
        new.id,
        new.user_id,
        new.payment_id,
        new.transaction_id,
        new.amount,
        new.created_at
    )
    .map(|_| ())
}

const DEBTS: List = List {
    rows: "SELECT id, user_id, payment_id, transaction_id, amount, paid, created_at, settled_at FROM debts",
    from: "FROM debts",
    key: "id",
    order: "ORDER BY created_at DESC, id DESC",
};

/// A customer's open debts, oldest first.
pub(super) async fn open_debts(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Vec<DebtView>> {
    let filter = Filter::of("user_id = ?", user_id).and("settled_at IS NULL");
    fetch_where(conn, DEBTS.rows, &filter, "ORDER BY created_at, id").await
}

/// Notes that `amount` more of a debt was paid; false when that is more than is open.
pub(super) async fn pay_debt(
    conn: &mut Conn,
    id: DebtId,
    amount: Rupiah,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql =
        "UPDATE debts SET paid = paid + $2, settled_at = CASE WHEN paid + $2 = amount THEN $3 END
               WHERE id = $1 AND settled_at IS NULL AND paid + $2 <= amount";
    execute!(conn, sql, id, amount, now).map(|rows| rows == 1)
}

// ---- lists ----

pub(super) async fn list(
    conn: &mut Conn,
    wanted: PaymentFilter,
    span: Span<PaymentId>,
) -> sqlx::Result<Walked<Payment>> {
    let filter = Filter::default()
        .with_some("state = ?", wanted.state)
        .with_some("user_id = ?", wanted.user_id);
    let place = "(created_at, id) < (?, ?)";
    fetch_span(conn, PAYMENTS, place, filter, span).await
}

pub(super) async fn debts(
    conn: &mut Conn,
    wanted: DebtFilter,
    span: Span<DebtId>,
) -> sqlx::Result<Walked<DebtView>> {
    let settled = wanted.open.map(|is_open| {
        if is_open {
            "settled_at IS NULL"
        } else {
            "settled_at IS NOT NULL"
        }
    });
    let filter = Filter::default()
        .with_some("user_id = ?", wanted.user_id)
        .and_some(settled);
    let place = "(created_at, id) < (?, ?)";
    fetch_span(conn, DEBTS, place, filter, span).await
}
