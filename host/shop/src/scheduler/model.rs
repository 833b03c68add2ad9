//! Runs of jobs, as rows and as views.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{db::Place, ids::RunId, text_enum};

text_enum! {
    /// Trigger of a run.
    pub enum Trigger {
        Schedule = "SCHEDULE",
        Administrator = "ADMINISTRATOR",
    }
}

text_enum! {
    /// Status of a run.
    pub enum RunStatus {
        Running = "RUNNING",
        /// Its server sent no sign of life; another one takes it up.
        Abandoned = "ABANDONED",
        Succeeded = "SUCCEEDED",
        /// Some items failed, the others are done.
        Partial = "PARTIAL",
        /// The run as a whole failed; the state of its items is unknown.
        Failed = "FAILED",
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RunRow {
    pub id: RunId,
    pub job: String,
    pub scheduled_for: DateTime<Utc>,
    pub trigger: Trigger,
    pub attempts: i64,
    pub started_at: DateTime<Utc>,
    pub lease_until: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub status: RunStatus,
    pub total: i64,
    pub items: i64,
    pub error_count: i64,
    pub errors: Json<Vec<String>>,
}

/// One run of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    pub id: RunId,
    pub job: String,
    /// Scheduled instant of the run, the same for all servers.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub scheduled_for: DateTime<Utc>,
    pub trigger: Trigger,
    pub status: RunStatus,
    /// Number of attempts; more than one when a server died during the run.
    pub attempts: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub started_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Number of things to look at, as far as is known; 0 when the job does not count them.
    pub total: i64,
    /// Number of things dealt with, also while it runs. A run that another server took up continues the
    /// counts of the last report: things done by the first server after that report may be missing.
    pub items: i64,
    /// Number of things that failed.
    pub error_count: i64,
    /// The first of the failures, in sentences.
    #[serde(serialize_with = "crate::language::in_words_each")]
    pub errors: Vec<String>,
}

impl RunView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<RunId> {
        Place {
            at: self.started_at,
            tie: self.id,
        }
    }

    pub fn of(row: RunRow, now: DateTime<Utc>) -> Self {
        let abandoned =
            row.status == RunStatus::Running && row.lease_until.is_none_or(|until| until <= now);
        Self {
            id: row.id,
            job: row.job,
            scheduled_for: row.scheduled_for,
            trigger: row.trigger,
            status: if abandoned {
                RunStatus::Abandoned
            } else {
                row.status
            },
            attempts: row.attempts,
            started_at: row.started_at,
            finished_at: row.finished_at,
            total: row.total,
            items: row.items,
            error_count: row.error_count,
            errors: row.errors.0,
        }
    }
}

/// A job and its latest run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub name: String,
    #[serde(serialize_with = "crate::language::in_words")]
    pub summary: String,
    /// Cron expression.
    pub schedule: String,
    /// Time zone of the schedule.
    pub timezone: String,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub next_run: Option<DateTime<Utc>>,
    pub last_run: Option<RunView>,
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn run(status: RunStatus, lease_until: Option<DateTime<Utc>>) -> RunRow {
        RunRow {
            id: RunId::from_u128(1),
            job: "ledger-seal".to_owned(),
            scheduled_for: DateTime::UNIX_EPOCH,
            trigger: Trigger::Schedule,
            attempts: 1,
            started_at: DateTime::UNIX_EPOCH,
            lease_until,
            finished_at: None,
            status,
            total: 0,
            items: 0,
            error_count: 0,
            errors: Json(Vec::new()),
        }
    }

    /// A lease is over in its last moment, as the claim of another server has it.
    #[test]
    fn a_run_whose_lease_is_over_is_shown_as_abandoned() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
        let moment = TimeDelta::milliseconds(1);
        for (until, status) in [
            (Some(now + moment), RunStatus::Running),
            (Some(now), RunStatus::Abandoned),
            (Some(now - moment), RunStatus::Abandoned),
            (None, RunStatus::Abandoned),
        ] {
            let shown = RunView::of(run(RunStatus::Running, until), now);
            assert_eq!(shown.status, status, "{until:?}");
        }
    }

    #[test]
    fn a_run_that_has_ended_stays_as_it_ended() {
        for &status in RunStatus::ALL {
            let shown = RunView::of(run(status, None), DateTime::UNIX_EPOCH);
            let is_running = status == RunStatus::Running;
            assert_eq!(shown.status == status, !is_running, "{status}");
        }
    }
}
