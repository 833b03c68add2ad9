//! Places of the parts of a template, for problems found after reading it.

use std::collections::BTreeMap;

use super::{
    Plan,
    error::{Place, TemplateError},
    fields::Fields,
    texts,
};

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// A value of the settings, by its JSON pointer; the settings as a whole by the empty one.
    Settings(String),
    /// The table of images.
    Images,
    /// One image, by the plugin's name for it.
    Image(String),
    /// A plan, by its slug.
    Plan(String),
    /// The storage of a plan, by the plan's slug.
    Storage(String),
    /// The texts of a field of the form, by the field's name.
    Form(String),
}

/// Places of everything but the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spots {
    images: Place,
    each_image: BTreeMap<String, Place>,
    /// Places of the plan and of its storage, by the plan's slug.
    plans: BTreeMap<String, (Place, Place)>,
    form: BTreeMap<String, Place>,
}

impl Spots {
    /// Notes the places of a template that was read without a problem.
    pub(super) fn of(fields: &Fields<'_, '_>, plans: &[Plan]) -> Option<Self> {
        let images = fields.table("images")?;
        let places = |(plan, table): (&Plan, &Fields<'_, '_>)| {
            let storage = table.table("resources")?.place("storage_gib");
            Some((plan.slug.clone(), (table.here(), storage)))
        };
        let tables = fields.tables("plans");
        let plans: Option<BTreeMap<_, _>> = plans.iter().zip(&tables).map(places).collect();
        Some(Self {
            images: images.here(),
            each_image: images
                .keys()
                .map(|name| (name.to_owned(), images.place(name)))
                .collect(),
            plans: plans?,
            form: texts::form_of(fields)
                .map(|form| {
                    let places = form.keys().map(|name| (name.to_owned(), form.place(name)));
                    places.collect()
                })
                .unwrap_or_default(),
        })
    }

    /// Builds an error of a part; `None` for settings and unknown plans.
    pub(super) fn problem(&self, spot: &Spot, message: &str) -> Option<TemplateError> {
        let place = match spot {
            Spot::Settings(_) => None,
            Spot::Images => Some(&self.images),
            Spot::Image(name) => self.each_image.get(name).or(Some(&self.images)),
            Spot::Plan(slug) => self.plans.get(slug).map(|(plan, _)| plan),
            Spot::Storage(slug) => self.plans.get(slug).map(|(_, storage)| storage),
            Spot::Form(name) => self.form.get(name),
        };
        place.map(|place| place.problem(message))
    }
}
