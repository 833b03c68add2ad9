//! Credits for unused time, over chains of upgrades, terms and refunds.

use dermaga_runtime::contract::{Period, PriceAnswer, PriceLine};
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;
const TIERS: [Tier; 5] = [
    Tier::Free,
    Tier::Basic,
    Tier::Pro,
    Tier::Premium,
    Tier::Enterprise,
];

const MONTH: SoldTerm = SoldTerm {
    months: 1,
    monthly_price: Rupiah::new(50_000),
    price: None,
};

fn running(end: i64) -> Running {
    Running {
        period: Period { start: 0, end },
        paid: Vec::new(),
    }
}

/// A payment for the rest of the period.
fn paid(running: &Running, tier: Tier, amount: i64, from: i64) -> Paid {
    Paid {
        tier,
        amount: Rupiah::new(amount),
        refunded: Rupiah::ZERO,
        from,
        until: running.period.end,
    }
}

fn line(code: &str, amount: i64) -> PriceLine {
    PriceLine {
        code: code.to_owned(),
        label: String::new(),
        amount,
        reason: String::new(),
    }
}

/// Answer of a plugin of contract 0.1.0 or 0.2.0: it prorates one sum over the whole period.
fn asked(running: &Running, price: i64, moment: i64) -> PriceAnswer {
    let Period { start, end } = running.period;
    let left = end - moment;
    let charge = price * left / (end - start);
    let told = running.as_one_payment().unwrap().get();
    let credit = (told * left / (end - start)).min(charge);
    let mut lines = vec![line("remaining-time", charge)];
    if told > 0 {
        lines.push(line(UNUSED_TIME, -credit));
    }
    PriceAnswer {
        lines,
        total: charge - credit,
    }
}

/// Charges the change and adds it to what was paid.
fn upgrade(running: &mut Running, tier: Tier, price: i64, moment: i64) -> (i64, Vec<PriceLine>) {
    let answer = asked(running, price, moment);
    let Settled { lines, due, .. } = running.settle(answer, MONTH, moment).unwrap();
    assert_eq!(lines.iter().map(|line| line.amount).sum::<i64>(), due.get());
    let payment = paid(running, tier, due.get(), moment);
    running.paid.push(payment);
    (due.get(), lines)
}

/// A year at 510,000 of 600,000, then on day 73 of 365 a plan of 150,000 a month whose year costs 1,500,000:
/// four fifths of each, every line rounded once.
#[test]
fn an_upgrade_in_the_middle_of_a_term_keeps_the_price_of_the_term() {
    let mut running = running(365 * DAY);
    let payment = paid(&running, Tier::Basic, 510_000, 0);
    running.paid.push(payment);
    let term = SoldTerm {
        months: 12,
        monthly_price: Rupiah::new(150_000),
        price: Some(Rupiah::new(1_500_000)),
    };
    let answer = asked(&running, 1_800_000, 73 * DAY);
    let Settled { lines, due, .. } = running.settle(answer, term, 73 * DAY).unwrap();
    let amounts: Vec<_> = lines.iter().map(|line| line.amount).collect();
    assert_eq!(amounts, [1_440_000, -240_000, -408_000]);
    assert_eq!(due.get(), 792_000);
    // The reduced price bounds the credit.
    let cheap = SoldTerm {
        price: Some(Rupiah::new(300_000)),
        ..term
    };
    let answer = asked(&running, 1_800_000, 73 * DAY);
    let Settled { lines, due, .. } = running.settle(answer, cheap, 73 * DAY).unwrap();
    let amounts: Vec<_> = lines.iter().map(|line| line.amount).collect();
    assert_eq!(
        (amounts.as_slice(), due.get()),
        ([1_440_000, -1_200_000, -240_000].as_slice(), 0)
    );
}

/// A term that takes a share off the rest of a period takes it off whole rupiah. At the beginning of the period it takes
/// off what the plan declares, and a month takes nothing.
#[test]
fn the_share_of_a_term_is_known_to_be_of_a_rounded_price() {
    let mut running = running(365 * DAY);
    let payment = paid(&running, Tier::Basic, 510_000, 0);
    running.paid.push(payment);
    let term = SoldTerm {
        months: 12,
        monthly_price: Rupiah::new(150_000),
        price: Some(Rupiah::new(1_500_000)),
    };
    for (term, price, day, is_of_rounded) in [
        (term, 1_800_000, 100, true),
        (term, 1_800_000, 0, false),
        (MONTH, 150_000, 100, false),
    ] {
        let answer = asked(&running, price, day * DAY);
        let settled = running.settle(answer, term, day * DAY).unwrap();
        assert_eq!(settled.rounding.of_term, is_of_rounded, "{price} {day}");
    }
}

/// Free, then BASIC on day 10 of 31, then PRO on day 20.
#[test]
fn a_second_upgrade_credits_what_the_first_one_paid_for() {
    let mut running = running(31 * DAY);
    let payment = paid(&running, Tier::Free, 0, 0);
    running.paid.push(payment);
    let (first, lines) = upgrade(&mut running, Tier::Basic, 50_000, 10 * DAY);
    assert_eq!((first, lines.len()), (33_870, 1));
    assert_eq!(
        running.as_one_payment().unwrap().get(),
        49_998,
        "33,870 x 31 / 21"
    );
    let (second, lines) = upgrade(&mut running, Tier::Pro, 150_000, 20 * DAY);
    assert_eq!(second, 35_484);
    assert_eq!(lines[1].amount, -17_741);
    assert_eq!(lines[1].label, "Unused time of the BASIC plan");
    assert_eq!(
        lines[1].reason,
        "Rp33.870 was paid for 21 days of the BASIC plan; time not used: 11 days."
    );
    let (_, lines) = upgrade(&mut running, Tier::Premium, 400_000, 25 * DAY);
    let reasons: Vec<_> = lines
        .iter()
        .skip(1)
        .map(|line| (line.amount, line.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (
                -9_677,
                "Rp33.870 was paid for 21 days of the BASIC plan; time not used: 6 days."
            ),
            (
                -19_354,
                "Rp35.484 was paid for 11 days of the PRO plan; time not used: 6 days."
            ),
        ]
    );
}

/// One payment of the whole period is passed on as it is, and its line reads as the plugin's did.
#[test]
fn a_first_upgrade_is_as_before() {
    let mut running = running(30 * DAY);
    let payment = paid(&running, Tier::Basic, 50_000, 0);
    running.paid.push(payment);
    assert_eq!(running.as_one_payment().unwrap().get(), 50_000);
    let (due, lines) = upgrade(&mut running, Tier::Pro, 150_000, 15 * DAY);
    assert_eq!(due, 50_000);
    assert_eq!(
        lines[1].reason,
        "Rp50.000 was paid for 30 days of the BASIC plan; time not used: 15 days."
    );
}

#[test]
fn no_plugin_credits_more_than_is_covered() {
    let mut running = running(30 * DAY);
    let payment = paid(&running, Tier::Basic, 50_000, 0);
    running.paid.push(payment);
    let greedy = PriceAnswer {
        lines: vec![
            line("remaining-time", 75_000),
            line("thanks", -60_000),
            line("more", -15_000),
        ],
        total: 0,
    };
    let Settled { lines, due, .. } = running.settle(greedy, MONTH, 15 * DAY).unwrap();
    assert_eq!((due.get(), lines.len()), (50_000, 2));
    // One that credits less, or nothing, keeps to it.
    let mean = PriceAnswer {
        lines: vec![line("a", 75_000), line("b", -10_000)],
        total: 65_000,
    };
    let Settled { lines, due, .. } = running.settle(mean, MONTH, 15 * DAY).unwrap();
    assert_eq!((due.get(), lines[1].amount), (65_000, -10_000));
    assert!(
        lines[1]
            .reason
            .ends_with(" The service credits Rp10.000 in all."),
        "{}",
        lines[1].reason
    );
    let nothing = PriceAnswer {
        lines: vec![line("a", 75_000)],
        total: 75_000,
    };
    assert_eq!(
        running.settle(nothing, MONTH, 15 * DAY).unwrap().due.get(),
        75_000
    );
}

#[test]
fn what_was_given_back_is_not_credited() {
    let mut running = running(30 * DAY);
    running.paid = vec![
        paid(&running, Tier::Basic, 50_000, 0),
        paid(&running, Tier::Pro, 50_000, 15 * DAY),
    ];
    let cash = [50_000, 50_000].map(Rupiah::new);
    take_off(&mut running.paid, &cash, Rupiah::new(60_000)).unwrap();
    let refunded = running.paid.iter().map(|paid| paid.refunded.get());
    assert_eq!(refunded.collect::<Vec<_>>(), [10_000, 50_000]);
    let (_, lines) = upgrade(&mut running, Tier::Premium, 400_000, 20 * DAY);
    let credits: Vec<_> = lines.iter().skip(1).map(|line| line.amount).collect();
    assert_eq!(credits, [-13_333, 0]);
    assert_eq!(
        lines[1].reason,
        "Rp50.000 was paid for 30 days of the BASIC plan, and Rp10.000 of it was given back; \
         time not used: 10 days."
    );
}

/// A later refund is of the newest payment, and leaves alone what an earlier one took.
#[test]
fn refunds_add_up() {
    let mut running = running(30 * DAY);
    running.paid = vec![paid(&running, Tier::Basic, 50_000, 0)];
    let cash = [50_000, 70_000].map(Rupiah::new);
    take_off(&mut running.paid, &cash, Rupiah::new(40_000)).unwrap();
    let later = paid(&running, Tier::Pro, 70_000, 15 * DAY);
    running.paid.push(later);
    let refunded = |running: &Running| {
        let all = running.paid.iter().map(|paid| paid.refunded.get());
        all.collect::<Vec<_>>()
    };
    assert_eq!(refunded(&running), [40_000, 0]);
    take_off(&mut running.paid, &cash, Rupiah::new(75_000)).unwrap();
    assert_eq!(refunded(&running), [45_000, 70_000]);
}

/// An upgrade at the very end of a period costs nothing and covers nothing.
#[test]
fn the_last_second_has_no_length() {
    let mut running = running(30 * DAY);
    let payment = paid(&running, Tier::Basic, 50_000, 0);
    running.paid.push(payment);
    assert_eq!(upgrade(&mut running, Tier::Pro, 150_000, 30 * DAY).0, 0);
    assert_eq!(running.as_one_payment().unwrap().get(), 50_000);
}

proptest! {
    /// However a customer climbs, all that is charged is what each plan costs over its span.
    #[test]
    fn a_chain_costs_what_its_spans_cost(
        days in 28..=31_i64,
        first in 0..200_000_i64,
        steps in prop::collection::vec((1..500_000_i64, 0..1_000_i64), 1..=4),
    ) {
        let end = days * DAY;
        let mut running = running(end);
        let payment = paid(&running, Tier::Free, first, 0);
        running.paid.push(payment);
        // Exact, in rupiah times seconds.
        let (mut price, mut since, mut fair, mut charged) = (first, 0, 0_i128, first);
        for (tier, (more, when)) in TIERS[1..].iter().zip(&steps) {
            let moment = since + (end - since) * when / 1_000;
            fair += i128::from(price) * i128::from(moment - since);
            (price, since) = (price + more, moment);
            let (due, _) = upgrade(&mut running, *tier, price, moment);
            prop_assert!(due >= 0);
            charged += due;
        }
        fair += i128::from(price) * i128::from(end - since);
        let charged = i128::from(charged) * i128::from(end);
        // A rupiah for each payment that was rounded down at each step.
        let rounding = i128::from(end) * 10;
        prop_assert!(charged <= fair + rounding, "{charged} for {fair}");
        prop_assert!(charged >= fair - rounding, "{charged} for {fair}");
    }
}
