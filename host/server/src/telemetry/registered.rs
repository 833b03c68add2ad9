//! The one table of metrics: what `/metrics` describes, and what docs/OPERATIONS.md lists.

#[cfg(test)]
mod tests;

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Metric as it is described.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    /// Names of its labels. The words they take are few, and never a customer's.
    pub(super) labels: &'static [&'static str],
    /// Meaning in a sentence.
    pub(super) help: &'static str,
}

impl Metric {
    /// Returns its meaning, with the names of its labels.
    fn description(&self) -> String {
        if self.labels.is_empty() {
            return self.help.to_owned();
        }
        format!("{} By {}.", self.help, self.labels.join(", "))
    }
}

macro_rules! table {
    ($($kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        &[$(Metric { kind: Kind::$kind, name: $name, labels: &[$($label),*], help: $help },)*]
    };
}

/// Every metric, in the order of the documents.
pub(super) const METRICS: &[Metric] = table![
    Gauge "dermaga_build_info" ["version"] "One, with the version of the server.";

    Counter "http_requests_total" ["method", "route", "status"] "Requests answered.";
    Histogram "http_request_duration_seconds" ["method", "route", "status"] "Time until the answer begins.";
    Counter "http_requests_limited_total" ["class"] "Requests refused with 429, by the class of their limit.";
    Gauge "http_connections" [] "Connections open.";
    Counter "http_connections_refused_total" ["code"] "Connections refused by the limits in all and of an address.";
    Counter "dermaga_rate_portions_total" [] "Portions of the limits of requests that were taken from the database.";

    Gauge "dermaga_wallet_float_rupiah" [] "Paid credit of all customers together, which the shop owes.";
    Gauge "dermaga_wallet_bonus_rupiah" [] "Bonus credit of all customers together.";
    Gauge "dermaga_ledger_entries" [] "Entries of the ledger.";
    Gauge "dermaga_ledger_last_entry_timestamp_seconds" [] "Time of the last entry of a wallet that is open; 0 before the first.";
    Gauge "dermaga_ledger_last_seal_timestamp_seconds" [] "Time of the last seal of the ledger; 0 before the first.";
    Counter "dermaga_payment_notices_total" ["result"] "Notices of the payment gateway: TAKEN, or the code of the refusal.";
    Histogram "dermaga_gateway_call_seconds" ["result"] "Requests to the payment gateway: ANSWERED, THROTTLED or FAILED.";

    Counter "dermaga_plugin_calls_total" ["plugin", "function", "result"] "Calls of plugins: ANSWERED, or the code of the failure.";
    Histogram "dermaga_plugin_call_seconds" ["plugin", "function"] "Durations of calls of plugins.";
    Histogram "dermaga_plugin_call_fuel" ["plugin", "function"] "Fuel that calls of plugins burnt, about one for an instruction.";

    Gauge "dermaga_instances" ["status"] "Instances by status; those that are gone are not counted.";
    Counter "dermaga_reconcile_passes_total" ["status"] "Passes of the reconciler, by the status they left the instance in.";
    Counter "dermaga_reconcile_quiet_looks_total" [] "Looks at instances at rest that needed no pass.";
    Counter "dermaga_healing_acts_total" ["act"] "Restarts and recreations of instances that were at fault.";
    Counter "dermaga_instances_given_up_total" [] "Instances that restarts and recreation did not mend.";
    Counter "dermaga_cluster_calls_total" ["verb", "kind", "status"] "Requests to the Kubernetes API; `none` is a status without an answer.";
    Histogram "dermaga_cluster_call_seconds" ["verb", "kind"] "Time until the answer of the Kubernetes API begins.";

    Counter "dermaga_job_runs_total" ["job_name", "status"] "Runs of jobs that ended on this server; ABANDONED ones were left to another.";
    Histogram "dermaga_job_run_seconds" ["job_name"] "Durations of runs of jobs.";
    Gauge "dermaga_job_last_success_timestamp_seconds" ["job_name"] "Time of the end of the last run that succeeded; 0 before the first.";
    Gauge "dermaga_job_overdue_seconds" ["job_name"] "Time since the first instant of the job's schedule that no run has succeeded for.";
    Counter "dermaga_worker_runs_total" ["worker"] "Steps that workers took.";
    Counter "dermaga_worker_failures_total" ["worker"] "Steps that failed or panicked.";
    Histogram "dermaga_worker_run_seconds" ["worker"] "Durations of steps.";

    Gauge "dermaga_queue_waiting" ["queue"] "Entries that wait: messages of the `outbox`, `mails`, deliveries of `webhooks`.";
    Gauge "dermaga_queue_oldest_seconds" ["queue"] "Age of the oldest entry that waits; 0 when none does.";
    Counter "dermaga_notifications_total" ["kind"] "Notifications written into inboxes.";
    Counter "dermaga_mail_attempts_total" ["result"] "Attempts to send a mail, by the state after it.";
    Counter "dermaga_webhook_attempts_total" ["result"] "Attempts to deliver to a webhook, by the state after it.";

    Gauge "dermaga_alerts_open" ["kind"] "Alerts that are open.";
    Counter "dermaga_alerts_total" ["kind"] "Times that a cause of an alert was noticed on this server.";
    Counter "dermaga_trace_exports_total" ["result"] "Requests to the collector of traces: TAKEN or FAILED.";
    Gauge "dermaga_database_connections_max" ["pool"] "Connections that a pool may open.";
    Gauge "dermaga_database_connections_used" ["pool"] "Connections of a pool in use.";
    Counter "dermaga_database_waits_given_up_total" [] "Waits for a connection to the database that took too long.";
];

/// Describes every metric to the recorder of this process.
pub(super) fn describe() {
    for metric in METRICS {
        let (name, text) = (metric.name, metric.description());
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, text),
            Kind::Gauge => metrics::describe_gauge!(name, text),
            Kind::Histogram => metrics::describe_histogram!(name, text),
        }
    }
}
