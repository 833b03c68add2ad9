//! Support of images as administrators send it, by the rules of templates.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use dermaga_shop::input;
use dermaga_toolkit::template::{ImageSupport, SupportEnd};
use garde::Validate;
use serde::{Deserialize, Deserializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::schema::{Object, ObjectBuilder},
};

/// Support of an image, as it was looked up for this version.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ImageFacts {
    /// Last day on which its makers mend it.
    #[garde(skip)]
    #[schema(value_type = Option<NaiveDate>)]
    supported_until: Option<Day>,
    /// True when its makers publish no such day.
    #[serde(default)]
    #[garde(custom(in_place_of(self.supported_until.is_some())))]
    no_end_published: bool,
    /// Day of the last look for a newer version.
    #[garde(skip)]
    #[schema(value_type = NaiveDate)]
    checked_on: Day,
    /// Place where the version was found, and what could not be confirmed.
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 300), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 300)]
    source: String,
}

impl From<ImageFacts> for ImageSupport {
    fn from(facts: ImageFacts) -> Self {
        let until = facts.supported_until;
        let none = facts.no_end_published.then_some(SupportEnd::NonePublished);
        Self {
            supported_until: until
                .map(|Day(day)| SupportEnd::Day(day.to_string()))
                .or(none),
            checked_on: facts.checked_on.0.to_string(),
            source: facts.source.trim().to_owned(),
        }
    }
}

/// Checks that no end of support is stated beside one.
fn in_place_of(has_end: bool) -> impl FnOnce(&bool, &()) -> garde::Result {
    move |none, ()| {
        if *none && has_end {
            return Err(garde::Error::new(
                "must be left out beside `supportedUntil`",
            ));
        }
        Ok(())
    }
}

/// A date without a time, within the bounds of all others.
#[derive(Debug, Clone, Copy)]
struct Day(NaiveDate);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        input::date(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Returns the support of images as templates have it.
pub(super) fn support(facts: BTreeMap<String, ImageFacts>) -> BTreeMap<String, ImageSupport> {
    let facts = facts.into_iter();
    facts.map(|(name, facts)| (name, facts.into())).collect()
}

/// Returns the schema of support by the names of images, up to 50.
pub(super) fn support_schema() -> Object {
    ObjectBuilder::new()
        .additional_properties(Some(ImageFacts::schema()))
        .max_properties(Some(50))
        .description(Some("Support of images, by the plugin's names for them."))
        .build()
}
