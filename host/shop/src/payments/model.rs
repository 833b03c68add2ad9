//! Rows and views of payments, notices and debts.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    crypto::Hidden,
    db::Place,
    ids::{DebtId, NoticeId, PaymentId, TransactionId, UserId},
    money::Rupiah,
    text_enum,
};

text_enum! {
    /// Means of payment of a customer; it decides what the payment page offers.
    pub enum PaymentMethod {
        BankTransfer = "BANK_TRANSFER",
        EWallet = "E_WALLET",
        CreditCard = "CREDIT_CARD",
        Qris = "QRIS",
    }
}

impl PaymentMethod {
    /// Name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::BankTransfer => "Bank transfer",
            Self::EWallet => "E-wallet",
            Self::CreditCard => "Credit card",
            Self::Qris => "QRIS",
        }
    }

    /// Midtrans' names of what the payment page offers.
    pub const fn channels(self) -> &'static [&'static str] {
        match self {
            Self::BankTransfer => &[
                "bca_va",
                "bni_va",
                "bri_va",
                "permata_va",
                "cimb_va",
                "danamon_va",
                "echannel",
                "other_va",
            ],
            Self::EWallet => &["gopay", "shopeepay"],
            Self::CreditCard => &["credit_card"],
            Self::Qris => &["other_qris"],
        }
    }
}

text_enum! {
    /// State of a refund.
    pub enum RefundState {
        /// The wallet has paid it, and the gateway has not answered.
        Pending = "PENDING",
        Done = "DONE",
        /// The gateway has refused it, and the wallet has it again.
        Refused = "REFUSED",
    }
}

text_enum! {
    /// State of a payment.
    pub enum PaymentState {
        /// Written down; the gateway has not answered yet.
        Starting = "STARTING",
        /// Waits for the payer, or for the check of a suspicious card payment.
        Pending = "PENDING",
        /// A card was charged: credited, and not settled yet.
        Captured = "CAPTURED",
        /// Paid and credited.
        Settled = "SETTLED",
        Denied = "DENIED",
        Cancelled = "CANCELLED",
        Expired = "EXPIRED",
        /// The gateway could not make the payment page, or the payment broke.
        Failed = "FAILED",
        /// Credited, and a part taken back.
        PartlyReversed = "PARTLY_REVERSED",
        /// Credited, and all of it taken back.
        Reversed = "REVERSED",
    }
}

impl PaymentState {
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Starting | Self::Pending)
    }
}

text_enum! {
    /// Result of handling a notice.
    pub enum NoticeOutcome {
        /// Stored, and not applied yet: it is expected again.
        Received = "RECEIVED",
        Applied = "APPLIED",
        /// Authentic, and it cannot be used: another amount, currency or status than can be.
        Refused = "REFUSED",
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Payment {
    pub id: PaymentId,
    pub transaction_id: TransactionId,
    pub user_id: UserId,
    pub order_id: String,
    pub method: PaymentMethod,
    pub amount: Rupiah,
    pub state: PaymentState,
    pub credited: Rupiah,
    pub reversed: Rupiah,
    pub token: Option<Hidden>,
    pub redirect_url: Option<String>,
    pub payment_type: Option<String>,
    /// Rupiah that the payer paid on top, by the gateway's own word.
    pub fee: Rupiah,
    pub expires_at: DateTime<Utc>,
    pub next_check_at: Option<DateTime<Utc>>,
    pub checks: i64,
    pub last_error: Option<String>,
    /// The reason why the gateway's word about it cannot be used.
    pub problem: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Payment {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<PaymentId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }

    /// Distinguishes an earlier reading from a later one: no step leads back to an earlier
    /// standing.
    pub const fn standing(&self) -> (PaymentState, Rupiah) {
        (self.state, self.reversed)
    }
}

/// A payment as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentView {
    pub id: PaymentId,
    pub transaction_id: TransactionId,
    pub user_id: UserId,
    /// Name at the gateway; begins with the transaction's number.
    pub order_id: String,
    pub method: PaymentMethod,
    pub amount: Rupiah,
    pub state: PaymentState,
    /// Rupiah that reached the wallet.
    pub credited: Rupiah,
    /// Rupiah of it that the gateway took back.
    pub reversed: Rupiah,
    /// The payer's choice, in the gateway's words.
    pub payment_type: Option<String>,
    /// Rupiah that the gateway charged the payer on top; they do not reach the wallet.
    pub fee: Rupiah,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub expires_at: DateTime<Utc>,
    /// Moment of the next question to the gateway.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub next_check_at: Option<DateTime<Utc>>,
    /// Number of questions asked by the clock.
    pub checks: i64,
    /// Error of the last question, if it failed.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub last_error: Option<String>,
    /// The reason why the gateway's word about it cannot be used; a person must settle it (see the
    /// alert `PAYMENT_UNCLEAR` and `POST /admin/payments/{id}/review`).
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub problem: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

impl From<Payment> for PaymentView {
    fn from(row: Payment) -> Self {
        Self {
            id: row.id,
            transaction_id: row.transaction_id,
            user_id: row.user_id,
            order_id: row.order_id,
            method: row.method,
            amount: row.amount,
            state: row.state,
            credited: row.credited,
            reversed: row.reversed,
            payment_type: row.payment_type,
            fee: row.fee,
            expires_at: row.expires_at,
            next_check_at: row.next_check_at,
            checks: row.checks,
            last_error: row.last_error,
            problem: row.problem,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// An authentic notice of the gateway.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct NoticeView {
    pub id: NoticeId,
    pub payment_id: PaymentId,
    /// As received.
    pub body: String,
    /// Claimed state of the payment, in the gateway's words.
    pub claims: String,
    pub times_received: i64,
    pub outcome: NoticeOutcome,
    /// Action taken, or the reason for none.
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub received_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub applied_at: Option<DateTime<Utc>>,
}

/// Debt of a customer: a top-up that was taken back after it was spent. The next top-ups and refunds pay it.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct DebtView {
    pub id: DebtId,
    pub user_id: UserId,
    pub payment_id: PaymentId,
    /// The reversal that left it.
    pub transaction_id: TransactionId,
    pub amount: Rupiah,
    pub paid: Rupiah,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub settled_at: Option<DateTime<Utc>>,
}

impl DebtView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<DebtId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// Filter of a list of payments.
#[derive(Debug, Default, Clone, Copy)]
pub struct PaymentFilter {
    pub state: Option<PaymentState>,
    pub user_id: Option<UserId>,
}

/// Filter of a list of debts.
#[derive(Debug, Default, Clone, Copy)]
pub struct DebtFilter {
    pub user_id: Option<UserId>,
    pub open: Option<bool>,
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use chrono::TimeDelta;

    use super::*;

    /// A payment that was begun at the epoch and whose page is open for an hour.
    pub(in crate::payments) fn payment(state: PaymentState, amount: i64) -> Payment {
        let begun = DateTime::UNIX_EPOCH;
        Payment {
            id: PaymentId::from_u128(1),
            transaction_id: TransactionId::from_u128(2),
            user_id: UserId::from_u128(3),
            order_id: "TXMP-101-0123456789ab".to_owned(),
            method: PaymentMethod::Qris,
            amount: Rupiah::new(amount),
            state,
            credited: Rupiah::ZERO,
            reversed: Rupiah::ZERO,
            token: None,
            redirect_url: None,
            payment_type: None,
            fee: Rupiah::ZERO,
            expires_at: begun + TimeDelta::hours(1),
            next_check_at: None,
            checks: 0,
            last_error: None,
            problem: None,
            created_at: begun,
            updated_at: begun,
        }
    }

    /// A customer who chose a way to pay sees no other, so none is offered under two names.
    #[test]
    fn every_channel_belongs_to_one_method() {
        let mut seen = HashSet::new();
        for method in PaymentMethod::ALL {
            assert!(!method.channels().is_empty(), "{method}");
            for channel in method.channels() {
                assert!(seen.insert(*channel), "{channel}");
            }
        }
    }

    #[test]
    fn only_what_is_not_paid_and_not_ended_waits() {
        for &state in PaymentState::ALL {
            let waits = ["STARTING", "PENDING"].contains(&state.as_str());
            assert_eq!(state.is_waiting(), waits, "{state}");
        }
    }
}
