//! Keeping this server in step with others on the same database.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Registry;
use crate::{
    Result,
    db::{self, Conn, Heard, Listener},
    workers::{Next, Worker},
};

const CHANNEL: &str = "dermaga_plugins";
/// Begins the message that ends a suspension; the digest follows.
const RESET: &str = "reset ";

/// Notifies other servers, once this transaction is committed, that versions changed.
pub(super) async fn announce(conn: &mut Conn) -> Result<()> {
    Ok(db::notify(conn, CHANNEL, "changed").await?)
}

/// Notifies other servers that an administrator ended the suspension of a version.
pub(super) async fn announce_reset(conn: &mut Conn, digest: &str) -> Result<()> {
    Ok(db::notify(conn, CHANNEL, &format!("{RESET}{digest}")).await?)
}

impl Registry {
    /// Follows the changes of other servers, until cancelled: at once where the database notifies,
    /// and at every `interval` in any case.
    pub async fn follow(&self, interval: Duration, cancel: CancellationToken) {
        let refresh = || async { self.refresh_patiently().await.map(|()| Next::AfterRest) };
        let worker = Worker::new("plugins", interval).resting_first();
        let poll = Box::pin(worker.run(cancel.clone(), refresh));
        let listen = Box::pin(cancel.run_until_cancelled(self.listen(interval)));
        tokio::join!(poll, listen);
    }

    /// Listens for as long as there is anything to listen to; after a failure, again an interval
    /// later.
    async fn listen(&self, interval: Duration) {
        loop {
            match self.db().listen(CHANNEL).await {
                Ok(Some(listener)) => self.hear(listener).await,
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "plugins.not_listening"),
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Ends when the connection is lost for good.
    async fn hear(&self, mut listener: Listener) {
        loop {
            match listener.next().await {
                Ok(Heard::Message(message)) => self.heed(&message).await,
                Ok(Heard::Interrupted) => self.heed("").await,
                Err(error) => {
                    tracing::warn!(%error, "plugins.listener_lost");
                    return;
                }
            }
        }
    }

    async fn heed(&self, message: &str) {
        if let Some(digest) = message.strip_prefix(RESET) {
            self.forget_failures(digest);
            return;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "plugins.refresh_failed");
        }
    }
}
