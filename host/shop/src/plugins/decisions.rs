//! Plugin calls that are recorded: what was asked, what was answered, by which bytes.

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::{CallError, Called, LoadError, Plugin, canonical_json, contract::Function};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::Instrument as _;

use super::{
    Registry, breaker, json_diff,
    model::{DecisionRow, Replay},
    registry::suspension_subject,
    store,
};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
    db::{Conn, new_id},
    ids::{CouponId, DecisionId, UserId},
    owners,
    traces::TARGET,
};

/// Decisions of the same function about one customer within an hour after which refusals are not
/// recorded.
const REFUSALS_AN_HOUR: i64 = 20;

/// A recorded call. [`Decision::record`] writes it in the transaction of what follows from it.
#[derive(Debug, Clone)]
pub struct Decision {
    pub id: DecisionId,
    pub digest: String,
    pub plugin_id: String,
    pub plugin_version: String,
    pub contract: &'static str,
    pub function: &'static str,
    pub subject: Subject,
    /// Canonical JSON.
    pub input: String,
    pub output: Option<String>,
    pub failure: Option<&'static str>,
    pub logs: String,
    pub fuel: i64,
    pub duration_us: i64,
    pub at: DateTime<Utc>,
}

/// Customer and coupon that a decision is about; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject {
    pub user_id: Option<UserId>,
    pub coupon_id: Option<CouponId>,
}

impl From<UserId> for Subject {
    /// Subject of a decision about this customer.
    fn from(user_id: UserId) -> Self {
        Self {
            user_id: Some(user_id),
            coupon_id: None,
        }
    }
}

impl Decision {
    /// Writes the decision; call it once, before rows that refer to it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn record(&self, conn: &mut Conn) -> Result<()> {
        Ok(store::insert_decision(conn, self).await?)
    }

    /// Returns true unless the account that it is about is deleted, which then has to wait for the transaction's end.
    async fn has_subject(&self, conn: &mut Conn) -> Result<bool> {
        match self.subject.user_id {
            Some(user_id) => Ok(owners::keep(conn, user_id).await?.is_some()),
            None => Ok(true),
        }
    }
}

/// Reason for asking a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// For a preview; a refusal is returned and not recorded.
    Preview,
    /// For the operation itself; a refusal is recorded, so that it can be replayed.
    Act,
}

/// An answer, and the decision to record with its consequences.
#[derive(Debug, Clone)]
pub struct Decided<T> {
    pub value: T,
    pub decision: Decision,
}

/// Calls a plugin, other tasks going on elsewhere meanwhile. Nothing is written when it answers:
/// the caller records the decision together with what follows from it. A failed call is recorded
/// here, since nothing follows.
///
/// # Errors
/// `PLUGIN_BUSY` when too many calls are running, `PLUGIN_FAILED` for a trap, a limit or a
/// malformed answer, `PLUGIN_SUSPENDED` after too many of those in a row; details name plugin,
/// version, function and limit.
pub async fn decide<F: Function>(
    registry: &Registry,
    plugin: &Plugin,
    input: F::Input,
    subject: Subject,
) -> Result<Decided<F::Output>> {
    let canonical = canonical_json(&serde_json::to_value(&input)?);
    let permit = registry.permit(plugin, F::NAME)?;
    let span = tracing::info_span!(
        target: TARGET,
        "plugin",
        otel.name = format!("{} {}", plugin.about().id, F::NAME),
        plugin.id = plugin.about().id,
        plugin.version = plugin.about().version,
        plugin.function = F::NAME,
    );
    let called = call::<F>(plugin, input).instrument(span).await?;
    let mut decision = asked::<F>(registry, plugin, subject, canonical);
    match called {
        Ok(called) => {
            // The alert is about the version: it ends with the last function that was suspended.
            if permit.succeeded() && registry.suspended_until(&decision.digest).is_none() {
                resumed(registry, plugin).await;
            }
            measure(&mut decision, &called.usage);
            count(&decision);
            decision.logs = serde_json::to_string(&called.logs)?;
            decision.output = Some(canonical_json(&serde_json::to_value(&called.value)?));
            Ok(Decided {
                value: called.value,
                decision,
            })
        }
        Err(error) => {
            if let Some(usage) = &error.usage {
                measure(&mut decision, usage);
            }
            decision.logs = serde_json::to_string(&error.logs)?;
            decision.failure = Some(error.code());
            count(&decision);
            let suspension = if breaker::counts(&error.failure) {
                permit.failed(registry.clock().now())
            } else {
                None
            };
            let suspension = suspension.map(|until| Suspension {
                plugin,
                until,
                error: &error,
            });
            record_alone(registry, &decision, suspension).await;
            Err(refused(&error, decision.id))
        }
    }
}

/// Returns the record of a call without its answer.
fn asked<F: Function>(
    registry: &Registry,
    plugin: &Plugin,
    subject: Subject,
    input: String,
) -> Decision {
    Decision {
        id: new_id(registry.clock()),
        digest: plugin.digest().to_string(),
        plugin_id: plugin.about().id.clone(),
        plugin_version: plugin.about().version.clone(),
        contract: plugin.contract(),
        function: F::NAME,
        subject,
        input,
        output: None,
        failure: None,
        logs: "[]".to_owned(),
        fuel: 0,
        duration_us: 0,
        at: registry.clock().now(),
    }
}

/// Stays on the thread that asks where the runtime can hand over that thread's other tasks: most
/// calls take a few microseconds, the way to another thread and back takes ten times as long.
async fn call<F: Function>(
    plugin: &Plugin,
    input: F::Input,
) -> Result<Result<Called<F::Output>, CallError>> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        return Ok(tokio::task::block_in_place(|| plugin.call::<F>(&input)));
    }
    let plugin = plugin.clone();
    let work = tokio::task::spawn_blocking(move || plugin.call::<F>(&input));
    work.await.map_err(Error::internal)
}

/// Refusal of a customer by a plugin. It names its decision, which is recorded so that "why not?"
/// can be answered and replayed. A refusal costs its customer nothing and could be repeated without
/// end, so only those among the first twenty decisions of a function about a customer in an hour
/// are kept.
pub async fn refuse(
    registry: &Registry,
    decision: &Decision,
    asking: Asking,
    error: Error,
) -> Error {
    if asking == Asking::Act && record_refusal(registry, decision).await {
        return error.with("decision", decision.id.to_string());
    }
    error
}

/// Returns true when it was recorded.
async fn record_refusal(registry: &Registry, decision: &Decision) -> bool {
    let recorded = async {
        let mut conn = registry.db().begin().await?;
        if !decision.has_subject(&mut conn).await? {
            return Ok(false);
        }
        if let Some(user_id) = decision.subject.user_id {
            let since = decision.at - TimeDelta::hours(1);
            let count =
                store::decisions_since(&mut conn, user_id, decision.function, since).await?;
            if count >= REFUSALS_AN_HOUR {
                return Ok(false);
            }
        }
        decision.record(&mut conn).await?;
        conn.commit().await?;
        Ok::<bool, Error>(true)
    };
    recorded.await.unwrap_or_else(|error| {
        tracing::error!(decision.id = %decision.id, %error, "decision.not_recorded");
        false
    })
}

fn measure(decision: &mut Decision, usage: &dermaga_runtime::Usage) {
    decision.fuel = i64::try_from(usage.fuel).unwrap_or(i64::MAX);
    decision.duration_us = i64::try_from(usage.duration.as_micros()).unwrap_or(i64::MAX);
    let labels = [
        ("plugin", decision.plugin_id.clone()),
        ("function", decision.function.to_owned()),
    ];
    metrics::histogram!("dermaga_plugin_call_seconds", &labels).record(usage.duration);
    metrics::histogram!("dermaga_plugin_call_fuel", &labels).record(usage.fuel as f64);
}

/// Counts a call that has ended, by its failure if it has one.
fn count(decision: &Decision) {
    let labels = [
        ("plugin", decision.plugin_id.clone()),
        ("function", decision.function.to_owned()),
        ("result", decision.failure.unwrap_or("ANSWERED").to_owned()),
    ];
    metrics::counter!("dermaga_plugin_calls_total", &labels).increment(1);
}

/// A version that failed once too often.
struct Suspension<'a> {
    plugin: &'a Plugin,
    until: DateTime<Utc>,
    error: &'a CallError,
}

/// Records a failed call, which has no transaction to be part of; an error here must not hide it.
/// When the failure suspends the version, administrators are alerted in the same transaction.
async fn record_alone(
    registry: &Registry,
    decision: &Decision,
    suspension: Option<Suspension<'_>>,
) {
    let recorded = async {
        let mut conn = registry.db().begin().await?;
        if decision.has_subject(&mut conn).await? {
            decision.record(&mut conn).await?;
        }
        if let Some(suspension) = suspension {
            tell(registry, &mut conn, &suspension).await?;
        }
        conn.commit().await?;
        Ok::<(), Error>(())
    };
    if let Err(error) = recorded.await {
        tracing::error!(decision.id = %decision.id, %error, "decision.not_recorded");
    }
}

async fn tell(registry: &Registry, conn: &mut Conn, suspension: &Suspension<'_>) -> Result<()> {
    let Suspension {
        plugin,
        until,
        error,
    } = suspension;
    let about = plugin.about();
    tracing::warn!(plugin.id = about.id, plugin.version = about.version, plugin.digest = %plugin.digest(), %until, "plugin.suspended");
    let message = format!(
        "The {} of {} {} failed again and again and is not called until {}, when it is tried again. The last failure: {error}. Activate another version, or mend what it stumbles over and reset it.",
        error.function,
        about.id,
        about.version,
        registry.clock().written(*until)
    );
    let subject = suspension_subject(plugin);
    alerts::raise(
        conn,
        registry.clock(),
        AlertKind::PluginSuspended,
        &subject,
        &message,
    )
    .await
}

/// Resolves the alert of a suspended version that works again. An error here must not hide its
/// answer.
async fn resumed(registry: &Registry, plugin: &Plugin) {
    let resumed = async {
        let mut conn = registry.db().begin().await?;
        let (kind, subject) = (AlertKind::PluginSuspended, suspension_subject(plugin));
        alerts::resolve(&mut conn, registry.clock(), kind, &subject).await?;
        Ok::<(), Error>(conn.commit().await?)
    };
    tracing::info!(plugin.id = plugin.about().id, plugin.digest = %plugin.digest(), "plugin.resumed");
    if let Err(error) = resumed.await {
        tracing::error!(plugin.id = plugin.about().id, %error, "alert.not_resolved");
    }
}

fn refused(error: &CallError, decision_id: DecisionId) -> Error {
    tracing::warn!(
        plugin.id = error.plugin, plugin.version = error.version, plugin.function = error.function,
        code = error.code(), decision.id = %decision_id, %error, "plugin.call_failed"
    );
    failed(error).with("decision", decision_id.to_string())
}

/// Returns true for a failure that the same version would repeat on the same input: everything but
/// a deadline, which depends on the machine.
pub fn repeats(error: &Error) -> bool {
    let code = error.details.iter().find(|detail| detail.field == "code");
    error.code == Code::PluginFailed
        && code.is_some_and(|code| code.message != "PLUGIN_DEADLINE_EXCEEDED")
}

/// `PLUGIN_BUSY` when no call slot was free to describe the component, else `None`.
pub(super) fn busy(error: &LoadError) -> Option<Error> {
    match error {
        LoadError::Describe(call) if call.code() == "PLUGIN_BUSY" => Some(failed(call)),
        _ => None,
    }
}

/// More calls are wanted than may run at once.
pub(super) fn no_place() -> Error {
    Error::new(
        Code::PluginBusy,
        "Too many decisions are being made at once. Try again in a moment.",
    )
    .retry_after(1)
}

/// Answer to the customer of a failed call: one that found no place may be tried again, any other
/// failure is the plugin's. Limits and usage are for administrators: they are in the decision, the
/// log and the alert.
pub(super) fn failed(error: &CallError) -> Error {
    let failure = if error.code() == "PLUGIN_BUSY" {
        no_place()
    } else {
        let (plugin, version, function) = (&error.plugin, &error.version, &error.function);
        let code = error.code();
        let message = format!("The plugin {plugin} {version} failed in its {function} ({code}).");
        Error::new(Code::PluginFailed, message)
    };
    detailed(failure, error)
}

/// The same with every figure, for administrators.
pub fn failed_in_full(error: &CallError) -> Error {
    if error.code() == "PLUGIN_BUSY" {
        return failed(error);
    }
    detailed(
        Error::new(Code::PluginFailed, format!("The {error}.")),
        error,
    )
}

fn detailed(failure: Error, error: &CallError) -> Error {
    failure
        .with("plugin", error.plugin.as_ref())
        .with("version", error.version.as_ref())
        .with("function", error.function.as_ref())
        .with("code", error.code())
}

/// Runs a recorded decision again, by the same bytes on the same input, and compares the output
/// byte for byte. Writes nothing.
///
/// # Errors
/// `NOT_FOUND` for an unknown decision, `INVALID_STATE` for an erased one, `PLUGIN_UNAVAILABLE` when its version
/// does not load, `PLUGIN_BUSY` when too many calls are running.
pub async fn replay(registry: &Registry, decision_id: DecisionId) -> Result<Replay> {
    let recorded = store::decision(&mut registry.db().read().await?, decision_id).await?;
    let recorded = recorded.ok_or_else(|| Error::not_found("decision"))?;
    if recorded.erased_at.is_some() {
        let message = "The account that this decision was about is deleted, and what was asked and answered with it. \
                       It cannot be replayed.";
        return Err(Error::new(Code::InvalidState, message));
    }
    let plugin = registry.version(&recorded.digest).await?;
    let input = serde_json::from_str(&recorded.input)?;
    let function = recorded.function.clone();
    let called = tokio::task::spawn_blocking(move || plugin.call_json(&function, &input))
        .await
        .map_err(Error::internal)?;
    let (replayed, failure, fuel) = match called {
        Ok(called) => (
            Some(canonical_json(&called.value)),
            None,
            Some(called.usage.fuel),
        ),
        Err(error) if error.code() == "PLUGIN_BUSY" => return Err(failed(&error)),
        Err(error) => (
            None,
            Some(error.code()),
            error.usage.map(|usage| usage.fuel),
        ),
    };
    let identical = replayed == recorded.output && failure == recorded.failure.as_deref();
    Ok(compare(recorded, replayed, identical, fuel))
}

fn compare(
    recorded: DecisionRow,
    replayed: Option<String>,
    identical: bool,
    fuel: Option<u64>,
) -> Replay {
    let first_difference = match (&recorded.output, &replayed) {
        (Some(old), Some(new)) if old != new => {
            // In bytes, as of a file. Of two outputs that begin alike, the shorter ends there.
            let common = old
                .bytes()
                .zip(new.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            Some(common)
        }
        _ => None,
    };
    let first_difference_pointer = recorded
        .output
        .as_deref()
        .zip(replayed.as_deref())
        .and_then(|(old, new)| differing_value(old, new));
    Replay {
        decision_id: recorded.id,
        plugin_id: recorded.plugin_id,
        plugin_version: recorded.plugin_version,
        digest: recorded.digest,
        function: recorded.function,
        identical,
        recorded: recorded.output,
        replayed,
        first_difference,
        first_difference_pointer,
        recorded_fuel: recorded.fuel,
        replayed_fuel: fuel,
    }
}

fn differing_value(old: &str, new: &str) -> Option<String> {
    let (old, new) = (
        serde_json::from_str(old).ok()?,
        serde_json::from_str(new).ok()?,
    );
    json_diff::first_difference(&old, &new)
}
