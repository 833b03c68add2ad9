//! Disposable clusters for tests of this crate.

use std::{io::Write as _, path::PathBuf};

/// Returns the path in an environment variable; prints a line about the skipped test when unset.
///
/// # Panics
/// When `DERMAGA_TEST_REQUIRE=all` forbids skipping.
pub(crate) fn named_by(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let may_skip = std::env::var("DERMAGA_TEST_REQUIRE").as_deref() != Ok("all");
        assert!(may_skip, "this test must run, and {variable} names nothing");
        // Not by the print macros: what they write in a test that passes is hidden.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: needs a disposable cluster, and {variable} names none"
        );
    }
    path
}
