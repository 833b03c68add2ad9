//! Contract version 0.2.0: its bindings and the conversions to the types of [`crate::contract`].
//!
//! This is the newest version. An older one has a module of its own that uses these bindings for
//! all that is the same in both: wasmtime compares types by their structure, not by their names.

mod convert;
pub(crate) mod coupon;
pub(crate) mod service;
mod wit;

use wasmtime::component::Linker;

use crate::{
    call::LogLevel,
    contract::Kind,
    error::LoadError,
    exports::{AboutFunction, Binder, Bindings},
    guest::Guest,
    store::{self, Host},
};

pub(crate) use self::{
    convert::text,
    wit::{Level, service as service_types, types},
};

/// Links the one import of components of this version.
pub(crate) fn connect(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    store::connect_log::<Level>(linker, "dermaga:plugin/log@0.2.0")
}

/// Finds and type-checks all functions of a component.
pub(crate) fn bind(guest: &Guest, kind: Kind) -> Result<Bindings, LoadError> {
    let mut binder = Binder::of(guest)?;
    let about = about(&mut binder, "dermaga:plugin/metadata@0.2.0")?;
    match kind {
        Kind::Service => service::bind(&mut binder)?,
        Kind::Coupon => coupon::bind(&mut binder, "dermaga:plugin/coupon@0.2.0")?,
    }
    Ok(binder.into_bindings(about))
}

/// Binds `metadata.about` of the interface of this name.
pub(crate) fn about(binder: &mut Binder<'_>, name: &str) -> Result<AboutFunction, LoadError> {
    let metadata = binder.interface(name)?;
    let about = binder.function(
        &metadata,
        "about",
        |()| (),
        |(about,): (types::Identity,)| Ok(about.into()),
    )?;
    Ok(AboutFunction(about))
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
