//! Results, for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    goals::Judged,
    series::{Cost, Latencies},
};

/// A case at one number of connections.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) engine: &'static str,
    pub(crate) case: &'static str,
    pub(crate) connections: usize,
    /// Repetitions a second.
    pub(crate) rate: f64,
    /// The whole, and its steps if it has some.
    pub(crate) steps: Vec<(&'static str, Latencies)>,
    pub(crate) cost: Cost,
    /// False where the database works within the server.
    pub(crate) has_database: bool,
    /// Peak of the server's resident memory.
    pub(crate) server_kib: Option<u64>,
    pub(crate) database_kib: Option<u64>,
    pub(crate) busy: u64,
    /// Requests that failed, on any side.
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) unsettled: u32,
    pub(crate) floors: Vec<Floor>,
    pub(crate) goals: Vec<Judged>,
}

/// A floor of a case, in the same rounds.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    pub(crate) rate: f64,
    pub(crate) latencies: Vec<Latencies>,
    /// Processor time of one repetition, where the floor is a process of its own.
    pub(crate) server_micros: Option<f64>,
    /// The shop's rate to this one's: the median of the rounds.
    pub(crate) ratio: f64,
}

/// Circumstances of all rows.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) processors: usize,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    /// Entries of the ledger before anything was measured.
    pub(crate) entries: u32,
    /// False when goals were not judged.
    pub(crate) has_goals: bool,
    pub(crate) server: String,
    pub(crate) log: String,
}

/// Returns the names of the columns.
pub(crate) fn heading() -> String {
    format!(
        "{:9} {:42} {:>5} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>6} {:>6}\n",
        "engine",
        "what",
        "conns",
        "a second",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "server us",
        "db us",
        "srv MiB",
        "db MiB",
        "busy",
        "failed"
    )
}

impl Row {
    /// Returns the lines of the table: the shop's, one for each step, floor and goal.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        for (at, (name, latencies)) in self.steps.iter().enumerate() {
            let line = if at == 0 {
                self.first_line(name, *latencies)
            } else {
                let name = format!("  {name}");
                format!(
                    "{}{}",
                    self.start(&name, self.connections, None),
                    times(*latencies)
                )
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for floor in &self.floors {
            let name = format!("  floor: {}", floor.name);
            let start = self.start(&name, floor.connections, Some(floor.rate));
            let latencies = floor.latencies.first().copied().map(times);
            let cost = number(floor.server_micros, 0);
            let ratio = floor.ratio;
            let times = latencies.unwrap_or_default();
            // A String takes everything that is written to it.
            let _ = writeln!(
                text,
                "{start}{times} {cost:>9}   the shop does {ratio:.2} of it"
            );
        }
        for goal in &self.goals {
            let _ = writeln!(text, "  {}", goal.line());
        }
        if self.unsettled > 0 {
            let turns = self.unsettled;
            let _ = writeln!(
                text,
                "  after {turns} turns work was left for longer than is waited"
            );
        }
        if let Some(failure) = &self.first_failure {
            let _ = writeln!(text, "  FAILED  {failure}");
        }
        text
    }

    fn first_line(&self, name: &str, latencies: Latencies) -> String {
        let database = self.has_database.then_some(self.cost.database);
        let mib = |kib: Option<u64>| kib.map_or_else(dash, |kib| (kib / 1024).to_string());
        format!(
            "{}{} {:>9} {:>9} {:>7} {:>7} {:>6} {:>6}",
            self.start(name, self.connections, Some(self.rate)),
            times(latencies),
            number(Some(self.cost.server), 0),
            number(database, 0),
            mib(self.server_kib),
            mib(self.database_kib),
            self.busy,
            self.failures
        )
    }

    fn start(&self, name: &str, connections: usize, rate: Option<f64>) -> String {
        let (engine, rate) = (self.engine, number(rate, 1));
        format!("{engine:9} {name:42} {connections:>5} {rate:>10}")
    }

    fn json(&self) -> Value {
        let steps = self.steps.iter().map(|(name, latencies)| {
            json!({ "name": name, "count": latencies.count, "latencies": micros(latencies) })
        });
        let floors = self.floors.iter().map(|floor| {
            json!({
                "name": floor.name,
                "connections": floor.connections,
                "perSecond": floor.rate,
                "latencies": floor.latencies.first().map(micros),
                "serverCpuMicros": floor.server_micros,
                "ratio": floor.ratio,
            })
        });
        json!({
            "engine": self.engine,
            "case": self.case,
            "connections": self.connections,
            "perSecond": self.rate,
            "steps": steps.collect::<Vec<_>>(),
            "serverCpuMicros": self.cost.server,
            "databaseCpuMicros": self.has_database.then_some(self.cost.database),
            "serverPeakKib": self.server_kib,
            "databaseKib": self.database_kib,
            "busy": self.busy,
            "failures": self.failures,
            "firstFailure": self.first_failure,
            "unsettledTurns": self.unsettled,
            "floors": floors.collect::<Vec<_>>(),
            "goals": self.goals.iter().map(Judged::json).collect::<Vec<_>>(),
        })
    }
}

/// Returns all results with their circumstances.
pub(crate) fn json(run: &Run, rows: &[Row]) -> Value {
    json!({
        "processors": run.processors,
        "rounds": run.rounds,
        "secondsATurn": run.seconds,
        "entriesBefore": run.entries,
        "goalsJudged": run.has_goals,
        "server": run.server,
        "log": run.log,
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}

fn micros(latencies: &Latencies) -> Value {
    json!({
        "p50Micros": latencies.p50,
        "p95Micros": latencies.p95,
        "p99Micros": latencies.p99,
    })
}

/// Formats the three latencies in milliseconds.
fn times(latencies: Latencies) -> String {
    let Latencies { p50, p95, p99, .. } = latencies;
    let millis = |micros: u64| micros as f64 / 1_000.0;
    let (p50, p95, p99) = (millis(p50), millis(p95), millis(p99));
    format!(" {p50:>9.2} {p95:>9.2} {p99:>9.2}")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(dash, |value| format!("{value:.digits$}"))
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let latencies = Latencies {
            count: 10,
            p50: 1_500,
            p95: 2_000,
            p99: 12_345,
        };
        Row {
            engine: "sqlite",
            case: "journey",
            connections: 16,
            rate: 123.456,
            steps: vec![("journey", latencies), ("register", latencies)],
            cost: Cost {
                server: 1_234.0,
                database: 0.0,
            },
            has_database: false,
            server_kib: Some(2_048),
            database_kib: None,
            busy: 3,
            failures: 0,
            first_failure: None,
            unsettled: 0,
            floors: vec![Floor {
                name: "bare",
                connections: 16,
                rate: 1_000.0,
                latencies: vec![latencies],
                server_micros: None,
                ratio: 0.25,
            }],
            goals: Vec::new(),
        }
    }

    #[test]
    fn the_columns_stand_below_their_names() {
        let (heading, lines) = (heading(), row().lines());
        let end = |line: &str, word: &str| line.find(word).unwrap() + word.len();
        let mut lines = lines.lines();
        let whole = lines.next().unwrap();
        for (name, figure) in [
            ("a second", "123.5"),
            ("p50 ms", "1.50"),
            ("p99 ms", "12.35"),
            ("server us", "1234"),
            ("srv MiB", " 2 "),
        ] {
            let figure_end = end(whole, figure) - usize::from(figure.ends_with(' '));
            assert_eq!(figure_end, end(&heading, name), "{name}\n{heading}{whole}");
        }
        assert!(lines.next().unwrap().contains("  register"));
        let floor = lines.next().unwrap();
        assert!(
            floor.contains("floor: bare") && floor.ends_with("does 0.25 of it"),
            "{floor}"
        );
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn failures_are_told_in_both() {
        let mut failed = row();
        failed.failures = 2;
        failed.first_failure = Some("shop: redeem answered 500".to_owned());
        failed.unsettled = 1;
        let text = failed.lines();
        assert!(text.contains("FAILED  shop: redeem answered 500"), "{text}");
        assert!(text.contains("after 1 turns"), "{text}");
        let run = Run {
            processors: 2,
            rounds: 5,
            seconds: 3,
            entries: 0,
            has_goals: false,
            server: "dermaga".to_owned(),
            log: "info".to_owned(),
        };
        let json = json(&run, &[failed]);
        assert_eq!(json["rows"][0]["failures"], 2);
        assert_eq!(json["rows"][0]["databaseCpuMicros"], Value::Null);
        assert_eq!(
            json["rows"][0]["steps"][1]["latencies"]["p99Micros"],
            12_345
        );
    }
}
