//! The service templates as last read, and their reload while the shop is open.

mod judged;
mod telling;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use dermaga_toolkit::template::{Folder, RefusedFile, Template, TemplateError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, SchemaType, Type},
};

use super::{
    Catalog, ManagedCategory, RefusedTemplate,
    administration::WRITTEN_HERE,
    categories,
    loading::{self, Loading, file_name},
    store::{self, Edits, LoadedFrom},
};
pub use judged::{Examined, examine};
pub use telling::tell_of_plugin;

use crate::{
    Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::{Clock, Conn, Db},
    plugins::Registry,
    text_enum,
};

/// The loaded templates, and the folder they come from.
#[derive(Debug)]
pub struct Templates {
    folder: Option<PathBuf>,
    current: ArcSwap<Vec<Template>>,
    /// Templates of the folder that wait for a version of their plugin.
    waiting: ArcSwap<Vec<Template>>,
}

impl Templates {
    /// Returns the templates of a folder, not read yet; without a folder nothing is sold.
    pub fn of(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            current: ArcSwap::default(),
            waiting: ArcSwap::default(),
        }
    }

    /// Returns the folder that they are read from.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the templates that can be sold, as last read.
    pub fn current(&self) -> Arc<Vec<Template>> {
        self.current.load_full()
    }

    /// Returns the templates that a new version of a plugin is checked with: also those that wait for one.
    pub fn of_plugins(&self) -> Arc<Vec<Template>> {
        let waiting = self.waiting.load();
        let current = self.current();
        if waiting.is_empty() {
            return current;
        }
        let is_current = |one: &Template| {
            let is_it = |other: &Template| {
                other.slug == one.slug && other.source().text == one.source().text
            };
            current.iter().any(is_it)
        };
        let others = waiting.iter().filter(|one| !is_current(one));
        Arc::new(current.iter().chain(others).cloned().collect())
    }

    fn show(&self, loading: &Loading) {
        let sold = loading.sold().cloned().collect();
        self.current.store(Arc::new(sold));
        self.waiting.store(Arc::new(loading.waiting.clone()));
    }

    async fn read(&self) -> Result<Result<Folder, TemplateError>> {
        let Some(folder) = self.folder.clone() else {
            return Ok(Ok(Folder::default()));
        };
        let read = tokio::task::spawn_blocking(move || Folder::read(&folder));
        read.await.map_err(Error::internal)
    }

    /// Adds a service that an administrator created.
    pub(super) fn add(&self, template: &Template) {
        self.current.rcu(|now| {
            let mut templates = Vec::clone(now);
            templates.push(template.clone());
            templates
        });
    }

    /// Takes a service that an administrator edited in place of what it was.
    pub(super) fn replace(&self, template: &Template) {
        self.current.rcu(|now| {
            let mut templates = Vec::clone(now);
            templates.retain(|other| other.slug != template.slug);
            templates.push(template.clone());
            templates
        });
    }

    /// Leaves out a service that was deleted.
    pub(super) fn drop_service(&self, slug: &str) {
        self.current.rcu(|now| {
            let mut templates = Vec::clone(now);
            templates.retain(|template| template.slug != slug);
            templates
        });
    }

    /// Returns true when a file of the folder names this service, and this plan of it. A wrong file
    /// names all that it named before.
    pub(super) async fn names(&self, service: &LoadedFrom, plan: Option<&str>) -> Result<bool> {
        let Ok(folder) = self.read().await? else {
            return Ok(true);
        };
        let wrong = |file: &RefusedFile| service.template_file.as_ref() == Some(&file.file);
        let template = folder
            .templates
            .iter()
            .find(|template| template.slug == service.slug);
        Ok(template.map_or_else(
            || folder.refused.iter().any(wrong),
            |template| plan.is_none_or(|slug| template.plans.iter().any(|plan| plan.slug == slug)),
        ))
    }

    /// Returns every template that a plugin may have to make, before any plugin was asked.
    ///
    /// # Errors
    /// When the database does not answer. An unreadable folder offers the templates loaded last.
    pub async fn on_offer(&self, db: &Db) -> Result<Vec<Template>> {
        let folder = self.read().await?.unwrap_or_default();
        let loaded = store::loaded_from(&mut db.read().await?).await?;
        Ok(loading::on_offer(&folder, &loaded))
    }
}

/// Loads the templates when a server starts, with the plugins that are active. A wrong template
/// does not keep the others from being sold.
///
/// # Errors
/// `VALIDATION_FAILED` when the folder cannot be read; `CONFLICT` when the catalogue changes all the time; or when the
/// database does not answer.
pub async fn load_at_start(
    templates: &Templates,
    registry: &Registry,
    db: &Db,
    clock: &Clock,
) -> Result<()> {
    let (loading, mut conn) = judged::begin(templates, registry, db).await?;
    loading.write(&mut conn, clock).await?;
    loading.tell(&mut conn, clock).await?;
    conn.commit().await?;
    templates.show(&loading);
    Ok(())
}

text_enum! {
    pub enum CatalogChangeKind {
        Added = "ADDED",
        Changed = "CHANGED",
    }
}

/// Field that was changed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    pub field: String,
    #[schema(schema_with = any_json)]
    pub before: Value,
    #[schema(schema_with = any_json)]
    pub after: Value,
}

/// A service or a plan that the templates add or change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogChange {
    /// Slug of the service.
    pub service: String,
    /// Slug of the plan; absent for the service itself.
    pub plan: Option<String>,
    pub change: CatalogChangeKind,
    /// Changed fields; empty for an addition.
    pub fields: Vec<FieldChange>,
}

/// Field that an administrator edited, and that its template has, too.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptField {
    /// Slug of the service; absent for a category.
    pub service: Option<String>,
    /// Slug of the plan; absent for the service itself.
    pub plan: Option<String>,
    /// Slug of the category; absent for a service and its plans.
    pub category: Option<String>,
    pub field: String,
    /// Value of the administrator, which stays.
    #[schema(schema_with = any_json)]
    pub kept: Value,
    /// Value of the template, which a reset brings back.
    #[schema(schema_with = any_json)]
    pub template: Value,
}

/// Returns the schema of the value of a field, which may be of any type.
fn any_json() -> Object {
    // Named one by one, since a schema without a type is not read again when the document is completed.
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([
            Type::Object,
            Type::Array,
            Type::String,
            Type::Number,
            Type::Boolean,
            Type::Null,
        ]))
        .description(Some("Value of the field."))
        .build()
}

/// Changes that reloading the templates makes, or would make.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogReload {
    pub applied: bool,
    pub changes: Vec<CatalogChange>,
    /// Edited fields, which keep their value over the template until `POST /admin/services/{id}/reset`, or
    /// `POST /admin/categories/{id}/reset` for those of a category.
    pub kept: Vec<KeptField>,
    /// Templates that are not loaded, with all their problems.
    pub refused: Vec<RefusedTemplate>,
    /// Services and plans (`service/plan`) that no template names any more. They stay as they are.
    pub without_template: Vec<String>,
    /// Number of templates that are loaded.
    #[serde(skip)]
    pub loaded: usize,
}

/// Reads the templates again and writes those that can be sold into the catalogue; with `dry_run`
/// it only reports the changes. A template that is wrong, or that its plugin rejects, is refused
/// alone: its service stays as it was last loaded. Quota, `active` and edited fields stay as the
/// administrators left them.
///
/// # Errors
/// `VALIDATION_FAILED` when the folder cannot be read; `CONFLICT` when the catalogue changes all the time. Nothing
/// changes then.
pub async fn reload(catalog: &Catalog, by: By<'_>, dry_run: bool) -> Result<CatalogReload> {
    let (clock, templates) = (&catalog.clock, &catalog.templates);
    let (loading, mut conn) = judged::begin(templates, &catalog.plugins, &catalog.db).await?;
    let before = snapshot(&mut conn).await?;
    loading.write(&mut conn, clock).await?;
    let after = snapshot(&mut conn).await?;
    let changes = compare(&before, &after);
    let mut kept = kept_fields(&store::edits(&mut conn).await?, &after, &loading);
    kept.extend(kept_texts(&categories::managed(&mut conn).await?, &loading));
    if dry_run {
        conn.rollback().await?;
    } else {
        loading.tell(&mut conn, clock).await?;
        let details = json!({ "changes": changes });
        let event = Event::new(AuditAct::CatalogReloaded, Subject::Catalog, details);
        audit::record_by(&mut conn, clock, by, event).await?;
        conn.commit().await?;
        let refused = loading.refused.len();
        tracing::info!(changes = changes.len(), refused, "catalog.reloaded");
    }
    let without_template = orphans(&after, &loading);
    if !dry_run {
        templates.show(&loading);
    }
    Ok(CatalogReload {
        applied: !dry_run,
        changes,
        kept,
        loaded: loading.fresh.len(),
        refused: loading.refused,
        without_template,
    })
}

/// Slug of a service, and of a plan of it.
type Key = (String, Option<String>);

/// Returns the part of the catalogue that templates decide.
async fn snapshot(conn: &mut Conn) -> Result<BTreeMap<Key, Map<String, Value>>> {
    let mut seen = BTreeMap::new();
    let services = store::all_services(conn).await?;
    let plans = store::all_plans(conn).await?;
    for service in services {
        for plan in plans.iter().filter(|plan| plan.service_id == service.id) {
            let fields = json!({
                "name": plan.name, "tier": plan.tier, "monthlyPrice": plan.monthly_price,
                "cpuMillis": plan.cpu_millis, "memoryMib": plan.memory_mib,
                "storageGib": plan.storage_gib, "replicas": plan.replicas,
                "maxInstancesPerUser": plan.max_instances_per_user, "features": plan.features.0,
                "terms": plan.terms.0, "storagePrice": plan.storage_price,
                "texts": { "id": { "features": plan.indonesian_features } },
            });
            let key = (service.slug.clone(), Some(plan.slug.clone()));
            seen.insert(key, object(fields));
        }
        let fields = json!({
            "category": service.category_slug, "categoryName": service.category_name,
            "plugin": service.plugin_id, "name": service.name, "summary": service.summary,
            "description": service.description, "featured": service.featured,
            "images": service.images.0, "settings": service.settings.0,
            "podSecurityExceptions": service.pod_security_exceptions.0,
            "texts": { "id": {
                "categoryName": service.indonesian_category, "summary": service.indonesian_summary,
                "description": service.indonesian_description, "form": service.indonesian_form,
                "sentences": service.indonesian_sentences,
            } },
        });
        seen.insert((service.slug, None), object(fields));
    }
    Ok(seen)
}

fn object(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn compare(
    before: &BTreeMap<Key, Map<String, Value>>,
    after: &BTreeMap<Key, Map<String, Value>>,
) -> Vec<CatalogChange> {
    let mut changes = Vec::new();
    for (key, fields) in after {
        let (kind, fields) = match before.get(key) {
            None => (CatalogChangeKind::Added, Vec::new()),
            Some(old) if old == fields => continue,
            Some(old) => (CatalogChangeKind::Changed, differences(old, fields)),
        };
        let (service, plan) = key.clone();
        changes.push(CatalogChange {
            service,
            plan,
            change: kind,
            fields,
        });
    }
    changes
}

fn differences(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<FieldChange> {
    let changed = after
        .iter()
        .filter(|(field, value)| before.get(*field) != Some(value));
    changed
        .map(|(field, value)| FieldChange {
            field: field.clone(),
            before: before.get(field).cloned().unwrap_or_default(),
            after: value.clone(),
        })
        .collect()
}

/// Returns the edited fields with both their values.
fn kept_fields(
    edits: &[Edits],
    now: &BTreeMap<Key, Map<String, Value>>,
    loading: &Loading,
) -> Vec<KeptField> {
    let mut kept = Vec::new();
    for edited in edits {
        let key = (edited.service.clone(), edited.plan.clone());
        let template = loading
            .sold()
            .find(|template| template.slug == edited.service);
        let written = template.and_then(|template| written(template, edited.plan.as_deref()));
        let (Some(written), Some(now)) = (written, now.get(&key)) else {
            continue;
        };
        for field in edited.edited.split_whitespace() {
            kept.push(KeptField {
                service: Some(edited.service.clone()),
                plan: edited.plan.clone(),
                category: None,
                field: field.to_owned(),
                kept: now.get(field).cloned().unwrap_or_default(),
                template: written.get(field).cloned().unwrap_or_default(),
            });
        }
    }
    kept
}

/// Returns the edited texts of categories with both their values. What an administrator wrote as a template has the
/// texts that its category had then, and is no file.
fn kept_texts(all: &[ManagedCategory], loading: &Loading) -> Vec<KeptField> {
    let mut kept = Vec::new();
    for category in all.iter().filter(|category| !category.edited.is_empty()) {
        let is_of_it = |template: &&Template| {
            template.category.slug == category.slug
                && !file_name(template).starts_with(WRITTEN_HERE)
        };
        let Some(template) = loading.sold().find(is_of_it) else {
            continue;
        };
        let written = &template.category;
        for field in &category.edited {
            let (now, written) = match field.as_str() {
                "name" => (&category.name, &written.name),
                _ => (&category.description, &written.description),
            };
            kept.push(KeptField {
                service: None,
                plan: None,
                category: Some(category.slug.clone()),
                field: field.clone(),
                kept: json!(now),
                template: json!(written),
            });
        }
    }
    kept
}

/// Returns the fields of a template, or of a plan of it, that administrators may edit.
fn written(template: &Template, plan: Option<&str>) -> Option<Map<String, Value>> {
    let Some(slug) = plan else {
        return Some(object(json!({
            "category": template.category.slug, "name": template.name, "summary": template.summary,
            "description": template.description, "featured": template.featured,
        })));
    };
    let plan = template.plans.iter().find(|plan| plan.slug == slug)?;
    Some(object(json!({
        "name": plan.name, "monthlyPrice": plan.monthly_price,
        "cpuMillis": plan.resources.cpu_millis, "memoryMib": plan.resources.memory_mib,
        "storageGib": plan.resources.storage_gib, "replicas": plan.resources.replicas,
        "maxInstancesPerUser": plan.max_instances_per_user, "features": plan.features,
        "terms": plan.terms, "storagePrice": plan.storage_price,
    })))
}

/// Returns the services that no file names. A wrong file still names its service.
fn orphans(after: &BTreeMap<Key, Map<String, Value>>, loading: &Loading) -> Vec<String> {
    let wrong = |slug: &str| {
        let refused = loading.refused.iter();
        refused
            .filter_map(|one| one.service.as_deref())
            .any(|service| service == slug)
    };
    let is_named = |service: &str, plan: Option<&str>| {
        let template = loading
            .fresh
            .iter()
            .find(|template| template.slug == service);
        template.map_or_else(
            || wrong(service),
            |template| plan.is_none_or(|slug| template.plans.iter().any(|plan| plan.slug == slug)),
        )
    };
    let orphaned = after
        .keys()
        .filter(|(service, plan)| !is_named(service, plan.as_deref()));
    orphaned
        .map(|(service, plan)| match plan {
            Some(plan) => format!("{service}/{plan}"),
            None => service.clone(),
        })
        .collect()
}
