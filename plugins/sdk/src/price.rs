//! Prices by the month, and the proration of an upgrade. Whole rupiah only: every line is
//! computed exactly and rounded down once.

use crate::{
    money::{self, Rupiah},
    service::{Occasion, Plan, PriceAnswer, PriceLine, PriceRequest, Problem, RunningPeriod, Tier},
};

/// Charges the plan's monthly price for every month of the term. An upgrade is charged for the time
/// left in the running period, less a credit for the same time in the old plan.
///
/// # Errors
/// A term without months, a price out of range, or a running period without length.
pub fn by_month(request: &PriceRequest) -> Result<PriceAnswer, Vec<Problem>> {
    let price = full_price(request)?;
    let lines = match &request.occasion {
        Occasion::First | Occasion::Renewal => vec![full_line(request, price)],
        Occasion::Upgrade(running) => upgrade_lines(request, running, price)?,
    };
    let total = lines.iter().map(|line| line.amount).sum();
    Ok(PriceAnswer { lines, total })
}

/// Returns the price of the whole term.
fn full_price(request: &PriceRequest) -> Result<Rupiah, Problem> {
    let months = request.term.months;
    if months == 0 {
        return Err(Problem::new(
            "/term/months",
            "A term has at least one month.",
        ));
    }
    let monthly = request.plan.monthly_price;
    if monthly < 0 {
        return Err(Problem::new(
            "/plan/monthlyPrice",
            "A price cannot be negative.",
        ));
    }
    monthly.checked_mul(Rupiah::from(months)).ok_or_else(|| {
        Problem::new(
            "/term/months",
            format!("{months} months cost more than can be counted."),
        )
    })
}

fn full_line(request: &PriceRequest, price: Rupiah) -> PriceLine {
    let name = name(&request.plan);
    let months = counted(request.term.months.into(), "month");
    let reason = if price == 0 {
        format!("The {name} plan costs nothing.")
    } else {
        format!(
            "The {name} plan costs {} a month, for {months}.",
            money::format(request.plan.monthly_price)
        )
    };
    PriceLine {
        code: "plan".to_owned(),
        label: format!("{name} plan, {months}"),
        amount: price,
        reason,
    }
}

fn upgrade_lines(
    request: &PriceRequest,
    running: &RunningPeriod,
    price: Rupiah,
) -> Result<Vec<PriceLine>, Problem> {
    let period = running.period;
    let whole = period
        .end
        .checked_sub(period.start)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| {
            Problem::new(
                "/occasion/upgrade/period",
                "The running period must end after it starts.",
            )
        })?;
    let left = period.end.saturating_sub(request.moment).clamp(0, whole);
    let charge = money::share(price, left, whole);
    let mut lines = vec![remaining_line(request, price, charge, left, whole)];
    if running.paid > 0 {
        lines.push(credit_line(running, charge, left, whole));
    }
    Ok(lines)
}

fn remaining_line(
    request: &PriceRequest,
    price: Rupiah,
    charge: Rupiah,
    left: i64,
    whole: i64,
) -> PriceLine {
    let name = name(&request.plan);
    PriceLine {
        code: "remaining-time".to_owned(),
        label: format!("{name} plan until the end of the period"),
        amount: charge,
        reason: format!(
            "The {name} plan costs {} for {}; time left: {}.",
            money::format(price),
            span(whole),
            span(left)
        ),
    }
}

/// Builds the credit line, of at most what was paid and what is charged: an upgrade pays nothing
/// out.
fn credit_line(running: &RunningPeriod, charge: Rupiah, left: i64, whole: i64) -> PriceLine {
    let name = name(&running.plan);
    let unused = money::share(running.paid, left, whole);
    let credit = unused.min(charge);
    let mut reason = format!(
        "{} was paid for {} of the {name} plan; time not used: {}.",
        money::format(running.paid),
        span(whole),
        span(left)
    );
    if credit < unused {
        reason.push_str(" The credit is at most what the new plan costs.");
    }
    PriceLine {
        code: "unused-time".to_owned(),
        label: format!("Unused time of the {name} plan"),
        amount: -credit,
        reason,
    }
}

/// Returns the tier as the shop writes it, for example `BASIC`.
fn name(plan: &Plan) -> &'static str {
    match plan.tier {
        Tier::Free => "FREE",
        Tier::Basic => "BASIC",
        Tier::Pro => "PRO",
        Tier::Premium => "PREMIUM",
        Tier::Enterprise => "ENTERPRISE",
    }
}

/// Formats a duration, for example `14 days 3 hours`; exact to the second, so that a reader can
/// check the amount.
fn span(seconds: i64) -> String {
    let units = [
        ("day", 86_400, i64::MAX),
        ("hour", 3_600, 24),
        ("minute", 60, 60),
        ("second", 1, 60),
    ];
    let parts: Vec<_> = units
        .into_iter()
        .map(|(unit, length, wraps)| (seconds / length % wraps, unit))
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| counted(number, unit))
        .collect();
    if parts.is_empty() {
        "0 seconds".to_owned()
    } else {
        parts.join(" ")
    }
}

fn counted(number: i64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Period, Resources, Term};

    const DAY: i64 = 86_400;
    const START: i64 = 1_767_200_400;

    fn plan(tier: Tier, monthly_price: Rupiah) -> Plan {
        let resources = Resources {
            cpu_millis: 250,
            memory_mib: 512,
            storage_gib: 1,
            replicas: 1,
        };
        Plan {
            slug: "plan".to_owned(),
            tier,
            monthly_price,
            resources,
        }
    }

    fn request(
        monthly_price: Rupiah,
        months: u32,
        occasion: Occasion,
        moment: i64,
    ) -> PriceRequest {
        PriceRequest {
            settings: "{}".to_owned(),
            plan: plan(Tier::Pro, monthly_price),
            term: Term { months },
            config: "{}".to_owned(),
            occasion,
            moment,
        }
    }

    fn upgrade(paid: Rupiah, new_price: Rupiah, moment: i64) -> Vec<Rupiah> {
        let running = RunningPeriod {
            plan: plan(Tier::Basic, 50_000),
            paid,
            period: Period {
                start: START,
                end: START + 30 * DAY,
            },
        };
        let answer = by_month(&request(new_price, 1, Occasion::Upgrade(running), moment)).unwrap();
        assert_eq!(
            answer.lines.iter().map(|line| line.amount).sum::<Rupiah>(),
            answer.total
        );
        assert!(answer.total >= 0);
        answer.lines.iter().map(|line| line.amount).collect()
    }

    #[test]
    fn every_month_of_the_term_is_charged() {
        for occasion in [Occasion::First, Occasion::Renewal] {
            assert_eq!(
                by_month(&request(50_000, 12, occasion, START))
                    .unwrap()
                    .total,
                600_000
            );
        }
    }

    #[test]
    fn an_upgrade_half_way_is_prorated_on_both_sides() {
        assert_eq!(
            upgrade(50_000, 150_000, START + 15 * DAY),
            [75_000, -25_000]
        );
    }

    #[test]
    fn edges_of_the_period() {
        assert_eq!(upgrade(50_000, 150_000, START), [150_000, -50_000]);
        assert_eq!(upgrade(50_000, 150_000, START + 30 * DAY - 1), [0, 0]);
        assert_eq!(upgrade(50_000, 150_000, START + 30 * DAY), [0, 0]);
        assert_eq!(upgrade(50_000, 150_000, START + 90 * DAY), [0, 0]);
        assert_eq!(upgrade(50_000, 150_000, START - DAY), [150_000, -50_000]);
    }

    #[test]
    fn credit_is_bounded_by_what_was_paid_and_by_the_charge() {
        assert_eq!(upgrade(0, 150_000, START), [150_000]);
        assert_eq!(upgrade(900_000, 150_000, START), [150_000, -150_000]);
        assert_eq!(
            upgrade(Rupiah::MAX, Rupiah::MAX, START),
            [Rupiah::MAX, -Rupiah::MAX]
        );
    }

    #[test]
    fn impossible_requests_are_problems() {
        assert!(by_month(&request(50_000, 0, Occasion::First, START)).is_err());
        assert!(by_month(&request(-1, 1, Occasion::First, START)).is_err());
        assert!(by_month(&request(Rupiah::MAX, 2, Occasion::First, START)).is_err());
        let running = RunningPeriod {
            plan: plan(Tier::Free, 0),
            paid: 0,
            period: Period {
                start: START,
                end: START,
            },
        };
        assert!(by_month(&request(1, 1, Occasion::Upgrade(running), START)).is_err());
    }

    #[test]
    fn spans_are_exact() {
        assert_eq!(span(0), "0 seconds");
        assert_eq!(span(31 * DAY), "31 days");
        assert_eq!(span(DAY + 3_600 + 61), "1 day 1 hour 1 minute 1 second");
    }
}
