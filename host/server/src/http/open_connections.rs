//! The connections that are open, counted in all and per address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dermaga_shop::throttle::network_of;

/// Bounds of the connections that a server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Longest time to send the head of a request.
    pub header_timeout: Duration,
    /// Longest time between two requests, and for a client to read part of an answer.
    pub idle_timeout: Duration,
    pub most: usize,
    pub most_per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            most: 10_000,
            most_per_address: 256,
        }
    }
}

/// The limit that a new connection would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    InAll,
    PerAddress,
}

#[derive(Debug, Default)]
struct Counts {
    in_all: usize,
    /// Never more keys than connections.
    by_network: HashMap<IpAddr, usize>,
}

/// Counts of open connections.
#[derive(Debug)]
pub(super) struct OpenConnections {
    most: usize,
    /// `None` behind proxies: all clients share their addresses.
    most_per_address: Option<usize>,
    counts: Mutex<Counts>,
}

/// A place that a connection holds until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<OpenConnections>,
    network: IpAddr,
}

impl OpenConnections {
    pub(super) fn new(most: usize, most_per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_address,
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection from this address.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Exceeded> {
        let network = network_of(address);
        let mut counts = self.counts();
        if counts.in_all >= self.most {
            return Err(Exceeded::InAll);
        }
        let of_network = counts.by_network.get(&network).copied().unwrap_or_default();
        if self.most_per_address.is_some_and(|most| of_network >= most) {
            return Err(Exceeded::PerAddress);
        }
        counts.in_all += 1;
        counts.by_network.insert(network, of_network + 1);
        drop(counts);
        metrics::gauge!("http_connections").increment(1);
        Ok(Place {
            open: Arc::clone(self),
            network,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        counts.in_all = counts.in_all.saturating_sub(1);
        if let Some(of_network) = counts.by_network.get_mut(&self.network) {
            *of_network -= 1;
            if *of_network == 0 {
                counts.by_network.remove(&self.network);
            }
        }
        drop(counts);
        metrics::gauge!("http_connections").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_in_all_and_per_network_and_given_back() {
        let open = OpenConnections::new(3, Some(2));
        let first = open.enter(address("2001:db8::1")).unwrap();
        let _second = open.enter(address("2001:db8::2")).unwrap();
        let third = open.enter(address("2001:db8::3"));
        assert_eq!(third.unwrap_err(), Exceeded::PerAddress);
        let _other = open.enter(address("192.0.2.1")).unwrap();
        let fourth = open.enter(address("192.0.2.2"));
        assert_eq!(fourth.unwrap_err(), Exceeded::InAll);
        drop(first);
        let _again = open.enter(address("2001:db8::3")).unwrap();
        assert_eq!(open.counts().by_network.len(), 2);
    }

    #[test]
    fn behind_a_proxy_addresses_are_not_counted() {
        let open = OpenConnections::new(100, None);
        let places = (0..100).map(|_| open.enter(address("10.0.0.1")).unwrap());
        let places = places.collect::<Vec<_>>();
        assert!(open.enter(address("10.0.0.1")).is_err());
        drop(places);
        assert!(open.counts().by_network.is_empty());
    }
}
