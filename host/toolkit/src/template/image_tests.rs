//! Tests of the images of a template and their support.

use super::Template;

fn template(images: &str) -> String {
    format!(
        r#"slug = "n8n"
name = "N8N"
summary = "Workflow automation."
description = "Connect anything."
plugin = "service-n8n"
[category]
slug = "development-tools"
name = "Development Tools"
description = "For builders."
{images}
[[plans]]
slug = "free"
name = "Free"
tier = "FREE"
monthly_price = 0
quota = 100
max_instances_per_user = 1
features = ["One workflow"]
resources = {{ cpu_millis = 250, memory_mib = 512, storage_gib = 1, replicas = 1 }}
"#
    )
}

#[test]
fn an_image_is_a_text_or_says_how_long_it_is_good_for() {
    let text = template(
        r#"[images]
beside = "docker.io/library/redis:8.2.1"
[images.app]
reference = "docker.io/n8nio/n8n:1.121.3"
supported_until = 2027-04-30
checked_on = 2026-11-26
source = "Its makers' page."
"#,
    );
    let template = Template::parse("n8n.toml", &text).unwrap();
    assert_eq!(template.images["app"], "docker.io/n8nio/n8n:1.121.3");
    assert_eq!(template.images["beside"], "docker.io/library/redis:8.2.1");
    let support = &template.image_support["app"];
    assert_eq!(support.supported_until.as_deref(), Some("2027-04-30"));
    assert_eq!(support.checked_on, "2026-11-26");
    assert_eq!(template.image_support.len(), 1);
}

#[test]
fn wrong_support_is_shown_where_it_is() {
    let text = template(
        r#"[images.app]
reference = "docker.io/n8nio/n8n:latest"
supported_until = "2027-04-30"
checked_on = 2026-11-26T10:00:00
sauce = "x"
"#,
    );
    let errors = Template::parse("n8n.toml", &text).unwrap_err();
    let places: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", error.line, error.key))
        .collect();
    assert_eq!(
        places,
        [
            "10 images.app.source",
            "11 images.app.reference",
            "12 images.app.supported_until",
            "13 images.app.checked_on",
            "14 images.app.sauce",
        ]
    );
    assert!(
        errors[4].message.contains("did you mean `source`"),
        "{errors:?}"
    );
}
