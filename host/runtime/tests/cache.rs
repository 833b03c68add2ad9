//! The cache of compiled components, which makes loading quick and is never trusted.

#![allow(clippy::unwrap_used, reason = "what cannot go on must stop")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use dermaga_runtime::{Runtime, RuntimeConfig, fixtures::CouponFixture};

fn runtime(folder: &Path) -> Runtime {
    let cache_dir = Some(folder.join("compiled"));
    Runtime::new(RuntimeConfig {
        cache_dir,
        concurrency: 1,
        ..RuntimeConfig::default()
    })
    .unwrap()
}

fn only_entry(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder.join("compiled"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let entry = entries.next().unwrap();
    assert_eq!(entries.next(), None);
    entry
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_entry_is_written_once_private_and_used_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let component = CouponFixture::default().component();
    let plugin = runtime(folder.path()).load(&component).unwrap();
    let entry = only_entry(folder.path());
    assert!(
        entry
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&plugin.digest().to_string())
    );
    assert_eq!(
        (mode(&entry), mode(entry.parent().unwrap())),
        (0o600, 0o700)
    );

    let written = fs::metadata(&entry).unwrap().modified().unwrap();
    let again = runtime(folder.path()).load(&component).unwrap();
    assert_eq!(again.about(), plugin.about());
    assert_eq!(fs::metadata(&entry).unwrap().modified().unwrap(), written);
}

#[test]
fn a_damaged_entry_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let component = CouponFixture::default().component();
    runtime(folder.path()).load(&component).unwrap();
    let entry = only_entry(folder.path());
    let whole = fs::read(&entry).unwrap();

    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [
        &flipped[..],
        &whole[..whole.len() / 2],
        &whole[..10],
        b"",
        b"not ours at all",
    ] {
        fs::write(&entry, damaged).unwrap();
        runtime(folder.path()).load(&component).unwrap();
        assert_eq!(fs::read(&entry).unwrap(), whole);
    }
}

#[test]
fn an_entry_of_another_component_is_not_taken_for_ours() {
    let folder = tempfile::tempdir().unwrap();
    runtime(folder.path())
        .load(&CouponFixture::default().component())
        .unwrap();
    let theirs = only_entry(folder.path());
    let mut fixture = CouponFixture::default();
    fixture.about.title = "Another".to_owned();
    let component = fixture.component();
    let digest = dermaga_runtime::Digest::of(&component).to_string();
    let name = theirs.file_name().unwrap().to_str().unwrap();
    fs::rename(
        &theirs,
        theirs.with_file_name(format!("{digest}{}", &name[64..])),
    )
    .unwrap();

    let plugin = runtime(folder.path()).load(&component).unwrap();
    assert_eq!(plugin.about().title, "Another");
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = RuntimeConfig {
        cache_dir: Some(file.path().join("x")),
        ..RuntimeConfig::default()
    };
    let error = Runtime::new(config).unwrap_err().to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
}
