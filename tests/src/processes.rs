//! Processor time and memory of processes, as Linux tells them in `/proc`.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// Length of a tick, in which `/proc` counts on every platform of Linux.
pub const TICK_MICROS: f64 = 10_000.0;
/// A process is quiet when it works for no more than this many ticks in a pause.
const QUIET_TICKS: u64 = 2;
const PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for work that requests left to be done, such as manifests that are still to be written.
const LONGEST_SETTLING: Duration = Duration::from_secs(30);

/// Processes of one side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// The server, when it is a process of its own.
    pub server: Option<u32>,
    /// First process of PostgreSQL.
    pub database: Option<u32>,
}

/// Ticks that the processes have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub server: u64,
    pub database: u64,
}

impl Used {
    pub const fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            database: self.database.saturating_sub(before.database),
        }
    }

    const fn total(self) -> u64 {
        self.server + self.database
    }
}

impl Watched {
    pub fn used(self) -> Used {
        let own = self.server.and_then(stat).map_or(0, |stat| stat.own);
        Used {
            server: own,
            database: self.database.map_or(0, family),
        }
    }

    /// Waits until the processes are quiet; false when they do not become so in time.
    pub async fn settle(self) -> bool {
        let deadline = Instant::now() + LONGEST_SETTLING;
        let mut before = self.used();
        while Instant::now() < deadline {
            sleep(PAUSE).await;
            let now = self.used();
            if now.since(before).total() <= QUIET_TICKS {
                return true;
            }
            before = now;
        }
        false
    }

    /// Lets the peak of the server's memory begin at what it has now.
    pub fn forget_peak(self) {
        if let Some(id) = self.server {
            // Without permission the peak is that of the whole life.
            let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }

    /// Peak of the server's resident memory, in KiB.
    pub fn server_peak(self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.server?)).ok()?;
        kib(&text, "VmHWM:")
    }

    /// Memory of PostgreSQL's processes, what they share counted once, in KiB.
    pub fn database_memory(self) -> Option<u64> {
        let first = self.database?;
        let ids = children(first).map(|(id, _)| id).chain([first]);
        let sizes = ids.filter_map(|id| {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            kib(&text, "Pss:")
        });
        Some(sizes.sum())
    }
}

/// Lists a process and its children.
pub fn with_children(first: u32) -> Vec<u32> {
    let children = children(first).map(|(id, _)| id);
    std::iter::once(first).chain(children).collect()
}

/// Figures of a process from `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Ticks of the process.
    own: u64,
    /// Ticks of children that have ended.
    ended: u64,
}

fn stat(id: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// Reads the line; the name in its brackets may contain blanks and brackets.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        ended: number(13)? + number(14)?,
    })
}

/// Ticks of a process with those of its children, ended or not.
fn family(id: u32) -> u64 {
    let first = stat(id).map_or(0, |stat| stat.own + stat.ended);
    first + children(id).map(|(_, stat)| stat.own).sum::<u64>()
}

/// Lists the children of a process.
fn children(parent: u32) -> impl Iterator<Item = (u32, Stat)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(move |entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = stat(id)?;
        (stat.parent == parent).then_some((id, stat))
    })
}

/// Returns the figure of a line such as `VmHWM:   1234 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let line = "42 (post) gres) S 7 42 42 0 -1 4194560 100 200 0 0 31 11 5 2 20 0 1 0 1 2 3";
        let expected = Stat {
            parent: 7,
            own: 42,
            ended: 7,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (postgres) S 7"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_among_its_parents_children() {
        let own = std::process::id();
        let parent = stat(own).unwrap().parent;
        assert!(children(parent).any(|(id, _)| id == own));
        let ticks = stat(own).unwrap().own;
        assert!(family(parent) >= ticks);
    }

    #[test]
    fn figures_of_memory_are_read_by_name() {
        let text = "Name:\tdermaga\nVmPeak:\t  900 kB\nVmHWM:\t   123456 kB\nThreads:\t8\n";
        assert_eq!(kib(text, "VmHWM:"), Some(123_456));
        assert_eq!(kib(text, "Threads:"), None);
        assert_eq!(kib(text, "Pss:"), None);
    }

    #[test]
    fn time_never_runs_backwards() {
        let (early, late) = (
            Used {
                server: 5,
                database: 9,
            },
            Used {
                server: 7,
                database: 8,
            },
        );
        let between = late.since(early);
        assert_eq!((between.server, between.database), (2, 0));
    }
}
