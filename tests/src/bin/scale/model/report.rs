//! Results, for people and as JSON. Each line says where it is from: counted in the simulated month, or the origin of
//! the costs in it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    Simulated, books::Sheet, costs::Act, limits::Limit, month::Month, needs::Need,
    partition::Spread, tables,
};

/// Returns a figure with its thousands apart: whole from a hundred on, with digits below.
pub(crate) fn grouped(value: f64) -> String {
    if !value.is_finite() {
        return "no end".to_owned();
    }
    let digits = match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

fn count(number: u64) -> String {
    grouped(number as f64)
}

/// Returns the lines of a run.
pub(crate) fn lines(run: &Simulated) -> String {
    let Simulated { month, needs, .. } = run;
    let mut text = String::new();
    let all = format!(
        "== {} customers, a month, {} partitions ==",
        count(month.customers),
        run.partitions
    );
    line(&mut text, &all);
    line(
        &mut text,
        "\nWhat happened (counted in the simulated month)",
    );
    for (name, number) in counted(month) {
        row(&mut text, name, &count(number), "", "counted");
    }
    line(
        &mut text,
        "\nWhat it needs (modelled; the last column is the origin of its costs)",
    );
    for Need {
        name,
        value,
        unit,
        origin,
    } in &needs.needs
    {
        row(&mut text, name, &grouped(*value), unit, origin);
    }
    line(
        &mut text,
        "\nWhere one PostgreSQL, one cluster and servers of one size end (modelled)",
    );
    for limit in &needs.limits {
        let reached = grouped(limit.customers(month.customers).floor());
        let origin = format!("customers: needs {}; {}", amounts(limit), limit.origin);
        row(&mut text, limit.name, &reached, "", &origin);
    }
    let (databases, clusters) = (needs.partitions.databases, needs.partitions.clusters);
    row(
        &mut text,
        "partitions for the databases",
        &grouped(databases),
        "",
        "modelled",
    );
    row(
        &mut text,
        "partitions for the clusters",
        &grouped(clusters),
        "",
        "modelled",
    );
    line(
        &mut text,
        "\nThe same month in partitions by wallet (simulated, books and limits proven)",
    );
    text.push_str(&partitioned(run));
    text
}

fn amounts(limit: &Limit) -> String {
    let Limit {
        needs, has, unit, ..
    } = limit;
    let text = format!("{} of {} {unit}", grouped(*needs), grouped(*has));
    text.trim_end().to_owned()
}

fn line(text: &mut String, what: &str) {
    text.push_str(what);
    text.push('\n');
}

fn row(text: &mut String, name: &str, value: &str, unit: &str, origin: &str) {
    // A String takes everything that is written to it.
    let _ = writeln!(text, "  {name:44} {value:>16} {unit:11} {origin}");
}

/// Returns what happened, by name.
fn counted(month: &Month) -> Vec<(&'static str, u64)> {
    let done = |act| month.tally.all(act);
    vec![
        ("reads of wallets", done(Act::WalletRead)),
        ("reads of the catalogue", done(Act::CatalogueRead)),
        (
            "sign-ins and sign-ups",
            done(Act::SignIn) + done(Act::SignUp),
        ),
        ("top-ups", done(Act::TopUp)),
        ("coupons redeemed", done(Act::Redeem)),
        ("purchases", done(Act::Buy)),
        ("renewals", done(Act::Renew)),
        ("cancellations", done(Act::Cancel)),
        ("tickets", done(Act::Ticket)),
        ("mails", done(Act::Mail)),
        ("entries of the ledger", month.books.whole().entries),
        ("instances at the end", month.instances),
        ("unpaid subscriptions at the end", month.unpaid),
        ("refused: not enough credit", month.refusals.short),
        ("refused: sold out", month.refusals.sold_out),
        ("refused: coupon used up", month.refusals.used_up),
    ]
}

fn partitioned(run: &Simulated) -> String {
    let Simulated { month, .. } = run;
    let mut text = String::new();
    let mut put = |name: &str, value: &str, origin: &str| row(&mut text, name, value, "", origin);
    put(
        "wallets in a partition",
        &grouped(month.wallets.mean.round()),
        &spread(month.wallets),
    );
    put(
        "entries in a partition",
        &grouped(month.entries.mean.round()),
        &spread(month.entries),
    );
    let crossings = month.crossings;
    let entries = month.books.whole().entries;
    let share = |part: u64| format!("{:.2} % of the entries", percent(part, entries));
    put(
        "take from a limit over all customers",
        &count(crossings.limited),
        &share(crossings.limited),
    );
    put(
        "another partition is asked, without portions",
        &count(crossings.without_portions),
        &share(crossings.without_portions),
    );
    put(
        "another partition is asked, with portions",
        &count(crossings.with_portions),
        &share(crossings.with_portions),
    );
    let scarce = "of the scarcest coupon and plan; none was given twice";
    put(
        "lie in portions at the end",
        &count(crossings.lying),
        scarce,
    );
    let customers = month.customers;
    let moved = |part| format!("{:.1} % of the wallets", percent(part, customers));
    let (score, remainder) = (month.moved.by_score, month.moved.by_remainder);
    put("move to one partition more", &count(score), &moved(score));
    put(
        "would move by remainder",
        &count(remainder),
        &moved(remainder),
    );
    put(
        "books that balance alone",
        &grouped(run.partitions as f64),
        "each partition's lines add up to 0",
    );
    for (account, amount) in &month.books.whole().accounts {
        let name = format!("{} of all partitions", account.name());
        let parts = parts(month.books.sheets(), *account);
        put(&name, &grouped(*amount as f64), &format!("rupiah; {parts}"));
    }
    text
}

/// Returns how many tables have each place, which is the same for any number of customers.
pub(crate) fn places() -> String {
    let mut text = String::new();
    line(
        &mut text,
        "Tables of the schema (listed; a test holds the list against the migrations)",
    );
    for (place, tables) in tables::counts() {
        row(&mut text, place.name(), &tables.to_string(), "", "listed");
    }
    text
}

/// Returns the range of an account's parts.
fn parts(sheets: &[Sheet], account: super::books::Account) -> String {
    let parts = sheets.iter().map(|sheet| sheet.of(account));
    let (least, most) = (parts.clone().min(), parts.max());
    let of = |part: Option<i64>| grouped(part.unwrap_or_default() as f64);
    format!("{} to {} in one", of(least), of(most))
}

fn spread(spread: Spread) -> String {
    let (least, most) = (count(spread.least), count(spread.most));
    let excess = 100.0 * spread.excess();
    format!("{least} to {most}: at most {excess:.1} % above the mean")
}

fn percent(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        100.0 * part as f64 / of as f64
    }
}

/// Returns a run as JSON.
pub(crate) fn json(run: &Simulated) -> Value {
    let Simulated { month, needs, .. } = run;
    let counted = counted(month).into_iter();
    let counted =
        counted.map(|(name, number)| json!({ "name": name, "value": number, "origin": "counted" }));
    let needed = needs.needs.iter().map(|need| {
        json!({ "name": need.name, "value": need.value, "unit": need.unit, "origin": need.origin })
    });
    let limits = needs.limits.iter().map(|limit| {
        let reached = limit.customers(month.customers);
        json!({
            "name": limit.name,
            "of": limit.kind.name(),
            "customers": reached.is_finite().then_some(reached.floor()),
            "needs": limit.needs,
            "has": limit.has,
            "unit": limit.unit,
            "origin": limit.origin,
        })
    });
    let sheets = month.books.sheets().iter();
    let accounts = month.books.whole().accounts.iter();
    let accounts = accounts.map(|(account, amount)| (account.name().to_owned(), json!(amount)));
    json!({
        "customers": month.customers,
        "counted": counted.collect::<Value>(),
        "needs": needed.collect::<Value>(),
        "limits": limits.collect::<Value>(),
        "partitionsForDatabases": needs.partitions.databases,
        "partitionsForClusters": needs.partitions.clusters,
        "partitions": {
            "count": run.partitions,
            "wallets": { "mean": month.wallets.mean, "least": month.wallets.least, "most": month.wallets.most },
            "entries": sheets.map(|sheet| json!(sheet.entries)).collect::<Value>(),
            "limited": month.crossings.limited,
            "askedWithoutPortions": month.crossings.without_portions,
            "askedWithPortions": month.crossings.with_portions,
            "lyingInPortions": month.crossings.lying,
            "movedByScore": month.moved.by_score,
            "movedByRemainder": month.moved.by_remainder,
            "accounts": Value::Object(accounts.collect()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.126, "0.13"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-123_456.0, "-123,456"),
            (f64::INFINITY, "no end"),
        ] {
            assert_eq!(grouped(value), text, "{value}");
        }
    }
}
