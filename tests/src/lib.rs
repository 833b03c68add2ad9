//! Support for whole-system tests: a server for each test, on either engine, and HTTP clients.

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

/// Returns a word that is unique in this run, for names of databases, people and coupons.
pub fn unique() -> String {
    dermaga_shop::crypto::random_hex(8)
}

/// Reports a part that is skipped because its tools are missing; panics under
/// `DERMAGA_TEST_REQUIRE=all`.
pub fn skip(part: &str, why: &str) {
    assert!(
        std::env::var("DERMAGA_TEST_REQUIRE").as_deref() != Ok("all"),
        "{part} must run here and cannot: {why}"
    );
    say(&format!("skipped: {part}: {why}"));
}

/// Prints a line even if the test passes, which hides the output of the print macros.
pub(crate) fn say(line: &str) {
    // Without a stderr the line is lost, which is no failure.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Expands each test to one on SQLite and one on PostgreSQL, each with its own server.
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
