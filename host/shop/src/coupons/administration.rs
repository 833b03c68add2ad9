//! Making, changing, switching and deleting coupons, and what they cost.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dermaga_runtime::{
    Plugin,
    contract::{self, Answer},
};
use serde_json::{Value, json};

use super::{
    Coupon, CouponStatistics, CouponStatus, Coupons, NewCoupon, Switch,
    store::{self, admin::ChangedRow},
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event},
    db::{self, Conn, Uncommitted, new_id},
    ids::{CouponId, UserId},
    money::Rupiah,
    plugins::{self, Subject},
    schema,
};

/// Creates a coupon after its plugin has accepted the parameters; the caller commits it.
///
/// # Errors
/// `VALIDATION_FAILED`, `PLUGIN_REFUSED_INPUT`, `CONFLICT` for a code that exists.
pub async fn create(
    coupons: &Coupons,
    created_by: UserId,
    mut new: NewCoupon,
) -> Result<Uncommitted<Coupon>> {
    let now = coupons.clock.now();
    let end = match new.ends_at {
        Some(end) if end <= now => Err(Error::invalid("endsAt", "must be in the future")),
        _ => Ok(()),
    };
    check(coupons, &mut new, end).await?;
    let mut conn = coupons.db.begin().await?;
    keep_type(&mut conn, &new.plugin).await?;
    let row = store::NewCouponRow {
        id: new_id(&coupons.clock),
        code: &new.code,
        description: &new.description,
        plugin_id: &new.plugin,
        parameters: &new.parameters,
        starts_at: new.starts_at.unwrap_or(now),
        ends_at: new.ends_at,
        max_uses: new.max_uses,
        max_uses_per_user: new.max_uses_per_user,
        budget: new.budget.map(Rupiah::new),
        services: &new.services,
        tiers: &new.tiers,
        periods: new.lasts.periods(),
        created_by,
        now,
    };
    store::insert(&mut conn, &row)
        .await
        .map_err(|error| code_taken(error, new.code.as_str()))?;
    let coupon = store::by_id(&mut conn, row.id)
        .await?
        .ok_or_else(|| Error::not_found("coupon"))?;
    let details = json!({ "code": coupon.code, "plugin": coupon.plugin_id });
    let by = By::given(created_by, new.reason.as_ref());
    let act = AuditAct::CouponCreated;
    note(&mut conn, coupons, by, act, coupon.id, details).await?;
    Ok(Uncommitted::new(conn, coupon))
}

/// Checks a coupon whose limits were found to be as in `limits`; its plugin is asked last.
async fn check(coupons: &Coupons, new: &mut NewCoupon, limits: Result<()>) -> Result<()> {
    let services = check_services(&mut coupons.db.read().await?, &new.services).await;
    let plugin = match fitting_type(coupons, &new.plugin, &mut new.parameters) {
        Ok(plugin) => plugin,
        Err(unfit) => return Error::join([limits, Err(unfit), services]),
    };
    Error::join([limits, services])?;
    let input = contract::ParametersCheck {
        parameters: new.parameters.clone(),
    };
    let checked = plugins::decide::<contract::coupon::Check>(
        &coupons.plugins,
        &plugin,
        input,
        Subject::default(),
    )
    .await?;
    match checked.value {
        Answer::Ok(()) => Ok(()),
        Answer::Problems(problems) => Err(schema::refused(problems, "parameters")),
    }
}

/// Refuses a coupon type that was retired since it was asked, and keeps one that was not until the commit: a
/// retirement counts the coupons that need it.
async fn keep_type(conn: &mut Conn, plugin_id: &str) -> Result<()> {
    if plugins::keep_active(conn, plugin_id).await? {
        return Ok(());
    }
    Err(unknown_type(plugin_id))
}

/// The coupon type whose schema the parameters fit; whole numbers in them are written as such.
fn fitting_type(coupons: &Coupons, plugin_id: &str, parameters: &mut Value) -> Result<Plugin> {
    let plugin = coupons
        .plugins
        .active(plugin_id)
        .map_err(|_| unknown_type(plugin_id))?;
    let description = plugin
        .coupon_description()
        .ok_or_else(|| unknown_type(plugin_id))?;
    schema::validate(&description.parameters_schema, parameters, "parameters")?;
    Ok(plugin)
}

fn unknown_type(plugin_id: &str) -> Error {
    Error::invalid(
        "plugin",
        format!("there is no active coupon type `{plugin_id}`; see GET /api/admin/coupon-types"),
    )
}

async fn check_services(conn: &mut Conn, slugs: &[String]) -> Result<()> {
    let mut checks = Vec::with_capacity(slugs.len());
    for (place, slug) in slugs.iter().enumerate() {
        if !crate::catalog::has_service(conn, slug).await? {
            let field = format!("services[{place}]");
            let message = format!("there is no service `{slug}`");
            checks.push(Err(Error::invalid(field, message)));
        }
    }
    Error::join(checks)
}

fn check_window(starts_at: DateTime<Utc>, ends_at: Option<DateTime<Utc>>) -> Result<()> {
    if ends_at.is_some_and(|end| end <= starts_at) {
        return Err(Error::invalid("endsAt", "must be after startsAt"));
    }
    Ok(())
}

fn code_taken(error: sqlx::Error, code: &str) -> Error {
    match db::broken_unique(&error).as_deref() {
        Some("coupons_code_key") => {
            Error::new(Code::Conflict, format!("A coupon {code} already exists."))
        }
        _ => error.into(),
    }
}

/// Replaces what a coupon says; what it has given stays.
///
/// # Errors
/// `NOT_FOUND`; `VALIDATION_FAILED`, also for a limit below what was given already;
/// `PLUGIN_REFUSED_INPUT`; `CONFLICT` for another coupon's code, and when code, type or parameters
/// of a used coupon would change.
pub async fn change(
    coupons: &Coupons,
    actor: UserId,
    id: CouponId,
    mut wanted: NewCoupon,
) -> Result<Coupon> {
    let no_coupon = || Error::not_found("coupon");
    let known = store::by_id(&mut coupons.db.read().await?, id).await?;
    let limits = check_limits(&known.ok_or_else(no_coupon)?, &wanted);
    // The rule is asked before the transaction, also about what it has accepted before: its schema
    // may be another one by now.
    check(coupons, &mut wanted, limits).await?;
    let mut conn = coupons.db.begin().await?;
    let before = store::admin::lock(&mut conn, id).await?;
    let before = before.ok_or_else(no_coupon)?;
    check_frozen(&before, &wanted)?;
    // It may have been used since its limits were checked.
    check_limits(&before, &wanted)?;
    keep_type(&mut conn, &wanted.plugin).await?;
    let now = coupons.clock.now();
    let row = ChangedRow {
        id,
        wanted: &wanted,
        starts_at: wanted.starts_at.unwrap_or(before.starts_at),
        status: status_after(&before, &wanted, now),
        now,
    };
    store::admin::update(&mut conn, &row)
        .await
        .map_err(|error| code_taken(error, wanted.code.as_str()))?;
    let coupon = store::by_id(&mut conn, id)
        .await?
        .ok_or_else(|| Error::not_found("coupon"))?;
    let details =
        json!({ "code": coupon.code, "codeBefore": before.code, "status": coupon.status });
    let by = By::given(actor, wanted.reason.as_ref());
    note(&mut conn, coupons, by, AuditAct::CouponChanged, id, details).await?;
    conn.commit().await?;
    Ok(coupon)
}

/// A used coupon stays what its customers were promised, and what its decisions were made from.
fn check_frozen(before: &Coupon, wanted: &NewCoupon) -> Result<()> {
    let changed = [
        ("code", before.code != wanted.code.as_str()),
        ("plugin", before.plugin_id != wanted.plugin),
        ("parameters", before.parameters.0 != wanted.parameters),
    ];
    match changed.iter().find(|(_, changed)| *changed) {
        Some((field, _)) if before.used_count > 0 => {
            let message = format!(
                "The coupon {} has been used: its {field} can no longer change. Create another coupon.",
                before.code
            );
            Err(Error::new(Code::Conflict, message).with(*field, "is frozen after the first use"))
        }
        _ => Ok(()),
    }
}

/// Limits fit what has been used, and the window is one.
fn check_limits(before: &Coupon, wanted: &NewCoupon) -> Result<()> {
    let least = |field, limit: Option<i64>, least: i64, why| match limit {
        Some(limit) if limit < least => {
            let message = format!("must be at least {least}: so {why} already");
            Err(Error::invalid(field, message))
        }
        _ => Ok(()),
    };
    let (used, granted) = (before.used_count, before.granted_amount.get());
    let starts_at = wanted.starts_at.unwrap_or(before.starts_at);
    Error::join([
        least("maxUses", wanted.max_uses, used, "often it has been used"),
        least("budget", wanted.budget, granted, "much it has given"),
        check_window(starts_at, wanted.ends_at),
    ])
}

/// A disabled coupon stays disabled; every other one is what its window and limits say.
fn status_after(before: &Coupon, wanted: &NewCoupon, now: DateTime<Utc>) -> CouponStatus {
    let used_up = wanted
        .max_uses
        .is_some_and(|limit| before.used_count >= limit)
        || wanted
            .budget
            .is_some_and(|budget| before.granted_amount.get() >= budget);
    match before.status {
        // An administrator's switch outlasts all, and spent uses outlast a window that was moved.
        CouponStatus::Disabled => CouponStatus::Disabled,
        _ if used_up => CouponStatus::UsedUp,
        _ if wanted.ends_at.is_some_and(|end| end <= now) => CouponStatus::Expired,
        _ => CouponStatus::Active,
    }
}

/// Deletes a coupon that was never used.
///
/// # Errors
/// `NOT_FOUND`; `CONFLICT` when it has been used.
pub async fn delete(coupons: &Coupons, by: By<'_>, id: CouponId) -> Result<()> {
    let mut conn = coupons.db.begin().await?;
    let coupon = store::admin::lock(&mut conn, id)
        .await?
        .ok_or_else(|| Error::not_found("coupon"))?;
    if !store::admin::delete_unused(&mut conn, id).await? {
        let message = format!(
            "The coupon {} has been used and stays in the books. Disable it instead.",
            coupon.code
        );
        return Err(Error::new(Code::Conflict, message));
    }
    let details = json!({ "code": coupon.code, "plugin": coupon.plugin_id });
    note(&mut conn, coupons, by, AuditAct::CouponDeleted, id, details).await?;
    Ok(conn.commit().await?)
}

/// Switches coupons on or off: all, or none.
///
/// # Errors
/// `NOT_FOUND` with the id; `CONFLICT` for one that should be switched on and is expired, used up, or
/// of a type that is not active.
pub async fn switch(
    coupons: &Coupons,
    by: By<'_>,
    mut ids: Vec<CouponId>,
    to: Switch,
) -> Result<Vec<Coupon>> {
    // Everybody locks in this order, so that two administrators never wait for each other.
    ids.sort_unstable();
    ids.dedup();
    let now = coupons.clock.now();
    let mut conn = coupons.db.begin().await?;
    let mut switched = Vec::with_capacity(ids.len());
    for id in ids {
        let coupon = store::admin::lock(&mut conn, id)
            .await?
            .ok_or_else(|| Error::not_found("coupon").with("ids", id.to_string()))?;
        let status = match to {
            Switch::Disabled => CouponStatus::Disabled,
            Switch::Active => can_be_active(&coupon, now)?,
        };
        switched.push((coupon, status));
    }
    if to == Switch::Active {
        keep_types(&mut conn, &switched).await?;
    }
    for (coupon, status) in &mut switched {
        if coupon.status != *status {
            store::admin::set_status(&mut conn, coupon.id, *status, now).await?;
            let details = json!({ "code": coupon.code, "from": coupon.status, "to": status });
            let act = AuditAct::CouponSwitched;
            note(&mut conn, coupons, by, act, coupon.id, details).await?;
            coupon.status = *status;
        }
    }
    conn.commit().await?;
    Ok(switched.into_iter().map(|(coupon, _)| coupon).collect())
}

/// Refuses coupons that would be switched on while their type is not active, and keeps the types of the others until
/// the commit, as [`keep_type`] does.
async fn keep_types(conn: &mut Conn, switched: &[(Coupon, CouponStatus)]) -> Result<()> {
    let changed = switched
        .iter()
        .filter(|(coupon, status)| coupon.status != *status);
    // Types are locked after all coupons and in the order of their names, so that no two switches wait for each other.
    let by_type: BTreeMap<&str, &Coupon> = changed
        .map(|(coupon, _)| (coupon.plugin_id.as_str(), coupon))
        .collect();
    for (plugin_id, coupon) in by_type {
        if !plugins::keep_active(conn, plugin_id).await? {
            let inactive = plugins::Inactive::of(conn, plugin_id).await?;
            let refused = format!(
                "The coupon {} is of a type that is not active.",
                coupon.code
            );
            let message = format!("{refused} {}", inactive.told());
            return Err(Error::new(Code::Conflict, message).with("ids", coupon.id.to_string()));
        }
    }
    Ok(())
}

fn can_be_active(coupon: &Coupon, now: DateTime<Utc>) -> Result<CouponStatus> {
    let code = &coupon.code;
    let message = if coupon.ends_at.is_some_and(|end| end <= now) {
        format!("The window of the coupon {code} is over. Give it another end first.")
    } else if coupon.is_used_up() {
        format!("The coupon {code} is used up. Give it more uses or a larger budget first.")
    } else {
        return Ok(CouponStatus::Active);
    };
    Err(Error::new(Code::Conflict, message).with("ids", coupon.id.to_string()))
}

async fn note(
    conn: &mut Conn,
    coupons: &Coupons,
    by: By<'_>,
    act: AuditAct,
    id: CouponId,
    details: Value,
) -> Result<()> {
    let event = Event::new(act, audit::Subject::Coupon(id), details);
    audit::record_by(conn, &coupons.clock, by, event).await
}

/// Cost and revenue of coupons, by redemptions in the window.
///
/// # Errors
/// When the database does not answer.
pub async fn statistics(
    conn: &mut Conn,
    window: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    now: DateTime<Utc>,
) -> Result<CouponStatistics> {
    let (by_type, costliest) = store::admin::costs(conn, window).await?;
    Ok(CouponStatistics {
        coupons: store::admin::count_by_status(conn, now).await?,
        customers: store::admin::customers(conn, window).await?,
        uses: by_type.iter().map(|cost| cost.uses).sum(),
        cost: Rupiah::total(by_type.iter().map(|cost| cost.cost))?,
        revenue: Rupiah::total(by_type.iter().map(|cost| cost.revenue))?,
        costliest,
        by_type,
    })
}

#[cfg(test)]
mod tests;
