//! The policy of an instance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::contract::Resources;

/// Bounds on the objects of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Namespace forced on every object.
    pub namespace: String,
    /// Prefix of every object's name, and the value of the label [`INSTANCE_LABEL`].
    pub instance: String,
    /// Owner labels, forced on objects and pod templates besides [`INSTANCE_LABEL`].
    pub labels: BTreeMap<String, String>,
    /// Total resources of the plan.
    pub budget: Resources,
    /// References of images that containers may run, letter for letter.
    pub images: BTreeSet<String>,
    /// Host names that ingresses may claim.
    pub hosts: BTreeSet<String>,
    /// Rules the template relaxes for this service.
    pub exceptions: BTreeSet<Exception>,
    /// Forced on volume claims; `None` leaves the cluster's default.
    pub storage_class: Option<String>,
    /// Forced on ingresses; `None` leaves the cluster's default.
    pub ingress_class: Option<String>,
    /// The Secret object the host writes; plugins may refer to it and never make it.
    pub secret_object: String,
}

/// Label with the instance that an object belongs to; the host forces it into labels and selectors.
pub const INSTANCE_LABEL: &str = "dermaga.dev/instance";

/// Rule of the restricted profile of Pod Security that a template relaxes for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exception {
    /// Containers may run as user 0 and need not set `runAsNonRoot`.
    RunAsRoot,
}
