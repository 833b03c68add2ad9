//! Reasons of administrators for acts that can do without one: `{ "reason": "…" }`, or no body.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use dermaga_shop::{
    Error,
    audit::{By, GivenReason},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{
    ToSchema,
    openapi::{Ref, schema::AnyOfBuilder},
};

use crate::{
    api::Admin,
    http::{
        Body, Refusal,
        form::{Optional, Part, or_empty},
    },
};

/// Bytes of a reason in a form, which has 500 characters of four bytes at most.
const PART_BYTES: usize = 4 * 1024;

/// Body of a route that needs nothing but its address.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OptionalReason {
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Body of a route that needs its address and a reason.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RequiredReason {
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    pub(super) reason: GivenReason,
}

/// Reason in the body of a route that needs nothing but its address; none where there is no body.
#[derive(Debug)]
pub(super) struct Reason(Option<GivenReason>);

impl Reason {
    /// Names an administrator as the actor, with this reason.
    pub(super) fn of(&self, admin: Admin) -> By<'_> {
        admin.by(self.0.as_ref())
    }
}

impl<S: Send + Sync> FromRequest<S> for Reason {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body =
            <Body<OptionalReason> as OptionalFromRequest<S>>::from_request(request, state).await?;
        Ok(Self(body.and_then(|Body(body)| body.reason)))
    }
}

/// Returns the schema of the part `reason` of a form.
pub(super) fn part_schema() -> AnyOfBuilder {
    or_empty(Ref::from_schema_name("GivenReason")).description(Some(
        "Reason of the act, for the audit trail; an empty part is as none.",
    ))
}

/// Reads a reason that is the part `reason` of a form.
///
/// # Errors
/// `VALIDATION_FAILED` for one that no body may have; as [`Part::text`].
pub(super) async fn of_part(part: Part<'_>) -> Result<Optional<GivenReason>, Error> {
    let typed = part.optional_text(PART_BYTES).await?;
    typed.read(|typed| {
        let reason = typed.parse::<GivenReason>();
        reason.map_err(|fault| Error::invalid("reason", fault))
    })
}
