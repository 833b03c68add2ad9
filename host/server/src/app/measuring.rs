//! Metrics that are computed now and then, however many ask for them.

use std::time::Duration;

use dermaga_shop::{
    Result, alerts, notifications, outbox, provisioning,
    wallet::float,
    webhooks,
    workers::{Next, Worker},
};
use tokio_util::sync::CancellationToken;

use crate::api::AppState;

/// Interval between looks into the database.
const DATABASE_EVERY: Duration = Duration::from_secs(60);
/// Interval between looks at the pools of connections, which ask no database.
const POOLS_EVERY: Duration = Duration::from_secs(5);

/// Shows the figures of the database and of its pools as metrics until the server stops.
pub(super) async fn measure(state: AppState, stop: CancellationToken) {
    let look = || async {
        show(&state).await?;
        Ok(Next::AfterRest)
    };
    let count = || async {
        state.db.show();
        Ok(Next::AfterRest)
    };
    let database = Worker::new("figures", DATABASE_EVERY).run(stop.clone(), look);
    let pools = Worker::new("pools", POOLS_EVERY).run(stop, count);
    tokio::join!(database, pools);
}

/// Shows what the database has as metrics.
async fn show(state: &AppState) -> Result<()> {
    let now = state.clock.now();
    let mut conn = state.db.read().await?;
    outbox::backlog(&mut conn).await?.show("outbox", now);
    notifications::backlog(&mut conn).await?.show("mails", now);
    webhooks::backlog(&mut conn).await?.show("webhooks", now);
    alerts::show(&mut conn).await?;
    provisioning::show(&mut conn).await?;
    float::show(&mut conn).await?;
    drop(conn);
    state.scheduler.show().await
}

#[cfg(test)]
mod tests {
    use dermaga_shop::{
        alerts::AlertKind,
        outbox::{ADMINISTRATORS, Topic},
    };
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::json;
    use tokio::runtime;

    use super::*;
    use crate::app::tests::shop;

    /// The recorder of the process has the figures of other tests, too.
    #[test]
    fn figures_are_those_of_the_database() {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (_folder, app) = runtime.block_on(shop());
        runtime.block_on(async {
            let (db, clock) = (&app.state.db, &app.state.clock);
            let mut conn = db.begin().await.unwrap();
            dermaga_shop::execute!(conn, "DELETE FROM outbox").unwrap();
            let topic = Topic::AdminBillingSummary;
            outbox::put(&mut conn, clock, topic, ADMINISTRATORS, json!({}))
                .await
                .unwrap();
            let kind = AlertKind::PaymentUnclear;
            alerts::raise(&mut conn, clock, kind, "order-1", "Look it up.")
                .await
                .unwrap();
            conn.commit().await.unwrap();
            clock.advance(chrono::TimeDelta::minutes(7));
        });
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            runtime.block_on(show(&app.state)).unwrap();
            app.state.db.show();
        });
        let shown = recorder.handle().render();
        for line in [
            "dermaga_queue_waiting{queue=\"outbox\"} 1\n",
            "dermaga_queue_oldest_seconds{queue=\"outbox\"} 42",
            "dermaga_queue_waiting{queue=\"mails\"} 0\n",
            "dermaga_queue_oldest_seconds{queue=\"webhooks\"} 0\n",
            "dermaga_alerts_open{kind=\"PAYMENT_UNCLEAR\"} 1\n",
            "dermaga_alerts_open{kind=\"INSTANCE_FAILED\"} 0\n",
            "dermaga_instances{status=\"FAILED\"} 0\n",
            "dermaga_wallet_float_rupiah 0\n",
            "dermaga_ledger_last_seal_timestamp_seconds 0\n",
            "dermaga_job_last_success_timestamp_seconds{job_name=\"ledger-seal\"} 0\n",
            "dermaga_job_overdue_seconds{job_name=\"ledger-seal\"} 0\n",
            "dermaga_database_connections_max{pool=\"writer\"} 1\n",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
        runtime.block_on(app.state.db.close());
    }
}
