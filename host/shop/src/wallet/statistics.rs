//! Sums that went into and out of one wallet in the running day, week, month or year.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::{TransactionType, store};
use crate::{Result, calendar::Period, db::Conn, ids::UserId, money::Rupiah};

/// Sums of a part of a period, in rupiah.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartTotal {
    pub from: DateTime<Utc>,
    /// End of the part, exclusive.
    pub to: DateTime<Utc>,
    pub credited: Rupiah,
    /// Never negative.
    pub debited: Rupiah,
}

/// Transactions of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypeSum {
    pub r#type: TransactionType,
    pub count: u64,
    /// Gain of the wallet by them; negative when it paid.
    pub amount: Rupiah,
}

/// A period of a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    pub period: Period,
    /// Time zone of these days and months: a name such as `Asia/Jakarta`.
    pub time_zone: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub credited: Rupiah,
    pub debited: Rupiah,
    pub by_type: Vec<TypeSum>,
    /// Hours of a day, days of a week or month, months of a year.
    pub parts: Vec<PartTotal>,
}

/// Settled transaction: purpose, amount, and moment it took effect.
pub(super) type Settled = (TransactionType, Rupiah, DateTime<Utc>);

/// Adds up a customer's settled transactions of the running period.
///
/// # Errors
/// When the database does not answer.
pub async fn of_period(
    conn: &mut Conn,
    user_id: UserId,
    period: Period,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Statistics> {
    let parts = period.parts(zone, now);
    let (from, to) = (
        parts.first().copied().unwrap_or(now),
        parts.last().copied().unwrap_or(now),
    );
    let settled = store::settled(conn, user_id, from, to).await?;
    summed(period, zone, &parts, &settled)
}

fn summed(
    period: Period,
    zone: Tz,
    bounds: &[DateTime<Utc>],
    settled: &[Settled],
) -> Result<Statistics> {
    let mut by_type: BTreeMap<&str, TypeSum> = BTreeMap::new();
    let mut parts: Vec<PartTotal> = bounds
        .iter()
        .zip(bounds.iter().skip(1))
        .map(|(from, to)| PartTotal {
            from: *from,
            to: *to,
            credited: Rupiah::ZERO,
            debited: Rupiah::ZERO,
        })
        .collect();
    for (kind, amount, at) in settled {
        let sum = by_type.entry(kind.as_str()).or_insert(TypeSum {
            r#type: *kind,
            count: 0,
            amount: Rupiah::ZERO,
        });
        sum.count += 1;
        sum.amount = sum.amount.plus(*amount)?;
        if let Some(part) = parts.iter_mut().find(|part| *at < part.to) {
            if amount.is_negative() {
                part.debited = part.debited.minus(*amount)?;
            } else {
                part.credited = part.credited.plus(*amount)?;
            }
        }
    }
    let first = bounds.first().copied().unwrap_or_default();
    Ok(Statistics {
        period,
        time_zone: zone.name().to_owned(),
        from: first,
        to: bounds.last().copied().unwrap_or(first),
        credited: Rupiah::total(parts.iter().map(|part| part.credited))?,
        debited: Rupiah::total(parts.iter().map(|part| part.debited))?,
        by_type: by_type.into_values().collect(),
        parts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transaction_is_in_its_part() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let bounds = Period::Week.parts(Tz::UTC, at("2026-11-25T10:00:00Z"));
        let settled = [
            (TransactionType::TopUp, 50_000, "2026-11-23T00:00:00Z"),
            (
                TransactionType::Subscription,
                -20_000,
                "2026-11-23T23:59:59Z",
            ),
            (
                TransactionType::Subscription,
                -5_000,
                "2026-11-29T12:00:00Z",
            ),
        ]
        .map(|(kind, amount, when)| (kind, Rupiah::new(amount), at(when)));
        let found = summed(Period::Week, Tz::UTC, &bounds, &settled).unwrap();
        assert_eq!(
            (found.credited.get(), found.debited.get()),
            (50_000, 25_000)
        );
        let debited: Vec<i64> = found.parts.iter().map(|part| part.debited.get()).collect();
        assert_eq!(debited, [20_000, 0, 0, 0, 0, 0, 5_000]);
        let spent = found
            .by_type
            .iter()
            .find(|sum| sum.r#type == TransactionType::Subscription)
            .unwrap();
        assert_eq!((spent.count, spent.amount.get()), (2, -25_000));
    }
}
