//! The images of a template, each with what is known of its support.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{fields::Fields, rules};

/// Support of an image, as the author of the template has looked it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSupport {
    /// Last day on which its makers mend it, as `2027-04-30`; `None` where they name none.
    pub supported_until: Option<String>,
    /// Day of the last look for a newer version.
    pub checked_on: String,
    /// Place where the version was found, and what could not be confirmed.
    pub source: String,
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
        rules::date(value).map(Some)
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
