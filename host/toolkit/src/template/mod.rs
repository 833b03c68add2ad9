//! Service templates: what is sold, in TOML, one file a service.
//!
//! A template names the plugin that makes the service, the images it may run, what the gate relaxes
//! for it, and the plans with their prices and sizes. Reading one reports every problem it has, each
//! with file, line, column and key, so that an author mends a file in one go.

mod error;
mod fields;
mod read;
mod rules;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use dermaga_runtime::{
    contract::{self, Problem, Rupiah, Settings, Tier},
    gate::Exception,
};
use serde::Serialize;

pub use error::TemplateError;

/// A service that is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Unique among services, for example `n8n`.
    pub slug: String,
    pub name: String,
    /// One sentence for lists.
    pub summary: String,
    /// Some paragraphs for the service's own page.
    pub description: String,
    pub featured: bool,
    /// Id of the service plugin that makes it.
    pub plugin: String,
    pub category: Category,
    /// The only images the service may run, by the plugin's name for them.
    pub images: BTreeMap<String, String>,
    pub pod_security: PodSecurity,
    /// What it says to the plugin, whose `describe` judges it.
    pub settings: Settings,
    #[serde(skip)]
    places: settings::Places,
    /// At least one; slugs and tiers are unique.
    pub plans: Vec<Plan>,
}

/// A shelf of the catalogue. Templates that share a slug say the same of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Category {
    pub slug: String,
    pub name: String,
    pub description: String,
}

/// What the gate relaxes for this service, knowingly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    pub exceptions: Vec<Exception>,
}

/// A size of the service at a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Unique within the service, for example `basic`.
    pub slug: String,
    pub name: String,
    pub tier: Tier,
    /// Price of one month in rupiah.
    pub monthly_price: Rupiah,
    /// Instances that can be sold in all.
    pub quota: u32,
    pub max_instances_per_user: u32,
    /// What the customer reads in the comparison of plans.
    pub features: Vec<String>,
    pub resources: contract::Resources,
}

impl Plan {
    /// The plan as plugins see it.
    pub fn for_plugins(&self) -> contract::Plan {
        contract::Plan {
            slug: self.slug.clone(),
            tier: self.tier,
            monthly_price: self.monthly_price,
            resources: self.resources,
        }
    }
}

impl Template {
    /// Reads one template. `name` is what errors call the file.
    ///
    /// # Errors
    /// Every problem of the text, in the order of the text.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<TemplateError>> {
        read::template(name, text).map(|read| read.template)
    }

    /// What the plugin finds wrong with the settings, with file, line, column and key.
    pub fn refused_settings(&self, problems: &[Problem]) -> Vec<TemplateError> {
        let problems = problems.iter();
        problems
            .map(|problem| self.places.problem(problem))
            .collect()
    }

    /// Reads every `*.toml` of a folder, in the order of their names.
    ///
    /// # Errors
    /// Every problem of every file, and of files that contradict each other: two services with one
    /// slug, two texts for one category.
    pub fn load_dir(folder: &Path) -> Result<Vec<Self>, Vec<TemplateError>> {
        let mut read = Vec::new();
        let mut errors = Vec::new();
        for file in toml_files(folder).map_err(|error| vec![error])? {
            match load(&file) {
                Ok(template) => read.push(template),
                Err(found) => errors.extend(found),
            }
        }
        errors.extend(contradictions(&read));
        if errors.is_empty() {
            Ok(read.into_iter().map(|read| read.template).collect())
        } else {
            Err(errors)
        }
    }
}

fn toml_files(folder: &Path) -> Result<BTreeSet<std::path::PathBuf>, TemplateError> {
    let unreadable = |error: std::io::Error| {
        let message = format!("the folder of templates cannot be read: {error}");
        TemplateError::of_file(&folder.display().to_string(), message)
    };
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.insert(path);
        }
    }
    Ok(files)
}

fn load(file: &Path) -> Result<read::Read, Vec<TemplateError>> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| {
        vec![TemplateError::of_file(
            &name,
            format!("it cannot be read: {error}"),
        )]
    })?;
    read::template(&name, &text)
}

/// What is wrong between templates that are each right.
fn contradictions(all: &[read::Read]) -> Vec<TemplateError> {
    let mut errors = Vec::new();
    let mut services: BTreeMap<&str, &str> = BTreeMap::new();
    let mut categories: BTreeMap<&str, &read::Read> = BTreeMap::new();
    for read in all {
        let Template { slug, category, .. } = &read.template;
        if let Some(first) = services.insert(slug, &read.slug.file) {
            errors.push(read.slug.problem(format!(
                "`{slug}` is the slug of the service in {first} too; slugs are unique"
            )));
        }
        let first = *categories.entry(&category.slug).or_insert(read);
        if first.template.category != *category {
            errors.push(read.category.problem(format!(
                "the category `{}` has another name or description in {}; say the same in both",
                category.slug, first.category.file
            )));
        }
    }
    errors
}

#[cfg(test)]
mod tests;
