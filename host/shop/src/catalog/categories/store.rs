//! SQL of categories, for administrators.

use super::{CategoryRow, NewCategory};
use crate::{
    db::{Conn, Filter, fetch_where, find_where},
    execute,
    ids::CategoryId,
};

const CATEGORIES: &str = "SELECT c.id, c.slug, c.name, c.description, c.position, c.parent_id, c.edited,
    (SELECT count(*) FROM services s WHERE s.category_id = c.id) AS services FROM service_categories c";

pub(super) async fn all(conn: &mut Conn) -> sqlx::Result<Vec<CategoryRow>> {
    let order = "ORDER BY c.position, c.name, c.slug";
    fetch_where(conn, CATEGORIES, &Filter::default(), order).await
}

pub(super) async fn one(conn: &mut Conn, id: CategoryId) -> sqlx::Result<Option<CategoryRow>> {
    find_where(conn, CATEGORIES, &Filter::of("c.id = ?", id)).await
}

pub(super) async fn insert(conn: &mut Conn, id: CategoryId, new: &NewCategory) -> sqlx::Result<()> {
    let sql = "INSERT INTO service_categories (id, slug, name, description, position, parent_id)
               VALUES ($1, $2, $3, $4, $5, $6)";
    execute!(
        conn,
        sql,
        id,
        &new.slug,
        &new.name,
        &new.description,
        new.position,
        new.parent_id
    )
    .map(|_| ())
}

pub(super) async fn update(conn: &mut Conn, row: &CategoryRow) -> sqlx::Result<()> {
    let sql = "UPDATE service_categories SET name = $2, description = $3, position = $4, parent_id = $5, edited = $6
               WHERE id = $1";
    execute!(
        conn,
        sql,
        row.id,
        &row.name,
        &row.description,
        row.position,
        row.parent_id,
        &row.edited
    )
    .map(|_| ())
}

/// Deletes a category. The database refuses while a service or a category is in it.
pub(super) async fn delete(conn: &mut Conn, id: CategoryId) -> sqlx::Result<()> {
    execute!(conn, "DELETE FROM service_categories WHERE id = $1", id).map(|_| ())
}
