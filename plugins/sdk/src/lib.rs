//! SDK for Dermaga plugins: the contract's types, one trait for each world, and small typed
//! builders for Kubernetes objects.
//!
//! A plugin is a pure function of its arguments. It implements [`coupon::CouponPlugin`],
//! [`service::ServicePlugin`] or, when templates describe its services,
//! [`templated::TemplatedService`], and calls [`export_coupon!`] or [`export_service!`] once; the
//! SDK handles JSON, malformed input and panics.
//!
//! ```
//! use dermaga_plugin_sdk::coupon::*;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Parameters {
//!     amount: Rupiah,
//! }
//!
//! struct Gift;
//!
//! impl CouponPlugin for Gift {
//!     type Parameters = Parameters;
//!     const PLACES: &'static [Place] = &[Place::Wallet];
//!
//!     fn about() -> About {
//!         about!("Gift", "Adds a fixed amount of credit.")
//!     }
//!
//!     fn parameters_schema() -> Value {
//!         json!({
//!             "type": "object",
//!             "properties": {"amount": {"type": "integer", "minimum": 1}},
//!             "required": ["amount"],
//!             "additionalProperties": false,
//!         })
//!     }
//!
//!     fn evaluate(parameters: &Parameters, _: &Evaluation) -> Decision {
//!         grant(Effect::Credit(parameters.amount), "A gift from us.")
//!     }
//! }
//!
//! export_coupon!(Gift);
//! # fn main() {}
//! ```

#[doc(hidden)]
pub mod bindings;
pub mod coupon;
pub mod health;
#[cfg(target_family = "wasm")]
mod heap;
mod instance;
pub mod log;
pub mod mail;
pub mod manifest;
pub mod money;
pub mod plan_change;
pub mod price;
mod problem;
pub mod service;
pub mod templated;

/// Builds the [`About`](service::About) of the calling crate, with identity and version from its
/// `Cargo.toml`.
#[macro_export]
macro_rules! about {
    ($title:expr, $summary:expr $(,)?) => {
        $crate::service::About {
            id: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: ($title).to_owned(),
            summary: ($summary).to_owned(),
        }
    };
}

/// Makes the calling crate a component of `world coupon-plugin`, implemented by the given type.
#[macro_export]
macro_rules! export_coupon {
    ($plugin:ident) => {
        $crate::export_metadata!($plugin as $crate::coupon::CouponPlugin);
        $crate::bindings::coupon::export_coupon!($plugin with_types_in $crate::bindings::coupon);
    };
}

/// Makes the calling crate a component of `world service-plugin`, implemented by the given type.
#[macro_export]
macro_rules! export_service {
    ($plugin:ident) => {
        $crate::export_metadata!($plugin as $crate::templated::TemplatedService);
        $crate::bindings::service::export_service!($plugin with_types_in $crate::bindings::service);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_metadata {
    ($plugin:ident as $world:path) => {
        impl $crate::bindings::metadata::exports::dermaga::plugin::metadata::Guest for $plugin {
            fn about() -> $crate::service::About {
                <$plugin as $world>::about()
            }
        }
        $crate::bindings::metadata::export_metadata!($plugin with_types_in $crate::bindings::metadata);
    };
}
