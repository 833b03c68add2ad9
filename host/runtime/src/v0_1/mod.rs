//! Contract version 0.1.0: its bindings, and how its types become those of [`crate::contract`].

mod coupon;
mod service;
mod types;

use wasmtime::component::Linker;

use crate::{
    call::{Called, LogLevel},
    contract::{About, Kind, LimitClass},
    error::{CallError, LoadError},
    exports::{Binder, Exports},
    guest::{Guest, Host, Invoke},
    log,
};

/// Only the types are used: calls go through [`crate::exports`], which checks a function's type
/// once, when the component is loaded, instead of all functions' at every call.
mod wit {

    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package dermaga:host;
            world plugin {
                include dermaga:plugin/service-plugin@0.1.0;
                include dermaga:plugin/coupon-plugin@0.1.0;
            }
        ",
    });

    pub(super) use self::{
        dermaga::plugin::{log, types},
        exports::dermaga::plugin::{coupon, service},
    };
}

/// The functions of one component.
pub(crate) struct Bindings {
    pub(crate) about: AboutFunction,
    pub(crate) exports: Exports,
}

/// `metadata.about`, which has no place among the functions callers choose from.
pub(crate) struct AboutFunction(Box<Invoke<(), About>>);

impl AboutFunction {
    pub(crate) fn call(&self, guest: &Guest) -> Result<Called<About>, CallError> {
        guest.run("about", LimitClass::Quick, |store, instance| {
            (self.0)(store, instance, &())
        })
    }
}

/// Gives components of this version their one import.
pub(crate) fn connect(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    log::connect::<wit::log::Level>(linker, "dermaga:plugin/log@0.1.0")
}

/// Finds and type-checks all functions of a component.
pub(crate) fn bind(guest: &Guest, kind: Kind) -> Result<Bindings, LoadError> {
    let mut binder = Binder::of(guest)?;
    let metadata = binder.interface("dermaga:plugin/metadata@0.1.0")?;
    let about = binder.function(
        &metadata,
        "about",
        |()| (),
        |(about,): (wit::types::Identity,)| Ok(about.into()),
    )?;
    match kind {
        Kind::Service => service::bind(&mut binder)?,
        Kind::Coupon => coupon::bind(&mut binder)?,
    }
    Ok(Bindings {
        about: AboutFunction(about),
        exports: binder.into_exports(),
    })
}

impl From<wit::log::Level> for LogLevel {
    fn from(level: wit::log::Level) -> Self {
        match level {
            wit::log::Level::Debug => Self::Debug,
            wit::log::Level::Info => Self::Info,
            wit::log::Level::Warn => Self::Warn,
            wit::log::Level::Error => Self::Error,
        }
    }
}
