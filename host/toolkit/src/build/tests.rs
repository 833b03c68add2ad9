//! Crates that are found to be plugins, and refusals before a compiler runs.

use std::fs;

use super::*;

fn write_crate(folder: &Path, name: &str, lib: &str, dependencies: &str) {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    let manifest = format!("[package]\nname = \"{name}\"\n{lib}\n[dependencies]\n{dependencies}\n");
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
}

const CDYLIB: &str = "[lib]\ncrate-type = [\"cdylib\"]";
const SDK: &str = "dermaga-plugin-sdk.workspace = true";

#[test]
fn plugins_are_dynamic_libraries_that_use_the_sdk() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(folder.path(), "b", CDYLIB, SDK);
    write_crate(
        folder.path(),
        "a",
        CDYLIB,
        "sdk = { package = \"dermaga-plugin-sdk\", path = \"x\" }",
    );
    write_crate(folder.path(), "sdk", "", "serde = \"1\"");
    write_crate(folder.path(), "other", CDYLIB, "serde = \"1\"");
    fs::create_dir(folder.path().join("notes")).unwrap();
    let names: Vec<_> = discover(folder.path())
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(discover(&folder.path().join("nowhere")).unwrap(), []);

    let crates = find(&[folder.path().join("a"), folder.path().to_owned()]).unwrap();
    assert_eq!(crates.len(), 2, "a crate named twice is built once");
    let error = find(&[folder.path().join("other")])
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("is not a plugin: it does not depend on dermaga-plugin-sdk"),
        "{error}"
    );
    let error = find(&[folder.path().join("notes")])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("there is no plugin in"), "{error}");
}

#[test]
fn two_plugins_of_one_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(&folder.path().join("x"), "same", CDYLIB, SDK);
    write_crate(&folder.path().join("y"), "same", CDYLIB, SDK);
    let error = find(&[folder.path().join("x"), folder.path().join("y")]).unwrap_err();
    assert!(matches!(error, BuildError::SameName { name, .. } if name == "same"));
}

#[test]
fn nothing_to_build_needs_no_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let report = ensure_built(
        &folder.path().join("nowhere"),
        &folder.path().join("out"),
        &Silent,
    )
    .unwrap();
    assert_eq!(report, BuildReport::default());
    assert!(!folder.path().join("out").exists());
}
