//! The functions of a loaded component: found and type-checked once, called by type or by name.

use std::{any::Any, collections::BTreeMap, fmt};

use serde_json::Value;
use wasmtime::{
    Store,
    component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower},
};

use crate::{
    call::Called,
    call_permits::CallPermit,
    check_output::Malformed,
    contract::{About, Function, LimitClass},
    error::{CallError, Failure, LoadError},
    guest::{Guest, Invoke},
    store::Host,
};

/// A function whose input and output types are not known to the caller.
trait Export: Any + fmt::Debug + Send + Sync {
    fn call_json(&self, guest: &Guest, input: &Value) -> Result<Called<Value>, CallError>;
}

/// The functions of one component by name.
#[derive(Debug, Default)]
pub(crate) struct Exports(BTreeMap<&'static str, Box<dyn Export>>);

/// One function of a component, in the types of [`crate::contract`].
pub(crate) struct Bound<F: Function>(Box<Invoke<F::Input, F::Output>>);

/// All functions of one component.
pub(crate) struct Bindings {
    pub(crate) about: AboutFunction,
    pub(crate) exports: Exports,
}

/// `metadata.about`, which has no place among the functions callers choose from.
pub(crate) struct AboutFunction(pub(crate) Box<Invoke<(), About>>);

impl AboutFunction {
    pub(crate) fn call(&self, guest: &Guest) -> Result<Called<About>, CallError> {
        guest.run("about", LimitClass::Quick, |store, instance| {
            (self.0)(store, instance, &())
        })
    }
}

impl Exports {
    /// Returns the function of this type; `guest` is named by the error when there is none.
    pub(crate) fn bound<F: Function>(&self, guest: &Guest) -> Result<&Bound<F>, CallError> {
        self.0
            .get(F::NAME)
            .and_then(|export| {
                let export: &dyn Any = &**export;
                export.downcast_ref()
            })
            .ok_or_else(|| self.unknown(guest, F::NAME))
    }

    /// Calls by name.
    pub(crate) fn call_json(
        &self,
        guest: &Guest,
        function: &str,
        input: &Value,
    ) -> Result<Called<Value>, CallError> {
        match self.0.get(function) {
            Some(export) => export.call_json(guest, input),
            None => Err(self.unknown(guest, function)),
        }
    }

    fn unknown(&self, guest: &Guest, function: &str) -> CallError {
        let known = self.0.keys().copied().collect::<Vec<_>>().join(", ");
        guest.failed(function, Failure::UnknownFunction { known })
    }
}

impl<F: Function> Bound<F> {
    pub(crate) fn call(
        &self,
        guest: &Guest,
        input: &F::Input,
    ) -> Result<Called<F::Output>, CallError> {
        guest.run(F::NAME, F::CLASS, |store, instance| {
            (self.0)(store, instance, input)
        })
    }
}

impl<F: Function> fmt::Debug for Bound<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bound({})", F::NAME)
    }
}

impl<F: Function> Export for Bound<F> {
    fn call_json(&self, guest: &Guest, input: &Value) -> Result<Called<Value>, CallError> {
        let input = F::Input::deserialize_from(input)
            .map_err(|error| guest.failed(F::NAME, Failure::BadInput(error.to_string())))?;
        let Called { value, usage, logs } = self.call(guest, &input)?;
        let value = serde_json::to_value(value)
            .map_err(|error| guest.failed(F::NAME, Failure::Engine(error.to_string())))?;
        Ok(Called { value, usage, logs })
    }
}

/// Reads a value out of JSON without consuming it.
trait DeserializeFrom: Sized {
    fn deserialize_from(value: &Value) -> serde_json::Result<Self>;
}

impl<T: serde::de::DeserializeOwned> DeserializeFrom for T {
    fn deserialize_from(value: &Value) -> serde_json::Result<Self> {
        T::deserialize(value)
    }
}

/// Collects the functions of one component, checking each against the type the contract gives it.
pub(crate) struct Binder<'a> {
    store: Store<Host>,
    instance: Instance,
    exports: Exports,
    /// Given back last, when the instance has left the pool.
    _permit: CallPermit<'a>,
}

impl<'a> Binder<'a> {
    /// Binds on an instance of its own, under the limits of a small call.
    pub(crate) fn of(guest: &'a Guest) -> Result<Self, LoadError> {
        let (_permit, store, instance) = guest
            .instantiate("start", LimitClass::Quick)
            .map_err(|error| LoadError::Describe(Box::new(error)))?;
        Ok(Self {
            _permit,
            store,
            instance,
            exports: Exports::default(),
        })
    }

    /// What was bound, and the one function that is not called by name.
    pub(crate) fn into_bindings(self, about: AboutFunction) -> Bindings {
        Bindings {
            about,
            exports: self.exports,
        }
    }

    /// The exported interface of this name.
    pub(crate) fn interface(&mut self, name: &str) -> Result<ComponentExportIndex, LoadError> {
        self.instance
            .get_export_index(&mut self.store, None, name)
            .ok_or_else(|| LoadError::WrongWorld(format!("it does not export `{name}`")))
    }

    /// Finds `F` in an interface: `lower` makes the guest's parameters of the host's input, `lift`
    /// makes the host's output of the guest's result and may refuse it.
    pub(crate) fn bind<F, P, R>(
        &mut self,
        interface: &ComponentExportIndex,
        lower: fn(&F::Input) -> P,
        lift: fn(R) -> Result<F::Output, Malformed>,
    ) -> Result<(), LoadError>
    where
        F: Function,
        P: ComponentNamedList + Lower + 'static,
        R: ComponentNamedList + Lift + 'static,
    {
        let invoke = self.function(interface, F::NAME, lower, lift)?;
        self.exports.0.insert(F::NAME, Box::new(Bound::<F>(invoke)));
        Ok(())
    }

    /// The same for a function that callers cannot choose.
    pub(crate) fn function<I, O, P, R>(
        &mut self,
        interface: &ComponentExportIndex,
        name: &'static str,
        lower: fn(&I) -> P,
        lift: fn(R) -> Result<O, Malformed>,
    ) -> Result<Box<Invoke<I, O>>, LoadError>
    where
        I: 'static,
        O: 'static,
        P: ComponentNamedList + Lower + 'static,
        R: ComponentNamedList + Lift + 'static,
    {
        let index = self
            .instance
            .get_export_index(&mut self.store, Some(interface), name)
            .ok_or_else(|| LoadError::WrongWorld(format!("it has no function `{name}`")))?;
        self.instance
            .get_typed_func::<P, R>(&mut self.store, &index)
            .map_err(|error| {
                LoadError::WrongWorld(format!("its function `{name}` has another type: {error:#}"))
            })?;
        Ok(Box::new(move |store, instance, input| {
            let function = instance.get_typed_func::<P, R>(&mut *store, &index)?;
            let result = function.call(store, lower(input))?;
            Ok(lift(result)?)
        }))
    }
}
