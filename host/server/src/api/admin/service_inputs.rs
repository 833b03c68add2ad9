//! Services as administrators send them: new ones, and new values of fields.

use std::collections::BTreeMap;

use dermaga_runtime::gate::Exception;
use dermaga_shop::{
    audit::GivenReason,
    catalog::{self, ServiceChanges},
};
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, Schema, Type},
};

use super::{
    image_inputs::{self, ImageFacts, support_schema},
    plan_inputs::PlanInput,
};

/// Returns the schema of images by name, from 1 to 50.
fn images() -> Object {
    let mut images = Object::new();
    images.additional_properties = Some(Box::new(
        Schema::from(Object::with_type(Type::String)).into(),
    ));
    (images.min_properties, images.max_properties) = (Some(1), Some(50));
    images
}

/// Service to create, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServiceRequest {
    /// Lower-case letters, digits and hyphens, beginning with a letter.
    #[garde(length(chars, min = 2, max = 50))]
    #[schema(min_length = 2, max_length = 50)]
    slug: String,
    /// Slug of a category.
    #[garde(length(chars, min = 2, max = 50))]
    #[schema(min_length = 2, max_length = 50)]
    category: String,
    /// Id of an active service plugin.
    #[garde(length(chars, min = 3, max = 50))]
    #[schema(min_length = 3, max_length = 50)]
    plugin: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 80)]
    name: String,
    /// One sentence for lists.
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 300), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 300)]
    summary: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(
        length(chars, min = 1, max = 5000),
        custom(dermaga_shop::text::label),
        custom(dermaga_shop::text::prose)
    )]
    #[schema(min_length = 1, max_length = 5000)]
    description: String,
    #[serde(default)]
    #[garde(skip)]
    featured: bool,
    /// The only images it may run, by the plugin's names for them, each pinned to a version.
    #[garde(length(min = 1, max = 50))]
    #[schema(schema_with = images)]
    images: BTreeMap<String, String>,
    /// Support of images of which it is known, by their names.
    #[serde(default)]
    #[garde(length(max = 50), dive)]
    #[schema(schema_with = support_schema)]
    image_support: BTreeMap<String, ImageFacts>,
    /// Settings for the plugin.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// Exceptions from the gate's rules.
    #[serde(default)]
    #[garde(length(max = 10))]
    #[schema(max_items = 10, value_type = Vec<String>)]
    pod_security_exceptions: Vec<Exception>,
    /// The first plans; tiers and slugs are unique.
    #[garde(length(min = 1, max = 5), dive)]
    #[schema(min_items = 1, max_items = 5)]
    plans: Vec<PlanInput>,
    #[garde(dive)]
    reason: GivenReason,
}

impl ServiceRequest {
    /// Returns the service and the reason for it.
    pub(super) fn into_new(self) -> (catalog::NewService, GivenReason) {
        let new = catalog::NewService {
            slug: self.slug,
            category: self.category,
            plugin: self.plugin,
            name: self.name,
            summary: self.summary,
            description: self.description,
            featured: self.featured,
            images: self.images,
            image_support: image_inputs::support(self.image_support),
            settings: self.settings,
            exceptions: self.pod_security_exceptions,
            plans: self.plans.into_iter().map(Into::into).collect(),
        };
        (new, self.reason)
    }
}

/// New values of fields of a service, and why; absent ones stay.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServiceEdit {
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(inner(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title)))]
    #[schema(min_length = 1, max_length = 80)]
    name: Option<String>,
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(inner(length(chars, min = 1, max = 300), custom(dermaga_shop::text::title)))]
    #[schema(min_length = 1, max_length = 300)]
    summary: Option<String>,
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(inner(
        length(chars, min = 1, max = 5000),
        custom(dermaga_shop::text::label),
        custom(dermaga_shop::text::prose)
    ))]
    #[schema(min_length = 1, max_length = 5000)]
    description: Option<String>,
    #[garde(skip)]
    featured: Option<bool>,
    /// Slug of a category.
    #[garde(inner(length(chars, min = 2, max = 50)))]
    #[schema(min_length = 2, max_length = 50)]
    category: Option<String>,
    /// All images that it may run, each pinned to a version. In a service of a template file, the file has them, the
    /// settings and the exceptions.
    #[garde(length(min = 1, max = 50))]
    #[schema(schema_with = images)]
    images: Option<BTreeMap<String, String>>,
    /// All that is known of the support of its images; when it is absent, that of images which stay is kept.
    #[garde(length(max = 50), dive)]
    #[schema(schema_with = support_schema)]
    image_support: Option<BTreeMap<String, ImageFacts>>,
    /// All settings for the plugin.
    #[garde(skip)]
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// All exceptions from the gate's rules.
    #[garde(length(max = 10))]
    #[schema(max_items = 10, value_type = Option<Vec<String>>)]
    pod_security_exceptions: Option<Vec<Exception>>,
    #[garde(dive)]
    reason: GivenReason,
}

impl ServiceEdit {
    /// Returns the changes and their reason.
    pub(super) fn into_changes(self) -> (ServiceChanges, GivenReason) {
        let wanted = ServiceChanges {
            name: self.name,
            summary: self.summary,
            description: self.description,
            featured: self.featured,
            category: self.category,
            images: self.images,
            image_support: self.image_support.map(image_inputs::support),
            settings: self.settings,
            exceptions: self.pod_security_exceptions,
        };
        (wanted, self.reason)
    }
}
