//! Subscriptions in numbers: how many live, came and went, and what they paid, month by month.

use std::collections::BTreeMap;

use chrono::{DateTime, Months, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    days,
    store::{self, ServiceCount, StatusCount},
};
use crate::{
    Error, Result, calendar,
    db::{Clock, Conn, Db},
    money::Rupiah,
    subscriptions::SubscriptionStatus,
};

/// Most months of one answer.
pub const MOST_MONTHS: u32 = 36;

/// Subscriptions in numbers.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatistics {
    /// Live ones, of all services.
    pub live: i64,
    pub services: Vec<ServiceCounts>,
    /// Months as the shop's calendar counts them, the newest first; it is not over yet.
    pub months: Vec<MonthView>,
}

/// Subscriptions of a service by their status today.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceCounts {
    pub service: String,
    pub service_name: String,
    /// Paid, and not delivered yet.
    pub pending: i64,
    /// Paid and delivered.
    pub active: i64,
    /// In grace.
    pub past_due: i64,
    pub suspended: i64,
    pub cancelled: i64,
    pub expired: i64,
}

impl ServiceCounts {
    const fn live(&self) -> i64 {
        let unpaid = self.past_due.saturating_add(self.suspended);
        self.pending
            .saturating_add(self.active)
            .saturating_add(unpaid)
    }
}

/// A month of all services.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthView {
    /// `2027-01`
    pub month: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub starts_at: DateTime<Utc>,
    pub services: Vec<MonthOfService>,
}

/// A month of one service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthOfService {
    pub service: String,
    /// Bought in it.
    pub new: i64,
    /// Ended in it.
    pub lost: i64,
    /// Live at its end, or now.
    pub active: i64,
    /// Paid in it from topped-up credit, less what was given back.
    pub revenue: Rupiah,
    /// Paid in it from bonus credit, less what was given back.
    pub bonus_spent: Rupiah,
}

/// Returns the subscriptions in numbers, with this many months, the present one included.
///
/// # Errors
/// When the database does not answer.
pub async fn statistics(db: &Db, clock: &Clock, months: u32) -> Result<SubscriptionStatistics> {
    let mut conn = db.snapshot().await?;
    let mut services = by_service(store::count_by_status(&mut conn).await?);
    set_apart(&mut services, &store::count_waiting(&mut conn).await?);
    let mut live: BTreeMap<String, i64> = services
        .iter()
        .map(|counts| (counts.service.clone(), counts.live()))
        .collect();
    let all = live
        .values()
        .fold(0, |sum: i64, one| sum.saturating_add(*one));
    let mut views = Vec::new();
    for ago in 0..months.min(MOST_MONTHS) {
        views.push(month(&mut conn, clock, ago, &mut live).await?);
    }
    Ok(SubscriptionStatistics {
        live: all,
        services,
        months: views,
    })
}

/// Returns the month that began so many months ago; `live` is counted back from its end to its begin.
async fn month(
    conn: &mut Conn,
    clock: &Clock,
    ago: u32,
    live: &mut BTreeMap<String, i64>,
) -> Result<MonthView> {
    let (from, until) = bounds(clock, ago)?;
    let figures = days::figures(conn, (from, until)).await?;
    let services = live.iter_mut().map(|(service, live)| {
        let figures = figures.of(service);
        let (new, lost) = figures.map_or((0, 0), |figures| (figures.began, figures.ended));
        let active = *live;
        // From the newest month back: so many lived at the end of the one before.
        *live = live.saturating_sub(new).saturating_add(lost);
        MonthOfService {
            service: service.clone(),
            new,
            lost,
            active,
            revenue: figures.map_or(Rupiah::ZERO, |figures| figures.paid),
            bonus_spent: figures.map_or(Rupiah::ZERO, |figures| figures.bonus),
        }
    });
    let services = services.collect();
    let first = calendar::date(clock.zone(), from);
    Ok(MonthView {
        month: first.format("%Y-%m").to_string(),
        starts_at: from,
        services,
    })
}

/// Returns the begin of the month that began so many months ago, and that of the next.
pub(super) fn bounds(clock: &Clock, ago: u32) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
    let zone = clock.zone();
    let this = calendar::date(zone, calendar::start_of_month(zone, clock.now()));
    let first = this.checked_sub_months(Months::new(ago));
    let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
    let (Some(first), Some(next)) = (first, next) else {
        return Err(Error::internal("a month beyond the calendar"));
    };
    let start = |date| calendar::start_of_day(zone, date);
    Ok((start(first), start(next)))
}

fn by_service(rows: Vec<StatusCount>) -> Vec<ServiceCounts> {
    let mut services: Vec<ServiceCounts> = Vec::new();
    for row in rows {
        if services
            .last()
            .is_none_or(|last| last.service != row.service)
        {
            services.push(ServiceCounts {
                service: row.service,
                service_name: row.service_name,
                ..ServiceCounts::default()
            });
        }
        let Some(counts) = services.last_mut() else {
            continue;
        };
        let number = match row.status {
            SubscriptionStatus::Active => &mut counts.active,
            SubscriptionStatus::PastDue => &mut counts.past_due,
            SubscriptionStatus::Suspended => &mut counts.suspended,
            SubscriptionStatus::Cancelled => &mut counts.cancelled,
            SubscriptionStatus::Expired => &mut counts.expired,
        };
        *number = row.number;
    }
    services
}

/// Shows those that wait for their delivery as pending, and no more as active.
fn set_apart(services: &mut [ServiceCounts], waiting: &[ServiceCount]) {
    for counts in services {
        let own = waiting.iter().find(|one| one.service == counts.service);
        counts.pending = own.map_or(0, |own| own.number);
        counts.active = counts.active.saturating_sub(counts.pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServiceId;

    fn row(service: &str, status: SubscriptionStatus, number: i64) -> StatusCount {
        StatusCount {
            service: service.to_owned(),
            service_name: service.to_uppercase(),
            status,
            number,
        }
    }

    fn waiting(service: &str, number: i64) -> ServiceCount {
        ServiceCount {
            service_id: ServiceId::from_u128(1),
            service: service.to_owned(),
            number,
        }
    }

    #[test]
    fn rows_of_a_service_become_one() {
        let rows = SubscriptionStatus::ALL.iter().zip(1..);
        let mut rows: Vec<_> = rows
            .map(|(status, number)| row("a", *status, number))
            .collect();
        rows.push(row("b", SubscriptionStatus::Suspended, 7));
        let [a, b]: [ServiceCounts; 2] = by_service(rows).try_into().unwrap();
        let each = [a.active, a.past_due, a.suspended, a.cancelled, a.expired];
        assert_eq!((each, a.service_name.as_str()), ([1, 2, 3, 4, 5], "A"));
        assert_eq!(a.live(), 6, "what has ended lives no more");
        assert_eq!((b.suspended, b.live()), (7, 7));
        assert!(by_service(Vec::new()).is_empty());
    }

    #[test]
    fn those_that_wait_are_no_more_among_the_active() {
        let rows = vec![
            row("a", SubscriptionStatus::Active, 5),
            row("b", SubscriptionStatus::Active, 1),
            row("c", SubscriptionStatus::Active, 4),
        ];
        let mut services = by_service(rows);
        set_apart(
            &mut services,
            &[waiting("a", 2), waiting("b", 1), waiting("d", 9)],
        );
        let counts: Vec<_> = services
            .iter()
            .map(|one| (one.pending, one.active, one.live()))
            .collect();
        assert_eq!(counts, [(2, 3, 5), (1, 0, 1), (0, 4, 4)]);
    }
}
