//! A loaded component and its calls.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    call::{Called, Usage},
    contract::{About, CONTRACT, CouponDescription, Function, Kind, ServiceDescription},
    digest::Digest,
    error::{CallError, Failure},
};

/// What a component says about what it sells or gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Description {
    Service(ServiceDescription),
    Coupon(CouponDescription),
}

/// A component that is compiled and has said what it is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    digest: Digest,
    about: About,
    description: Description,
    load_usage: Usage,
}

impl Plugin {
    /// SHA-256 of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    pub fn about(&self) -> &About {
        &self.inner.about
    }

    pub fn kind(&self) -> Kind {
        match self.inner.description {
            Description::Service(_) => Kind::Service,
            Description::Coupon(_) => Kind::Coupon,
        }
    }

    /// The contract version the component was built against.
    pub fn contract(&self) -> &'static str {
        CONTRACT
    }

    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    pub fn service_description(&self) -> Option<&ServiceDescription> {
        match &self.inner.description {
            Description::Service(description) => Some(description),
            Description::Coupon(_) => None,
        }
    }

    pub fn coupon_description(&self) -> Option<&CouponDescription> {
        match &self.inner.description {
            Description::Service(_) => None,
            Description::Coupon(description) => Some(description),
        }
    }

    /// What `describe` used when the component was loaded.
    pub fn load_usage(&self) -> &Usage {
        &self.inner.load_usage
    }

    /// Calls one function in a fresh instance under its limits. Blocks until the answer is there,
    /// which is microseconds for most calls and at most the deadline.
    pub fn call<F: Function>(&self, _input: &F::Input) -> Result<Called<F::Output>, CallError> {
        Err(self.failed(F::NAME, Failure::Engine("not connected yet".to_owned())))
    }

    /// The same with JSON on both sides, as decisions are recorded and golden cases are written.
    pub fn call_json(&self, function: &str, _input: &Value) -> Result<Called<Value>, CallError> {
        Err(self.failed(function, Failure::Engine("not connected yet".to_owned())))
    }

    fn failed(&self, function: &str, failure: Failure) -> CallError {
        CallError {
            plugin: self.inner.about.id.clone(),
            version: self.inner.about.version.clone(),
            function: function.to_owned(),
            failure,
            usage: None,
            logs: Vec::new(),
        }
    }
}
