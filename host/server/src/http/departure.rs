//! The end of a server, in the order that balancers need: first it is not ready, then the door is closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// Steps of a server's end, shared by all that take part in it.
#[derive(Debug, Clone, Default)]
pub struct Departure {
    is_leaving: Arc<AtomicBool>,
    door: CancellationToken,
}

impl Departure {
    /// Begins the end: requests are answered all the same, but the server is not ready any more, and
    /// connections of HTTP/1.1 end with their next answer.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Closes the door: no connection is taken any more.
    pub fn close(&self) {
        self.leave();
        self.door.cancel();
    }

    /// Token that ends when the door is closed.
    pub const fn door(&self) -> &CancellationToken {
        &self.door
    }
}
