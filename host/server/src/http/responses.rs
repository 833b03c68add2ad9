//! Documentation of the failures of handlers, by code.

use std::collections::BTreeMap;

use dermaga_shop::Code;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

/// The responses of these codes, by status; each description lists its codes.
pub fn failures(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in codes {
        by_status
            .entry(code.status())
            .or_default()
            .push(format!("`{code}`"));
    }
    let content = || {
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Failure")))
            .build()
    };
    let response = |codes: Vec<String>| {
        ResponseBuilder::new()
            .description(codes.join(", "))
            .content("application/json", content())
            .build()
    };
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), RefOr::T(response(codes))))
        .collect()
}

/// Declares the failures that a handler documents, in one line: `failure_responses!(Redeem:
/// CouponNotFound, CouponUsedUp);`, then `responses((status = 200, body = ...), Redeem)`. Failures
/// of any request (malformed, too large, not signed in) are added to every operation by the
/// document itself.
#[macro_export]
macro_rules! failure_responses {
    ($name:ident: $($code:ident),+ $(,)?) => {
        struct $name;
        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::http::failures(&[$(dermaga_shop::Code::$code),+])
            }
        }
    };
}
pub use failure_responses;
