//! New plugins: their names and files, and that each kind builds and conforms.

use std::io::Write as _;

use dermaga_runtime::{Runtime, RuntimeConfig};

use super::*;
use crate::{
    build::{self, BuildError, PluginSource, Silent},
    case::{self, Case},
    check::{Outcome, conformance},
    render,
    template::Template,
};

fn options(kind: Kind, name: &str, path: PathBuf) -> Options {
    Options {
        kind,
        language: Language::Rust,
        name: name.to_owned(),
        path: Some(path),
    }
}

#[test]
fn a_name_is_what_the_contract_takes_for_an_id() {
    let id = |kind, name| Names::of(kind, name).map(|names| names.id).ok();
    assert_eq!(id(Kind::Coupon, "gift").as_deref(), Some("coupon-gift"));
    assert_eq!(
        id(Kind::Service, "service-kuma").as_deref(),
        Some("service-kuma")
    );
    let longest = "a".repeat(42);
    assert_eq!(id(Kind::Service, &longest).map(|id| id.len()), Some(50));
    for bad in [
        "",
        "a",
        "-a",
        "a-",
        "A",
        "a b",
        "a_b",
        "../a",
        "é!",
        "coupon-",
        &"a".repeat(44),
    ] {
        assert_eq!(id(Kind::Coupon, bad), None, "{bad}");
    }
    let title = Names::of(Kind::Coupon, "first-purchase").unwrap().title;
    assert_eq!(title, "First purchase");
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let made = scaffold(&options(Kind::Coupon, "gift", path.clone())).unwrap();
    assert!(made.files.contains(&PathBuf::from("src/lib.rs")));
    for file in &made.files {
        let text = fs::read_to_string(path.join(file)).unwrap();
        assert!(!text.contains("__"), "{} is not filled in", file.display());
    }
    fs::write(path.join("src/lib.rs"), "mine").unwrap();
    let again = scaffold(&options(Kind::Coupon, "gift", path.clone())).unwrap_err();
    assert!(matches!(again, NewError::Exists { .. }));
    assert_eq!(fs::read_to_string(path.join("src/lib.rs")).unwrap(), "mine");
}

#[test]
fn a_service_is_written_in_rust() {
    let folder = tempfile::tempdir().unwrap();
    for language in [Language::JavaScript, Language::C] {
        let path = folder.path().join("x");
        let options = Options {
            language,
            ..options(Kind::Service, "kuma", path.clone())
        };
        assert!(
            matches!(scaffold(&options), Err(NewError::Language(refused)) if refused == language)
        );
        assert!(!path.exists());
    }
}

/// Every kind in every language builds, passes the check, and has blessed cases. One folder for all lets cargo keep the
/// standard library, which may have to be built, and whose paths are told to the compiler.
#[test]
fn what_is_made_builds_and_conforms() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/scaffold");
    fs::create_dir_all(&kept).unwrap();
    let kept = kept.canonicalize().unwrap();
    for (kind, language) in [
        (Kind::Service, Language::Rust),
        (Kind::Coupon, Language::Rust),
        (Kind::Coupon, Language::C),
        (Kind::Coupon, Language::JavaScript),
    ] {
        let folder = kept.join("made");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        let made = scaffold(&Options {
            language,
            ..options(kind, "sample", folder)
        })
        .unwrap();
        assert!(made.sdk_found);
        let source = PluginSource::at(&made.folder).unwrap();
        let into = build::Options {
            out: kept.join("components"),
            target: Some(kept.join("target")),
        };
        match build::build(std::slice::from_ref(&source), &into, &Silent) {
            Ok(report) => conforms(&runtime, &report.plugins[0].component, &source),
            Err(error @ BuildError::NoToolchain { .. }) => skipped(&error),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reports a skipped test; panics under `DERMAGA_TEST_REQUIRE=all`.
fn skipped(why: &BuildError) {
    let all = std::env::var("DERMAGA_TEST_REQUIRE").as_deref() == Ok("all");
    assert!(!all, "this must run here and cannot: {why}");
    // Output of the print macros is hidden when a test passes.
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

fn conforms(runtime: &Runtime, component: &Path, source: &PluginSource) {
    let bytes = fs::read(component).unwrap();
    let plugin = runtime.load_as(&bytes, source.language.class()).unwrap();
    assert_eq!(plugin.about().id, source.name);
    let sold = source.folder.join("service-templates");
    let templates = if plugin.kind() == Kind::Service {
        Template::load_dir(&sold).unwrap()
    } else {
        Vec::new()
    };
    let cases = Case::load_dir(&source.cases()).unwrap();
    let report = conformance(&plugin, &templates, &cases);
    let all_pass = report
        .checks
        .iter()
        .all(|check| check.outcome == Outcome::Pass);
    assert!(all_pass, "{report}");
    assert_eq!(
        case::bless(&source.cases(), &plugin).unwrap(),
        Vec::<String>::new()
    );
    if plugin.kind() == Kind::Service {
        let rendered = render::render(&plugin, &templates, &cases, None).unwrap();
        assert_eq!(rendered.len(), 2);
        assert!(rendered.iter().all(render::Rendering::is_admitted));
    }
}
