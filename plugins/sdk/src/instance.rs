//! Helpers for the instance that a plugin renders.

use crate::service::{ImageSpec, Instance, Problem, ServiceDescription, Value};

/// A key of the Secret object in which the host keeps the instance's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    pub(crate) object: String,
    pub(crate) key: String,
}

impl Instance {
    /// Returns the name of one of the instance's objects: `<instance>-<component>`.
    pub fn object_name(&self, component: &str) -> String {
        format!("{}-{component}", self.name)
    }

    /// Returns the reference of the image in force under this name.
    ///
    /// # Errors
    /// When neither the plugin nor the template names such an image.
    pub fn image(&self, name: &str) -> Result<&str, Problem> {
        self.images
            .iter()
            .find(|image| image.name == name)
            .map(|image| image.reference.as_str())
            .ok_or_else(|| Problem::new("/images", format!("There is no image named `{name}`.")))
    }

    /// Returns the secret of this name, for a `secretKeyRef`.
    ///
    /// # Errors
    /// When the host did not generate it.
    pub fn secret(&self, name: &str) -> Result<SecretKey, Problem> {
        if !self.secrets.iter().any(|secret| secret == name) {
            return Err(Problem::new(
                "/secrets",
                format!("There is no secret named `{name}`."),
            ));
        }
        Ok(SecretKey {
            object: self.secret_object.clone(),
            key: name.to_owned(),
        })
    }

    /// Returns the host name under which customers reach the instance.
    ///
    /// # Errors
    /// When the instance has none.
    pub fn public_hostname(&self) -> Result<&str, Problem> {
        self.hostname
            .as_deref()
            .ok_or_else(|| Problem::new("/hostname", "This service needs a public host name."))
    }

    /// Returns `https://<hostname>`, when the instance has a host name.
    pub fn public_url(&self) -> Option<String> {
        self.hostname
            .as_deref()
            .map(|hostname| format!("https://{hostname}"))
    }
}

impl ImageSpec {
    /// Names an image; `reference` has a tag other than `latest`, or a digest.
    pub fn pinned(name: &str, reference: &str) -> Self {
        Self {
            name: name.to_owned(),
            reference: Some(reference.to_owned()),
        }
    }

    /// Names an image that only the template can choose.
    pub fn chosen_by_template(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reference: None,
        }
    }
}

impl ServiceDescription {
    /// Builds a description with this configuration schema and nothing else.
    pub fn new(config_schema: &Value) -> Self {
        Self {
            config_schema: config_schema.to_string(),
            secrets: Vec::new(),
            endpoints: Vec::new(),
            images: Vec::new(),
        }
    }
}
