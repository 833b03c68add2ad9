//! The service templates as they were read last, and reading them again while the shop is open.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use dermaga_runtime::contract::Answer;
use dermaga_toolkit::template::{Template, TemplateError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{load_templates, store};
use crate::{Code, Error, Result, app::AppState, audit, db::Conn, plugins::Registry, text_enum};

/// What is sold, and where it is written down.
#[derive(Debug)]
pub struct Templates {
    folder: Option<PathBuf>,
    current: ArcSwap<Vec<Template>>,
}

impl Templates {
    /// Reads the templates of a folder; without one nothing is sold.
    ///
    /// # Errors
    /// Every problem of every file, with file, line and key.
    pub fn open(folder: Option<PathBuf>) -> Result<Self, Vec<TemplateError>> {
        let templates = Self {
            folder,
            current: ArcSwap::default(),
        };
        templates.current.store(Arc::new(templates.read()?));
        Ok(templates)
    }

    pub fn current(&self) -> Arc<Vec<Template>> {
        self.current.load_full()
    }

    fn read(&self) -> Result<Vec<Template>, Vec<TemplateError>> {
        match &self.folder {
            Some(folder) => Template::load_dir(folder),
            None => Ok(Vec::new()),
        }
    }
}

/// What the plugins that are active find wrong with the settings of the templates they make. A
/// service whose plugin is away or gives no answer is shown as not available instead.
pub async fn refused_settings(registry: &Registry, templates: &[Template]) -> Vec<TemplateError> {
    let mut refused = Vec::new();
    for template in templates {
        let Ok(plugin) = registry.active(&template.plugin) else {
            continue;
        };
        let settings = template.settings.clone();
        let described = tokio::task::spawn_blocking(move || plugin.describe(&settings)).await;
        match described {
            Ok(Ok(Answer::Problems(problems))) => {
                refused.extend(template.refused_settings(&problems));
            }
            Ok(Err(error)) => {
                tracing::error!(template = template.slug, %error, "template.not_described");
            }
            Ok(Ok(Answer::Ok(_))) | Err(_) => {}
        }
    }
    refused
}

text_enum! {
    pub enum CatalogChangeKind {
        Added = "ADDED",
        Changed = "CHANGED",
    }
}

/// A field that is otherwise than before.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    pub field: String,
    #[schema(value_type = Object)]
    pub before: Value,
    #[schema(value_type = Object)]
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
    /// Empty for what is added.
    pub fields: Vec<FieldChange>,
}

/// What reading the templates again changes, or would.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogReload {
    pub applied: bool,
    pub changes: Vec<CatalogChange>,
    /// Services and plans (`service/plan`) that no template names any more. They stay as they are.
    pub without_template: Vec<String>,
}

/// Reads the templates again and writes them into the catalogue; with `dry_run` it only tells what
/// that would change. Quota and whether something is sold stay as the administrators left them.
///
/// # Errors
/// `VALIDATION_FAILED` with file, line and key of everything that is wrong; nothing changes then.
pub async fn reload(state: &AppState, actor_id: Uuid, dry_run: bool) -> Result<CatalogReload> {
    let (clock, templates) = (&state.clock, &state.templates);
    let reading = Arc::clone(templates);
    let read = tokio::task::spawn_blocking(move || reading.read());
    let read = read.await.map_err(Error::internal)?.map_err(refused)?;
    let wrong = refused_settings(&state.plugins, &read).await;
    if !wrong.is_empty() {
        return Err(refused(wrong));
    }
    let mut conn = state.db.begin().await?;
    let before = snapshot(&mut conn).await?;
    load_templates(&mut conn, clock, &read).await?;
    let after = snapshot(&mut conn).await?;
    let changes = compare(&before, &after);
    if dry_run {
        conn.rollback().await?;
    } else {
        let details = serde_json::to_value(&changes)?;
        audit::record(
            &mut conn,
            clock,
            actor_id,
            "catalog.reloaded",
            "catalog",
            details,
        )
        .await?;
        conn.commit().await?;
        tracing::info!(changes = changes.len(), "catalog.reloaded");
    }
    let without_template = orphans(&after, &read);
    if !dry_run {
        templates.current.store(Arc::new(read));
    }
    Ok(CatalogReload {
        applied: !dry_run,
        changes,
        without_template,
    })
}

fn refused(errors: Vec<TemplateError>) -> Error {
    let error = Error::new(
        Code::ValidationFailed,
        "The service templates have errors; nothing was changed.",
    );
    errors.into_iter().fold(error, |error, wrong| {
        let place = format!("{}:{}:{}", wrong.file, wrong.line, wrong.column);
        error.with(place, format!("{} {}", wrong.key, wrong.message).trim())
    })
}

/// Slug of a service, and of a plan of it.
type Key = (String, Option<String>);

/// What the catalogue says, as far as templates decide it.
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

fn orphans(after: &BTreeMap<Key, Map<String, Value>>, templates: &[Template]) -> Vec<String> {
    let is_named = |service: &str, plan: Option<&str>| {
        let template = templates.iter().find(|template| template.slug == service);
        template.is_some_and(|template| {
            plan.is_none_or(|slug| template.plans.iter().any(|plan| plan.slug == slug))
        })
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
