//! Service descriptions that plugins make of a template's settings.

use std::sync::Arc;

use dermaga_runtime::{
    Plugin,
    contract::{Answer, ServiceDescription, Settings},
};

use super::decisions::failed;
use crate::{Code, Error, Result, schema};

/// The service a plugin makes of these settings. Asked off the async threads, once for each
/// settings of a version.
///
/// # Errors
/// `PLUGIN_UNAVAILABLE` when it makes nothing of them, `PLUGIN_BUSY` when too many calls are
/// running, `PLUGIN_FAILED` when it does not answer.
pub async fn describe(plugin: &Plugin, settings: &Settings) -> Result<Arc<ServiceDescription>> {
    // A thread for what is known already costs a request more than all the rest.
    if let Some(known) = plugin.remembered(settings) {
        return Ok(known);
    }
    let (asked, settings) = (plugin.clone(), settings.clone());
    let answer = tokio::task::spawn_blocking(move || asked.describe(&settings))
        .await
        .map_err(Error::internal)?
        .map_err(|error| failed(&error))?;
    match answer {
        Answer::Ok(description) => Ok(description),
        Answer::Problems(problems) => {
            let about = plugin.about();
            let message = format!(
                "The plugin {} {} makes no service of the template's settings.",
                about.id, about.version
            );
            let error = Error::new(Code::PluginUnavailable, message);
            Err(schema::detailed(error, problems, "settings"))
        }
    }
}
