//! `instances secret`: what the manifests in a folder leave out.

use clap::Subcommand;
use dermaga_shop::{Error, crypto::Vault, provisioning};

use super::{CliError, print};
use crate::{
    app,
    app::StartError,
    config::{Keys, Loaded},
};

#[derive(Debug, Clone, Subcommand)]
pub(super) enum InstanceCommand {
    /// Print the Secret object of an instance with its values, as YAML for `kubectl apply -f -`.
    ///
    /// With the directory provisioner the values of secrets are never written into the folder;
    /// this is how they get into a cluster.
    Secret {
        /// The instance's name, such as n8n-k3v9x2ab.
        name: String,
    },
}

pub(super) async fn run(loaded: Loaded, command: InstanceCommand) -> Result<(), CliError> {
    let InstanceCommand::Secret { name } = command;
    let keys = Keys::obtain(&loaded.config).map_err(StartError::from)?;
    let db = app::open_database_as_is(&loaded.config).await?;
    let mut conn = db.read().await.map_err(Error::from)?;
    let manifest =
        provisioning::secret_manifest(&mut conn, &Vault::new(&keys.master_keys), &name).await;
    drop(conn);
    db.close().await;
    let text = serde_norway::to_string(&manifest?).map_err(Error::internal)?;
    print(&text)
}
