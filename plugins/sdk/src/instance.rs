//! What a plugin asks of the instance it renders.

use crate::service::{ImageSpec, Instance, Problem, ServiceDescription, Value};

/// A key of the Secret object in which the host keeps the instance's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    pub(crate) object: String,
    pub(crate) key: String,
}

impl Instance {
    /// Name of one of the instance's objects: `<instance>-<component>`.
    pub fn object_name(&self, component: &str) -> String {
        format!("{}-{component}", self.name)
    }

    /// Reference of the image in force under this name.
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

    /// The secret of this name, to be referred to by `secretKeyRef`.
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

    /// The host name under which customers reach the instance.
    ///
    /// # Errors
    /// When it has none.
    pub fn public_hostname(&self) -> Result<&str, Problem> {
        self.hostname
            .as_deref()
            .ok_or_else(|| Problem::new("/hostname", "This service needs a public host name."))
    }

    /// `https://<hostname>`, when it has one.
    pub fn public_url(&self) -> Option<String> {
        self.hostname
            .as_deref()
            .map(|hostname| format!("https://{hostname}"))
    }
}

impl ImageSpec {
    /// `reference` carries a tag that is not `latest`, or a digest.
    pub fn pinned(name: &str, reference: &str) -> Self {
        Self {
            name: name.to_owned(),
            reference: Some(reference.to_owned()),
        }
    }

    /// An image that only the template can choose.
    pub fn chosen_by_template(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reference: None,
        }
    }
}

impl ServiceDescription {
    /// A service with this configuration schema and nothing else yet.
    pub fn new(config_schema: &Value) -> Self {
        Self {
            config_schema: config_schema.to_string(),
            secrets: Vec::new(),
            endpoints: Vec::new(),
            images: Vec::new(),
        }
    }
}
