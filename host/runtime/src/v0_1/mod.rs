//! Contract version 0.1.0, for plugins built against it: only its differences from
//! [`v0_2`](crate::v0_2), whose bindings serve for everything that is the same in both.

mod service;

use wasmtime::component::Linker;

use crate::{
    contract::Kind,
    error::LoadError,
    exports::{Binder, Bindings},
    guest::Guest,
    store::{self, Host},
    v0_2,
};

/// Links the one import of components of this version.
pub(crate) fn connect(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    store::connect_log::<v0_2::Level>(linker, "dermaga:plugin/log@0.1.0")
}

/// Finds and type-checks all functions of a component.
pub(crate) fn bind(guest: &Guest, kind: Kind) -> Result<Bindings, LoadError> {
    let mut binder = Binder::of(guest)?;
    let about = v0_2::about(&mut binder, "dermaga:plugin/metadata@0.1.0")?;
    match kind {
        Kind::Service => service::bind(&mut binder)?,
        Kind::Coupon => v0_2::coupon::bind(&mut binder, "dermaga:plugin/coupon@0.1.0")?,
    }
    Ok(binder.into_bindings(about))
}
