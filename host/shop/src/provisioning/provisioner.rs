//! Targets of instances: a cluster, or a folder of manifests.

use std::path::PathBuf;

use serde_json::Value;

use super::{
    directory::{Directory, DirectoryError},
    kubernetes::Kubernetes,
    model::Instance,
};
use crate::cluster::{Cluster, ClusterError, Contested, LiveObjects, ObjectRef, Tenant};

/// Provisioner that an operator chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Kubernetes when a cluster answers at start, else a folder.
    #[default]
    Auto,
    Kubernetes,
    Directory,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kubernetes" => Ok(Self::Kubernetes),
            "directory" => Ok(Self::Directory),
            other => Err(format!("`{other}` is none of: auto, kubernetes, directory")),
        }
    }
}

/// Instance to set up, rendered and gated.
#[derive(Debug)]
pub struct Release<'a> {
    pub tenant: &'a Tenant,
    /// Name of the instance.
    pub instance: &'a str,
    pub objects: &'a [Value],
    /// Objects that earlier releases may have left.
    pub previous: &'a [ObjectRef],
    /// Hash of its status and all that this was decided from, but the objects in the cluster.
    pub status: u64,
}

/// Result of applying a release.
#[derive(Debug)]
pub struct Outcome {
    pub observed: Observed,
    /// Objects whose kind the cluster does not serve.
    pub left_out: Vec<ObjectRef>,
    /// Fields that another controller changed, and that were changed back.
    pub contested: Vec<Contested>,
}

/// Returns everything that may exist after a release that failed half-way.
pub(super) fn union(mut rendered: Vec<ObjectRef>, previous: &[ObjectRef]) -> Vec<ObjectRef> {
    let missing: Vec<_> = previous
        .iter()
        .filter(|object| !rendered.contains(object))
        .cloned()
        .collect();
    rendered.extend(missing);
    rendered
}

impl Outcome {
    pub(super) const fn of(observed: Observed) -> Self {
        Self {
            observed,
            left_out: Vec::new(),
            contested: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub enum Observed {
    /// Nothing changed since its status was decided.
    Unchanged,
    Live(LiveObjects),
    /// Files in a folder, whose further state is unknown, and the store that Secrets are made from where one
    /// is named.
    Written(Option<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("writing the manifests stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// A place for instances. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Provisioner {
    Kubernetes(Kubernetes),
    Directory(Directory),
}

impl Provisioner {
    /// Resolves the choice; `auto` asks the cluster once. When it is away and instances were
    /// applied to it before (`lives_in_cluster`), they wait for it: written to a folder, they would
    /// seem to be provisioned, or removed, and would not be.
    ///
    /// # Errors
    /// When Kubernetes was chosen and no configuration for it is there. A cluster that does not
    /// answer is no error: it may come back.
    pub async fn select(
        choice: Choice,
        kubeconfig: Option<PathBuf>,
        directory: Directory,
        lives_in_cluster: bool,
    ) -> Result<Self, ClusterError> {
        if choice == Choice::Directory {
            return Ok(Self::Directory(directory));
        }
        let cluster = match Cluster::connect(kubeconfig.as_deref()).await {
            Ok(cluster) => cluster,
            Err(error) if choice == Choice::Kubernetes => return Err(error),
            Err(_) => return Ok(Self::Directory(directory)),
        };
        if choice == Choice::Auto
            && let Err(error) = cluster.probe().await
        {
            tracing::warn!(cluster.url = cluster.url(), lives_in_cluster, %error, "provisioner.cluster_away_at_start");
            if !lives_in_cluster {
                return Ok(Self::Directory(directory));
            }
        }
        Ok(Self::Kubernetes(Kubernetes::new(cluster)))
    }

    /// `kubernetes` or `directory`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Directory(_) => "directory",
        }
    }

    /// Address of the API server, or the folder.
    pub fn place(&self) -> String {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.cluster().url().to_owned(),
            Self::Directory(directory) => directory.root().display().to_string(),
        }
    }

    pub const fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Kubernetes(kubernetes) => Some(kubernetes.cluster()),
            Self::Directory(_) => None,
        }
    }

    /// Checks that the data of an instance is there, as far as its manifests ask for it.
    ///
    /// # Errors
    /// [`ClusterError::DataLost`] when it is not, or when the cluster is away.
    pub(super) async fn check_claims(
        &self,
        seen: &Instance,
        manifests: &[Value],
    ) -> Result<(), ClusterError> {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.check_claims(seen, manifests).await,
            Self::Directory(_) => Ok(()),
        }
    }

    /// Brings a customer's namespace in a cluster to its desired state.
    ///
    /// # Errors
    /// When the cluster is away or refuses.
    pub async fn prepare(&self, tenant: &Tenant) -> Result<(), ClusterError> {
        match self.cluster() {
            Some(cluster) => cluster.prepare_namespace(tenant).await,
            None => Ok(()),
        }
    }

    /// Remembers that nothing of an instance is under way: its objects of this digest lead to this
    /// status.
    pub fn settle(&self, namespace: &str, instance: &str, digest: u64, status: u64) {
        if let Some(cluster) = self.cluster() {
            cluster.settle(namespace, instance, digest, status);
        }
    }

    /// Applies an instance as rendered.
    ///
    /// # Errors
    /// When the cluster or the disk refuses; trying again is safe.
    pub async fn apply(&self, release: &Release<'_>) -> Result<Outcome, ProvisionError> {
        match self {
            Self::Kubernetes(kubernetes) => Ok(kubernetes.apply(release).await?),
            Self::Directory(directory) => {
                let store = directory.secret_store().map(str::to_owned);
                let (tenant, instance) = (release.tenant.clone(), release.instance.to_owned());
                let objects = release.objects.to_vec();
                let written = directory.work(move |directory, cut_off| {
                    directory.write(&tenant, &instance, &objects, cut_off)
                });
                written.await??;
                Ok(Outcome::of(Observed::Written(store)))
            }
        }
    }

    /// Waits until nothing is written into a folder any more for passes that were cut off.
    pub(super) async fn idle(&self) {
        if let Self::Directory(directory) = self {
            directory.idle().await;
        }
    }

    /// Stops the workloads of an instance when its objects cannot be rendered or are refused: an
    /// unpaid instance must not run. A folder stays as it is.
    ///
    /// # Errors
    /// When the cluster is away or refuses.
    pub async fn stop(&self, namespace: &str, instance: &str) -> Result<(), ClusterError> {
        match self {
            Self::Kubernetes(kubernetes) => {
                kubernetes
                    .cluster()
                    .scale_to_zero(namespace, instance)
                    .await
            }
            Self::Directory(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_earlier_releases_follow_those_of_this_one_once() {
        let of = |names: &[&str]| -> Vec<ObjectRef> {
            let names = names.iter();
            names
                .map(|name| ObjectRef::new("v1", "Service", name))
                .collect()
        };
        let cases: [[&[&str]; 3]; 4] = [
            [&["a", "b"], &[], &["a", "b"]],
            [&[], &["a"], &["a"]],
            [&["b", "a"], &["a", "c"], &["b", "a", "c"]],
            [&["a"], &["a"], &["a"]],
        ];
        for [rendered, previous, all] in cases {
            assert_eq!(union(of(rendered), &of(previous)), of(all));
        }
        // The same name in another kind is another object.
        let claim = vec![ObjectRef::new("v1", "PersistentVolumeClaim", "a")];
        assert_eq!(union(of(&["a"]), &claim).len(), 2);
    }

    #[test]
    fn a_choice_is_a_word_in_lower_case() {
        for (word, choice) in [
            ("auto", Some(Choice::Auto)),
            ("kubernetes", Some(Choice::Kubernetes)),
            ("directory", Some(Choice::Directory)),
            ("Auto", None),
            ("", None),
        ] {
            assert_eq!(word.parse::<Choice>().ok(), choice, "{word:?}");
        }
    }
}
