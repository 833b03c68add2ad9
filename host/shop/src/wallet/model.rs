//! Rows and views of wallets and transactions.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::TransactionNumber;
use crate::{
    db::Place,
    ids::{CouponId, DecisionId, SubscriptionId, TransactionId, UserId},
    money::{AmountOverflow, Rupiah},
    text_enum,
};

text_enum! {
    /// Purpose of a transaction.
    pub enum TransactionType {
        TopUp = "TOP_UP",
        Subscription = "SUBSCRIPTION",
        Upgrade = "UPGRADE",
        /// A change to a lower plan, which moves no money itself.
        Downgrade = "DOWNGRADE",
        Refund = "REFUND",
        AdminAdjustment = "ADMIN_ADJUSTMENT",
        CouponRedemption = "COUPON_REDEMPTION",
        /// A top-up that the gateway paid back.
        TopUpRefund = "TOP_UP_REFUND",
        /// A top-up that the payer's bank took back.
        Chargeback = "CHARGEBACK",
        /// A debt that a top-up paid first.
        DebtPayment = "DEBT_PAYMENT",
    }
}

text_enum! {
    pub enum TransactionStatus {
        Pending = "PENDING",
        Completed = "COMPLETED",
        Failed = "FAILED",
        Cancelled = "CANCELLED",
        /// Completed, and taken back or undone since, by a transaction of its own.
        Refunded = "REFUNDED",
    }
}

impl TransactionStatus {
    /// Returns true for those of transactions that moved money. A sum of what was received counts one that is
    /// `REFUNDED`, too, at the moment when it was completed: the transaction that took the money back counts against
    /// it at its own moment, so that nothing is counted twice and no earlier figure changes.
    pub const fn took_effect(self) -> bool {
        matches!(self, Self::Completed | Self::Refunded)
    }
}

text_enum! {
    /// The accounts of the ledger. A posting's amount is what the account gains.
    pub enum Account {
        /// A customer's paid credit (owned by the customer).
        WalletPaid = "WALLET_PAID",
        /// A customer's bonus credit.
        WalletBonus = "WALLET_BONUS",
        /// Money at the payment gateway.
        Gateway = "GATEWAY",
        Revenue = "REVENUE",
        /// Cost of coupons and gifts.
        Promotions = "PROMOTIONS",
        Refunds = "REFUNDS",
        Adjustments = "ADJUSTMENTS",
        /// Debts of customers: top-ups taken back after they were spent.
        Receivables = "RECEIVABLES",
    }
}

text_enum! {
    /// Order of a list of wallets.
    pub enum WalletOrder {
        /// The largest balance.
        Balance = "BALANCE",
        /// The largest sum spent.
        Spent = "SPENT",
        /// The largest sum topped up.
        TopUp = "TOP_UP",
        /// The latest change.
        Changed = "CHANGED",
    }
}

/// Balance of a wallet, in rupiah.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    pub paid: Rupiah,
    pub bonus: Rupiah,
}

impl Balance {
    /// # Errors
    /// When the sum does not fit.
    pub fn total(self) -> Result<Rupiah, AmountOverflow> {
        self.paid.plus(self.bonus)
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct WalletRow {
    pub user_id: UserId,
    pub paid_balance: Rupiah,
    pub bonus_balance: Rupiah,
    pub total_top_up: Rupiah,
    pub total_spent: Rupiah,
    /// Number of journal entries in its chain.
    pub entries: i64,
    pub head_hash: String,
    /// Time at which it was closed with its account.
    pub closed_at: Option<DateTime<Utc>>,
}

impl WalletRow {
    pub const fn balance(&self) -> Balance {
        Balance {
            paid: self.paid_balance,
            bonus: self.bonus_balance,
        }
    }
}

/// Caller's part of a new transaction.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    pub user_id: UserId,
    pub kind: TransactionType,
    pub description: String,
    /// Reason lines, coupon code and so on.
    pub details: Value,
    pub subscription_id: Option<SubscriptionId>,
    pub coupon_id: Option<CouponId>,
    pub price_decision_id: Option<DecisionId>,
    pub coupon_decision_id: Option<DecisionId>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Transaction {
    pub id: TransactionId,
    pub number: TransactionNumber,
    pub user_id: UserId,
    #[sqlx(rename = "type")]
    pub kind: TransactionType,
    pub status: TransactionStatus,
    pub amount: Rupiah,
    pub balance_before: Option<Rupiah>,
    pub balance_after: Option<Rupiah>,
    pub description: String,
    pub details: Json<Value>,
    pub subscription_id: Option<SubscriptionId>,
    pub coupon_id: Option<CouponId>,
    pub price_decision_id: Option<DecisionId>,
    pub coupon_decision_id: Option<DecisionId>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

impl Transaction {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<TransactionNumber> {
        Place {
            at: self.created_at,
            tie: self.number,
        }
    }
}

/// Composition of a payment by kind of credit.
#[derive(Debug, Clone)]
pub struct Payment {
    pub transaction: Transaction,
    pub cash: Rupiah,
    pub bonus: Rupiah,
}

/// Transaction as its customer sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    pub id: TransactionId,
    /// `TXMP-101`
    #[schema(value_type = String)]
    pub number: TransactionNumber,
    pub r#type: TransactionType,
    pub status: TransactionStatus,
    /// Gain of the wallet; negative when it paid.
    pub amount: Rupiah,
    pub balance_before: Option<Rupiah>,
    pub balance_after: Option<Rupiah>,
    #[serde(serialize_with = "crate::language::in_words")]
    pub description: String,
    /// Price lines with their reasons, coupon and so on.
    #[schema(value_type = Object)]
    #[serde(serialize_with = "crate::language::details_in_words")]
    pub details: Value,
    pub subscription_id: Option<SubscriptionId>,
    /// Decision that made the price; an administrator can replay it.
    pub price_decision_id: Option<DecisionId>,
    pub coupon_decision_id: Option<DecisionId>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub completed_at: Option<DateTime<Utc>>,
}

impl From<Transaction> for TransactionView {
    fn from(row: Transaction) -> Self {
        Self {
            number: row.number,
            id: row.id,
            r#type: row.kind,
            status: row.status,
            amount: row.amount,
            balance_before: row.balance_before,
            balance_after: row.balance_after,
            description: row.description,
            details: row.details.0,
            subscription_id: row.subscription_id,
            price_decision_id: row.price_decision_id,
            coupon_decision_id: row.coupon_decision_id,
            created_at: row.created_at,
            completed_at: row.completed_at,
        }
    }
}

/// The wallet at a glance, in rupiah.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletInfo {
    pub paid_balance: Rupiah,
    /// Credit from coupons and gifts: spent first, never paid out.
    pub bonus_balance: Rupiah,
    pub total_balance: Rupiah,
    /// All top-ups that were received, also those that were taken back since.
    pub total_top_up: Rupiah,
    pub total_spent: Rupiah,
    /// Spent since the first of this month, where the shop is.
    pub spent_this_month: Rupiah,
    /// The last ten.
    pub recent_transactions: Vec<TransactionView>,
}

/// Filter of a list of a customer's transactions.
#[derive(Debug, Default, Clone, Copy)]
pub struct TransactionFilter {
    pub kind: Option<TransactionType>,
    pub status: Option<TransactionStatus>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

/// A wallet and whose it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OwnedWallet {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub paid_balance: Rupiah,
    pub bonus_balance: Rupiah,
    pub total_top_up: Rupiah,
    pub total_spent: Rupiah,
    pub entries: i64,
    pub head_hash: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A transaction and whose it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OwnedTransaction {
    pub email: String,
    #[sqlx(flatten)]
    pub transaction: Transaction,
}

/// Filter of a list of wallets.
#[derive(Debug, Clone)]
pub struct WalletFilter {
    /// Part of an e-mail address or a name.
    pub owner: Option<String>,
    pub min_balance: Option<Rupiah>,
    pub max_balance: Option<Rupiah>,
}

/// Sums over all wallets.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Totals {
    pub wallets: i64,
    pub with_credit: i64,
    pub paid: Rupiah,
    pub bonus: Rupiah,
    pub top_up: Rupiah,
    pub spent: Rupiah,
}

/// Transactions of one type and status: how many, over how much.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct TypeTotal {
    #[sqlx(rename = "type")]
    pub kind: TransactionType,
    pub status: TransactionStatus,
    pub count: i64,
    pub amount: Rupiah,
}

/// Filter of a list of all transactions.
#[derive(Debug, Clone, Copy)]
pub struct AnyTransactionFilter {
    pub user_id: Option<UserId>,
    pub number: Option<TransactionNumber>,
    pub kind: Option<TransactionType>,
    pub status: Option<TransactionStatus>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    /// Of the amount without its sign.
    pub min_amount: Option<Rupiah>,
}
