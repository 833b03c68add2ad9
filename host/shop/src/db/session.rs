//! Connection to either engine, with what may be left on it.

/// Connection for one statement.
#[derive(Debug)]
pub struct Session<'c, C> {
    conn: &'c mut C,
    /// False where the next statement may find another connection.
    keeps_statements: bool,
    /// False from the beginning of a statement until it was answered in full; absent where that is not asked.
    is_at_rest: Option<&'c mut bool>,
}

impl<'c, C> Session<'c, C> {
    pub(super) const fn new(
        conn: &'c mut C,
        keeps_statements: bool,
        is_at_rest: Option<&'c mut bool>,
    ) -> Self {
        Self {
            conn,
            keeps_statements,
            is_at_rest,
        }
    }

    /// Returns the connection, true when a prepared statement may stay on it, and the note of the statement that
    /// begins.
    pub(super) fn open(self) -> (&'c mut C, bool, UnderWay<'c>) {
        let Self {
            conn,
            keeps_statements,
            mut is_at_rest,
        } = self;
        if let Some(is_at_rest) = is_at_rest.as_deref_mut() {
            *is_at_rest = false;
        }
        (conn, keeps_statements, UnderWay(is_at_rest))
    }
}

/// A statement that was begun.
#[derive(Debug)]
pub(super) struct UnderWay<'c>(Option<&'c mut bool>);

impl UnderWay<'_> {
    /// Notes that the statement was answered, and returns its outcome. After a failure the connection has more to say.
    pub(super) fn ended<T>(self, outcome: sqlx::Result<T>) -> sqlx::Result<T> {
        if let (Some(is_at_rest), Ok(_)) = (self.0, &outcome) {
            *is_at_rest = true;
        }
        outcome
    }
}
