//! Generated bindings.
//!
//! Only the types are used: calls go through [`crate::exports`], which checks the type of a
//! function once, when the component is loaded, and not those of all functions at every call.

wasmtime::component::bindgen!({
    path: "../../wit/0.2.0",
    inline: "
        package dermaga:host;
        world plugin {
            include dermaga:plugin/service-plugin@0.2.0;
            include dermaga:plugin/coupon-plugin@0.2.0;
        }
    ",
});

pub(crate) use self::{
    dermaga::plugin::{log::Level, types},
    exports::dermaga::plugin::{coupon, service},
};
