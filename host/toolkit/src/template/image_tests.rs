//! Tests of the images of a template and their support.

use super::{SupportEnd, Template};

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
    let until = SupportEnd::Day("2027-04-30".to_owned());
    assert_eq!(support.supported_until, Some(until));
    assert_eq!(support.checked_on, "2026-11-26");
    assert_eq!(template.image_support.len(), 1);
}

/// Makers that publish no end of support are told from an author who has not looked.
#[test]
fn an_image_says_that_its_makers_publish_no_end() {
    let read = |until: &str| {
        let text = template(&format!(
            r#"[images.app]
reference = "docker.io/n8nio/n8n:1.121.3"
{until}
checked_on = 2026-11-26
source = "Its makers' page."
"#
        ));
        Template::parse("n8n.toml", &text).map(|template| template.image_support["app"].clone())
    };
    let none = read(r#"supported_until = "none-published""#).unwrap();
    assert_eq!(none.supported_until, Some(SupportEnd::NonePublished));
    let json = serde_json::to_value(&none).unwrap();
    assert_eq!(json["supportedUntil"], "none-published");
    assert_eq!(read("").unwrap().supported_until, None);

    for wrong in [r#""none""#, r#""2027-04-30""#, "true"] {
        let errors = read(&format!("supported_until = {wrong}")).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].key, "images.app.supported_until");
        let message = &errors[0].message;
        assert!(message.contains(r#"or "none-published""#), "{message}");
    }
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
