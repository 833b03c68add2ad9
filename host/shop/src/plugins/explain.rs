//! Reasons for a customer's charge: the decisions behind one of their transactions, without inputs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::store;
use crate::{
    Result,
    db::{Conn, Db, Place, Span, Walked},
    ids::{DecisionId, TransactionId, UserId},
    money::Rupiah,
};

#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct ExplainedRow {
    id: DecisionId,
    plugin_id: String,
    title: String,
    plugin_version: String,
    digest: String,
    function: String,
    output: Option<String>,
    /// Lines the host made of an upgrade's price: the credit is its own. Absent where no transaction is looked at.
    #[sqlx(default)]
    charged: Option<Json<Value>>,
    created_at: DateTime<Utc>,
}

/// A decision of a plugin, as the customer it was about sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedDecision {
    /// An administrator can replay it.
    id: DecisionId,
    plugin: String,
    title: String,
    version: String,
    /// SHA-256 of the component that decided.
    digest: String,
    /// `price` or `evaluate`.
    function: String,
    reasons: Vec<ReasonLine>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    decided_at: DateTime<Utc>,
}

impl ExplainedDecision {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<DecisionId> {
        Place {
            at: self.decided_at,
            tie: self.id,
        }
    }
}

/// Reason for one line or for the whole answer, with the amount.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReasonLine {
    /// Subject of the line; absent where the whole answer has one reason.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    label: Option<String>,
    amount: Option<Rupiah>,
    #[serde(serialize_with = "crate::language::in_words")]
    reason: String,
}

impl From<ExplainedRow> for ExplainedDecision {
    fn from(row: ExplainedRow) -> Self {
        let output = row.output.as_deref().unwrap_or("null");
        let output = serde_json::from_str(output).unwrap_or_default();
        let mut reasons = Vec::new();
        match row
            .charged
            .as_ref()
            .and_then(|details| details.get("lines"))
        {
            Some(lines) => collect(lines, &mut reasons),
            None => collect(&output, &mut reasons),
        }
        Self {
            id: row.id,
            plugin: row.plugin_id,
            title: row.title,
            version: row.plugin_version,
            digest: row.digest,
            function: row.function,
            reasons,
            decided_at: row.created_at,
        }
    }
}

/// Collects every object with a `reason`, wherever the version of the contract puts it.
fn collect(value: &Value, reasons: &mut Vec<ReasonLine>) {
    match value {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name)?.as_str().map(str::to_owned);
            if let Some(reason) = text("reason") {
                reasons.push(ReasonLine {
                    label: text("label"),
                    amount: fields
                        .get("amount")
                        .and_then(Value::as_i64)
                        .map(Rupiah::new),
                    reason,
                });
            }
            fields.values().for_each(|inner| collect(inner, reasons));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, reasons)),
        _ => {}
    }
}

/// Returns the decisions behind a transaction.
///
/// # Errors
/// When the database fails.
pub async fn explain(
    conn: &mut Conn,
    transaction_id: TransactionId,
) -> Result<Vec<ExplainedDecision>> {
    let rows = store::explained(conn, transaction_id).await?;
    Ok(rows.into_iter().map(ExplainedDecision::from).collect())
}

/// Walks the prices and coupons that were decided about a customer, newest first, without inputs.
///
/// # Errors
/// When the database does not answer.
pub async fn walk_explained(
    db: &Db,
    user_id: UserId,
    span: Span<DecisionId>,
) -> Result<Walked<ExplainedDecision>> {
    let found = store::explained_to(&mut db.read().await?, user_id, span).await?;
    Ok(found.map(ExplainedDecision::from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_are_found_wherever_they_stand() {
        let mut found = Vec::new();
        let output = json!({ "ok": { "lines": [
            { "label": "Plan", "amount": 5, "reason": "It costs 5." },
            { "label": "No reason", "amount": 6 },
        ], "reason": "All." } });
        collect(&output, &mut found);
        let reasons: Vec<_> = found.iter().map(|line| line.reason.as_str()).collect();
        assert_eq!(reasons, ["All.", "It costs 5."]);
        assert_eq!(found[1].amount, Some(Rupiah::new(5)));
    }
}
