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
    let keys = Keys::master_keys_of_data(&loaded.config).map_err(StartError::from)?;
    let keys = keys.ok_or_else(|| {
        CliError::Failed(format!(
            "There is no data in {}: no server has run there. Name its folder with --data-dir, or run this on its machine.",
            loaded.config.data_dir.display()
        ))
    })?;
    let db = app::open_database_as_is(&loaded.config).await?;
    let mut conn = db.read().await.map_err(Error::from)?;
    let manifest = provisioning::secret_manifest(&mut conn, &Vault::new(&keys), &name).await;
    drop(conn);
    db.close().await;
    let text = serde_norway::to_string(&manifest?).map_err(Error::internal)?;
    print(&text)
}
