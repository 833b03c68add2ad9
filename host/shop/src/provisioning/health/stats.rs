//! Figures of a time range, added up from the spans in it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer, ser::Error as _};

use super::InstanceHealth;
use crate::ids::{HealthSpanId, InstanceId};

crate::text_enum! {
    /// Time range of the statistics, until now.
    pub enum TimeRange {
        Hour = "1h",
        SixHours = "6h",
        Day = "24h",
        Week = "7d",
    }
}

impl TimeRange {
    /// Returns the length of the range.
    pub const fn length(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::SixHours => TimeDelta::hours(6),
            Self::Day => TimeDelta::hours(24),
            Self::Week => TimeDelta::days(7),
        }
    }
}

/// Share of a whole; a number such as `99.95` where it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    thousandths: i64,
}

impl Percent {
    pub(super) const ALL: Self = Self {
        thousandths: 100_000,
    };
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (whole, rest) = (self.thousandths / 1000, self.thousandths % 1000);
        let number: f64 = format!("{whole}.{rest:03}")
            .parse()
            .map_err(S::Error::custom)?;
        serializer.serialize_f64(number)
    }
}

/// A span with its instance, as the statistics need it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct SpanRow {
    pub(super) id: HealthSpanId,
    pub(super) instance_id: InstanceId,
    pub(super) name: String,
    /// Time at which it was first ready; what was before is setting up, and counts for nothing.
    pub(super) ready_at: Option<DateTime<Utc>>,
    pub(super) state: InstanceHealth,
    pub(super) is_new_state: bool,
    pub(super) since: DateTime<Utc>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) unwell_since: Option<DateTime<Utc>>,
}

/// Spans of health that last from before the range and are counted alone. Nothing else of their instances is in the
/// range, as each span begins when the one before it ends.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    pub(super) healthy: i64,
    /// Times at which some of the instances were first ready, which was not before the range.
    pub(super) ready_late: Vec<Option<DateTime<Utc>>>,
}

impl Quiet {
    /// Time in the range for which they were measured, and healthy.
    pub(super) fn healthy_time(&self, from: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
        let late = i64::try_from(self.ready_late.len()).unwrap_or(i64::MAX);
        let throughout = self.healthy.saturating_sub(late).max(0);
        let whole = (now - from).num_milliseconds().saturating_mul(throughout);
        let late = self.ready_late.iter().flatten();
        let rest = late.map(|ready_at| (now - ready_at).num_milliseconds().max(0));
        milliseconds(rest.fold(whole, i64::saturating_add))
    }
}

/// Returns a time that was added up.
pub(super) fn milliseconds(number: i64) -> TimeDelta {
    TimeDelta::try_milliseconds(number).unwrap_or(TimeDelta::MAX)
}

/// Returns the part of a span in the range for which its instance was not ready yet, and was not measured.
pub(super) fn unready(
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    ready_at: Option<DateTime<Utc>>,
    from: DateTime<Utc>,
) -> TimeDelta {
    let end = ready_at.map_or(until, |ready_at| ready_at.min(until));
    (end - since.max(from)).max(TimeDelta::zero())
}

/// Figures of one instance or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) name: String,
    healthy: TimeDelta,
    measured: TimeDelta,
    pub(super) failures: i64,
    pub(super) recoveries: i64,
    recovering: TimeDelta,
}

impl Tally {
    fn add(&mut self, span: &SpanRow, from: DateTime<Utc>, now: DateTime<Utc>) {
        // Each span is its own witness, so that their order does not matter.
        let begins_in_range = span.since >= from;
        if begins_in_range && span.is_new_state && span.state == InstanceHealth::Failed {
            self.failures += 1;
        }
        if begins_in_range
            && span.state == InstanceHealth::Healthy
            && let Some(unwell_since) = span.unwell_since
        {
            self.recoveries += 1;
            self.recovering += (span.since - unwell_since).max(TimeDelta::zero());
        }
        let is_measured = !matches!(
            span.state,
            InstanceHealth::Stopped | InstanceHealth::Unknown
        );
        let Some(ready_at) = span.ready_at.filter(|_| is_measured) else {
            return;
        };
        let begin = span.since.max(from).max(ready_at);
        let length = span.until.map_or(now, |until| until.min(now)) - begin;
        if length <= TimeDelta::zero() {
            return;
        }
        self.measured += length;
        if span.state == InstanceHealth::Healthy {
            self.healthy += length;
        }
    }

    /// Share of the measured time in which it was healthy, in percent with three digits; `None`
    /// when nothing was measured.
    pub(super) fn availability(&self) -> Option<Percent> {
        let measured = self.measured.num_milliseconds();
        let thousandths = self
            .healthy
            .num_milliseconds()
            .checked_mul(100_000)?
            .checked_div(measured)?;
        Some(Percent { thousandths })
    }

    /// Returns true for one that failed or was not always healthy.
    pub(super) fn has_faults(&self) -> bool {
        let share = self.availability().unwrap_or(Percent::ALL);
        self.failures > 0 || share < Percent::ALL
    }

    /// Mean time from the begin of a fault to health; `None` without a recovery.
    pub(super) fn mean_seconds_to_recovery(&self) -> Option<i64> {
        self.recovering.num_seconds().checked_div(self.recoveries)
    }
}

/// Figures of all instances together, and of those that had more than calm health.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) all: Tally,
    pub(super) each: HashMap<InstanceId, Tally>,
    /// Number of all instances with a span in the range.
    pub(super) instances: usize,
}

impl Totals {
    pub(super) fn add(&mut self, span: &SpanRow, from: DateTime<Utc>, now: DateTime<Utc>) {
        self.all.add(span, from, now);
        let one = self.each.entry(span.instance_id).or_default();
        one.name.clone_from(&span.name);
        one.add(span, from, now);
    }

    /// Adds time for which instances were measured, and healthy.
    pub(super) fn add_healthy(&mut self, time: TimeDelta) {
        self.all.measured += time;
        self.all.healthy += time;
    }

    /// Lists the instances that failed or were not always healthy.
    pub(super) fn faulty(&self) -> Vec<InstanceId> {
        let faulty = self.each.iter().filter(|(_, tally)| tally.has_faults());
        faulty.map(|(id, _)| *id).collect()
    }

    /// Adds a span to the figures of its instance alone, as its time is among that of all.
    pub(super) fn complete(&mut self, span: &SpanRow, from: DateTime<Utc>, now: DateTime<Utc>) {
        if let Some(one) = self.each.get_mut(&span.instance_id) {
            one.add(span, from, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    fn span(state: InstanceHealth, since: i64, until: Option<i64>) -> SpanRow {
        SpanRow {
            id: HealthSpanId::MIN,
            instance_id: InstanceId::MIN,
            name: "a".to_owned(),
            ready_at: Some(at(0)),
            state,
            is_new_state: true,
            since: at(since),
            until: until.map(at),
            unwell_since: None,
        }
    }

    #[test]
    fn the_figures_are_those_of_the_time_in_the_range() {
        let mut totals = Totals::default();
        let back = SpanRow {
            unwell_since: Some(at(60)),
            ..span(InstanceHealth::Healthy, 66, None)
        };
        let spans = [
            span(InstanceHealth::Starting, -9, Some(0)),
            span(InstanceHealth::Healthy, 0, Some(60)),
            span(InstanceHealth::Failed, 60, Some(62)),
            SpanRow {
                is_new_state: false,
                ..span(InstanceHealth::Failed, 62, Some(64))
            },
            span(InstanceHealth::Starting, 64, Some(66)),
            back,
        ];
        for span in &spans {
            totals.add(span, at(40), at(100));
        }
        let Totals { all, each, .. } = totals;
        assert_eq!((all.failures, all.recoveries), (1, 1));
        assert_eq!(all.mean_seconds_to_recovery(), Some(360));
        let availability = all.availability().unwrap();
        assert_eq!(serde_json::to_string(&availability).unwrap(), "90.0");
        assert_eq!(
            each[&InstanceId::MIN],
            Tally {
                name: "a".to_owned(),
                ..all
            }
        );
    }

    #[test]
    fn quiet_spans_count_as_if_they_were_read() {
        let ready = [Some(at(0)), Some(at(0)), Some(at(70)), None];
        let mut read = Totals::default();
        for (number, ready_at) in ready.into_iter().enumerate() {
            let healthy = SpanRow {
                instance_id: InstanceId::from_u128(number as u128),
                ready_at,
                ..span(InstanceHealth::Healthy, 5, None)
            };
            read.add(&healthy, at(40), at(100));
        }
        let quiet = Quiet {
            healthy: 4,
            ready_late: vec![Some(at(70)), None],
        };
        let mut counted = Totals::default();
        counted.add_healthy(quiet.healthy_time(at(40), at(100)));
        assert_eq!(counted.all.measured, TimeDelta::minutes(150));
        assert_eq!(counted.all, read.all);
    }

    #[test]
    fn a_calm_span_before_its_instance_was_ready_is_not_measured() {
        for ready in [None, Some(0), Some(50), Some(70), Some(99)] {
            let calm = SpanRow {
                ready_at: ready.map(at),
                ..span(InstanceHealth::Healthy, 30, Some(80))
            };
            let mut read = Totals::default();
            read.add(&calm, at(40), at(100));
            let mut counted = Totals::default();
            counted.add_healthy(at(80) - at(40));
            counted.add_healthy(-unready((at(30), at(80)), ready.map(at), at(40)));
            assert_eq!(counted.all, read.all, "{ready:?}");
        }
    }

    #[test]
    fn the_figures_of_a_faulty_instance_are_completed_alone() {
        let failed = span(InstanceHealth::Failed, 60, Some(62));
        let calm = span(InstanceHealth::Healthy, 0, Some(60));
        let mut totals = Totals::default();
        totals.add(&failed, at(0), at(100));
        let all = totals.all.clone();
        assert_eq!(totals.faulty(), [InstanceId::MIN]);
        totals.complete(&calm, at(0), at(100));
        let other = SpanRow {
            instance_id: InstanceId::from_u128(9),
            ..calm
        };
        totals.complete(&other, at(0), at(100));
        assert_eq!(totals.all, all);
        let one = &totals.each[&InstanceId::MIN];
        assert_eq!(one.measured, TimeDelta::minutes(62));
        assert_eq!(totals.each.len(), 1);
    }

    #[test]
    fn a_stop_an_outage_and_a_first_start_are_no_time_without_health() {
        let mut totals = Totals::default();
        for span in [
            span(InstanceHealth::Stopped, 0, Some(30)),
            span(InstanceHealth::Unknown, 30, Some(50)),
            SpanRow {
                ready_at: None,
                ..span(InstanceHealth::Starting, 0, None)
            },
        ] {
            totals.add(&span, at(0), at(60));
        }
        assert_eq!(totals.all.availability(), None);
        assert_eq!(totals.all.mean_seconds_to_recovery(), None);
    }
}
