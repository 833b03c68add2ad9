//! Generation of the public catalogue, by which answers that are kept know that they are outdated.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Beginnings of the statements that write.
const WRITES: [&str; 3] = ["UPDATE ", "INSERT INTO ", "DELETE FROM "];
/// Beginning of a statement of several parts, any of which may write.
const PARTS: &str = "WITH";
/// Tables of the catalogue. No other table begins with one of these names.
const TABLES: [&str; 3] = ["services", "service_plans", "service_categories"];

/// Number that is raised whenever this server changes what the public catalogue says: by a commit that wrote to
/// its tables, and when other versions of plugins are active. Clones are one number.
#[derive(Debug, Clone, Default)]
pub struct Generation(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    number: AtomicU64,
    /// Commits under way, which others may see already.
    committing: AtomicU64,
}

/// Generation at the beginning of a read, or of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    number: u64,
    /// False while a commit is under way: a read may see it or not.
    is_settled: bool,
}

impl Generation {
    /// Returns the edition in force; take it before reading what is kept under it.
    pub fn edition(&self) -> Edition {
        let number = self.0.number.load(Ordering::SeqCst);
        let is_settled = self.0.committing.load(Ordering::SeqCst) == 0;
        Edition { number, is_settled }
    }

    /// Outdates everything that was read until now.
    pub fn raise(&self) {
        self.0.number.fetch_add(1, Ordering::SeqCst);
    }

    // The order of both steps: who sees the number of a commit that is under way sees that it is, too.
    fn begin_commit(&self) {
        self.0.committing.fetch_add(1, Ordering::SeqCst);
        self.raise();
    }

    fn end_commit(&self) {
        self.raise();
        self.0.committing.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Edition {
    /// Returns true when what was read under this edition has everything that a request under another one may
    /// know of.
    pub const fn serves(self, asked: Self) -> bool {
        self.is_settled && asked.is_settled && self.number >= asked.number
    }
}

/// Writes of a connection to the catalogue. Ends the edition when they are committed.
#[derive(Debug)]
pub(super) struct Raising {
    generation: Generation,
    has_written: bool,
    is_committing: bool,
}

impl Raising {
    pub(super) const fn new(generation: Generation) -> Self {
        Self {
            generation,
            has_written: false,
            is_committing: false,
        }
    }

    /// Notes a statement that the connection sends.
    pub(super) fn note(&mut self, sql: &str) {
        self.has_written = self.has_written || writes_to_catalogue(sql);
    }

    /// Returns true when the connection wrote to the catalogue.
    pub(super) const fn has_written(&self) -> bool {
        self.has_written
    }

    /// Lets no read be kept from here on, until this is dropped.
    pub(super) fn begin_commit(&mut self) {
        if self.has_written && !self.is_committing {
            self.is_committing = true;
            self.generation.begin_commit();
        }
    }
}

impl Drop for Raising {
    fn drop(&mut self) {
        if self.is_committing {
            self.generation.end_commit();
        } else if self.has_written {
            // Undone; or written without a transaction.
            self.generation.raise();
        }
    }
}

/// Returns true for a statement that writes to a table of the catalogue.
fn writes_to_catalogue(sql: &str) -> bool {
    let sql = sql.trim_start();
    if sql.starts_with(PARTS) {
        // A word of a text that looks like a write costs a kept answer, and no more.
        let mut writes = WRITES.iter().flat_map(|write| sql.match_indices(*write));
        return writes.any(|(at, write)| is_of_catalogue(sql.get(at + write.len()..)));
    }
    let table = WRITES.iter().find_map(|write| sql.strip_prefix(write));
    is_of_catalogue(table)
}

/// Returns true for a text that begins with a table of the catalogue.
fn is_of_catalogue(text: Option<&str>) -> bool {
    text.is_some_and(|text| TABLES.iter().any(|name| text.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_to_the_catalogue_are_known_by_their_table() {
        for (sql, expected) in [
            ("UPDATE services SET active = FALSE", true),
            ("  UPDATE service_plans SET used_quota = 1", true),
            ("INSERT INTO service_categories (id) VALUES ($1)", true),
            ("DELETE FROM service_plans WHERE id = $1", true),
            ("SELECT id FROM services", false),
            ("UPDATE subscriptions SET plan_id = $1", false),
            (
                "DELETE FROM quotes WHERE plan_id IN (SELECT id FROM service_plans)",
                false,
            ),
            ("INSERT INTO waitlist (id) SELECT id FROM services", false),
            (
                "WITH due AS (SELECT id FROM plans) UPDATE service_plans SET quota = 1",
                true,
            ),
            (
                "WITH gone AS (DELETE FROM services WHERE id = $1 RETURNING id)\nSELECT id FROM gone",
                true,
            ),
            (
                "\n WITH w0 AS (INSERT INTO outbox VALUES ($1))\nINSERT INTO service_plans VALUES ($2)",
                true,
            ),
            (
                "WITH held AS (SELECT id FROM services FOR UPDATE) UPDATE waitlist SET held = TRUE",
                false,
            ),
            (
                "WITH sold AS (SELECT id FROM service_plans) SELECT id FROM sold",
                false,
            ),
        ] {
            assert_eq!(writes_to_catalogue(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_commit_ends_the_edition_and_none_is_kept_meanwhile() {
        let generation = Generation::default();
        let first = generation.edition();
        assert!(first.serves(first));
        let mut reading = Raising::new(generation.clone());
        reading.note("SELECT id FROM services");
        reading.begin_commit();
        drop(reading);
        assert_eq!(generation.edition(), first);
        let mut writing = Raising::new(generation.clone());
        writing.note("UPDATE services SET active = FALSE");
        writing.note("SELECT id FROM services");
        assert_eq!(generation.edition(), first);
        writing.begin_commit();
        let meanwhile = generation.edition();
        assert!(!first.serves(meanwhile) && !meanwhile.serves(meanwhile));
        drop(writing);
        let after = generation.edition();
        assert!(after.serves(after) && after.serves(first));
        assert!(!first.serves(after) && !meanwhile.serves(after));
    }
}
