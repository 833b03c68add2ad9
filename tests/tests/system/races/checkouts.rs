//! Tests that a checkout has the same bytes under any git settings.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use dermaga_tests::{checkout, skip};
use tempfile::TempDir;

/// Files that go into checksums or are compared byte for byte.
const CHECKED: &[&str] = &[
    "migrations",
    "wit",
    "service-templates",
    "plugins",
    "tests",
    "docs",
    "host",
];

fn git(arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(checkout())
        .args(["-c", "safe.directory=*"])
        .args(arguments);
    git
}

#[test]
fn line_ends_survive_a_checkout() {
    let listed = git(&["ls-files", "-z", "--"]).args(CHECKED).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        return skip(
            "line ends",
            "this is no git checkout, or git is not installed",
        );
    };
    let elsewhere = TempDir::new().unwrap();
    let into = format!("--prefix={}/", elsewhere.path().display());
    let mut copying = git(&[
        "-c",
        "core.autocrlf=true",
        "-c",
        "core.eol=crlf",
        "checkout-index",
        "-z",
        "--stdin",
        &into,
    ])
    .stdin(Stdio::piped())
    .spawn()
    .unwrap();
    copying
        .stdin
        .take()
        .unwrap()
        .write_all(&listed.stdout)
        .unwrap();
    assert!(copying.wait().unwrap().success());
    let names = String::from_utf8(listed.stdout).unwrap();
    let mut compared = 0;
    for name in names.split_terminator('\0') {
        let copy = fs::read(elsewhere.path().join(name)).unwrap();
        let committed = git(&["cat-file", "blob", &format!(":{name}")]).output();
        assert!(
            committed.unwrap().stdout == copy,
            "{name} gets other line ends"
        );
        compared += 1;
    }
    assert!(compared > 200, "only {compared} files were compared");
}
