//! Support for whole-system tests: a server for each test, on either engine, and HTTP clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should stop where it fails"
)]

pub mod bench;
mod bucket;
pub mod by_hand;
mod client;
pub mod entries;
pub mod explain;
mod journal;
mod mail_server;
pub mod past;
pub mod pgbouncer;
mod ports;
pub mod postgres;
pub mod processes;
pub mod program;
mod shop;
mod sqlite;
mod times;
pub mod wire;

use std::io::Write as _;

pub use bucket::Bucket;
pub use client::{Answer, Client};
pub use mail_server::{MailServer, Received};
pub use ports::free_port;
pub use shop::{Engine, Shop, checkout, plugins_folder};
pub use times::at_most;

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

/// Makes of each function a test on SQLite and one on PostgreSQL, each with its own server: the
/// argument is what `open` of its type returns, and the test is skipped where that is `None`.
///
/// The functions are plain ones, so that rustfmt formats them. One that is missing from the list
/// is refused by the compiler as unused.
#[macro_export]
macro_rules! both_engines {
    ($shop:ident, [$($name:ident),+ $(,)?]) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                if let Some(shop) = super::$shop::open($crate::Engine::Sqlite).await {
                    Box::pin(super::$name(shop)).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(shop) = super::$shop::open($crate::Engine::Postgres).await {
                    Box::pin(super::$name(shop)).await;
                }
            }
        }
    )+};
}
