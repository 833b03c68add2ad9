//! Plans as administrators send them: new ones, and new values of fields.

use dermaga_runtime::contract::Resources;
use dermaga_shop::{
    audit::GivenReason,
    catalog::{self, PlanChanges, Tier},
    input,
    money::Rupiah,
};
use dermaga_toolkit::template::TERMS;
use garde::Validate;
use serde::Deserialize;
use utoipa::{
    ToSchema,
    openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type},
};

/// Sizes of a plan.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Sizes {
    /// Thousandths of a CPU core.
    #[garde(range(min = 1, max = 1_000_000))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    cpu_millis: u32,
    #[garde(range(min = 1, max = 4_194_304))]
    #[schema(minimum = 1, maximum = 4_194_304)]
    memory_mib: u32,
    #[garde(range(min = 1, max = 65_536))]
    #[schema(minimum = 1, maximum = 65_536)]
    storage_gib: u32,
    #[garde(range(min = 1, max = 100))]
    #[schema(minimum = 1, maximum = 100)]
    replicas: u32,
}

impl From<Sizes> for Resources {
    fn from(sizes: Sizes) -> Self {
        Self {
            cpu_millis: sizes.cpu_millis,
            memory_mib: sizes.memory_mib,
            storage_gib: sizes.storage_gib,
            replicas: sizes.replicas,
        }
    }
}

/// Longer term of a plan; it has either a price or a discount.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TermInput {
    /// 3, 6 or 12.
    #[garde(range(min = 3, max = 12))]
    #[schema(schema_with = term_months)]
    months: u32,
    /// Rupiah for the whole term, at most the price of its months.
    #[garde(range(min = 0, max = 12_000_000_000_i64))]
    #[schema(minimum = 0, maximum = 12_000_000_000_i64)]
    price: Option<i64>,
    /// Whole percent off the price of its months.
    #[garde(range(min = 1, max = 100))]
    #[schema(minimum = 1, maximum = 100)]
    discount_percent: Option<u32>,
}

/// Written out, since the derived schema of a number has no place for its values.
fn term_months() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .enum_values(Some(TERMS))
        .minimum(Some(3))
        .maximum(Some(12))
        .description(Some("Months of the term."))
        .build()
}

impl From<TermInput> for catalog::PlanTerm {
    fn from(input: TermInput) -> Self {
        Self {
            months: input.months,
            price: input.price,
            discount_percent: input.discount_percent,
        }
    }
}

/// Plan to create.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PlanInput {
    /// Lower-case letters, digits and hyphens, beginning with a letter; unique within the service.
    #[garde(length(chars, min = 2, max = 50))]
    #[schema(min_length = 2, max_length = 50)]
    slug: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 80)]
    name: String,
    /// One plan of each tier within a service.
    #[garde(skip)]
    tier: Tier,
    /// Rupiah a month; 0 for a plan of tier FREE, and for no other.
    #[garde(range(min = 0, max = 1_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    monthly_price: i64,
    /// Longer terms that it is sold for.
    #[serde(default)]
    #[garde(length(max = 3), dive)]
    #[schema(max_items = 3)]
    terms: Vec<TermInput>,
    /// Rupiah for a month in which it is frozen, at most the monthly price; absent where it cannot be frozen.
    #[garde(range(min = 0, max = 1_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    storage_price: Option<i64>,
    /// Most instances that can be sold.
    #[garde(range(min = 0, max = 1_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000)]
    total_quota: u32,
    #[garde(range(min = 1, max = 1_000_000))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_instances_per_user: u32,
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(
        length(min = 1, max = 50),
        inner(length(chars, min = 1, max = 200), custom(dermaga_shop::text::title))
    )]
    #[schema(min_items = 1, max_items = 50)]
    features: Vec<String>,
    #[garde(dive)]
    resources: Sizes,
}

impl From<PlanInput> for catalog::NewPlan {
    fn from(input: PlanInput) -> Self {
        Self {
            slug: input.slug,
            name: input.name,
            tier: input.tier,
            monthly_price: Rupiah::new(input.monthly_price),
            terms: input.terms.into_iter().map(Into::into).collect(),
            storage_price: input.storage_price.map(Rupiah::new),
            quota: input.total_quota,
            max_instances_per_user: input.max_instances_per_user,
            features: input.features,
            resources: input.resources.into(),
        }
    }
}

/// New values of fields of a plan, and why; absent ones stay.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PlanEdit {
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(inner(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title)))]
    #[schema(min_length = 1, max_length = 80)]
    name: Option<String>,
    /// Rupiah a month, for new customers; those who have bought keep their price.
    #[garde(range(min = 0, max = 1_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    monthly_price: Option<i64>,
    /// All longer terms that it is sold for; an empty list ends their sale. Those who have bought keep theirs.
    #[garde(dive, length(max = 3))]
    #[schema(max_items = 3)]
    terms: Option<Vec<TermInput>>,
    /// Rupiah for a frozen month, at most the monthly price, for customers who freeze from now on; null ends the
    /// offer. Those who have frozen keep their price.
    #[serde(default, deserialize_with = "input::nullable")]
    #[garde(range(min = 0, max = 1_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000, value_type = Option<i64>)]
    storage_price: Option<Option<i64>>,
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(inner(
        length(min = 1, max = 50),
        inner(length(chars, min = 1, max = 200), custom(dermaga_shop::text::title))
    ))]
    #[schema(min_items = 1, max_items = 50)]
    features: Option<Vec<String>>,
    #[garde(range(min = 1, max = 1_000_000))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_instances_per_user: Option<i64>,
    #[garde(dive)]
    resources: Option<Sizes>,
    #[garde(dive)]
    reason: GivenReason,
}

impl PlanEdit {
    /// Returns the changes and their reason.
    pub(super) fn into_changes(self) -> (PlanChanges, GivenReason) {
        let size = |of: fn(&Sizes) -> u32| self.resources.as_ref().map(of).map(i64::from);
        let terms = |terms: Vec<TermInput>| terms.into_iter().map(Into::into).collect();
        let wanted = PlanChanges {
            cpu_millis: size(|sizes| sizes.cpu_millis),
            memory_mib: size(|sizes| sizes.memory_mib),
            storage_gib: size(|sizes| sizes.storage_gib),
            replicas: size(|sizes| sizes.replicas),
            name: self.name,
            monthly_price: self.monthly_price.map(Rupiah::new),
            features: self.features,
            storage_price: self.storage_price.map(|price| price.map(Rupiah::new)),
            terms: self.terms.map(terms),
            max_instances_per_user: self.max_instances_per_user,
        };
        (wanted, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn the_document_names_each_term() {
        let schema = json!(TermInput::schema());
        let months = &schema["properties"]["months"];
        assert_eq!(months["type"], "integer");
        assert_eq!(months["enum"], json!([3, 6, 12]));
    }
}
