//! Connection to a cluster, and its probe.

use std::{fmt, future::Future, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tokio::{sync::OnceCell, time::timeout};
use tower::layer::layer_fn;

use super::{
    ClusterError, creation::Creations, discovery::Served, known::Known, measured::Measured,
    walls::Walls,
};
use crate::text;

/// Time to answer the version, beyond which a cluster counts as away.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for every call but a watch, beyond which the cluster counts as away.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A Kubernetes cluster. Cheap to clone; connections are made when they are needed, so that it
/// works again by itself after the API server was away.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Client,
    pub(super) served: Arc<ArcSwapOption<Served>>,
    pub(super) walls: Walls,
    pub(super) known: Known,
    pub(super) creations: Creations,
    pub(super) subject: Arc<OnceCell<Option<Value>>>,
    /// As it is shown.
    url: Arc<str>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads how to reach the cluster: the kubeconfig file named, else the one in the usual places,
    /// else the service account of the pod this runs in. Contacts nothing yet.
    ///
    /// # Errors
    /// [`ClusterError::NotConfigured`] when none of them is there or usable.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, ClusterError> {
        let not_configured =
            |error: &dyn fmt::Display| ClusterError::NotConfigured(error.to_string());
        let mut config = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| not_configured(&error))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| not_configured(&error))?
            }
            None => Config::infer()
                .await
                .map_err(|error| not_configured(&error))?,
        };
        config.connect_timeout = Some(PROBE_TIMEOUT);
        let url = text::without_secrets(&config.cluster_url.to_string());
        let client = ClientBuilder::try_from(config).map_err(|error| not_configured(&error))?;
        let client = client.with_layer(&layer_fn(Measured::new)).build();
        Ok(Self::of(client, url.into()))
    }

    /// Reaches a cluster by a client.
    pub(super) fn of(client: Client, url: Arc<str>) -> Self {
        Self {
            client,
            served: Arc::default(),
            walls: Walls::default(),
            known: Known::default(),
            creations: Creations::default(),
            subject: Arc::default(),
            url,
        }
    }

    /// Address of the API server, as it is shown.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks the API server for its version, such as `v1.33.4`, within [`PROBE_TIMEOUT`].
    ///
    /// # Errors
    /// When it does not, or does not let us in.
    pub async fn probe(&self) -> Result<String, ClusterError> {
        let version = timeout(PROBE_TIMEOUT, self.client.apiserver_version())
            .await
            .map_err(|_| silent(PROBE_TIMEOUT))?
            .map_err(|error| ClusterError::of(error, "the version"))?;
        Ok(version.git_version)
    }

    /// Bounds a call and names what it was about when it fails.
    pub(super) async fn call<T>(
        &self,
        object: impl fmt::Display,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        timeout(CALL_TIMEOUT, call)
            .await
            .map_err(|_| silent(CALL_TIMEOUT))?
            .map_err(|error| ClusterError::of(error, &object.to_string()))
    }
}

fn silent(limit: Duration) -> ClusterError {
    ClusterError::Unreachable(format!("it was silent for {} s", limit.as_secs()))
}
