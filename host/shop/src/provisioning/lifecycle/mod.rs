//! Life cycle of an instance: stop, start and restart by its owner, suspension while it is unpaid.
//!
//! The owner's wish and the suspension are kept apart: an instance that its owner stopped stays
//! stopped when it is paid for again.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{
    domains,
    model::{Desired, Halt, Instance},
};
use crate::{
    Code, Error, Result,
    db::{Clock, Conn},
    ids::{InstanceId, SubscriptionId, UserId},
};

/// Annotation of pod templates with the time of the last restart; a new value replaces the pods.
pub(super) const RESTARTED_AT: &str = "dermaga.dev/restarted-at";
/// Time within which a second restart is the same as the first: a click too many.
const SAME_RESTART: TimeDelta = TimeDelta::seconds(10);

/// Change of the life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// By its owner: scaled to zero, its data kept.
    Stop,
    /// By its owner, after a stop.
    Start,
    /// By its owner: every pod is replaced.
    Restart,
    /// By the shop, because it is unpaid.
    Suspend,
    /// By the shop, because it is paid for again.
    Resume,
    /// By the shop, because its customer wants it frozen.
    Freeze,
    /// By the shop, because it is frozen no more.
    Thaw,
    /// By the end of its subscription.
    Terminate,
}

impl Act {
    const fn is_owners(self) -> bool {
        matches!(self, Self::Stop | Self::Start | Self::Restart)
    }
}

/// State of the life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Wanted to run, and never delivered yet.
    SettingUp,
    Running,
    Stopped,
    Suspended,
    /// Stopped by its owner, and unpaid besides.
    StoppedAndSuspended,
    /// Its customer pays for the storage only.
    Frozen,
    /// Stopped by its owner, and frozen besides.
    StoppedAndFrozen,
    Terminated,
}

/// Effect on a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    To(Life),
    /// Keeps the state and replaces the pods.
    Roll,
    /// The act has no effect, and asks for nothing that is missing.
    Stay,
    Refuse(&'static str),
}

pub(super) const NOT_SET_UP: &str = "This service is still being set up.";
const IS_STOPPED: &str = "This service is stopped. Start it instead.";
const IS_SUSPENDED: &str =
    "This service is suspended, because it is not paid for. It starts again once it is.";
const IS_STOPPED_AND_SUSPENDED: &str =
    "This service is stopped, and it is not paid for. Top up your wallet first, then start it.";
const IS_FROZEN: &str = "This service is frozen. Thaw it first.";
const IS_STOPPED_AND_FROZEN: &str =
    "This service is stopped, and it is frozen. Thaw it first, then start it.";
const STAYS_STOPPED_THAWED: &str = "Thawed; it stays stopped, as its owner asked.";
const STAYS_STOPPED: &str = "Paid for again; it stays stopped, as its owner asked.";
pub(super) const IS_REMOVED: &str = "This service was removed.";

impl Life {
    fn of(instance: &Instance) -> Self {
        match (instance.desired, instance.halt) {
            (Desired::Terminated, _) => Self::Terminated,
            (Desired::Running, _) if instance.delivered_at.is_none() => Self::SettingUp,
            (Desired::Running, _) => Self::Running,
            (Desired::Stopped, Some(Halt::Owner)) => Self::Stopped,
            (Desired::Stopped, Some(Halt::OwnerAndUnpaid)) => Self::StoppedAndSuspended,
            (Desired::Stopped, Some(Halt::Frozen)) => Self::Frozen,
            (Desired::Stopped, Some(Halt::OwnerAndFrozen)) => Self::StoppedAndFrozen,
            (Desired::Stopped, Some(Halt::Unpaid) | None) => Self::Suspended,
        }
    }

    const fn columns(self) -> (Desired, Option<Halt>) {
        match self {
            Self::SettingUp | Self::Running => (Desired::Running, None),
            Self::Stopped => (Desired::Stopped, Some(Halt::Owner)),
            Self::Suspended => (Desired::Stopped, Some(Halt::Unpaid)),
            Self::StoppedAndSuspended => (Desired::Stopped, Some(Halt::OwnerAndUnpaid)),
            Self::Frozen => (Desired::Stopped, Some(Halt::Frozen)),
            Self::StoppedAndFrozen => (Desired::Stopped, Some(Halt::OwnerAndFrozen)),
            Self::Terminated => (Desired::Terminated, None),
        }
    }

    /// The effect of every act on every state.
    const fn step(self, act: Act) -> Step {
        match (self, act) {
            (Self::Terminated, Act::Stop | Act::Start | Act::Restart) => Step::Refuse(IS_REMOVED),
            (
                Self::Terminated,
                Act::Suspend | Act::Resume | Act::Freeze | Act::Thaw | Act::Terminate,
            ) => Step::Stay,
            (_, Act::Terminate) => Step::To(Self::Terminated),

            (Self::SettingUp, Act::Stop | Act::Restart) => Step::Refuse(NOT_SET_UP),
            (Self::SettingUp | Self::Running, Act::Start | Act::Resume | Act::Thaw) => Step::Stay,
            (Self::SettingUp | Self::Running, Act::Freeze) => Step::To(Self::Frozen),
            (Self::SettingUp | Self::Running, Act::Suspend) => Step::To(Self::Suspended),
            (Self::Running, Act::Stop) => Step::To(Self::Stopped),
            (Self::Running, Act::Restart) => Step::Roll,

            (Self::Stopped, Act::Stop | Act::Resume | Act::Thaw) => Step::Stay,
            (Self::Stopped, Act::Freeze) => Step::To(Self::StoppedAndFrozen),
            (Self::Stopped, Act::Start) => Step::To(Self::Running),
            (Self::Stopped, Act::Restart) => Step::Refuse(IS_STOPPED),
            (Self::Stopped, Act::Suspend) => Step::To(Self::StoppedAndSuspended),

            (Self::Suspended | Self::StoppedAndSuspended, Act::Suspend | Act::Thaw) => Step::Stay,
            (Self::Suspended, Act::Freeze) => Step::To(Self::Frozen),
            (Self::StoppedAndSuspended, Act::Freeze) => Step::To(Self::StoppedAndFrozen),
            (Self::Suspended, Act::Stop) => Step::To(Self::StoppedAndSuspended),
            (Self::StoppedAndSuspended, Act::Stop) => Step::Stay,
            (Self::Suspended, Act::Start | Act::Restart) => Step::Refuse(IS_SUSPENDED),
            (Self::StoppedAndSuspended, Act::Start | Act::Restart) => {
                Step::Refuse(IS_STOPPED_AND_SUSPENDED)
            }
            (Self::Suspended, Act::Resume) => Step::To(Self::Running),
            (Self::StoppedAndSuspended, Act::Resume) => Step::To(Self::Stopped),

            // A frozen service runs no compute, so that a suspension has nothing to take.
            (Self::Frozen | Self::StoppedAndFrozen, Act::Freeze | Act::Suspend | Act::Resume) => {
                Step::Stay
            }
            (Self::Frozen, Act::Stop) => Step::To(Self::StoppedAndFrozen),
            (Self::StoppedAndFrozen, Act::Stop) => Step::Stay,
            (Self::Frozen, Act::Start | Act::Restart) => Step::Refuse(IS_FROZEN),
            (Self::StoppedAndFrozen, Act::Start | Act::Restart) => {
                Step::Refuse(IS_STOPPED_AND_FROZEN)
            }
            (Self::Frozen, Act::Thaw) => Step::To(Self::Running),
            (Self::StoppedAndFrozen, Act::Thaw) => Step::To(Self::Stopped),
        }
    }
}

/// Changes the life of a subscription's instance in the caller's transaction; call
/// [`super::Handle::wake`] after the commit. Returns false when nothing had to change.
///
/// # Errors
/// `INVALID_STATE` when the instance's state does not allow it, and for an owner without instance.
pub async fn change(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
    act: Act,
    message: &str,
) -> Result<bool> {
    let Some(seen) = store::lock(conn, subscription_id).await? else {
        return if act.is_owners() {
            Err(super::no_instance())
        } else {
            Ok(false)
        };
    };
    let now = clock.now();
    let (life, restarted_at) = match Life::of(&seen).step(act) {
        Step::Refuse(why) => return Err(Error::new(Code::InvalidState, why)),
        Step::Stay => return Ok(false),
        Step::Roll if is_restarting(&seen, now) => return Ok(false),
        Step::Roll => (Life::Running, Some(now)),
        Step::To(life) => (life, None),
    };
    let message = match (act, life) {
        (Act::Resume, Life::Stopped) => STAYS_STOPPED,
        (Act::Thaw, Life::Stopped) => STAYS_STOPPED_THAWED,
        _ => message,
    };
    let changed = store::change(conn, &seen, life.columns(), restarted_at, message, now).await?;
    super::record_event(conn, clock, &changed).await?;
    if life == Life::Terminated {
        domains::end(conn, clock, &changed).await?;
    }
    Ok(true)
}

/// Refuses an instance that is stopped, suspended or removed: a change of it could not be seen to work.
///
/// # Errors
/// `INVALID_STATE` with the reason.
pub(super) fn check_is_wanted(instance: &Instance) -> Result<()> {
    let why = match Life::of(instance) {
        Life::SettingUp | Life::Running => return Ok(()),
        Life::Stopped => "This service is stopped. Start it first.",
        Life::Suspended => IS_SUSPENDED,
        Life::StoppedAndSuspended => IS_STOPPED_AND_SUSPENDED,
        Life::Frozen => IS_FROZEN,
        Life::StoppedAndFrozen => IS_STOPPED_AND_FROZEN,
        Life::Terminated => IS_REMOVED,
    };
    Err(Error::new(Code::InvalidState, why))
}

/// Refuses another change while one is not proven to work: which of them failed would not be known.
///
/// # Errors
/// `INVALID_STATE` with the reason.
pub(super) fn check_is_proven(seen: &Instance) -> Result<()> {
    if seen.unproven_generation.is_none() || seen.delivered_at.is_none() {
        return Ok(());
    }
    let message = "Another change of this service is being made. Wait until it is done.";
    Err(Error::new(Code::InvalidState, message).retry_after(5))
}

/// Asks for the removal of a subscription's instance with everything it has, in the caller's
/// transaction. Does nothing when it is being removed already.
///
/// # Errors
/// When the database refuses.
pub async fn terminate(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
) -> Result<()> {
    let act = Act::Terminate;
    change(conn, clock, subscription_id, act, "Being removed.").await?;
    Ok(())
}

/// A time ahead is of a clock that was wrong, and holds nothing up for longer.
fn is_restarting(seen: &Instance, now: DateTime<Utc>) -> bool {
    seen.restarted_at
        .is_some_and(|at| (now - at).abs() < SAME_RESTART)
}

/// Returns true when an instance was restarted to mend it, after all that was asked for.
pub(super) fn is_healing(seen: &Instance) -> bool {
    seen.restarted_at.is_some_and(|at| at > seen.updated_at)
}

/// Returns true when the last change of an instance was a restart, and nothing else with it.
pub(super) fn is_restart(seen: &Instance) -> bool {
    let is_undoing = seen.undone.as_ref();
    let is_undoing = is_undoing.is_some_and(|undone| undone.at == seen.updated_at);
    let is_change = seen.unproven_generation == Some(seen.generation) || is_undoing;
    !is_change && seen.restarted_at.is_some_and(|at| at == seen.updated_at)
}

/// Returns the subscription of a customer's instance.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn subscription_of(
    conn: &mut Conn,
    user_id: UserId,
    id: InstanceId,
) -> Result<SubscriptionId> {
    let found = store::subscription_of(conn, user_id, id).await?;
    found.ok_or_else(|| Error::not_found("instance"))
}

/// Returns the owner and the subscription of an instance.
///
/// # Errors
/// `NOT_FOUND` when there is none.
pub async fn owner_of(conn: &mut Conn, id: InstanceId) -> Result<(UserId, SubscriptionId)> {
    let found = super::store::instance(conn, id).await?;
    let found = found.ok_or_else(|| Error::not_found("instance"))?;
    Ok((found.user_id, found.subscription_id))
}

/// Writes the time of the last restart into the pod template of a workload.
pub(super) fn mark_restart(object: &mut Value, at: DateTime<Utc>) {
    let kind = object.get("kind").and_then(Value::as_str);
    if !matches!(kind, Some("Deployment" | "StatefulSet")) {
        return;
    }
    let Some(template) = object
        .pointer_mut("/spec/template")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let metadata = object_in(template, "metadata");
    if let Some(annotations) = metadata.and_then(|metadata| object_in(metadata, "annotations")) {
        annotations.insert(RESTARTED_AT.to_owned(), json!(at.to_rfc3339()));
    }
}

/// The object under a key, made when it is not there.
fn object_in<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert_with(|| json!({}));
    value.as_object_mut()
}

/// Returns the account of an instance, also of one that is gone, by its name.
///
/// # Errors
/// When the database does not answer.
pub async fn owner_of_name(conn: &mut Conn, name: &str) -> Result<Option<UserId>> {
    Ok(store::owner_of_name(conn, name).await?)
}

/// Removes what an account that is deleted gave to its instances, all of which are gone.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::forget(conn, user_id).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Act::{Freeze, Restart, Resume, Start, Stop, Suspend, Terminate, Thaw};
    use Life::{
        Frozen, Running, SettingUp, Stopped, StoppedAndFrozen, StoppedAndSuspended, Suspended,
        Terminated,
    };
    use Step::{Refuse, Roll, Stay, To};

    const ACTS: [Act; 8] = [
        Stop, Start, Restart, Suspend, Resume, Freeze, Thaw, Terminate,
    ];

    #[test]
    fn every_act_on_every_state_has_its_effect() {
        let (setting_up, removed) = (Refuse(NOT_SET_UP), Refuse(IS_REMOVED));
        let (stopped, unpaid) = (Refuse(IS_STOPPED), Refuse(IS_SUSPENDED));
        let (both_unpaid, frozen) = (Refuse(IS_STOPPED_AND_SUSPENDED), Refuse(IS_FROZEN));
        let both_frozen = Refuse(IS_STOPPED_AND_FROZEN);
        let (suspend, freeze) = (To(Suspended), To(Frozen));
        let (also, colder, end) = (
            To(StoppedAndSuspended),
            To(StoppedAndFrozen),
            To(Terminated),
        );
        let (run, stop) = (To(Running), To(Stopped));
        let table = [
            (
                SettingUp,
                [
                    setting_up, Stay, setting_up, suspend, Stay, freeze, Stay, end,
                ],
            ),
            (
                Running,
                [stop, Stay, Roll, suspend, Stay, freeze, Stay, end],
            ),
            (Stopped, [Stay, run, stopped, also, Stay, colder, Stay, end]),
            (
                Suspended,
                [also, unpaid, unpaid, Stay, run, freeze, Stay, end],
            ),
            (
                StoppedAndSuspended,
                [
                    Stay,
                    both_unpaid,
                    both_unpaid,
                    Stay,
                    stop,
                    colder,
                    Stay,
                    end,
                ],
            ),
            (Frozen, [colder, frozen, frozen, Stay, Stay, Stay, run, end]),
            (
                StoppedAndFrozen,
                [Stay, both_frozen, both_frozen, Stay, Stay, Stay, stop, end],
            ),
            (
                Terminated,
                [removed, removed, removed, Stay, Stay, Stay, Stay, Stay],
            ),
        ];
        for (life, effects) in table {
            for (act, effect) in ACTS.into_iter().zip(effects) {
                assert_eq!(life.step(act), effect, "{act:?} of {life:?}");
            }
        }
    }

    #[test]
    fn a_restart_marks_pod_templates_and_nothing_else() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut objects = [
            json!({"kind": "Deployment", "spec": {"template": {"spec": {}}}}),
            json!({"kind": "StatefulSet", "spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}),
            json!({"kind": "Job", "spec": {"template": {"spec": {}}}}),
            json!({"kind": "Service", "spec": {}}),
        ];
        let before = objects.clone();
        objects
            .iter_mut()
            .for_each(|object| mark_restart(object, at));
        let annotation = |object: &Value| {
            let annotations = &object["spec"]["template"]["metadata"]["annotations"];
            annotations[RESTARTED_AT].as_str().map(str::to_owned)
        };
        assert_eq!(
            annotation(&objects[0]).unwrap(),
            "2027-01-15T08:00:00+00:00"
        );
        assert_eq!(annotation(&objects[1]), annotation(&objects[0]));
        assert_eq!(
            objects[1]["spec"]["template"]["metadata"]["annotations"]["a"],
            "b"
        );
        // The template of a Job can never change.
        assert_eq!(objects[2..], before[2..]);
    }
}
