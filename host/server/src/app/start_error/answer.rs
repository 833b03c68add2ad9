//! Stand-in for the driver of a database, for tests of sentences.

use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter},
};

use sqlx::error::{BoxDynError, DatabaseError, ErrorKind};

/// Answer of an engine, which adds a line of its source when it is shown.
#[derive(Debug)]
struct Answer {
    code: &'static str,
    message: &'static str,
}

/// Returns the failure of a statement that an engine answered with this code and these words.
pub(super) fn answer(code: &'static str, message: &'static str) -> sqlx::Error {
    sqlx::Error::Database(Box::new(Answer { code, message }))
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line 948", self.message)
    }
}

impl std::error::Error for Answer {}

impl DatabaseError for Answer {
    fn message(&self) -> &str {
        self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> BoxDynError {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
