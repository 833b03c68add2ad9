//! Work that is done and can still be undone.

use std::fmt;

use super::Conn;

/// Result of an operation whose transaction is still open, so that related writes (the answer under
/// an idempotency key) join the same transaction. Dropping it undoes the operation.
#[must_use = "nothing is kept until it is committed"]
pub struct Uncommitted<T> {
    conn: Conn,
    value: T,
    after: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Uncommitted<T> {
    pub fn new(conn: Conn, value: T) -> Self {
        Self {
            conn,
            value,
            after: None,
        }
    }

    /// Sets a callback to run right after the commit, such as waking a worker; it does not run when
    /// the operation is undone.
    pub fn and_then(mut self, after: impl FnOnce() + Send + 'static) -> Self {
        self.after = Some(Box::new(after));
        self
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Uncommitted<U> {
        Uncommitted {
            conn: self.conn,
            value: change(self.value),
            after: self.after,
        }
    }

    /// Splits into the value, and the operation without it.
    pub fn take(self) -> (Uncommitted<()>, T) {
        let act = Uncommitted {
            conn: self.conn,
            value: (),
            after: self.after,
        };
        (act, self.value)
    }

    /// The open transaction.
    pub const fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Makes the operation durable and returns its value.
    ///
    /// # Errors
    /// When the engine refuses; nothing is kept then.
    pub async fn commit(self) -> sqlx::Result<T> {
        self.conn.commit().await?;
        if let Some(after) = self.after {
            after();
        }
        Ok(self.value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Uncommitted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uncommitted")
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
