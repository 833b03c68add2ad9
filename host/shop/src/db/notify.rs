//! Notifications to other servers on the same PostgreSQL. A SQLite database has one server, which
//! needs none.

use sqlx::postgres::PgListener;
use tokio::sync::OwnedSemaphorePermit;

use super::{Conn, Db};
use crate::execute;

/// Sends a message to every listener of a channel, this process included, once the transaction is
/// committed. Does nothing on SQLite.
///
/// # Errors
/// When the database refuses.
pub async fn notify(conn: &mut Conn, channel: &'static str, message: &str) -> sqlx::Result<()> {
    if conn.is_postgres() {
        execute!(conn, "SELECT pg_notify($1, $2)", channel, message)?;
    }
    Ok(())
}

/// Receives the messages of [`notify`].
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
    /// Place of its connection among those that may be open.
    _place: OwnedSemaphorePermit,
}

/// Event received by a [`Listener`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Message(String),
    /// The connection was lost and restored: messages may have been missed.
    Interrupted,
}

impl Db {
    /// Listens to a channel; `None` where nothing can be heard: on SQLite, and behind a pooler that lends
    /// a connection for one transaction.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn listen(&self, channel: &'static str) -> sqlx::Result<Option<Listener>> {
        let Self::Postgres(server) = self else {
            return Ok(None);
        };
        if !server.keeps_sessions() {
            return Ok(None);
        }
        let place = server.connections.reserve().await?;
        let mut inner = PgListener::connect_with(server.connections.pool()).await?;
        inner.listen(channel).await?;
        Ok(Some(Listener {
            inner,
            _place: place,
        }))
    }
}

impl Listener {
    /// Waits for the next message.
    ///
    /// # Errors
    /// When the connection is lost and cannot be made again.
    pub async fn next(&mut self) -> sqlx::Result<Heard> {
        Ok(match self.inner.try_recv().await? {
            Some(notification) => Heard::Message(notification.payload().to_owned()),
            None => Heard::Interrupted,
        })
    }
}
