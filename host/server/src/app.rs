//! Builds and runs the server: state, router, workers, start and stop.

mod bonuses;
mod bootstrap;
#[cfg(test)]
mod document;
#[cfg(test)]
mod examples;
mod in_use;
mod jobs;
mod measuring;
#[cfg(test)]
mod redaction;
mod start;
mod start_error;
mod surround;
#[cfg(test)]
mod tests;

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use axum::Router;
use dermaga_shop::{
    billing, catalog,
    db::{Clock, Held},
    events, idempotency,
    identity::Identity,
    notifications, payments, plugins, provisioning, rates, scheduler, webhooks,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::surround::surround;
use crate::{
    api::{self, AppState, RouteKinds},
    config::Config,
    http,
    sandbox::Sandbox,
    telemetry,
};

pub use bootstrap::{find_plugins, find_templates};
pub use in_use::{PART_RESTORED, refuse_half_filled, refuse_part_restored};
pub use start::{
    SealedSecrets, connect, open_accounts, open_database, open_database_as_is, open_registry,
    registry, sealed_secrets, vault_of_data,
};
pub use start_error::{StartError, database_reason};

/// A server that is ready to run.
#[derive(Debug)]
pub struct App {
    pub state: AppState,
    worker: provisioning::Worker<Arc<plugins::Registry>>,
    identity: Arc<Identity>,
    /// Keeps programs that need the database at rest from it.
    in_use: Option<Held>,
}

/// Returns the router of all routes.
pub fn router(state: AppState) -> Router {
    let (routes, kinds) = routes(&state);
    surround(routes, kinds, state)
}

fn routes(state: &AppState) -> (Router<AppState>, Arc<RouteKinds>) {
    let api::Routes { router, kinds } = api::Routes::of(&state.config.runtime.limits);
    let routes = router
        .merge(api::openapi::routes())
        .merge(api::alias_routes())
        .merge(
            state
                .sandbox
                .as_ref()
                .map(Sandbox::nested)
                .unwrap_or_default(),
        )
        .merge(api::health_routes());
    (routes, kinds)
}

/// Starts the workers that requests need until the door is closed. All others end at once when the
/// server stops, for other servers to continue.
fn assistants(state: &AppState, door: &CancellationToken) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    workers.spawn(telemetry::keep_up(door.clone()));
    let (plugins, stop) = (Arc::clone(&state.plugins), door.clone());
    let poll = state.config.plugin_poll;
    workers.spawn(async move { plugins.follow(poll, stop).await });
    workers.spawn(events::watch(state.events.clone(), door.clone()));
    workers.spawn(rates::watch(Arc::clone(&state.rates), door.clone()));
    workers
}

/// Starts the workers of the domains, which end when the server stops.
fn watch(workers: &mut JoinSet<()>, state: &AppState, cancel: &CancellationToken) {
    let stop = || cancel.clone();
    workers.spawn(measuring::measure(state.clone(), stop()));
    workers.spawn(payments::watch(Arc::clone(&state.payments), stop()));
    workers.spawn(billing::watch(state.subscriptions.clone(), stop()));
    workers.spawn(provisioning::capacity::watch(
        state.instances.clone(),
        stop(),
    ));
    workers.spawn(provisioning::domains::watch(state.domains.clone(), stop()));
    workers.spawn(catalog::waitlist::watch(state.catalog.clone(), stop()));
    workers.spawn(notifications::watch(state.notifications.clone(), stop()));
    workers.spawn(webhooks::watch(state.webhooks.clone(), stop()));
    workers.spawn(bonuses::watch(state.clone(), stop()));
    let (db, clock) = (state.db.clone(), state.clock.clone());
    workers.spawn(idempotency::purge_hourly(db, clock, stop()));
}

/// A server at work.
#[derive(Debug)]
pub struct Running {
    pub address: SocketAddr,
    pub state: AppState,
    /// Ends the work that other servers continue.
    cancel: CancellationToken,
    server: JoinHandle<()>,
    workers: JoinSet<()>,
    identity: Arc<Identity>,
    in_use: Option<Held>,
}

impl App {
    /// Prepares everything and starts to serve, on the port that the configuration names or, for
    /// port 0, on a free one.
    ///
    /// # Errors
    /// As [`App::from_config`], and when the address cannot be listened on.
    pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
        Self::from_config(config, clock).await?.serve().await
    }

    /// Listens, and starts the workers.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn serve(self) -> Result<Running, StartError> {
        telemetry::start_metrics();
        let listen = self.state.config.http.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| StartError::listen(listen, error))?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError::listen(listen, error))?;
        if let Some(sandbox) = &self.state.sandbox {
            sandbox.serves(&self.state.payments, address);
        }
        let (cancel, departure) = (CancellationToken::new(), self.state.departure.clone());
        let config = &self.state.config;
        let server = http::serve(
            listener,
            router(self.state.clone()),
            config.http.connections,
            config.http.trusted_proxies == 0,
            departure.clone(),
        );
        let server = tokio::spawn(server);
        let door = departure.door();
        let mut workers = assistants(&self.state, door);
        workers.spawn(self.worker.run(cancel.clone()));
        watch(&mut workers, &self.state, &cancel);
        let (scheduler, stop) = (Arc::clone(&self.state.scheduler), cancel.clone());
        let door = door.clone();
        workers.spawn(async move {
            if let Err(error) = scheduler::work(scheduler, stop, door).await {
                tracing::error!(%error, "scheduler.failed");
            }
        });
        tracing::info!(server.address = %address, "server.ready");
        Ok(Running {
            address,
            state: self.state,
            server,
            workers,
            identity: self.identity,
            in_use: self.in_use,
            cancel,
        })
    }
}

impl Running {
    /// Serves until SIGTERM or ctrl-c, then stops.
    pub async fn serve_until_stopped(self) {
        start::shutdown_requested().await;
        self.stop().await;
    }

    /// Gives the work to other servers and lets balancers notice, stops accepting requests, lets
    /// running ones and the workers end, closes the database.
    pub async fn stop(mut self) {
        self.state.departure.leave();
        self.cancel.cancel();
        tracing::info!("server.leaving");
        tokio::time::sleep(self.state.config.http.drain_time).await;
        self.state.departure.close();
        self.state.streams.end();
        let last = Instant::now() + start::LAST_GRACE;
        let requests = tokio::time::timeout(start::SHUTDOWN_GRACE, self.server).await;
        if requests.is_err() {
            tracing::warn!("server.requests_cut_off");
        }
        let rest = async {
            while let Some(ended) = self.workers.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "worker.failed");
                }
            }
            self.state.db.close().await;
        };
        // A database that is silent, and does not refuse, would be waited for without end.
        if timeout_at(last, rest).await.is_err() {
            tracing::warn!("server.work_cut_off");
        }
        // Until here no other server on this data folder takes runs, and keys of requests, for those of a dead one.
        drop(self.identity);
        drop(self.in_use);
        tracing::info!("server.stopped");
    }
}

/// Serves until SIGTERM or ctrl-c, with a line on stdout that names the address.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn run(app: App) -> Result<(), StartError> {
    let running = app.serve().await?;
    println!(
        "Dermaga is ready at http://{0} (API: http://{0}/api/docs)",
        running.address
    );
    if let Some(sandbox) = &running.state.sandbox {
        // A program that waited for the line above may have closed its end.
        let _ = writeln!(
            std::io::stdout(),
            "Payments go to a sandbox. Midtrans' own clients reach it at {} with the server key {}",
            Sandbox::base(running.address),
            sandbox.server_key().reveal()
        );
    }
    running.serve_until_stopped().await;
    telemetry::traces::end().await;
    Ok(())
}
