//! A connection's bytes, with an end to waiting for them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

const HEAD: u8 = 0;
const ANSWERING: u8 = 1;
const IDLE: u8 = 2;
/// Several exchanges at once, which [`super::exchanges`] watches.
const MULTIPLEXED: u8 = 3;

/// Most that is read and thrown away of a client that still sends after its last answer.
const DISCARD_BYTES: usize = 32 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Part of an exchange that a connection is in. hyper's own timer for heads runs between requests,
/// too, and so bounds idle time; this one distinguishes a half-sent head from an idle connection.
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<Progress>);

#[derive(Debug)]
struct Progress {
    phase: AtomicU8,
    /// True once the rest of a body was left unread: the connection ends after its answer.
    has_unread: AtomicBool,
}

impl Phase {
    /// A new connection owes a head.
    pub(super) fn new() -> Self {
        Self(Arc::new(Progress {
            phase: AtomicU8::new(HEAD),
            has_unread: AtomicBool::new(false),
        }))
    }

    pub(super) fn answering(&self) {
        self.set(ANSWERING);
    }

    pub(super) fn answered(&self) {
        if !self.is(MULTIPLEXED) {
            self.set(IDLE);
        }
    }

    /// The connection has sent its first head by HTTP/2.
    pub(super) fn multiplexed(&self) {
        self.set(MULTIPLEXED);
    }

    /// The client may still send when it has its last answer.
    pub(super) fn leave_unread(&self) {
        self.0.has_unread.store(true, Ordering::Relaxed);
    }

    fn has_unread(&self) -> bool {
        self.0.has_unread.load(Ordering::Relaxed)
    }

    fn set(&self, phase: u8) {
        self.0.phase.store(phase, Ordering::Relaxed);
    }

    fn is(&self, phase: u8) -> bool {
        self.0.phase.load(Ordering::Relaxed) == phase
    }
}

/// Bounds of what is read after the last answer.
#[derive(Debug)]
struct Discarding {
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl Discarding {
    fn new() -> Self {
        Self {
            left: DISCARD_BYTES,
            until: Box::pin(sleep_until(Instant::now() + DISCARD_TIME)),
        }
    }

    /// Reads and throws away until the client closes, too.
    fn poll<S: AsyncRead + Unpin>(&mut self, io: &mut S, context: &mut Context<'_>) -> Poll<()> {
        let mut room = [0; 8 * 1024];
        while self.left > 0 && self.until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut *io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.left = self.left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(())
    }
}

/// Fails a read when a head takes too long, and a write when the client does not read.
#[derive(Debug)]
pub(super) struct Watched<S> {
    io: S,
    phase: Phase,
    head_timeout: Duration,
    write_timeout: Duration,
    head: Pin<Box<Sleep>>,
    /// Runs while the client does not read.
    write: Option<Pin<Box<Sleep>>>,
    /// Runs after the last answer to a client that may still send.
    discarding: Option<Discarding>,
}

impl<S> Watched<S> {
    pub(super) fn new(
        io: S,
        phase: Phase,
        head_timeout: Duration,
        write_timeout: Duration,
    ) -> Self {
        Self {
            io,
            phase,
            head_timeout,
            write_timeout,
            head: Box::pin(sleep_until(Instant::now() + head_timeout)),
            write: None,
            discarding: None,
        }
    }

    /// Passes on what a write came to, unless it has waited for too long.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write = None;
            return outcome;
        }
        let deadline = Instant::now() + self.write_timeout;
        let timer = self
            .write
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().poll(context).map(|()| Err(too_slow()))
    }
}

fn too_slow() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(context, buffer);
        if outcome.is_ready() && buffer.filled().len() > before && self.phase.is(IDLE) {
            self.phase.set(HEAD);
            let deadline = Instant::now() + self.head_timeout;
            self.head.as_mut().reset(deadline);
        }
        // Also after a byte has come: one every few seconds must not keep a head open.
        if self.phase.is(HEAD) && self.head.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(too_slow()));
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        self.written(context, outcome)
    }

    /// Ends the answers first, and reads on until the client closes, too. Closing with unread data would reset the
    /// connection, and the client would see that in place of its answer.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.discarding.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            if !this.phase.has_unread() {
                return Poll::Ready(Ok(()));
            }
        }
        let discarding = this.discarding.get_or_insert_with(Discarding::new);
        discarding.poll(&mut this.io, context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const HEAD_TIMEOUT: Duration = Duration::from_millis(60);
    const WRITE_TIMEOUT: Duration = Duration::from_millis(60);
    /// Longer than both.
    const QUIET: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_head_that_trickles_is_given_up() {
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server, Phase::new(), HEAD_TIMEOUT, WRITE_TIMEOUT);
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(HEAD_TIMEOUT / 10).await;
            }
        });
        let began = Instant::now();
        let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= HEAD_TIMEOUT);
        drop(server);
        trickle.await.unwrap();
    }

    #[tokio::test]
    async fn bodies_and_idle_time_are_not_heads() {
        let (mut client, server) = duplex(64);
        let phase = Phase::new();
        let mut server = Watched::new(server, phase.clone(), HEAD_TIMEOUT, WRITE_TIMEOUT);
        for set in [Phase::answering, Phase::multiplexed] {
            set(&phase);
            let quiet = tokio::time::timeout(QUIET, server.read_u8());
            assert!(quiet.await.is_err(), "still waiting");
        }
        for set in [Phase::answering, Phase::answered] {
            set(&phase);
            let quiet = tokio::time::timeout(QUIET, server.read_u8());
            assert!(quiet.await.is_err(), "still waiting");
        }
        client.write_all(b"x").await.unwrap();
        server.read_u8().await.unwrap();
        let error = server.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "the next head began");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (client, server) = duplex(8);
        let mut server = Watched::new(server, Phase::new(), HEAD_TIMEOUT, WRITE_TIMEOUT);
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn what_a_client_sends_after_its_last_answer_is_read() {
        for has_unread in [true, false] {
            let (mut client, server) = duplex(64);
            let phase = Phase::new();
            let mut server = Watched::new(server, phase.clone(), HEAD_TIMEOUT, WRITE_TIMEOUT);
            if has_unread {
                phase.leave_unread();
            }
            let closing = tokio::spawn(async move { server.shutdown().await });
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            // More than the pipe holds: it must be read to be sent.
            let sent = client.write_all(&[0; 4096]).await;
            assert_eq!(sent.is_ok(), has_unread);
            let ended = tokio::time::timeout(QUIET, closing);
            assert_eq!(ended.await.is_err(), has_unread, "it waits for its client");
        }
    }
}
