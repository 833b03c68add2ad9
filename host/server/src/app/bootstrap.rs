//! Stock found at start: plugin components and service templates.

use std::path::{Path, PathBuf};

use dermaga_shop::{
    Error,
    catalog::{self, Templates},
    db::{Clock, Db},
    plugins,
};
use dermaga_toolkit::build::{self, BuildError};

use super::StartError;
use crate::{config::Config, terminal::BuildProgress};

/// Name of the folder of service templates where no setting names one.
const TEMPLATES: &str = "service-templates";
/// Heading of the failure when templates cannot be loaded.
const LOADING: &str = "the service templates cannot be loaded";

/// Finds the service templates.
///
/// # Errors
/// When the setting names no folder.
pub fn find_templates(config: &Config) -> Result<Templates, StartError> {
    let folder = folder(
        "DERMAGA_TEMPLATES_DIR",
        config.templates_dir.as_deref(),
        TEMPLATES,
    )?;
    Ok(Templates::of(folder))
}

/// Finds the folder of plugins that a start installs.
///
/// # Errors
/// When the setting names no folder.
pub fn find_plugins(config: &Config) -> Result<Option<PathBuf>, StartError> {
    let named = config.plugins_dir.as_deref();
    folder("DERMAGA_PLUGINS_DIR", named, "plugins")
}

/// Plugins first: a template sells what a plugin makes, and is put to its check.
pub(super) async fn install(
    config: &Config,
    db: &Db,
    clock: &Clock,
    registry: &plugins::Registry,
    templates: &Templates,
) -> Result<(), StartError> {
    let offered = templates
        .on_offer(db)
        .await
        .map_err(StartError::failed(LOADING))?;
    if let Some(folder) = find_plugins(config)? {
        for folder in with_built(folder, config).await? {
            plugins::install_folder(registry, &folder, &offered)
                .await
                .map_err(StartError::failed("the plugins cannot be installed"))?;
        }
    }
    registry
        .refresh()
        .await
        .map_err(StartError::failed("the plugins cannot be loaded"))?;
    catalog::load_at_start(templates, registry, db, clock)
        .await
        .map_err(StartError::failed(LOADING))?;
    if templates.current().is_empty() {
        tracing::warn!("catalog.empty: {}", nothing_to_sell(templates.folder()));
    }
    Ok(())
}

/// Says why a shop sells nothing, and what to do.
fn nothing_to_sell(folder: Option<&Path>) -> String {
    let Some(folder) = folder else {
        return format!(
            "there is no folder `{TEMPLATES}` beside the program or in the working folder, so that no service is sold. \
             Make it, or name another with DERMAGA_TEMPLATES_DIR, and start again"
        );
    };
    format!(
        "no template in {} can be sold. Put one there, or name another folder with DERMAGA_TEMPLATES_DIR; \
         `dermaga doctor` says what is wrong with those that are there",
        folder.display()
    )
}

/// The folder, and where the plugin crates in it are built to, when there are any.
async fn with_built(folder: PathBuf, config: &Config) -> Result<Vec<PathBuf>, StartError> {
    let out = components_of(&folder, config);
    let task = tokio::task::spawn_blocking(move || {
        let progress = BuildProgress::new(|line: &str| tracing::info!("plugins: {line}"));
        let report = build::ensure_built(&folder, &out, &progress)?;
        let built = (!report.plugins.is_empty()).then_some(out);
        Ok::<_, BuildError>(std::iter::once(folder).chain(built).collect())
    });
    let joined = task.await.map_err(|error| {
        StartError::failed("the plugins cannot be built")(Error::internal(error))
    })?;
    Ok(joined?)
}

/// A checkout keeps what it builds in its `target`; plugin crates anywhere else are built into the
/// data folder.
fn components_of(folder: &Path, config: &Config) -> PathBuf {
    let checkout = folder
        .parent()
        .filter(|parent| parent.join("Cargo.lock").is_file());
    checkout.map_or_else(
        || config.data_dir.join("components"),
        |checkout| checkout.join("target/components"),
    )
}

/// The folder a setting names; else the one of this name beside the binary, in the working folder,
/// or in the checkout whose `target` the binary lies in.
fn folder(
    setting: &'static str,
    named: Option<&Path>,
    name: &str,
) -> Result<Option<PathBuf>, StartError> {
    if let Some(path) = named {
        if path.is_dir() {
            return Ok(Some(path.to_owned()));
        }
        return Err(StartError::NoFolder {
            setting,
            path: path.to_owned(),
        });
    }
    let binary = std::env::current_exe().ok();
    let beside = binary.as_deref().and_then(Path::parent);
    let checkout = beside.and_then(Path::parent).and_then(Path::parent);
    let working = std::env::current_dir().ok();
    let places = [beside, working.as_deref(), checkout];
    Ok(places
        .into_iter()
        .flatten()
        .map(|place| place.join(name))
        .find(|path| path.is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_without_services_names_the_folder_and_the_setting() {
        let missing = nothing_to_sell(None);
        assert!(missing.contains("`service-templates`"), "{missing}");
        let empty = nothing_to_sell(Some(Path::new("/shop/templates")));
        assert!(empty.contains("/shop/templates"), "{empty}");
        for told in [missing, empty] {
            assert!(told.contains("DERMAGA_TEMPLATES_DIR"), "{told}");
        }
    }
}
