//! What whole-system tests stand on: a server of its own for each test, on either engine, and
//! clients that speak HTTP to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should stop where it fails"
)]

mod client;
pub mod explain;
pub mod postgres;
mod shop;

use std::io::Write as _;

pub use client::{Answer, Client};
pub use shop::{Engine, Shop, checkout, plugins_folder};

/// A word that nothing else in this run has, for names of databases, people and coupons.
pub fn unique() -> String {
    dermaga::crypto::random_hex(8)
}

/// Whether this run may skip parts whose tools are missing. `DERMAGA_TEST_REQUIRE=all` says no.
pub fn skip(part: &str, why: &str) {
    assert!(
        std::env::var("DERMAGA_TEST_REQUIRE").as_deref() != Ok("all"),
        "{part} must run here and cannot: {why}"
    );
    say(&format!("skipped: {part}: {why}"));
}

/// A line that is seen even though the test passes, which hides what the print macros write.
pub(crate) fn say(line: &str) {
    // A run without a stderr has nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Makes of each test one on SQLite and one on PostgreSQL, each with a server of its own.
#[macro_export]
macro_rules! both_engines {
    ($($(#[$doc:meta])* async fn $name:ident($shop:ident: Shop) $body:block)+) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all of them")]
            use super::*;

            async fn run($shop: $crate::Shop) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                if let Some(shop) = $crate::Shop::open($crate::Engine::Sqlite).await {
                    run(shop).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(shop) = $crate::Shop::open($crate::Engine::Postgres).await {
                    run(shop).await;
                }
            }
        }
    )+};
}
