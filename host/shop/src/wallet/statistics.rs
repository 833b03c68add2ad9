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
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub from: DateTime<Utc>,
    /// End of the part, exclusive.
    #[serde(serialize_with = "crate::calendar::in_json")]
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
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub from: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub to: DateTime<Utc>,
    pub credited: Rupiah,
    pub debited: Rupiah,
    pub by_type: Vec<TypeSum>,
    /// Hours of a day, days of a week or month, months of a year.
    pub parts: Vec<PartTotal>,
}

/// Settled transactions of one type that all put in or all took out, in a part of a period.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Settled {
    pub(super) kind: TransactionType,
    pub(super) number: i64,
    pub(super) amount: Rupiah,
}

/// Begin of a part, its end, and what settled in it.
type Part = (DateTime<Utc>, DateTime<Utc>, Vec<Settled>);

/// Adds up a customer's settled transactions of the running period. The connection sees one moment.
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
    let bounds = period.parts(zone, now);
    let mut parts = Vec::with_capacity(bounds.len());
    for (from, to) in bounds.iter().zip(bounds.iter().skip(1)) {
        let settled = store::settled(conn, user_id, *from, *to).await?;
        parts.push((*from, *to, settled));
    }
    summed(period, zone, now, &parts)
}

fn summed(period: Period, zone: Tz, now: DateTime<Utc>, parts: &[Part]) -> Result<Statistics> {
    let mut by_type: BTreeMap<&str, TypeSum> = BTreeMap::new();
    let mut totals = Vec::with_capacity(parts.len());
    for (from, to, settled) in parts {
        let mut total = PartTotal {
            from: *from,
            to: *to,
            credited: Rupiah::ZERO,
            debited: Rupiah::ZERO,
        };
        for Settled {
            kind,
            number,
            amount,
        } in settled
        {
            let sum = by_type.entry(kind.as_str()).or_insert(TypeSum {
                r#type: *kind,
                count: 0,
                amount: Rupiah::ZERO,
            });
            sum.count += u64::try_from(*number).unwrap_or_default();
            sum.amount = sum.amount.plus(*amount)?;
            if amount.is_negative() {
                total.debited = total.debited.minus(*amount)?;
            } else {
                total.credited = total.credited.plus(*amount)?;
            }
        }
        totals.push(total);
    }
    let first = totals.first().map_or(now, |part| part.from);
    Ok(Statistics {
        period,
        time_zone: zone.name().to_owned(),
        from: first,
        to: totals.last().map_or(first, |part| part.to),
        credited: Rupiah::total(totals.iter().map(|part| part.credited))?,
        debited: Rupiah::total(totals.iter().map(|part| part.debited))?,
        by_type: by_type.into_values().collect(),
        parts: totals,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_period() {
        let now: DateTime<Utc> = "2026-11-25T10:00:00Z".parse().unwrap();
        let bounds = Period::Week.parts(Tz::UTC, now);
        let mut parts: Vec<Part> = bounds
            .iter()
            .zip(bounds.iter().skip(1))
            .map(|(from, to)| (*from, *to, Vec::new()))
            .collect();
        let settled = |kind, number, amount| Settled {
            kind,
            number,
            amount: Rupiah::new(amount),
        };
        let bought = TransactionType::Subscription;
        parts[0].2 = vec![
            settled(TransactionType::TopUp, 1, 50_000),
            settled(bought, 2, -20_000),
        ];
        parts[6].2 = vec![settled(bought, 1, -5_000)];
        let found = summed(Period::Week, Tz::UTC, now, &parts).unwrap();
        assert_eq!(
            (found.credited.get(), found.debited.get()),
            (50_000, 25_000)
        );
        let debited: Vec<i64> = found.parts.iter().map(|part| part.debited.get()).collect();
        assert_eq!(debited, [20_000, 0, 0, 0, 0, 0, 5_000]);
        let spent = found.by_type.iter().find(|sum| sum.r#type == bought);
        let spent = spent.unwrap();
        assert_eq!((spent.count, spent.amount.get()), (3, -25_000));
        assert_eq!((found.from, found.to), (bounds[0], bounds[7]));
    }
}
