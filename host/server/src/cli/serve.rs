//! `serve`, `migrate` and `openapi`.

use std::path::PathBuf;

use clap::Args;
use dermaga_shop::db::Clock;

use super::{CliError, print};
use crate::{
    app::{self, App},
    config::{Config, Loaded},
};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port; port 0 picks a free one [env: DERMAGA_LISTEN] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Folder of plugins to install at start [env: DERMAGA_PLUGINS_DIR] [default: beside the binary
    /// or in the checkout]
    #[arg(long, value_name = "FOLDER")]
    plugins_dir: Option<PathBuf>,
    /// Folder of service templates [env: DERMAGA_TEMPLATES_DIR] [default: beside the binary or in
    /// the checkout]
    #[arg(long, value_name = "FOLDER")]
    templates_dir: Option<PathBuf>,
    /// Place of instances: auto, kubernetes or directory [env: DERMAGA_PROVISIONER] [default: auto]
    #[arg(long, value_name = "NAME")]
    provisioner: Option<String>,
    /// Take payments through a sandbox that this server plays itself. Refused in production.
    #[arg(long)]
    dev: bool,
}

impl ServeArgs {
    pub(super) fn flags(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let given = [
            ("listen", self.listen.clone()),
            ("plugins_dir", path(&self.plugins_dir)),
            ("templates_dir", path(&self.templates_dir)),
            ("provisioner", self.provisioner.clone()),
            ("payments.sandbox", self.dev.then(|| "true".to_owned())),
        ];
        given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

pub(super) async fn serve(loaded: Loaded) -> Result<(), CliError> {
    let clock = clock(&loaded.config);
    let app = App::from_config(loaded.config, clock).await?;
    Ok(app::run(app).await?)
}

/// The system's clock, or one that a rehearsal may move.
fn clock(config: &Config) -> Clock {
    let is_rehearsal = config.payments.sandbox || config.clock.is_some();
    if config.is_production() || !is_rehearsal {
        return Clock::system();
    }
    Clock::movable()
}

pub(super) async fn migrate(loaded: Loaded) -> Result<(), CliError> {
    let mut config = loaded.config;
    config.migrate = true;
    let db = app::open_database(&config).await?;
    db.close().await;
    print(&format!(
        "The {} database is up to date.\n",
        db.engine_name()
    ))
}

pub(super) fn print_openapi() -> Result<(), CliError> {
    print(&crate::api::openapi_json().map_err(|error| CliError::Failed(error.to_string()))?)
}
