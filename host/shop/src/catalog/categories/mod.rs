//! Categories as administrators see and change them: their texts, order, and one level above them.

mod store;

use dermaga_toolkit::template;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Catalog,
    administration::{WRITTEN_HERE, lock_categories, names, with_names},
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, Uncommitted, broken_reference, broken_unique, new_id},
    ids::{CategoryId, UserId},
};

#[derive(Debug, Clone, sqlx::FromRow)]
struct CategoryRow {
    id: CategoryId,
    slug: String,
    name: String,
    description: String,
    position: i64,
    parent_id: Option<CategoryId>,
    edited: String,
    services: i64,
}

/// Category, as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedCategory {
    pub id: CategoryId,
    pub slug: String,
    pub name: String,
    pub description: String,
    /// Place in the list: lower ones first, those of one position by name.
    pub position: i64,
    /// Category above it.
    pub parent_id: Option<CategoryId>,
    /// Number of its services, sold or not.
    pub services: i64,
    /// Fields that keep an administrator's value over the templates'.
    pub edited: Vec<String>,
}

impl From<CategoryRow> for ManagedCategory {
    fn from(row: CategoryRow) -> Self {
        Self {
            id: row.id,
            slug: row.slug,
            name: row.name,
            description: row.description,
            position: row.position,
            parent_id: row.parent_id,
            services: row.services,
            edited: names(&row.edited),
        }
    }
}

/// Content of a category.
#[derive(Debug, Clone)]
pub struct NewCategory {
    pub slug: String,
    pub name: String,
    pub description: String,
    pub position: i64,
    /// Category above it, which has none above itself.
    pub parent_id: Option<CategoryId>,
}

/// New content of a category. The slug stays.
#[derive(Debug, Clone)]
pub struct CategoryChanges {
    pub name: String,
    pub description: String,
    pub position: i64,
    /// Category above it; absent for one at the top.
    pub parent_id: Option<CategoryId>,
}

/// Lists all categories in their order.
///
/// # Errors
/// When the database does not answer.
pub async fn managed_categories(catalog: &Catalog) -> Result<Vec<ManagedCategory>> {
    managed(&mut catalog.db.read().await?).await
}

pub(super) async fn managed(conn: &mut Conn) -> Result<Vec<ManagedCategory>> {
    let rows = store::all(conn).await?;
    Ok(rows.into_iter().map(ManagedCategory::from).collect())
}

/// Returns a category.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn managed_category(catalog: &Catalog, id: CategoryId) -> Result<ManagedCategory> {
    Ok(row(&mut catalog.db.read().await?, id).await?.into())
}

async fn row(conn: &mut Conn, id: CategoryId) -> Result<CategoryRow> {
    let row = store::one(conn, id).await?;
    row.ok_or_else(|| Error::not_found("category"))
}

/// Creates a category; the caller commits it.
///
/// # Errors
/// `VALIDATION_FAILED` for a slug that is none or a parent that cannot be one; `CONFLICT` when there
/// is such a category.
pub async fn create_category(
    catalog: &Catalog,
    actor_id: UserId,
    new: NewCategory,
    reason: &str,
) -> Result<Uncommitted<ManagedCategory>> {
    check_slug(&new.slug)?;
    let (clock, mut conn) = (&catalog.clock, catalog.db.begin().await?);
    lock_categories(&mut conn).await?;
    let id: CategoryId = new_id(clock);
    check_parent(&mut conn, id, new.parent_id).await?;
    let inserted = store::insert(&mut conn, id, &new).await;
    inserted.map_err(|error| taken(error, &new.slug))?;
    let details = json!({ "slug": new.slug, "parentId": new.parent_id });
    note(
        &mut conn,
        catalog,
        actor_id,
        (AuditAct::CategoryCreated, id),
        details,
        reason,
    )
    .await?;
    let view = row(&mut conn, id).await?.into();
    Ok(Uncommitted::new(conn, view))
}

fn check_slug(slug: &str) -> Result<()> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = slug.starts_with(|first: char| first.is_ascii_lowercase());
    if begins && !slug.ends_with('-') && slug.bytes().all(inner) {
        return Ok(());
    }
    let message = "must be lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen";
    Err(Error::invalid("slug", message))
}

fn taken(error: sqlx::Error, slug: &str) -> Error {
    match broken_unique(&error).as_deref() {
        Some("service_categories_slug_key") => Error::new(
            Code::Conflict,
            format!("There is a category {slug} already."),
        ),
        _ => error.into(),
    }
}

/// Refuses a parent that would make a second level.
async fn check_parent(
    conn: &mut Conn,
    id: CategoryId,
    parent_id: Option<CategoryId>,
) -> Result<()> {
    let Some(parent_id) = parent_id else {
        return Ok(());
    };
    let refused = |why: &str| Err(Error::invalid("parentId", why));
    let all = store::all(conn).await?;
    let Some(parent) = all.iter().find(|one| one.id == parent_id) else {
        return refused("is no category");
    };
    if parent_id == id {
        return refused("is the category itself");
    }
    if parent.parent_id.is_some() {
        return refused("is in a category itself; there is one level");
    }
    if all.iter().any(|one| one.parent_id == Some(id)) {
        return refused("cannot be: other categories are in this one; there is one level");
    }
    Ok(())
}

/// Changes a category. Name and description keep their values over the templates'.
///
/// # Errors
/// `NOT_FOUND`; `VALIDATION_FAILED` for a parent that cannot be one.
pub async fn change_category(
    catalog: &Catalog,
    actor_id: UserId,
    id: CategoryId,
    wanted: CategoryChanges,
    reason: &str,
) -> Result<ManagedCategory> {
    let mut conn = catalog.db.begin().await?;
    lock_categories(&mut conn).await?;
    let before = row(&mut conn, id).await?;
    check_parent(&mut conn, id, wanted.parent_id).await?;
    let is_changed = |old: &str, new: &str, field| (old != new).then_some(field);
    let edited = [
        is_changed(&before.name, &wanted.name, "name"),
        is_changed(&before.description, &wanted.description, "description"),
    ];
    let after = CategoryRow {
        edited: with_names(&before.edited, edited.into_iter().flatten()),
        name: wanted.name,
        description: wanted.description,
        position: wanted.position,
        parent_id: wanted.parent_id,
        ..before.clone()
    };
    store::update(&mut conn, &after).await?;
    let fields = |row: &CategoryRow| {
        json!({
            "name": row.name, "description": row.description, "position": row.position,
            "parentId": row.parent_id,
        })
    };
    let details =
        json!({ "slug": before.slug, "before": fields(&before), "after": fields(&after) });
    note(
        &mut conn,
        catalog,
        actor_id,
        (AuditAct::CategoryChanged, id),
        details,
        reason,
    )
    .await?;
    conn.commit().await?;
    Ok(after.into())
}

/// Result of a reset.
#[derive(Debug)]
pub struct CategoryReset {
    pub category: ManagedCategory,
    /// Fields that had been edited.
    fields: Vec<String>,
}

impl CategoryReset {
    /// Says which fields are the template's again.
    pub fn message(&self) -> String {
        match self.fields.is_empty() {
            true => "Nothing was changed: no field had been edited.".to_owned(),
            false => format!("As the template says again: {}.", self.fields.join(", ")),
        }
    }
}

/// Lets the templates that were loaded last decide the texts of a category again. Its place and the category
/// above it stay.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when no template is known that has this category.
pub async fn reset_category(
    catalog: &Catalog,
    actor_id: UserId,
    id: CategoryId,
    reason: &str,
) -> Result<CategoryReset> {
    let mut conn = catalog.db.begin().await?;
    lock_categories(&mut conn).await?;
    let before = row(&mut conn, id).await?;
    let written = written(&mut conn, &before.slug).await?;
    let fields = names(&before.edited);
    let unedited = CategoryRow {
        edited: String::new(),
        ..before
    };
    store::update(&mut conn, &unedited).await?;
    super::store::upsert_category(&mut conn, id, &written).await?;
    let details = json!({ "slug": unedited.slug, "edited": fields });
    note(
        &mut conn,
        catalog,
        actor_id,
        (AuditAct::CategoryReset, id),
        details,
        reason,
    )
    .await?;
    let category = row(&mut conn, id).await?.into();
    conn.commit().await?;
    Ok(CategoryReset { category, fields })
}

/// Returns a category as a file of a service has it.
async fn written(conn: &mut Conn, slug: &str) -> Result<template::Category> {
    let loaded = super::store::loaded_from(conn).await?;
    // Templates that an administrator wrote have the texts that the category had then.
    let of_files = loaded.iter().filter(|loaded| {
        let file = loaded.template_file.as_deref();
        file.is_some_and(|name| !name.starts_with(WRITTEN_HERE))
    });
    let mut categories = of_files.filter_map(|loaded| Some(loaded.read().ok()?.category));
    let written = categories.find(|category| category.slug == slug);
    written.ok_or_else(|| {
        let message = "No template has this category.";
        Error::new(Code::InvalidState, message)
    })
}

/// Deletes a category that is empty.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` while services, sold or not, or other categories are in it.
pub async fn delete_category(
    catalog: &Catalog,
    actor_id: UserId,
    id: CategoryId,
    reason: &str,
) -> Result<()> {
    let mut conn = catalog.db.begin().await?;
    lock_categories(&mut conn).await?;
    let before = row(&mut conn, id).await?;
    match store::delete(&mut conn, id).await {
        Ok(()) => {}
        Err(error) if broken_reference(&error) => {
            let message = format!("{} is not empty. Move what is in it first.", before.name);
            return Err(Error::new(Code::InvalidState, message));
        }
        Err(error) => return Err(error.into()),
    }
    let details = json!({ "slug": before.slug, "name": before.name });
    note(
        &mut conn,
        catalog,
        actor_id,
        (AuditAct::CategoryDeleted, id),
        details,
        reason,
    )
    .await?;
    Ok(conn.commit().await?)
}

async fn note(
    conn: &mut Conn,
    catalog: &Catalog,
    actor_id: UserId,
    (act, id): (AuditAct, CategoryId),
    details: serde_json::Value,
    reason: &str,
) -> Result<()> {
    let event = Event::new(act, Subject::Category(id), details).because(reason);
    audit::record(conn, &catalog.clock, actor_id, event).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_as_in_templates() {
        for good in ["ab", "a-b2"] {
            check_slug(good).unwrap();
        }
        for bad in ["", "2a", "a-", "A", "a b", "-a"] {
            assert!(check_slug(bad).is_err(), "{bad}");
        }
    }
}
