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

/// A function with input and output types unknown to the caller.
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

/// The function `metadata.about`, which callers cannot choose.
pub(crate) struct AboutFunction(pub(crate) Box<Invoke<(), About>>);

impl AboutFunction {
    pub(crate) fn call(&self, guest: &Guest) -> Result<Called<About>, CallError> {
        guest.run("about", LimitClass::Quick, |store, instance| {
            (self.0)(store, instance, &())
        })
    }
}

impl Exports {
    /// Returns the function of this type, or an error that names `guest`.
    pub(crate) fn bound<F: Function>(&self, guest: &Guest) -> Result<&Bound<F>, CallError> {
        self.0
            .get(F::NAME)
            .and_then(|export| {
                let export: &dyn Any = &**export;
                export.downcast_ref()
            })
            .ok_or_else(|| self.unknown(guest, F::NAME))
    }

    /// Calls a function by its name, with JSON on both sides.
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

/// Deserialization from JSON that is borrowed.
trait DeserializeFrom: Sized {
    fn deserialize_from(value: &Value) -> serde_json::Result<Self>;
}

impl<T: serde::de::DeserializeOwned> DeserializeFrom for T {
    fn deserialize_from(value: &Value) -> serde_json::Result<Self> {
        T::deserialize(value)
    }
}

/// Collector of the functions of one component, each checked against its type in the contract.
pub(crate) struct Binder<'a> {
    store: Store<Host>,
    instance: Instance,
    exports: Exports,
    /// Returned last, when the instance has left the pool.
    _permit: CallPermit<'a>,
}

impl<'a> Binder<'a> {
    /// Creates an instance to look at, under the limits of a quick call.
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

    /// Returns the functions bound, and the one that is not called by name.
    pub(crate) fn into_bindings(self, about: AboutFunction) -> Bindings {
        Bindings {
            about,
            exports: self.exports,
        }
    }

    /// Finds the exported interface of this name.
    pub(crate) fn interface(&mut self, name: &str) -> Result<ComponentExportIndex, LoadError> {
        self.instance
            .get_export_index(&mut self.store, None, name)
            .ok_or_else(|| LoadError::WrongWorld(format!("it does not export `{name}`")))
    }

    /// Finds `F` in an interface. `lower` turns the host's input into the guest's parameters;
    /// `lift` turns the guest's result into the host's output, and may refuse it.
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

    /// Finds a function that callers cannot choose, as [`Self::bind`] does.
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
