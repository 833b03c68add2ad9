//! Follows the health of an instance through time: when to mend it, when to give up, when it is
//! well again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Act, Finding, Ground, InstanceHealth, Span,
    limits::{Attempt, MOST_RESTARTS, Used},
};
use crate::{
    cluster::SilentWorkload,
    provisioning::model::{GivenUp, Instance, NewStatus, Status},
    text::counted,
};

/// Longest time for which a healthy instance must stay so before an earlier fault is over. One that
/// crashes again and again is healthy for moments.
const STEADY: TimeDelta = TimeDelta::minutes(1);
/// Patience with an instance that never ran: its first start may take long, and must not be cut off.
const FIRST_START: TimeDelta = TimeDelta::minutes(10);

const NOT_MENDED: &str = "Restarting it did not help; an administrator knows.";
const WATCHED: &str = "It is watched, and restarted once an hour.";

/// Times that are carried from span to span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) unwell_since: Option<DateTime<Utc>>,
    pub(super) ailing_since: Option<DateTime<Utc>>,
    pub(super) given_up_at: Option<DateTime<Utc>>,
}

impl Course {
    const fn of(span: &Span) -> Self {
        Self {
            unwell_since: span.unwell_since,
            ailing_since: span.ailing_since,
            given_up_at: span.given_up_at,
        }
    }
}

/// Meaning of a finding at a moment, after all that was found before.
#[derive(Debug)]
pub(in crate::provisioning) struct Plan {
    pub(super) before: Option<Span>,
    pub(super) finding: Finding,
    pub(super) course: Course,
    pub(super) act: Option<Act>,
    /// True when the attempts are used up just now.
    pub(super) gives_up: bool,
    /// Time until the next look, where it is earlier.
    look_in: Option<TimeDelta>,
    used: Used,
    was_ready: bool,
}

/// Facts that a plan is made from.
pub(super) struct Situation<'a> {
    pub(super) seen: &'a Instance,
    pub(super) before: Option<Span>,
    pub(super) attempts: &'a [Attempt],
    pub(super) finding: Finding,
    /// True when another controller has a hand in it, or this pass applied something new.
    pub(super) is_changing: bool,
    pub(super) patience: TimeDelta,
    pub(super) now: DateTime<Utc>,
}

impl Plan {
    pub(super) fn of(situation: Situation<'_>) -> Self {
        let Situation {
            seen,
            before,
            attempts,
            mut finding,
            is_changing,
            patience,
            now,
        } = situation;
        let steady = patience.min(STEADY);
        let patience = if seen.delivered_at.is_none() {
            patience.max(FIRST_START)
        } else {
            patience
        };
        let step = Step {
            before: before.as_ref(),
            ground: finding.ground,
            is_changing,
            is_away: finding.state == InstanceHealth::Unknown,
            steady,
            now,
        };
        let (mut course, look_in) = step.follow(is_unwell(finding.state));
        let used = Used::at(now, attempts);
        let since = course.ailing_since.max(used.last);
        let due_in = since.map(|since| patience - (now - since));
        let mut plan = Self {
            look_in,
            used,
            was_ready: seen.delivered_at.is_some(),
            act: None,
            gives_up: false,
            course,
            before,
            finding: finding.clone(),
        };
        if finding.ground == Ground::ComingUp {
            plan.stay_failed();
        }
        if finding.ground != Ground::Ailing || is_changing {
            return plan;
        }
        if let Some(wait) = due_in.filter(|wait| *wait > TimeDelta::zero()) {
            plan.look_in = Some(wait);
            return plan;
        }
        // From here on it is more than slow.
        finding.state = InstanceHealth::Failed;
        plan.act = used.next(course.given_up_at.is_some(), !finding.silent.is_empty());
        plan.finding = finding;
        if plan.act.is_none() && course.given_up_at.is_none() {
            plan.gives_up = true;
            course.given_up_at = Some(now);
        }
        plan.course = course;
        plan
    }

    /// Returns the plan of a pass that saw nothing of the instance: its health is what it was.
    pub(super) fn unseen(seen: &Instance, before: Span, now: DateTime<Utc>) -> Self {
        let finding = Finding {
            state: before.state,
            ground: Ground::NoUse,
            reason: before.reason.clone(),
            detail: before.detail.clone(),
            silent: Vec::new(),
        };
        Self {
            course: Course::of(&before),
            before: Some(before),
            finding,
            act: None,
            gives_up: false,
            look_in: None,
            used: Used::at(now, &[]),
            was_ready: seen.delivered_at.is_some(),
        }
    }

    /// Returns the plan of a pass whose time cannot be trusted: nothing is done, given up or over.
    #[must_use]
    pub(in crate::provisioning) fn without_acts(mut self) -> Self {
        let before = self.before.as_ref();
        self.course = before.map_or_else(Course::default, Course::of);
        self.act = None;
        self.gives_up = false;
        self
    }

    /// Returns true when the instance is to be mended.
    pub(in crate::provisioning) const fn acts(&self) -> bool {
        self.act.is_some()
    }

    /// Returns true when the instance is well or halted, and no earlier fault is carried on.
    pub(in crate::provisioning) fn is_calm(&self) -> bool {
        matches!(self.finding.ground, Ground::Well | Ground::Halted)
            && self.act.is_none()
            && self.look_in.is_none()
            && self.course.ailing_since.is_none()
            && self.course.given_up_at.is_none()
    }

    /// Keeps the fault of an instance that only changes between crash and start.
    fn stay_failed(&mut self) {
        let Some(before) = &self.before else { return };
        if before.state == InstanceHealth::Failed && self.course.ailing_since.is_some() {
            self.finding.state = before.state;
            self.finding.reason.clone_from(&before.reason);
            self.finding.detail.clone_from(&before.detail);
        }
    }

    /// Returns true when an instance that was given up is well again.
    pub(super) fn recovers(&self) -> bool {
        let before = self.before.as_ref().and_then(|before| before.given_up_at);
        before.is_some() && self.course.given_up_at.is_none()
    }

    /// Returns the workloads to delete, so that the next pass makes them again.
    pub(in crate::provisioning) fn to_recreate(&self) -> &[SilentWorkload] {
        match self.act {
            Some(Act::Recreation) => &self.finding.silent,
            _ => &[],
        }
    }

    /// Adapts the status: the attempt under way, or that there will be none.
    pub(in crate::provisioning) fn shape(&self, mut new_status: NewStatus) -> NewStatus {
        if let Some(wait) = self.look_in {
            let wait = wait
                .to_std()
                .unwrap_or_default()
                .max(Duration::from_millis(100));
            new_status.after = new_status.after.min(wait);
        }
        new_status.given_up = match self.course.given_up_at {
            Some(_) => GivenUp::Lasts,
            None if self.recovers() => GivenUp::Over,
            None => GivenUp::No,
        };
        let ails = matches!(self.finding.ground, Ground::Ailing | Ground::ComingUp);
        if !ails {
            return new_status;
        }
        // Administrators hear of it when the attempts to mend it are used up; of one that never ran,
        // at once.
        if self.was_ready && new_status.status == Status::Failed {
            new_status.trouble = None;
        }
        if self.course.given_up_at.is_some() {
            new_status.status = Status::Failed;
            new_status.message = format!("{} {NOT_MENDED}", self.finding.reason);
        }
        if self.gives_up {
            let Used {
                restarts,
                recreations,
                ..
            } = self.used;
            let tried = format!(
                "{} and {} within an hour did not mend it.",
                counted(restarts, "restart"),
                counted(recreations, "recreation"),
            );
            new_status.trouble = Some(format!("{} {tried} {WATCHED}", self.finding.detail));
        }
        if let Some(words) = self.act_in_words() {
            new_status.message = words;
        }
        new_status
    }

    /// Explains an attempt to the owner.
    fn act_in_words(&self) -> Option<String> {
        let reason = &self.finding.reason;
        Some(match self.act? {
            Act::Restart if self.course.given_up_at.is_some() => {
                format!("{reason} We restart it once more.")
            }
            Act::Restart => format!(
                "{reason} So we restart it (attempt {} of {MOST_RESTARTS}).",
                self.used.restarts.saturating_add(1)
            ),
            Act::Recreation => {
                format!("{reason} Restarts did not help, so we make it again; its data is kept.")
            }
        })
    }
}

/// One finding after another.
struct Step<'a> {
    before: Option<&'a Span>,
    ground: Ground,
    is_changing: bool,
    /// Nothing is known of it: its cluster does not answer.
    is_away: bool,
    steady: TimeDelta,
    now: DateTime<Utc>,
}

impl Step<'_> {
    /// Returns the times after a finding, and when to look for the end of an earlier fault.
    fn follow(&self, is_unwell: bool) -> (Course, Option<TimeDelta>) {
        let Self {
            before,
            is_changing,
            is_away,
            now,
            ..
        } = *self;
        let healthy = before.filter(|before| before.state == InstanceHealth::Healthy);
        let earlier = before.map_or_else(Course::default, Course::of);
        // A healthy span has the begin of the time that it ended. A start that was asked for is no
        // fault that begins, and neither is an outage of the cluster.
        let begins = is_unwell || (healthy.is_some() && !is_changing && !is_away);
        let lasting = earlier.unwell_since.filter(|_| healthy.is_none());
        let unwell_since = lasting.or_else(|| begins.then_some(now));
        let ailing_since = match self.ground {
            Ground::Halted => return (Course::default(), None),
            Ground::Well => return self.steadily(healthy, earlier),
            Ground::Ailing if is_changing => Some(now),
            Ground::Ailing => earlier.ailing_since.or(Some(now)),
            Ground::ComingUp if !is_changing => earlier.ailing_since,
            Ground::ComingUp | Ground::NoUse => None,
        };
        let course = Course {
            unwell_since,
            ailing_since,
            ..earlier
        };
        (course, None)
    }

    /// An earlier fault is over once the instance was healthy for a while.
    fn steadily(&self, healthy: Option<&Span>, earlier: Course) -> (Course, Option<TimeDelta>) {
        let wait = match healthy {
            Some(healthy) => self.steady - (self.now - healthy.since),
            None => self.steady,
        };
        let is_carried = earlier.ailing_since.is_some() || earlier.given_up_at.is_some();
        if is_carried && wait > TimeDelta::zero() {
            return (earlier, Some(wait));
        }
        let course = Course {
            unwell_since: earlier.unwell_since,
            ..Course::default()
        };
        (course, None)
    }
}

const fn is_unwell(state: InstanceHealth) -> bool {
    matches!(state, InstanceHealth::Failed | InstanceHealth::Degraded)
}
