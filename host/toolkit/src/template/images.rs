//! The images of a template, each with what is known of its support.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};
use toml::de::DeValue;

use super::{
    fields::{Fields, expected},
    rules,
};

/// Text in the place of the day for makers that publish no end of support.
const NONE_PUBLISHED: &str = "none-published";

/// Support of an image, as the author of the template has looked it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSupport {
    /// End of its support; `None` where it was not looked up.
    pub supported_until: Option<SupportEnd>,
    /// Day of the last look for a newer version.
    pub checked_on: String,
    /// Place where the version was found, and what could not be confirmed.
    pub source: String,
}

/// End of an image's support, as its makers publish it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupportEnd {
    /// Last day on which they mend it, as `2027-04-30`.
    Day(String),
    /// They publish none.
    NonePublished,
}

impl fmt::Display for SupportEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day(day) => day,
            Self::NonePublished => NONE_PUBLISHED,
        })
    }
}

impl Serialize for SupportEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// References of images and their support, by the plugin's names for them.
pub(super) type Images = (BTreeMap<String, String>, BTreeMap<String, ImageSupport>);

/// Reads the table: each image is a text, or a table with its support.
pub(super) fn read(fields: &Fields<'_, '_>) -> Option<Images> {
    if fields.is_empty() {
        fields.note("it is empty; name every image that the service may run");
        return None;
    }
    let plain = fields.entries(
        |key| rules::name(key, 1),
        |value| match value.as_table() {
            Some(_) => Ok(None),
            None => rules::image(value).map(Some),
        },
    );
    let tables: Vec<_> = fields
        .subtables()
        .map(|(name, table)| (name, image(&table)))
        .collect();
    let mut references = BTreeMap::new();
    let mut support = BTreeMap::new();
    for (name, image) in tables {
        let (reference, known) = image?;
        references.insert(name.clone(), reference);
        support.insert(name, known);
    }
    let plain = plain?.into_iter();
    references.extend(plain.filter_map(|(name, reference)| Some((name, reference?))));
    Some((references, support))
}

fn image(fields: &Fields<'_, '_>) -> Option<(String, ImageSupport)> {
    fields.only(&["reference", "supported_until", "checked_on", "source"]);
    let reference = fields.required("reference", rules::image);
    let until = fields.optional("supported_until", None, |value| {
        support_end(value).map(Some)
    });
    let checked = fields.required("checked_on", rules::date);
    let source = fields.required("source", rules::text(300));
    let support = ImageSupport {
        supported_until: until?,
        checked_on: checked?,
        source: source?,
    };
    Some((reference?, support))
}

/// Accepts a day, or the text for makers that publish none.
fn support_end(value: &DeValue<'_>) -> Result<SupportEnd, String> {
    if value.as_str() == Some(NONE_PUBLISHED) {
        return Ok(SupportEnd::NonePublished);
    }
    let wanted = "a day such as 2027-04-30, without quotes, or \"none-published\"";
    let day = rules::date(value).map_err(|_| expected(wanted, value))?;
    Ok(SupportEnd::Day(day))
}
