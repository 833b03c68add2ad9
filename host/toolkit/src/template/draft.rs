//! Templates that are written by a program, and read like any other.

use std::collections::BTreeMap;

use dermaga_runtime::{
    contract::{Settings, Tier},
    gate::Exception,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Category, ImageSupport, Plan, PlanTerm, ServiceTexts, SupportEnd, Template, TemplateError,
    texts,
};

/// Content of a template before it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub slug: String,
    pub name: String,
    pub summary: String,
    pub description: String,
    pub texts: ServiceTexts,
    pub featured: bool,
    pub plugin: String,
    pub category: Category,
    pub images: BTreeMap<String, String>,
    pub image_support: BTreeMap<String, ImageSupport>,
    pub exceptions: Vec<Exception>,
    pub settings: Settings,
    pub plans: Vec<Plan>,
}

impl From<Template> for Draft {
    fn from(template: Template) -> Self {
        Self {
            slug: template.slug,
            name: template.name,
            summary: template.summary,
            description: template.description,
            texts: template.texts,
            featured: template.featured,
            plugin: template.plugin,
            category: template.category,
            images: template.images,
            image_support: template.image_support,
            exceptions: template.pod_security.exceptions,
            settings: template.settings,
            plans: template.plans,
        }
    }
}

impl Draft {
    /// Writes the template and reads it; `file` is its name in errors.
    ///
    /// # Errors
    /// Every problem of the content, with keys as `plans[0].tier`.
    pub fn template(&self, file: &str) -> Result<Template, Vec<TemplateError>> {
        Template::parse(file, &self.written())
    }

    fn written(&self) -> String {
        let mut text = String::new();
        let mut line = |written: String| {
            text.push_str(&written);
            text.push('\n');
        };
        line(entry("slug", &self.slug));
        line(entry("name", &self.name));
        line(entry("summary", &self.summary));
        line(entry("description", &self.description));
        line(in_indonesian(&self.texts));
        line(entry("featured", &self.featured));
        line(entry("plugin", &self.plugin));
        line("[category]".to_owned());
        line(entry("slug", &self.category.slug));
        line(entry("name", &self.category.name));
        line(entry("description", &self.category.description));
        line(in_indonesian(&self.category.texts));
        line("[images]".to_owned());
        for (name, reference) in &self.images {
            line(match self.image_support.get(name) {
                Some(support) => format!("{} = {}", quoted(name), image(reference, support)),
                None => entry(name, reference),
            });
        }
        line("[pod_security]".to_owned());
        line(entry("exceptions", &self.exceptions));
        line("[settings]".to_owned());
        for (name, value) in &self.settings {
            line(format!("{} = {}", quoted(name), toml(value)));
        }
        for plan in &self.plans {
            line(self::plan(plan));
        }
        text
    }
}

fn plan(plan: &Plan) -> String {
    let resources = plan.resources;
    let tier: Tier = plan.tier;
    let storage = plan.storage_price;
    let storage = storage.map(|price| entry("storage_price", &price));
    let lines = [
        "[[plans]]".to_owned(),
        entry("slug", &plan.slug),
        entry("name", &plan.name),
        entry("tier", &tier),
        entry("monthly_price", &plan.monthly_price),
        storage.unwrap_or_default(),
        entry("quota", &plan.quota),
        entry("max_instances_per_user", &plan.max_instances_per_user),
        entry("features", &plan.features),
        in_indonesian(&plan.texts),
        "[plans.resources]".to_owned(),
        entry("cpu_millis", &resources.cpu_millis),
        entry("memory_mib", &resources.memory_mib),
        entry("storage_gib", &resources.storage_gib),
        entry("replicas", &resources.replicas),
    ];
    let terms = plan.terms.iter().flat_map(term);
    lines
        .into_iter()
        .chain(terms)
        .collect::<Vec<_>>()
        .join("\n")
}

fn term(term: &PlanTerm) -> Vec<String> {
    let mut lines = vec!["[[plans.terms]]".to_owned(), entry("months", &term.months)];
    lines.extend(term.price.map(|price| entry("price", &price)));
    let percent = term.discount_percent;
    lines.extend(percent.map(|percent| entry("discount_percent", &percent)));
    lines
}

fn image(reference: &str, support: &ImageSupport) -> String {
    let until = match &support.supported_until {
        Some(SupportEnd::Day(day)) => format!("supported_until = {day}, "),
        Some(none) => format!("supported_until = {}, ", quoted(&none.to_string())),
        None => String::new(),
    };
    format!(
        "{{ reference = {}, {until}checked_on = {}, source = {} }}",
        quoted(reference),
        support.checked_on,
        quoted(&support.source)
    )
}

/// Writes the texts of a part of the template in Indonesian.
fn in_indonesian(texts: &impl Serialize) -> String {
    entry(texts::KEY, &json!({ (texts::INDONESIAN): texts }))
}

fn entry(key: &str, value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    format!("{} = {}", quoted(key), toml(&value))
}

/// Writes a text as TOML has it, which is as JSON has it but for one character.
fn quoted(text: &str) -> String {
    let json = Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

/// Writes a value in one line. TOML has no null: its place in a list or table is left out.
fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter(is_some).map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| is_some(value));
            let fields: Vec<String> = fields
                .map(|(key, value)| format!("{} = {}", quoted(key), toml(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn is_some(value: &&Value) -> bool {
    !value.is_null()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_template_is_the_same_after_it_was_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../service-templates");
        let templates = Template::load_dir(&folder).unwrap();
        assert!(templates.len() > 3);
        for template in templates {
            let draft = Draft::from(template);
            let read = draft.template("again.toml").unwrap();
            assert_eq!(Draft::from(read), draft);
        }
    }

    #[test]
    fn texts_and_settings_of_any_kind_are_kept() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../service-templates");
        let template = Template::load_dir(&folder).unwrap().remove(0);
        let mut draft = Draft::from(template);
        draft.description = "Two \"lines\"\n\\ and a \u{7f}, \u{1}, \u{1F600}.".to_owned();
        draft.settings = serde_json::from_value(json!({
            "a b": [1, "x", true], "deep": { "er": { "n": -5 } },
        }))
        .unwrap();
        let read = draft.template("any.toml").unwrap();
        assert_eq!(Draft::from(read), draft);
    }
}
