//! `instances secret`: what the manifests in a folder leave out.

use clap::Subcommand;
use dermaga_shop::{Error, db, provisioning};

use super::{CliError, print};
use crate::{app, config::Loaded};

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
    let config = &loaded.config;
    let file = db::file_of(&config.database_url());
    if file.is_some_and(|path| !path.exists()) {
        return Err(CliError::Failed(format!(
            "There is no data in {}: no server has run there. Name its folder with --data-dir, or run this on its machine.",
            config.data_dir.display()
        )));
    }
    let db = app::open_database_as_is(config).await?;
    let vault = app::vault_of_data(config, &db).await?;
    let mut conn = db.read().await.map_err(Error::from)?;
    let manifest = provisioning::secret_manifest(&mut conn, &vault, &name).await;
    drop(conn);
    db.close().await;
    let text = serde_norway::to_string(&manifest?).map_err(Error::internal)?;
    print(&text)
}
