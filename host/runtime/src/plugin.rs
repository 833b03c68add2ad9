//! A loaded component and its calls.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    call::{Called, Usage},
    contract::{
        About, CONTRACT, CouponDescription, Function, Kind, ServiceDescription, coupon, service,
    },
    digest::Digest,
    error::{CallError, Failure},
    exports::{Bound, Exports},
    guest::Guest,
};

/// What a component says about what it sells or gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Description {
    Service(ServiceDescription),
    Coupon(CouponDescription),
}

/// A component that is compiled and has said what it is. Cheap to clone; safe to call from many
/// threads, because every call has its own instance.
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
    guest: Guest,
    exports: Exports,
}

impl Plugin {
    pub(crate) fn new(
        digest: Digest,
        about: About,
        description: Description,
        load_usage: Usage,
        guest: Guest,
        exports: Exports,
    ) -> Self {
        let inner = Inner {
            digest,
            about,
            description,
            load_usage,
            guest,
            exports,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

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
    pub fn call<F: Function>(&self, input: &F::Input) -> Result<Called<F::Output>, CallError> {
        let Inner { guest, exports, .. } = &*self.inner;
        bound::<F>(guest, exports)?.call(guest, input)
    }

    /// The same with JSON on both sides, as decisions are recorded and golden cases are written.
    /// `describe` takes `null`.
    pub fn call_json(&self, function: &str, input: &Value) -> Result<Called<Value>, CallError> {
        let Inner { guest, exports, .. } = &*self.inner;
        exports
            .call_json(guest, function, input)
            .unwrap_or_else(|| Err(guest.failed(function, unknown(exports))))
    }
}

fn bound<'a, F: Function>(guest: &Guest, exports: &'a Exports) -> Result<&'a Bound<F>, CallError> {
    exports
        .typed::<F>()
        .ok_or_else(|| guest.failed(F::NAME, unknown(exports)))
}

fn unknown(exports: &Exports) -> Failure {
    Failure::UnknownFunction {
        known: exports.names(),
    }
}

/// What a component said when it was asked to describe itself.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) description: Description,
    pub(crate) usage: Usage,
}

impl Told {
    pub(crate) fn ask(guest: &Guest, exports: &Exports, kind: Kind) -> Result<Self, CallError> {
        Ok(match kind {
            Kind::Service => {
                let told = bound::<service::Describe>(guest, exports)?.call(guest, &())?;
                Self {
                    description: Description::Service(told.value),
                    usage: told.usage,
                }
            }
            Kind::Coupon => {
                let told = bound::<coupon::Describe>(guest, exports)?.call(guest, &())?;
                Self {
                    description: Description::Coupon(told.value),
                    usage: told.usage,
                }
            }
        })
    }
}
