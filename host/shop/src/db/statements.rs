//! Records every statement that is sent, for the test that explains each of them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// A statement and the place in the code that sends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// Path as in `file!()`.
    pub file: &'static str,
    pub line: u32,
    pub sql: String,
}

/// The statements that went through the macros of this module.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<BTreeSet<Statement>>>);

impl Recorder {
    #[doc(hidden)]
    pub fn note(&self, file: &'static str, line: u32, sql: &str) {
        let sql = sql.to_owned();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(Statement { file, line, sql });
    }

    /// Forgets what was sent until now.
    pub fn clear(&self) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clear();
    }

    /// Returns each different statement once, by place.
    pub fn statements(&self) -> Vec<Statement> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().cloned().collect()
    }
}

/// Recorder of a database; none until one is asked for, which costs a server one check.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<OnceLock<Recorder>>);

impl Recording {
    pub(super) fn start(&self) -> Recorder {
        self.0.get_or_init(Recorder::default).clone()
    }

    pub(super) fn recorder(&self) -> Option<Recorder> {
        self.0.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _};

    use crate::db::Db;

    #[tokio::test]
    async fn statements_that_come_in_turns_stay_prepared() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let Db::Sqlite { reader, .. } = &db else {
            unreachable!("the address of SQLite");
        };
        let mut conn = reader.pool().acquire().await.unwrap();
        for number in 0..200 {
            let sql = AssertSqlSafe(format!("SELECT {number}"));
            sqlx::query(sql).execute(&mut *conn).await.unwrap();
        }
        assert!(conn.cached_statements_size() >= 200);
    }
}
