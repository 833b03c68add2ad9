//! Disposable clusters for tests of this crate.

use std::path::PathBuf;

/// What an environment variable names, or a line that says what is skipped for want of it.
///
/// # Panics
/// When `DERMAGA_TEST_REQUIRE=all` forbids skipping.
pub(crate) fn named_by(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let may_skip = std::env::var("DERMAGA_TEST_REQUIRE").as_deref() != Ok("all");
        assert!(may_skip, "this test must run, and {variable} names nothing");
        eprintln!("skipped: needs a disposable cluster, and {variable} names none");
    }
    path
}
