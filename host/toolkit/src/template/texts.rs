//! Texts of a template in Indonesian, beside its English ones. Names of services and plans have no second
//! language: they are in books, mails and messages, too.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_runtime::Texts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::de::DeValue;

use super::{
    fields::{Fields, expected},
    rules,
};

/// Table of the texts in other languages, by their codes.
pub(super) const KEY: &str = "texts";
/// Code of the one language there is beside English.
pub(super) const INDONESIAN: &str = "id";
const FORM: &str = "form";
const SENTENCES: &str = "sentences";

/// Texts of a service; what is absent is shown in English.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTexts {
    pub summary: Option<String>,
    pub description: Option<String>,
    /// Fields of the form by which it is configured, by their names; `mail.host` is a field within another.
    pub form: FormTexts,
    /// Sentences that its plugin says out of the template's settings, such as notes on the access.
    #[serde(default)]
    pub sentences: Texts,
}

/// Texts of a form by the names of its fields.
pub type FormTexts = BTreeMap<String, FieldTexts>;

/// Texts of a field of the form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldTexts {
    pub title: Option<String>,
    pub description: Option<String>,
}

/// Puts texts of fields in place of those that a form's JSON Schema has.
pub fn translate_form(schema: &mut Value, texts: &FormTexts) {
    for (name, texts) in texts {
        let mut parts = name.split('.');
        let field = parts.try_fold(&mut *schema, |schema, part| {
            schema.get_mut("properties")?.get_mut(part)
        });
        let Some(field) = field.and_then(Value::as_object_mut) else {
            continue;
        };
        for (key, text) in [("title", &texts.title), ("description", &texts.description)] {
            if let Some(text) = text {
                field.insert(key.to_owned(), Value::from(text.as_str()));
            }
        }
    }
}

/// Returns the names of all fields of a form's JSON Schema.
pub(crate) fn fields_of(schema: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(schema, "", &mut names);
    names
}

fn collect(schema: &Value, before: &str, names: &mut BTreeSet<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let name = format!("{before}{name}");
        collect(property, &format!("{name}."), names);
        names.insert(name);
    }
}

/// Texts of a category.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CategoryTexts {
    pub name: Option<String>,
    pub description: Option<String>,
}

/// Texts of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlanTexts {
    pub features: Option<Vec<String>>,
}

/// Returns the texts in Indonesian among these fields, or that there are none; nothing when they are no table.
fn in_indonesian<'a, 'i>(fields: &Fields<'a, 'i>) -> Option<Option<Fields<'a, 'i>>> {
    if !fields.has(KEY) {
        return Some(None);
    }
    let texts = fields.optional_table(KEY)?;
    texts.only(&[INDONESIAN]);
    if !texts.has(INDONESIAN) {
        return Some(None);
    }
    texts.optional_table(INDONESIAN).map(Some)
}

fn text(
    fields: &Fields<'_, '_>,
    key: &str,
    rule: impl Fn(&DeValue<'_>) -> Result<String, String>,
) -> Option<Option<String>> {
    fields.optional(key, None, |value| rule(value).map(Some))
}

/// Returns the table of the texts of a service's form, if there is one.
pub(super) fn form_of<'a, 'i>(fields: &Fields<'a, 'i>) -> Option<Fields<'a, 'i>> {
    fields
        .optional_table(KEY)?
        .optional_table(INDONESIAN)?
        .optional_table(FORM)
}

pub(super) fn of_service(fields: &Fields<'_, '_>) -> Option<ServiceTexts> {
    let Some(fields) = in_indonesian(fields)? else {
        return Some(ServiceTexts::default());
    };
    fields.only(&["summary", "description", FORM, SENTENCES]);
    let summary = text(&fields, "summary", rules::title(300));
    let description = text(&fields, "description", rules::prose(5000));
    let form = if fields.has(FORM) {
        fields.optional_table(FORM).and_then(|fields| form(&fields))
    } else {
        Some(FormTexts::new())
    };
    let sentences = if fields.has(SENTENCES) {
        let table = fields.optional_table(SENTENCES);
        table.and_then(|fields| sentences(&fields))
    } else {
        Some(Texts::default())
    };
    Some(ServiceTexts {
        summary: summary?,
        description: description?,
        form: form?,
        sentences: sentences?,
    })
}

fn sentences(fields: &Fields<'_, '_>) -> Option<Texts> {
    let texts = fields.entries(|english| Ok(english.to_owned()), rules::prose(2000))?;
    for (english, indonesian) in &texts {
        if let Err(why) = Texts::check_pair(english, indonesian) {
            fields.problem(english, why);
            return None;
        }
    }
    Some(texts.into_iter().collect())
}

fn form(fields: &Fields<'_, '_>) -> Option<FormTexts> {
    let is_table = |value: &DeValue<'_>| match value.as_table() {
        Some(_) => Ok(()),
        None => Err(expected("a table", value)),
    };
    fields.entries(|name| Ok(name.to_owned()), is_table)?;
    // Read to the end, so that every problem is noted.
    let read: Vec<_> = fields
        .subtables()
        .map(|(name, fields)| Some((name, field(&fields)?)))
        .collect();
    read.into_iter().collect()
}

fn field(fields: &Fields<'_, '_>) -> Option<FieldTexts> {
    fields.only(&["title", "description"]);
    let title = text(fields, "title", rules::title(200));
    let description = text(fields, "description", rules::prose(1000));
    Some(FieldTexts {
        title: title?,
        description: description?,
    })
}

pub(super) fn of_category(fields: &Fields<'_, '_>) -> Option<CategoryTexts> {
    let Some(fields) = in_indonesian(fields)? else {
        return Some(CategoryTexts::default());
    };
    fields.only(&["name", "description"]);
    let name = text(&fields, "name", rules::title(80));
    let description = text(&fields, "description", rules::prose(1000));
    Some(CategoryTexts {
        name: name?,
        description: description?,
    })
}

/// Reads the texts of a plan, which has so many features.
pub(super) fn of_plan(fields: &Fields<'_, '_>, features: Option<usize>) -> Option<PlanTexts> {
    let Some(fields) = in_indonesian(fields)? else {
        return Some(PlanTexts::default());
    };
    fields.only(&["features"]);
    if !fields.has("features") {
        return Some(PlanTexts::default());
    }
    let own = fields.list("features", 1, rules::title(200))?;
    if let Some(wanted) = features.filter(|wanted| *wanted != own.len()) {
        let own = own.len();
        let message = format!("the plan has {wanted} features and this list has {own}");
        fields.problem("features", message);
        return None;
    }
    Some(PlanTexts {
        features: Some(own),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::Template;

    /// Reads a template with these texts of the service, its category and its plan.
    fn parse(service: &str, category: &str, plan: &str) -> Result<Template, Vec<String>> {
        let text = format!(
            r#"slug = "n8n"
name = "N8N"
summary = "Workflow automation."
description = "Connect anything."
plugin = "service-n8n"
{service}
[category]
slug = "development-tools"
name = "Development Tools"
description = "For builders."
{category}
[images]
app = "docker.io/n8nio/n8n:1.121.3"
[[plans]]
slug = "basic"
name = "Basic"
tier = "BASIC"
monthly_price = 50_000
quota = 100
max_instances_per_user = 1
features = ["One workflow", "A volume"]
resources = {{ cpu_millis = 250, memory_mib = 512, storage_gib = 1, replicas = 1 }}
{plan}"#
        );
        let read = Template::parse("n8n.toml", &text);
        read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn texts_in_another_language_may_be_absent() {
        let template = parse("", "", "").unwrap();
        assert_eq!(template.texts, ServiceTexts::default());
        assert_eq!(template.category.texts, CategoryTexts::default());
        assert_eq!(template.plans[0].texts, PlanTexts::default());
    }

    #[test]
    fn texts_in_another_language_are_beside_the_english_ones() {
        let template = parse(
            "texts.id = { summary = \"Otomasi.\", form.timezone = { title = \"Zona waktu\" }, sentences = { \"Open {}.\" = \"Buka {0}.\" } }",
            "texts.id.name = \"Alat Pengembangan\"",
            "texts.id.features = [\"Satu alur kerja\", \"Satu volume\"]",
        )
        .unwrap();
        assert_eq!(template.texts.summary.as_deref(), Some("Otomasi."));
        assert_eq!(template.texts.description, None);
        let title = Some("Zona waktu".to_owned());
        let description = None;
        let zone = FieldTexts { title, description };
        assert_eq!(template.texts.form.get("timezone"), Some(&zone));
        let sentences: Vec<_> = template.texts.sentences.iter().collect();
        assert_eq!(sentences, [("Open {}.", "Buka {0}.")]);
        let name = template.category.texts.name.as_deref();
        assert_eq!(name, Some("Alat Pengembangan"));
        let features = template.plans[0].texts.features.as_ref().unwrap();
        assert_eq!(features, &["Satu alur kerja", "Satu volume"]);
    }

    #[test]
    fn texts_of_fields_replace_those_of_the_form() {
        let mut schema = json!({ "type": "object", "properties": {
            "zone": { "type": "string", "title": "Time zone", "description": "Of reports." },
            "mail": { "type": "object", "properties": { "host": { "type": "string" } } },
        } });
        let names: Vec<String> = fields_of(&schema).into_iter().collect();
        assert_eq!(names, ["mail", "mail.host", "zone"]);
        let title = |title: &str| FieldTexts {
            title: Some(title.to_owned()),
            description: None,
        };
        let texts = FormTexts::from([
            ("zone".to_owned(), title("Zona waktu")),
            ("mail.host".to_owned(), title("Server surel")),
            ("mail.port".to_owned(), title("Port")),
        ]);
        translate_form(&mut schema, &texts);
        let expected = json!({ "type": "object", "properties": {
            "zone": { "type": "string", "title": "Zona waktu", "description": "Of reports." },
            "mail": { "type": "object", "properties": {
                "host": { "type": "string", "title": "Server surel" },
            } },
        } });
        assert_eq!(schema, expected);
    }

    #[test]
    fn wrong_texts_are_shown_where_they_are() {
        for (service, plan, expected) in [
            (
                "texts.de.summary = \"x\"",
                "",
                "n8n.toml:6:7: texts.de: there is no such key; known here are id",
            ),
            (
                "texts.id.name = \"x\"",
                "",
                "n8n.toml:6:10: texts.id.name: there is no such key; known here are summary, description, form, sentences",
            ),
            (
                "texts.id.sentences = { \"Open {}.\" = \"Buka.\" }",
                "",
                "n8n.toml:6:37: texts.id.sentences.Open {}.: both sentences need the same gaps, each of them once",
            ),
            (
                "texts.id.summary = \"\"",
                "",
                "n8n.toml:6:20: texts.id.summary: it is empty; write a text",
            ),
            (
                "texts.id.form.timezone = \"x\"",
                "",
                "n8n.toml:6:26: texts.id.form.timezone: expected a table and found a string",
            ),
            (
                "",
                "texts.id.features = [\"Satu\"]",
                "n8n.toml:23:21: plans[0].texts.id.features: the plan has 2 features and this list has 1",
            ),
        ] {
            let found = parse(service, "", plan).unwrap_err();
            assert_eq!(found, [expected], "{service}{plan}");
        }
    }
}
