//! Service templates: the services on sale, in TOML, one file each.
//!
//! A template names the plugin that makes the service, the images it may run, its exceptions from
//! the gate, and the plans with their prices and sizes. Reading one reports every problem, each
//! with file, line, column and key, so that an author can repair the file at once.

mod draft;
mod error;
mod fields;
mod folder;
mod images;
mod read;
mod rules;
mod settings;
mod spots;
mod terms;
mod texts;

use std::{collections::BTreeMap, path::Path};

use dermaga_runtime::{
    contract::{self, Problem, Rupiah, Settings, Tier},
    gate::Exception,
};
use serde::Serialize;

pub use draft::Draft;
pub use error::TemplateError;
pub use folder::{Folder, RefusedFile};
pub use images::{ImageSupport, SupportEnd};
pub use spots::Spot;
pub use terms::{MOST_TERMS, PlanTerm, TERMS};
pub(crate) use texts::fields_of;
pub use texts::{CategoryTexts, FieldTexts, FormTexts, PlanTexts, ServiceTexts, translate_form};

/// A service on sale.
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
    /// The same in Indonesian.
    pub texts: ServiceTexts,
    pub featured: bool,
    /// Id of the service plugin that makes it.
    pub plugin: String,
    pub category: Category,
    /// The only images the service may run, by the plugin's name for them.
    pub images: BTreeMap<String, String>,
    /// Support of those of which it is known.
    pub image_support: BTreeMap<String, ImageSupport>,
    pub pod_security: PodSecurity,
    /// Settings for the plugin, which its `describe` checks.
    pub settings: Settings,
    #[serde(skip)]
    places: settings::Places,
    #[serde(skip)]
    spots: spots::Spots,
    #[serde(skip)]
    source: Source,
    /// Plans, at least one; slugs and tiers are unique.
    pub plans: Vec<Plan>,
}

/// File that a template was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the file in errors.
    pub file: String,
    pub text: String,
}

/// A category of the catalogue. Templates with the same category slug must agree on its texts; those in
/// Indonesian may be in one of them alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Category {
    pub slug: String,
    pub name: String,
    pub description: String,
    /// The same in Indonesian.
    pub texts: CategoryTexts,
}

impl Category {
    /// Returns true when this category has other texts in another template.
    fn contradicts(&self, other: &Self) -> bool {
        let none = CategoryTexts::default();
        let are_both_given = self.texts != none && other.texts != none;
        self.name != other.name
            || self.description != other.description
            || (are_both_given && self.texts != other.texts)
    }
}

/// Exceptions from the gate's rules for this service.
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
    /// Longer terms that it is sold for, the shortest first.
    pub terms: Vec<PlanTerm>,
    /// Price of a month in which it is frozen; absent where it cannot be.
    pub storage_price: Option<Rupiah>,
    /// Most instances of the plan that can be sold.
    pub quota: u32,
    pub max_instances_per_user: u32,
    /// Texts for the comparison of plans.
    pub features: Vec<String>,
    /// The same in Indonesian.
    pub texts: PlanTexts,
    pub resources: contract::Resources,
}

impl Plan {
    /// Returns the plan as plugins see it.
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
    /// Reads one template. `name` is the name of the file in errors.
    ///
    /// # Errors
    /// Every problem of the text, in the order of the text.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<TemplateError>> {
        read::template(name, text).map(|read| read.template)
    }

    /// Converts the plugin's problems with the settings to errors with file, line, column and key.
    pub fn refused_settings(&self, problems: &[Problem]) -> Vec<TemplateError> {
        let problems = problems.iter();
        problems
            .map(|problem| self.places.problem(problem))
            .collect()
    }

    /// Builds an error of a part of the template, with file, line, column and key.
    pub fn problem_at(&self, spot: &Spot, message: &str) -> TemplateError {
        let of_settings = |field: String| {
            let message = message.to_owned();
            self.places.problem(&Problem { field, message })
        };
        match spot {
            Spot::Settings(pointer) if self.places.has(pointer) => of_settings(pointer.clone()),
            other => self
                .spots
                .problem(other, message)
                .unwrap_or_else(|| of_settings(String::new())),
        }
    }

    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Reads every `*.toml` of a folder, in the order of their names.
    ///
    /// # Errors
    /// Every problem of every file, and contradictions between files: two services with
    /// the same slug, two texts for one category.
    pub fn load_dir(folder: &Path) -> Result<Vec<Self>, Vec<TemplateError>> {
        let Folder { templates, refused } = Folder::read(folder).map_err(|error| vec![error])?;
        if refused.is_empty() {
            return Ok(templates);
        }
        Err(refused.into_iter().flat_map(|file| file.errors).collect())
    }
}

#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod tests;
