//! Templates that are read, and every problem with its place.

use std::fs;

use super::*;

const GOOD: &str = r#"slug = "n8n"
name = "N8N"
summary = "Workflow automation."
description = """
Connect anything."""
plugin = "service-n8n"

[category]
slug = "development-tools"
name = "Development Tools"
description = "For builders."

[images]
app = "docker.io/n8nio/n8n:1.121.3"

[[plans]]
slug = "free"
name = "Free"
tier = "FREE"
monthly_price = 0
quota = 100
max_instances_per_user = 1
features = ["One workflow"]
[plans.resources]
cpu_millis = 250
memory_mib = 512
storage_gib = 1
replicas = 1
"#;

fn problems(text: &str) -> Vec<String> {
    let errors = Template::parse("n8n.toml", text).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

/// Returns the good text with each `(from, to)` replaced.
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

#[test]
fn reads_what_is_sold() {
    let template = Template::parse("n8n.toml", GOOD).unwrap();
    assert_eq!(template.description, "Connect anything.");
    assert!(!template.featured);
    assert_eq!(template.pod_security.exceptions, []);
    assert_eq!(
        template.images.get("app").map(String::as_str),
        Some("docker.io/n8nio/n8n:1.121.3")
    );
    assert_eq!(template.plans[0].for_plugins().resources.memory_mib, 512);
    let relaxed = format!("{GOOD}[pod_security]\nexceptions = [\"run-as-root\"]\n");
    assert_eq!(
        Template::parse("n8n.toml", &relaxed)
            .unwrap()
            .pod_security
            .exceptions,
        [Exception::RunAsRoot]
    );
}

#[test]
fn reports_every_problem_with_line_column_and_key() {
    let text = changed(&[
        ("slug = \"n8n\"", "slug = \"N8N!\""),
        ("summary =", "sumary ="),
        ("n8n:1.121.3", "n8n:latest"),
        ("tier = \"FREE\"", "tier = \"FRE\""),
        ("monthly_price = 0", "monthly_price = -5"),
        ("features = [\"One workflow\"]", "features = []"),
        ("cpu_millis = 250", "cpu_millis = 0"),
        ("memory_mib = 512", "memory_mib = \"512\""),
        ("replicas = 1\n", ""),
    ]);
    assert_eq!(
        problems(&text),
        [
            "n8n.toml:1:1: summary: it is missing; write it here",
            "n8n.toml:1:8: slug: `N8N!` is not a slug: 2 to 50 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen",
            "n8n.toml:3:1: sumary: there is no such key; did you mean `summary`?",
            "n8n.toml:14:7: images.app: `docker.io/n8nio/n8n:latest` is not pinned: give it a tag other than `latest` (registry/name:1.2.3), or a digest (name@sha256:...)",
            "n8n.toml:19:8: plans[0].tier: `FRE` is not a tier; did you mean `FREE`?",
            "n8n.toml:20:17: plans[0].monthly_price: it is -5 and must be 0 to 1000000000",
            "n8n.toml:23:12: plans[0].features: the list is empty; give it at least one entry",
            "n8n.toml:24:1: plans[0].resources.replicas: it is missing; write it here",
            "n8n.toml:25:14: plans[0].resources.cpu_millis: it is 0 and must be 1 to 1000000",
            "n8n.toml:26:14: plans[0].resources.memory_mib: expected a whole number and found a string",
        ]
    );
}

#[test]
fn plans_are_unique_by_slug_and_tier_and_free_is_free() {
    let plan = GOOD.get(GOOD.find("[[plans]]").unwrap()..).unwrap();
    let twice = format!(
        "{GOOD}{}",
        plan.replace("monthly_price = 0", "monthly_price = 10")
    );
    assert_eq!(
        problems(&twice),
        [
            "n8n.toml:30:8: plans[1].slug: plans[0] has this slug too; slugs are unique within a service",
            "n8n.toml:32:8: plans[1].tier: plans[0] has this tier too; customers upgrade from one tier to the next, so each has one plan",
            "n8n.toml:33:17: plans[1].monthly_price: a plan of tier FREE costs 0; give it another tier",
        ]
    );
}

#[test]
fn a_name_is_read_in_one_direction() {
    let turned = changed(&[("name = \"N8N\"", "name = \"N\u{202e}8N\"")]);
    let found = problems(&turned);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("n8n.toml:2:8: name: it has invisible"),
        "{found:?}"
    );
}

#[test]
fn a_line_shows_each_of_its_characters_and_no_text_is_turned() {
    for (from, to, field) in [
        ("name = \"N8N\"", "name = \"N\u{200b}8N\"", "name"),
        ("automation.", "auto\u{ad}mation.", "summary"),
        ("automation.", "auto\\nmation.", "summary"),
        ("One workflow", "One\u{feff} workflow", "features"),
        ("For builders", "For \u{202e}builders", "description"),
        ("For builders", "For \u{e000}builders", "description"),
        ("One workflow", "One\u{3164} workflow", "features"),
        ("One workflow", "One\u{200d} workflow", "features"),
        ("One workflow", "One\u{ffff} workflow", "features"),
    ] {
        let found = problems(&changed(&[(from, to)]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(field), "{found:?}");
        assert!(found[0].contains("invisible characters"), "{found:?}");
    }
    let joined = changed(&[(
        "One workflow",
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{200c} workflow",
    )]);
    Template::parse("n8n.toml", &joined).unwrap();
    let marked = changed(&[("Connect anything.", "Connect\u{200e} any\u{200b}thing.")]);
    Template::parse("n8n.toml", &marked).unwrap();
}

#[test]
fn only_a_plan_of_tier_free_is_free() {
    let basic = changed(&[("tier = \"FREE\"", "tier = \"BASIC\"")]);
    let expected =
        "n8n.toml:20:17: plans[0].monthly_price: must be more than 0, unless the tier is FREE";
    assert_eq!(problems(&basic), [expected]);
}

#[test]
fn a_text_that_is_not_toml_is_reported_where_it_breaks_and_nothing_else() {
    let found = problems(&changed(&[("name = \"N8N\"", "name = N8N")]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("n8n.toml:2:8: "), "{found:?}");
}

#[test]
fn numbers_beyond_64_bits_and_unknown_exceptions_are_refused() {
    let huge = changed(&[("quota = 100", "quota = 99999999999999999999")]);
    assert_eq!(
        problems(&huge),
        ["n8n.toml:21:9: plans[0].quota: it is 99999999999999999999 and must be 0 to 1000000"]
    );
    let unknown = format!("{GOOD}[pod_security]\nexceptions = [\"anything\"]\n");
    let found = problems(&unknown);
    assert!(
        found[0].starts_with(
            "n8n.toml:30:15: pod_security.exceptions[0]: `anything` is not an exception"
        ),
        "{found:?}"
    );
    assert!(found[0].contains("run-as-root"), "{found:?}");
}

#[test]
fn a_folder_is_read_whole_and_contradictions_between_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), GOOD).unwrap();
    fs::write(
        folder.path().join("b.toml"),
        changed(&[("For builders.", "For others.")]),
    )
    .unwrap();
    fs::write(folder.path().join("c.toml"), "slug = 1").unwrap();
    fs::write(folder.path().join("notes.txt"), "not a template").unwrap();
    let found: Vec<_> = Template::load_dir(folder.path())
        .unwrap_err()
        .into_iter()
        .map(|error| (error.line, error.key, error.message))
        .collect();
    assert!(
        found
            .iter()
            .any(|(line, key, message)| (*line, key.as_str()) == (1, "slug")
                && message.contains("a.toml too")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|(line, key, _)| (*line, key.as_str()) == (9, "category.slug")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|(_, _, message)| message == "expected a text and found an integer"),
        "{found:?}"
    );
}

#[test]
fn a_category_may_have_its_other_texts_in_one_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| format!("{GOOD}[category.texts.id]\nname = \"{name}\"\n");
    let write = |file: &str, slug: &str, text: &str| {
        let text = text.replace("slug = \"n8n\"", &format!("slug = \"{slug}\""));
        fs::write(folder.path().join(file), text).unwrap();
    };
    write("a.toml", "first", GOOD);
    write("b.toml", "second", &named("Alat"));
    assert_eq!(Template::load_dir(folder.path()).unwrap().len(), 2);
    write("a.toml", "first", &named("Perkakas"));
    let found = Template::load_dir(folder.path()).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].key, "category.slug");
}

#[test]
fn a_missing_folder_is_one_error_without_a_line() {
    let errors = Template::load_dir(Path::new("/nonexistent/templates")).unwrap_err();
    assert!(
        errors[0]
            .to_string()
            .starts_with("/nonexistent/templates: the folder of templates cannot be read")
    );
}

const WITH_SETTINGS: &str = r#"
[[settings.workloads]]
name = "app"
ports = [{ number = 3001 }]
[settings.config."a/b"]
default = true
"#;

#[test]
fn settings_are_of_any_shape_and_the_plugins_problems_show_where_they_stand() {
    let text = format!("{GOOD}{WITH_SETTINGS}");
    let template = Template::parse("n8n.toml", &text).unwrap();
    assert_eq!(
        serde_json::to_value(&template.settings).unwrap(),
        serde_json::json!({
            "workloads": [{"name": "app", "ports": [{"number": 3001}]}],
            "config": {"a/b": {"default": true}},
        })
    );
    let line = GOOD.lines().count();
    let refused = |field: &str| {
        let problem = Problem {
            field: field.to_owned(),
            message: "No.".to_owned(),
        };
        template.refused_settings(&[problem])[0].to_string()
    };
    for (field, told) in [
        (
            "/workloads/0/ports/0/number",
            format!(
                "n8n.toml:{}:21: settings.workloads[0].ports[0].number: No.",
                line + 4
            ),
        ),
        (
            "/config/a~1b/default",
            format!("n8n.toml:{}:11: settings.config.a/b.default: No.", line + 6),
        ),
    ] {
        assert_eq!(refused(field), told);
    }
    // Missing values are shown at their table.
    assert!(
        refused("/workloads/0/user").ends_with(": settings.workloads[0].user: No."),
        "{}",
        refused("/workloads/0/user")
    );
    let missing = Template::parse("n8n.toml", GOOD).unwrap();
    assert!(missing.settings.is_empty());
    let problem = Problem {
        field: String::new(),
        message: "Say what it is.".to_owned(),
    };
    assert_eq!(
        missing.refused_settings(&[problem])[0].to_string(),
        "n8n.toml:6:10: settings: Say what it is."
    );
}

#[test]
fn settings_hold_what_json_writes_in_one_way_only() {
    let text =
        format!("{GOOD}[settings]\nshare = 0.5\nsince = 2026-01-01\nhuge = 99999999999999999999\n");
    let line = GOOD.lines().count();
    let allowed = "expected a text, a whole number, true, false, a list or a table and found a";
    assert_eq!(
        problems(&text),
        [
            format!("n8n.toml:{}:9: settings.share: {allowed} float", line + 2),
            format!(
                "n8n.toml:{}:9: settings.since: {allowed} datetime",
                line + 3
            ),
            format!(
                "n8n.toml:{}:8: settings.huge: it does not fit in 64 bits",
                line + 4
            ),
        ]
    );
}
