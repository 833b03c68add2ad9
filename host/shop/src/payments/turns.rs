//! Turns: on this server, one request at a time deals with a payment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::ids::PaymentId;

/// The locks of payments that are being dealt with.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<PaymentId, Weak<AsyncMutex<()>>>>);

/// The right to deal with a payment, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _held: OwnedMutexGuard<()>,
    /// True when another holder was waited for: data read before may be old.
    pub(super) has_waited: bool,
}

impl Turns {
    /// Takes the turn, as soon as those who came before have given it back.
    pub(super) async fn take(&self, payment_id: PaymentId) -> Turn {
        let lock = self.lock_of(payment_id);
        if let Ok(held) = Arc::clone(&lock).try_lock_owned() {
            return Turn {
                _held: held,
                has_waited: false,
            };
        }
        Turn {
            _held: lock.lock_owned().await,
            has_waited: true,
        }
    }

    fn lock_of(&self, payment_id: PaymentId) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&payment_id).and_then(Weak::upgrade) {
            return lock;
        }
        // As many are in use as there are requests under way.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(payment_id, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left_behind() {
        let turns = Arc::new(Turns::default());
        let (one, other) = (PaymentId::from_u128(1), PaymentId::from_u128(2));
        let first = turns.take(one).await;
        assert!(!first.has_waited);
        assert!(
            !turns.take(other).await.has_waited,
            "another payment's turn is free"
        );
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(one).await.has_waited }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap());
        drop(turns.take(other).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
