//! Results for people, and as JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{Taken, Who};
use crate::Outcome;

/// Latency that a list may have, in microseconds, of 95 in a hundred answers.
const GOAL: u64 = 50_000;
/// Longest latency that is recorded as it is, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// Files are written while they are read: their goal is the first byte.
const FILE: &str = "/statement";

/// A list, and the latencies of its answers.
pub(super) struct Row {
    engine: &'static str,
    pub(super) who: Who,
    pub(super) path: String,
    first_byte: Histogram<u64>,
    whole: Histogram<u64>,
    /// Bytes of the longest answer.
    bytes: usize,
    /// Peak of the server's resident memory in a turn.
    server_kib: Option<u64>,
    pub(super) failure: Option<String>,
}

/// Returns the names of the columns.
pub(super) fn heading() -> String {
    format!(
        "{:9} {:13} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7}  list\n",
        "engine", "who", "answers", "first p95", "p50 ms", "p95 ms", "most ms", "KiB", "srv MiB"
    )
}

/// Tells how many lists keep to the goal.
pub(super) fn summary(rows: &[Row]) -> String {
    let slow = rows.iter().filter(|row| row.is_slow()).count();
    format!(
        "{} lists and statistics; {slow} of them take longer than {} ms",
        rows.len(),
        GOAL / 1_000
    )
}

/// Returns all results with their circumstances.
pub(super) fn json(rows: &[Row], processors: usize, percent: u32) -> Value {
    json!({
        "processors": processors,
        "percentOfFullSize": percent,
        "goalMicros": GOAL,
        "lists": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}

impl Row {
    pub(super) fn new(engine: &'static str, who: Who, path: String) -> Outcome<Self> {
        let empty = Histogram::new_with_max(LONGEST, DIGITS)?;
        Ok(Self {
            engine,
            who,
            path,
            first_byte: empty.clone(),
            whole: empty,
            bytes: 0,
            server_kib: None,
            failure: None,
        })
    }

    /// Adds the answers of a turn.
    pub(super) fn add(&mut self, turn: Vec<Taken>, server_kib: Option<u64>) {
        for taken in turn {
            self.first_byte.saturating_record(micros(taken.first_byte));
            self.whole.saturating_record(micros(taken.whole));
            self.bytes = self.bytes.max(taken.bytes);
        }
        self.server_kib = self.server_kib.max(server_kib);
    }

    /// Returns true when the list misses its goal.
    pub(super) fn is_slow(&self) -> bool {
        let latencies = if self.path.contains(FILE) {
            &self.first_byte
        } else {
            &self.whole
        };
        latencies.value_at_quantile(0.95) > GOAL
    }

    /// Returns its line of the table.
    pub(super) fn line(&self) -> String {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        let memory = self.server_kib.map(|kib| (kib / 1_024).to_string());
        let mut line = format!(
            "{:9} {:13} {:>7} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>8} {:>7}  {}",
            self.engine,
            self.who.name(),
            self.whole.len(),
            millis(self.first_byte.value_at_quantile(0.95)),
            millis(self.whole.value_at_quantile(0.50)),
            millis(self.whole.value_at_quantile(0.95)),
            millis(self.whole.max()),
            self.bytes.div_ceil(1_024),
            memory.as_deref().unwrap_or("-"),
            self.path
        );
        if self.is_slow() {
            line.push_str("  SLOW");
        }
        if let Some(failure) = &self.failure {
            line.push_str("\n  FAILED  ");
            line.push_str(failure);
        }
        line
    }

    fn json(&self) -> Value {
        json!({
            "engine": self.engine,
            "who": self.who.name(),
            "path": self.path,
            "answers": self.whole.len(),
            "firstByteP95Micros": self.first_byte.value_at_quantile(0.95),
            "p50Micros": self.whole.value_at_quantile(0.50),
            "p95Micros": self.whole.value_at_quantile(0.95),
            "mostMicros": self.whole.max(),
            "bytes": self.bytes,
            "serverPeakKib": self.server_kib,
            "isSlow": self.is_slow(),
            "failure": self.failure,
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, first_byte: u64, whole: u64) -> Row {
        let mut row = Row::new("sqlite", Who::Biggest, path.to_owned()).unwrap();
        let taken = Taken {
            first_byte: Duration::from_millis(first_byte),
            whole: Duration::from_millis(whole),
            bytes: 1_025,
        };
        row.add(vec![taken], Some(2_048));
        row
    }

    #[test]
    fn a_list_is_slow_by_its_end_and_a_file_by_its_first_byte() {
        let slow = row("/api/subscriptions", 1, 60);
        assert!(slow.is_slow() && slow.line().ends_with("/api/subscriptions  SLOW"));
        assert!(!row("/api/subscriptions", 1, 40).is_slow());
        assert!(!row("/api/wallet/statement", 1, 60).is_slow());
        assert!(row("/api/wallet/statement", 60, 60).is_slow());
        let all = summary(&[slow, row("/api/tickets", 1, 1)]);
        assert!(
            all.starts_with("2 lists") && all.contains("; 1 of them"),
            "{all}"
        );
    }

    #[test]
    fn figures_are_below_their_names() {
        let (heading, mut failed) = (heading(), row("/api/tickets", 5, 40));
        failed.failure = Some("no".to_owned());
        let line = failed.line();
        for (name, figure) in [("first p95", " 5.00"), ("KiB", " 2"), ("srv MiB", " 2")] {
            let end = heading.find(name).unwrap() + name.len();
            assert!(line[..end].ends_with(figure), "{name}\n{heading}{line}");
        }
        assert!(line.ends_with("\n  FAILED  no"), "{line}");
        assert_eq!(failed.json()["failure"], "no");
        assert_eq!(failed.json()["p95Micros"], failed.json()["mostMicros"]);
    }
}
