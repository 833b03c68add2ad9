//! The sandbox that a server plays for itself, where its settings ask for one.

use std::net::SocketAddr;

use axum::Router;
use dermaga_shop::{
    crypto::{self, Secret},
    db::Clock,
    payments::{Payments, Settings, WEBHOOK_PATH},
};

use super::Sandbox;

/// Path of the sandbox gateway on its server.
pub const SANDBOX_PATH: &str = "/sandbox/midtrans";

impl Sandbox {
    /// Makes the sandbox that these settings ask for; none beside a key of Midtrans.
    pub(crate) fn asked_for(settings: &Settings, clock: &Clock) -> Option<Self> {
        let is_wanted = settings.sandbox && settings.midtrans.server_key.is_none();
        is_wanted.then(|| {
            let key = Secret::new(format!("SB-Mid-server-{}", crypto::random_hex(12)));
            Self::new(key, clock.clone())
        })
    }

    /// Returns its routes under [`SANDBOX_PATH`].
    pub(crate) fn nested<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new().nest(SANDBOX_PATH, self.router())
    }

    /// Returns its address on a server that listens there, for Midtrans' own clients.
    pub(crate) fn base(address: SocketAddr) -> String {
        format!("{}{SANDBOX_PATH}", origin(address))
    }

    /// Connects the payments of its own server with it.
    pub(crate) fn serves(&self, payments: &Payments, address: SocketAddr) {
        let base = Self::base(address);
        self.found_at(&base);
        payments.gateway_found_at(&base, format!("{}{WEBHOOK_PATH}", origin(address)));
    }
}

/// The address under which a server that listens there is reached on its own machine.
fn origin(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_its_own_machine() {
        for (listens, reached) in [
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("[::]:8080", "http://127.0.0.1:8080"),
            ("192.0.2.1:80", "http://192.0.2.1:80"),
            ("[2001:db8::1]:443", "http://[2001:db8::1]:443"),
        ] {
            assert_eq!(origin(listens.parse().unwrap()), reached);
        }
    }
}
