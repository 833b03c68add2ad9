//! Goals of single routes, each judged at one number of connections, and of memory in all cases.

use dermaga_tests::bench::verdict;
use serde_json::{Value, json};

use crate::{args::Case, report::Row};

/// Name of the floor that answers without a shop behind it.
pub(crate) const BARE: &str = "bare axum, the same bytes";
/// Name of the floor that writes without a shop before it.
pub(crate) const BY_HAND: &str = "the same rows by hand";

/// Most resident memory of the server, in millions of bytes.
const MEGABYTES: f64 = 250.0;
const GOALS: [(Case, usize, Bound); 8] = [
    (Case::Health, 16, Bound::PartOf(BARE, 0.9)),
    (Case::Catalogue, 16, Bound::PartOf(BARE, 0.6)),
    (Case::Wallet, 64, Bound::Slowest(10.0)),
    (Case::Redeem, 16, Bound::PartOf(BY_HAND, 0.6)),
    (Case::Redeem, 16, Bound::Processor(0.7, 1.2)),
    (Case::Subscribe, 16, Bound::PartOf(BY_HAND, 0.45)),
    (Case::Subscribe, 16, Bound::Processor(1.2, 3.0)),
    (Case::Subscribe, 64, Bound::Slowest(100.0)),
];

/// Bound of a figure.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Least part of what a floor does.
    PartOf(&'static str, f64),
    /// Most milliseconds of 99 answers in a hundred.
    Slowest(f64),
    /// Most milliseconds of processor time of server and database together: on SQLite, on PostgreSQL.
    Processor(f64, f64),
}

/// A goal, and the figure that meets or misses it.
#[derive(Debug)]
pub(crate) struct Judged {
    name: String,
    target: f64,
    measured: f64,
    is_met: bool,
    word: &'static str,
}

/// Judges the goals of a case at the connections of this row. One that is missed fails the run at its end.
pub(crate) fn judge(case: Case, row: &Row) -> Vec<Judged> {
    let own = GOALS
        .iter()
        .filter(|(of, connections, _)| (*of, *connections) == (case, row.connections));
    let own = own.map(|(_, _, bound)| bound.judge(row));
    own.chain(memory(row)).collect()
}

/// Judges the peak of the server's memory, where it is known.
fn memory(row: &Row) -> Option<Judged> {
    let megabytes = row.server_kib? as f64 * 1.024 / 1_000.0;
    Some(at_most(MEGABYTES, megabytes, "MB of memory"))
}

impl Bound {
    fn judge(self, row: &Row) -> Judged {
        match self {
            Self::PartOf(floor, target) => {
                let measured = row.floors.iter().find(|known| known.name == floor);
                // A figure that is missing is no number, which is within no bound.
                let measured = measured.map_or(f64::NAN, |floor| floor.ratio);
                let name = format!(">= {target} of {floor}");
                Judged::new(name, target, measured, measured >= target)
            }
            Self::Slowest(target) => {
                let whole = row.steps.first().map(|(_, latencies)| *latencies);
                let whole = whole.filter(|latencies| latencies.count > 0);
                let measured = whole.map_or(f64::NAN, |latencies| latencies.p99 as f64 / 1_000.0);
                at_most(target, measured, "ms at p99")
            }
            Self::Processor(sqlite, postgres) => {
                let (target, database) = if row.has_database {
                    (postgres, row.cost.database)
                } else {
                    (sqlite, 0.0)
                };
                let measured = (row.cost.server + database) / 1_000.0;
                at_most(target, measured, "ms of processor time")
            }
        }
    }
}

fn at_most(target: f64, measured: f64, unit: &str) -> Judged {
    let name = format!("<= {target} {unit}");
    Judged::new(name, target, measured, measured <= target)
}

impl Judged {
    fn new(name: String, target: f64, measured: f64, is_met: bool) -> Self {
        Self {
            name,
            target,
            measured,
            is_met,
            word: verdict(is_met),
        }
    }

    /// Returns its line of the table.
    pub(crate) fn line(&self) -> String {
        let Self {
            name,
            measured,
            word,
            ..
        } = self;
        format!("goal {name}: {measured:.2}, {word}")
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "target": self.target,
            "measured": self.measured,
            "isMet": self.is_met,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::Floor,
        series::{Cost, Latencies},
    };

    fn row(connections: usize, has_database: bool) -> Row {
        let latencies = Latencies {
            count: 10,
            p50: 1_500,
            p95: 2_000,
            p99: 99_000,
        };
        let floor = |name, ratio| Floor {
            name,
            connections,
            rate: 1_000.0,
            latencies: vec![latencies],
            server_micros: None,
            ratio,
        };
        Row {
            engine: "sqlite",
            case: "subscribe",
            connections,
            rate: 100.0,
            steps: vec![("subscribe", latencies)],
            cost: Cost {
                server: 1_000.0,
                database: 2_500.0,
            },
            has_database,
            server_kib: Some(250_000),
            database_kib: None,
            busy: 0,
            failures: 0,
            first_failure: None,
            unsettled: 0,
            floors: vec![floor(BARE, 0.9), floor(BY_HAND, 0.44)],
            goals: Vec::new(),
        }
    }

    fn lines(case: Case, row: &Row) -> Vec<String> {
        judge(case, row).iter().map(Judged::line).collect()
    }

    #[test]
    fn a_goal_is_judged_where_it_belongs() {
        let memory = "goal <= 250 MB of memory: 256.00, MISSED";
        assert_eq!(
            lines(Case::Subscribe, &row(16, false)),
            [
                "goal >= 0.45 of the same rows by hand: 0.44, MISSED",
                "goal <= 1.2 ms of processor time: 1.00, met",
                memory,
            ]
        );
        assert_eq!(
            lines(Case::Subscribe, &row(64, false)),
            ["goal <= 100 ms at p99: 99.00, met", memory]
        );
        assert_eq!(lines(Case::Journey, &row(64, false)), [memory]);
        let json = judge(Case::Health, &row(16, false))
            .first()
            .map(Judged::json);
        assert_eq!(json.unwrap()["isMet"], true);
    }

    #[test]
    fn a_database_of_its_own_works_for_an_act_too() {
        let lines = lines(Case::Subscribe, &row(16, true));
        assert_eq!(lines[1], "goal <= 3 ms of processor time: 3.50, MISSED");
    }

    #[test]
    fn what_was_not_measured_is_missed() {
        let mut nothing = row(64, false);
        nothing.steps.clear();
        nothing.server_kib = None;
        let lines = lines(Case::Wallet, &nothing);
        assert_eq!(lines, ["goal <= 10 ms at p99: NaN, MISSED"]);
        let mut unknown = row(16, false);
        unknown.floors.clear();
        assert!(!judge(Case::Health, &unknown)[0].is_met);
    }
}
