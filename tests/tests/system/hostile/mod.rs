//! Plugins, templates and clients that mean harm or fail.

pub(crate) mod addresses;
pub(crate) mod contracts;
pub(crate) mod failing_plugins;
pub(crate) mod manifests;
pub(crate) mod plugins_and_requests;
pub(crate) mod refused_templates;
pub(crate) mod secrets;
pub(crate) mod strangers;
