//! `demo`.

use std::path::Path;

use clap::Args;

use super::CliError;
use crate::{
    config::Loaded,
    demo::{self, DemoError},
};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Address and port; port 0 picks a free one [env: DERMAGA_LISTEN] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Place of instances: auto, kubernetes or directory [env: DERMAGA_PROVISIONER] [default: auto]
    #[arg(long, value_name = "NAME")]
    provisioner: Option<String>,
    /// Stop after the purchase instead of serving on.
    #[arg(long)]
    pub(super) exit: bool,
}

impl DemoArgs {
    pub(super) fn flags(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("listen", self.listen.clone()),
            ("provisioner", self.provisioner.clone()),
            ("payments.sandbox", Some("true".to_owned())),
        ];
        given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

pub(super) async fn demo(loaded: Loaded, file: Option<&Path>, exit: bool) -> Result<(), CliError> {
    Box::pin(demo::run(loaded.config, file, exit))
        .await
        .map_err(|error| match error {
            DemoError::Start(error) => error.into(),
            other => CliError::Failed(other.to_string()),
        })
}
