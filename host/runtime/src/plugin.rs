//! A loaded component and its calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::{
    call::{Called, Usage},
    canonical::canonical_json,
    contract::{
        About, Answer, CouponDescription, DescribeRequest, Description, Function, Kind, Problem,
        ServiceDescription, Settings, Version, service,
    },
    digest::Digest,
    error::{CallError, Failure, LoadError},
    exports::Exports,
    guest::Guest,
    inspect::World,
    limits::{Limits, SizeClass},
    metadata,
    per_core::PerCore,
    texts::Texts,
};

/// Maximum of descriptions remembered for one plugin; a shop has fewer templates for one.
const REMEMBERED: usize = 256;

/// A compiled component with a checked description. Cheap to clone; safe to call from many threads,
/// because every call has its own instance.
#[derive(Debug, Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
    lanes: Arc<PerCore<Lane>>,
}

/// The component on one engine.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) guest: Guest,
    pub(crate) exports: Arc<Exports>,
}

#[derive(Debug)]
struct Inner {
    digest: Digest,
    about: About,
    world: World,
    texts: Texts,
    description: Description,
    /// Descriptions of services by the canonical settings.
    described: Mutex<HashMap<String, Arc<ServiceDescription>>>,
    load_usage: Usage,
}

impl Plugin {
    pub(crate) fn new(
        digest: Digest,
        about: About,
        (world, texts): (World, Texts),
        description: Description,
        load_usage: Usage,
        lanes: PerCore<Lane>,
    ) -> Self {
        let inner = Inner {
            digest,
            about,
            world,
            texts,
            description,
            described: Mutex::default(),
            load_usage,
        };
        Self {
            inner: Arc::new(inner),
            lanes: Arc::new(lanes),
        }
    }

    /// Returns the SHA-256 of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// Returns the same component on this lane only.
    pub(crate) fn on_lane(&self, lane: Lane) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            lanes: Arc::new(PerCore::new(lane, [])),
        }
    }

    pub(crate) fn world(&self) -> World {
        self.inner.world
    }

    /// Returns the guest of the first lane, for properties that all lanes share.
    pub(crate) fn guest(&self) -> &Guest {
        &self.lanes.first().guest
    }

    /// Returns the size of the component's file.
    pub fn component_bytes(&self) -> usize {
        self.guest().component_bytes
    }

    /// Returns the largest size of a component of this plugin's class, in bytes.
    pub fn component_limit(&self) -> usize {
        self.limits().component_bytes_of(self.size_class())
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

    /// Returns the class whose limits its calls have.
    pub fn size_class(&self) -> SizeClass {
        self.guest().size
    }

    /// Returns the same plugin with the limits of another class. The size of its file is not
    /// checked; [`crate::Runtime::load_as`] does that.
    #[must_use]
    pub fn as_class(&self, size: SizeClass) -> Self {
        let lanes = self.lanes.map(|lane| Lane {
            guest: Guest {
                size,
                ..lane.guest.clone()
            },
            exports: Arc::clone(&lane.exports),
        });
        Self {
            inner: Arc::clone(&self.inner),
            lanes: Arc::new(lanes),
        }
    }

    /// Returns the limits of the runtime that loaded it.
    pub fn limits(&self) -> &Limits {
        &self.guest().core.limits
    }

    /// Returns the contract version that the component was built against.
    pub fn contract(&self) -> &'static str {
        self.inner.world.version.as_str()
    }

    /// Returns its sentences in Indonesian.
    pub fn texts(&self) -> &Texts {
        &self.inner.texts
    }

    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Describes a service under these settings of its template: called once, then remembered.
    /// Blocks as [`Plugin::call`] does.
    ///
    /// # Errors
    /// When the call fails, or the description is not acceptable.
    pub fn describe(
        &self,
        settings: &Settings,
    ) -> Result<Answer<Arc<ServiceDescription>>, CallError> {
        if self.inner.world.version < Version::V0_2 && !settings.is_empty() {
            return Ok(Answer::Problems(vec![unheard(self.inner.world.version)]));
        }
        let key = settings_key(settings);
        if let Some(known) = self.described().get(&key) {
            return Ok(Answer::Ok(Arc::clone(known)));
        }
        let request = DescribeRequest {
            settings: settings.clone(),
        };
        let description = match self.call::<service::Describe>(&request)?.value {
            Answer::Problems(problems) => return Ok(Answer::Problems(problems)),
            Answer::Ok(description) => Arc::new(description),
        };
        metadata::check_service(&description).map_err(|error| {
            self.guest()
                .failed(service::Describe::NAME, malformed(error))
        })?;
        let mut described = self.described();
        if described.len() >= REMEMBERED {
            described.clear();
        }
        described.insert(key, Arc::clone(&description));
        Ok(Answer::Ok(description))
    }

    /// Returns the description under these settings, if [`Plugin::describe`] made it before. Does not block.
    pub fn remembered(&self, settings: &Settings) -> Option<Arc<ServiceDescription>> {
        self.described().get(&settings_key(settings)).cloned()
    }

    fn described(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ServiceDescription>>> {
        self.inner
            .described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn coupon_description(&self) -> Option<&CouponDescription> {
        match &self.inner.description {
            Description::Service(_) => None,
            Description::Coupon(description) => Some(description),
        }
    }

    /// Returns the resources that `describe` used when the component was loaded.
    pub fn load_usage(&self) -> &Usage {
        &self.inner.load_usage
    }

    /// Calls one function in a fresh instance under its limits. Blocks until the answer arrives,
    /// which takes microseconds for most calls and at most the deadline.
    pub fn call<F: Function>(&self, input: &F::Input) -> Result<Called<F::Output>, CallError> {
        let Lane { guest, exports } = self.lanes.here();
        exports.bound::<F>(guest)?.call(guest, input)
    }

    /// Calls a function with JSON on both sides, as in recorded decisions and golden cases.
    /// `describe` takes `null`.
    pub fn call_json(&self, function: &str, input: &Value) -> Result<Called<Value>, CallError> {
        let Lane { guest, exports } = self.lanes.here();
        exports.call_json(guest, function, input)
    }
}

/// Returns the key under which the description of a service with these settings is remembered.
fn settings_key(settings: &Settings) -> String {
    canonical_json(&Value::Object(settings.clone()))
}

/// Returns the problem of settings that an old contract version cannot take.
fn unheard(version: Version) -> Problem {
    let message = format!(
        "This version of the plugin was built against contract {version}, which knows no settings: remove them, or install a newer version."
    );
    Problem {
        field: String::new(),
        message,
    }
}

fn malformed(error: LoadError) -> Failure {
    match error {
        LoadError::BadMetadata { field, message } => Failure::MalformedOutput { field, message },
        other => Failure::Engine(other.to_string()),
    }
}
