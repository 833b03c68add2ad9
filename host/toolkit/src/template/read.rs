//! Reads the text of a template into its model.

use std::collections::BTreeMap;

use dermaga_runtime::contract::{Resources, Tier};
use toml::de::DeTable;

use super::{
    Category, Plan, PodSecurity, Template, TemplateError,
    error::Place,
    fields::{Document, Fields},
    images, rules, settings,
    spots::Spots,
    terms, texts,
};

/// Highest monthly price of a plan in rupiah, low enough that the price of a year cannot overflow.
const MAX_PRICE: i64 = 1_000_000_000;
/// Most instances of one plan.
const MAX_QUOTA: i64 = 1_000_000;
/// 1,000 cores.
const MAX_CPU_MILLIS: i64 = 1_000_000;
/// 4 TiB.
const MAX_MEMORY_MIB: i64 = 4 << 20;
/// 64 TiB.
const MAX_STORAGE_GIB: i64 = 64 << 10;
const MAX_REPLICAS: i64 = 100;

/// Keys of a template.
const KEYS: &[&str] = &[
    "slug",
    "name",
    "summary",
    "description",
    texts::KEY,
    "featured",
    "plugin",
    "category",
    "images",
    "pod_security",
    settings::KEY,
    "plans",
];

/// Keys of a plan.
const PLAN_KEYS: &[&str] = &[
    "slug",
    "name",
    "tier",
    "monthly_price",
    "quota",
    "max_instances_per_user",
    "features",
    texts::KEY,
    "resources",
    "terms",
    "storage_price",
];

/// A template, with the places of values that other templates could contradict.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) template: Template,
    pub(super) slug: Place,
    pub(super) category: Place,
}

pub(super) fn template(file: &str, text: &str) -> Result<Read, Vec<TemplateError>> {
    let document = Document::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    // A text with syntax errors would only produce misleading follow-up errors.
    let read = if errors.is_empty() {
        service(&Fields::root(&document, &table))
    } else {
        for error in errors {
            document.note(&error.span().unwrap_or(0..0), "", error.message().trim());
        }
        None
    };
    let problems = document.into_problems();
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => Err(problems),
    }
}

fn service(fields: &Fields<'_, '_>) -> Option<Read> {
    fields.only(KEYS);
    let slug = fields.required("slug", rules::slug(2));
    let name = fields.required("name", rules::title(80));
    let summary = fields.required("summary", rules::title(300));
    let description = fields.required("description", rules::prose(5000));
    let texts = texts::of_service(fields);
    let featured = fields.optional("featured", false, rules::boolean);
    let plugin = fields.required("plugin", rules::slug(3));
    let category = fields.table("category");
    let category_place = category.as_ref().map(|category| category.place("slug"));
    let category = category.and_then(|fields| self::category(&fields));
    let images = fields
        .table("images")
        .and_then(|fields| images::read(&fields));
    let pod_security = fields.optional_table("pod_security").map_or_else(
        || Some(PodSecurity::default()),
        |fields| pod_security(&fields),
    );
    let settings = fields.free(settings::KEY, "plugin");
    let plans = plans(&fields.tables("plans"));
    let (settings, places) = settings?;
    let (plans, texts) = (plans?, texts?);
    let ((images, image_support), spots) = (images?, Spots::of(fields, &plans)?);
    Some(Read {
        template: Template {
            slug: slug?,
            name: name?,
            summary: summary?,
            description: description?,
            texts,
            featured: featured?,
            plugin: plugin?,
            category: category?,
            images,
            image_support,
            pod_security: pod_security?,
            settings,
            places,
            spots,
            source: fields.source(),
            plans,
        },
        slug: fields.place("slug"),
        category: category_place?,
    })
}

fn category(fields: &Fields<'_, '_>) -> Option<Category> {
    fields.only(&["slug", "name", "description", texts::KEY]);
    let slug = fields.required("slug", rules::slug(2));
    let name = fields.required("name", rules::title(80));
    let description = fields.required("description", rules::prose(1000));
    let texts = texts::of_category(fields);
    Some(Category {
        slug: slug?,
        name: name?,
        description: description?,
        texts: texts?,
    })
}

fn pod_security(fields: &Fields<'_, '_>) -> Option<PodSecurity> {
    fields.only(&["exceptions"]);
    let exceptions = fields.list("exceptions", 0, rules::exception)?;
    Some(PodSecurity { exceptions })
}

fn plans(tables: &[Fields<'_, '_>]) -> Option<Vec<Plan>> {
    let plans: Vec<_> = tables.iter().map(plan).collect();
    let mut slugs: BTreeMap<String, usize> = BTreeMap::new();
    let mut tiers: BTreeMap<Tier, usize> = BTreeMap::new();
    for (position, (fields, (slug, tier, _))) in tables.iter().zip(&plans).enumerate() {
        if let Some(first) = slug
            .as_ref()
            .and_then(|slug| slugs.insert(slug.clone(), position))
        {
            fields.problem(
                "slug",
                format!("plans[{first}] has this slug too; slugs are unique within a service"),
            );
        }
        if let Some(first) = tier.and_then(|tier| tiers.insert(tier, position)) {
            let message = format!(
                "plans[{first}] has this tier too; customers upgrade from one tier to the next, so each has one plan"
            );
            fields.problem("tier", message);
        }
    }
    plans
        .into_iter()
        .map(|(_, _, plan)| plan)
        .collect::<Option<Vec<_>>>()
        .filter(|plans| !plans.is_empty())
}

/// Reads a plan. Returns slug and tier even when the rest is wrong, to find duplicates.
fn plan(fields: &Fields<'_, '_>) -> (Option<String>, Option<Tier>, Option<Plan>) {
    fields.only(PLAN_KEYS);
    let slug = fields.required("slug", rules::slug(2));
    let name = fields.required("name", rules::title(80));
    let tier = fields.required("tier", rules::tier);
    let monthly_price = fields.required("monthly_price", rules::whole(0, MAX_PRICE));
    let quota = fields.required("quota", rules::whole(0, MAX_QUOTA));
    let max_instances_per_user =
        fields.required("max_instances_per_user", rules::whole(1, MAX_QUOTA));
    let features = fields.list("features", 1, rules::title(200));
    let texts = texts::of_plan(fields, features.as_ref().map(Vec::len));
    let resources = fields
        .table("resources")
        .and_then(|fields| resources(&fields));
    if tier == Some(Tier::Free) && monthly_price.is_some_and(|price| price > 0) {
        fields.problem(
            "monthly_price",
            "a plan of tier FREE costs 0; give it another tier",
        );
    }
    if tier.is_some_and(|tier| tier != Tier::Free) && monthly_price == Some(0) {
        fields.problem(
            "monthly_price",
            "must be more than 0, unless the tier is FREE",
        );
    }
    let terms = terms::read(fields, monthly_price);
    let most = monthly_price.unwrap_or(MAX_PRICE);
    let storage_price = fields.optional("storage_price", None, |value| {
        rules::whole(0, most)(value).map(Some)
    });
    let complete = || {
        Some(Plan {
            slug: slug.clone()?,
            name: name?,
            tier: tier?,
            monthly_price: monthly_price?,
            terms: terms?,
            storage_price: storage_price?,
            quota: quota?,
            max_instances_per_user: max_instances_per_user?,
            features: features?,
            texts: texts?,
            resources: resources?,
        })
    };
    let plan = complete();
    (slug, tier, plan)
}

fn resources(fields: &Fields<'_, '_>) -> Option<Resources> {
    fields.only(&["cpu_millis", "memory_mib", "storage_gib", "replicas"]);
    let cpu_millis = fields.required("cpu_millis", rules::whole(1, MAX_CPU_MILLIS));
    let memory_mib = fields.required("memory_mib", rules::whole(1, MAX_MEMORY_MIB));
    let storage_gib = fields.required("storage_gib", rules::whole(1, MAX_STORAGE_GIB));
    let replicas = fields.required("replicas", rules::whole(1, MAX_REPLICAS));
    Some(Resources {
        cpu_millis: cpu_millis?,
        memory_mib: memory_mib?,
        storage_gib: storage_gib?,
        replicas: replicas?,
    })
}
