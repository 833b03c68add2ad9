//! Tests of the model as a whole.

use super::{
    Basis, Costs, Figure, Inputs, Profile, Simulated,
    books::Account,
    json, lines,
    month::{Crossings, Refusals},
    simulate,
};

const CUSTOMERS: u32 = 4_000;

fn inputs(partitions: Option<usize>) -> Inputs {
    Inputs {
        costs: Costs::default(),
        profile: Profile::default(),
        seed: 1,
        partitions,
    }
}

fn simulated(partitions: usize) -> Simulated {
    simulate(&inputs(Some(partitions)), CUSTOMERS).unwrap()
}

/// Enough of everything, so that no limit refuses in one partition what another one would not.
fn plenty(partitions: usize) -> Inputs {
    let mut plenty = inputs(Some(partitions));
    plenty.profile.set("launchPlaces", 100_000).unwrap();
    plenty.profile.set("campaignUses", 100_000).unwrap();
    plenty
}

#[test]
fn partitions_have_the_books_of_one_ledger() {
    let one = simulate(&plenty(1), CUSTOMERS).unwrap();
    let many = simulate(&plenty(13), CUSTOMERS).unwrap();
    assert_eq!(one.month.books.whole(), many.month.books.whole());
    assert_eq!(one.month.books.sheets().len(), 1);
    assert_eq!(many.month.books.sheets().len(), 13);
    assert!(many.month.books.whole().entries > u64::from(CUSTOMERS));
    assert_eq!(one.month.tally, many.month.tally);
    assert_eq!(one.month.crossings.without_portions, 0);
    // Not many more in one than chance alone puts there.
    let wallets = many.month.wallets;
    assert!(wallets.excess() < 4.0 / wallets.mean.sqrt(), "{wallets:?}");
}

#[test]
fn what_banks_take_back_is_in_the_books() {
    let mut inputs = plenty(3);
    inputs.profile.set("reversals", 400).unwrap();
    let run = simulate(&inputs, 1_000).unwrap();
    let sheets = run.month.books.sheets();
    assert!(
        sheets
            .iter()
            .all(|sheet| sheet.of(Account::Receivables) < 0)
    );
}

#[test]
fn servers_are_as_many_as_looks_ask_for() {
    let mut busy = inputs(Some(1));
    busy.profile.set("resyncSeconds", 1).unwrap();
    let servers = |inputs: &Inputs| {
        let run = simulate(inputs, CUSTOMERS).unwrap();
        let mut needs = run.needs.needs.iter();
        let servers = needs.find(|need| need.name.starts_with("servers for"));
        servers.unwrap().value
    };
    // Some four thousand looks a second, each of a hundredth of a second, eight at once in each server.
    assert!(servers(&busy) > 4.0, "{}", servers(&busy));
    assert!((servers(&inputs(Some(1))) - 2.0).abs() < f64::EPSILON);
}

#[test]
fn scarce_things_are_never_given_twice() {
    let (one, many) = (simulated(1), simulated(13));
    let Refusals {
        sold_out, used_up, ..
    } = one.month.refusals;
    assert!(sold_out > 0 && used_up > 0, "{:?}", one.month.refusals);
    // Uses that lie in portions are missing elsewhere, and no others.
    let lying = many.month.crossings.lying;
    assert!(many.month.refusals.used_up <= used_up + lying);
    assert!(many.month.refusals.used_up >= used_up);
}

#[test]
fn few_acts_ask_another_partition() {
    let many = simulate(&plenty(13), CUSTOMERS).unwrap();
    let Crossings {
        limited,
        without_portions,
        with_portions,
        ..
    } = many.month.crossings;
    assert!(
        with_portions < without_portions,
        "{with_portions} of {without_portions}"
    );
    assert!(without_portions < limited);
    assert!(limited < many.month.books.whole().entries / 4);
}

#[test]
fn more_customers_need_no_less_and_reach_limits_sooner() {
    let mut before: Option<Simulated> = None;
    for customers in [1_000, 2_000, 4_000, 8_000] {
        let run = simulate(&inputs(None), customers).unwrap();
        if let Some(before) = &before {
            for (fewer, more) in before.needs.needs.iter().zip(&run.needs.needs) {
                assert_eq!(fewer.name, more.name);
                assert!(fewer.value <= more.value, "{fewer:?} {more:?}");
            }
            for fewer in &before.needs.limits {
                let same = run.needs.limits.iter().find(|more| more.name == fewer.name);
                assert!(fewer.needs <= same.unwrap().needs, "{fewer:?}");
            }
            assert!(before.partitions <= run.partitions);
        }
        before = Some(run);
    }
}

#[test]
fn dearer_acts_end_sooner() {
    let mut dear = inputs(Some(1));
    let figure = Figure::new(20_000.0, Basis::Given, "--cost");
    dear.costs.set("look.database", figure).unwrap();
    let (cheap, dear) = (simulated(1), simulate(&dear, CUSTOMERS).unwrap());
    let reached = |run: &Simulated| {
        let mut limits = run.needs.limits.iter();
        let limit = limits.find(|limit| limit.name == "processors of PostgreSQL");
        limit.unwrap().customers(u64::from(CUSTOMERS))
    };
    assert!(reached(&dear) < reached(&cheap) / 5.0);
    assert!(lines(&dear).contains("given"), "{}", lines(&dear));
}

#[test]
fn limits_are_in_the_order_in_which_they_are_reached() {
    let run = simulated(1);
    let customers: Vec<f64> = run
        .needs
        .limits
        .iter()
        .map(|limit| limit.customers(run.month.customers))
        .collect();
    assert!(customers.is_sorted(), "{customers:?}");
    assert!(customers.iter().all(|reached| *reached > 0.0));
}

#[test]
fn a_seed_has_one_result() {
    let of = |seed| {
        let run = simulate(
            &Inputs {
                seed,
                ..inputs(Some(5))
            },
            500,
        )
        .unwrap();
        (lines(&run), json(&run))
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_shop_without_customers_needs_two_servers() {
    let run = simulate(&inputs(None), 0).unwrap();
    assert_eq!(run.partitions, 1);
    let mut needs = run.needs.needs.iter();
    let servers = needs.find(|need| need.name.starts_with("servers for"));
    assert!((servers.unwrap().value - 2.0).abs() < f64::EPSILON);
    assert!(lines(&run).contains("no end"));
    assert!(
        json(&run)["limits"][0]["customers"].is_null()
            || json(&run)["limits"][0]["customers"].is_number()
    );
}
