//! Services that a plugin makes: a version is checked with them before it becomes active, also with those that come back
//! on sale with it.

pub(super) mod store;

use dermaga_runtime::Plugin;
use dermaga_toolkit::template::Template;

use self::store::MadeService;
use super::{Registry, keeping::inactivity, vetting};
use crate::{Code, Error, Result, db::Conn};

/// Services of a plugin that one of its versions was checked with.
#[derive(Debug)]
pub(super) struct Checked(Vec<MadeService>);

impl Checked {
    /// Checks a version with these templates, and with the services of its plugin that they do not have: another
    /// server may have made one.
    ///
    /// # Errors
    /// As [`vetting::refuse_faulty`].
    pub(super) async fn with(
        registry: &Registry,
        plugin: &Plugin,
        templates: &[Template],
    ) -> Result<Self> {
        let id = plugin.about().id.as_str();
        let services =
            store::services_of(&mut registry.db().read().await?, id, &inactivity(id)).await?;
        let of_plugin = templates.iter().filter(|template| template.plugin == id);
        let others = services.iter().filter_map(|one| one.unless_in(templates));
        let all: Vec<Template> = of_plugin.cloned().chain(others).collect();
        vetting::refuse_faulty(registry, plugin, &all).await?;
        Ok(Self(services))
    }

    /// Looks at the services again in the transaction that has the lock of the plugin, for which those who make one
    /// wait.
    ///
    /// # Errors
    /// `CONFLICT` when they are others than the version was checked with.
    pub(super) async fn still_holds(&self, conn: &mut Conn, plugin_id: &str) -> Result<()> {
        if store::services_of(conn, plugin_id, &inactivity(plugin_id)).await? == self.0 {
            return Ok(());
        }
        let message = "A service of this plugin has just been changed. Try again.";
        Err(Error::new(Code::Conflict, message).retry_after(1))
    }
}

impl MadeService {
    /// Returns its template, unless that is among these. One that cannot be read is refused by the next reload.
    fn unless_in(&self, templates: &[Template]) -> Option<Template> {
        let text = self.template.as_deref()?;
        let is_it = |other: &Template| other.slug == self.slug && other.source().text == text;
        if templates.iter().any(is_it) {
            return None;
        }
        let file = self.template_file.as_deref().unwrap_or_default();
        Template::parse(file, text).ok()
    }
}
