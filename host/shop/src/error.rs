//! The server's one error: a code of a closed list, a sentence for people, and details.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{db, language};

pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    // `tt`, since utoipa does not read a `literal` that went through a macro.
    ($($(#[doc = $doc:tt])+ $name:ident = $text:tt => $status:literal,)*) => {
        /// Every way a request can fail. Part of the API: codes are added, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the meaning of this code, as the API's document has it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start(),)* }
            }

            /// The HTTP status that goes with this code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// Fields or parameters are missing, unknown or break a rule; details name each of them.
    ValidationFailed = "VALIDATION_FAILED" => 400,
    /// The body cannot be read at all: it is no JSON, or ended too early.
    MalformedRequest = "MALFORMED_REQUEST" => 400,
    /// A plugin's `check` refused the configuration or parameters.
    PluginRefusedInput = "PLUGIN_REFUSED_INPUT" => 400,
    /// An uploaded component is not an acceptable plugin; details name the rule.
    ComponentRefused = "COMPONENT_REFUSED" => 400,
    /// A picture that is damaged, or has too many pixels.
    ImageRefused = "IMAGE_REFUSED" => 400,
    /// More files than a message may have.
    TooManyFiles = "TOO_MANY_FILES" => 400,
    /// No token was sent, or one that is not valid. Log in again.
    Unauthenticated = "UNAUTHENTICATED" => 401,
    /// The access token is past its time. Exchange the refresh token for a new one.
    TokenExpired = "TOKEN_EXPIRED" => 401,
    /// The e-mail or the password is wrong, or the code of a second factor.
    InvalidCredentials = "INVALID_CREDENTIALS" => 401,
    /// A gateway's notice or a received mail that the shop's key did not sign.
    SignatureInvalid = "SIGNATURE_INVALID" => 401,
    /// The wallet holds too little; details name what is missing. Top up first.
    InsufficientCredit = "INSUFFICIENT_CREDIT" => 402,
    /// The role of the account, or the scope of the API token, does not reach this operation.
    Forbidden = "FORBIDDEN" => 403,
    /// An administrator disabled the account.
    AccountDisabled = "ACCOUNT_DISABLED" => 403,
    /// Administrators of this shop need two-factor sign-in, and this one has none.
    TwoFactorRequired = "TWO_FACTOR_REQUIRED" => 403,
    /// What the address names does not exist, or belongs to another customer.
    NotFound = "NOT_FOUND" => 404,
    /// No operation has this address.
    RouteNotFound = "ROUTE_NOT_FOUND" => 404,
    /// No coupon has this code.
    CouponNotFound = "COUPON_NOT_FOUND" => 404,
    /// The address exists, and not with this method; `Allow` names those it has.
    MethodNotAllowed = "METHOD_NOT_ALLOWED" => 405,
    /// The request took longer than the server waits. Nothing is known of its end: send it again
    /// with the same `Idempotency-Key`.
    RequestTimeout = "REQUEST_TIMEOUT" => 408,
    /// The request collides with what is there already.
    Conflict = "CONFLICT" => 409,
    /// The e-mail address has an account already.
    EmailTaken = "EMAIL_TAKEN" => 409,
    /// A request with the same `Idempotency-Key` is still at work. Wait for it.
    InProgress = "IN_PROGRESS" => 409,
    /// A gateway's notice about another amount or currency than was asked for.
    NoticeMismatch = "NOTICE_MISMATCH" => 409,
    /// A customer would hold more paid credit than the shop allows.
    BalanceCapExceeded = "BALANCE_CAP_EXCEEDED" => 409,
    /// As many top-ups of the customer wait to be paid as the shop allows.
    TooManyOpenTopUps = "TOO_MANY_OPEN_TOP_UPS" => 409,
    /// The plan is sold out.
    QuotaExhausted = "QUOTA_EXHAUSTED" => 409,
    /// No node of the cluster has room for the plan at the moment.
    ClusterFull = "CLUSTER_FULL" => 409,
    /// The plan or its service is not on sale.
    PlanUnavailable = "PLAN_UNAVAILABLE" => 409,
    /// The customer holds as many instances of the plan as one may.
    InstanceLimitReached = "INSTANCE_LIMIT_REACHED" => 409,
    /// The price, the coupon or the time of the quote is no longer so. Ask for a new one.
    QuoteChanged = "QUOTE_CHANGED" => 409,
    /// The quote was consumed by an earlier purchase.
    QuoteUsed = "QUOTE_USED" => 409,
    /// What the request is about is not in a state that allows it.
    InvalidState = "INVALID_STATE" => 409,
    /// Instances failed with the target of a move, and the others are not moved to it; details name them.
    RollHalted = "ROLL_HALTED" => 409,
    /// The new configuration costs more than the present one.
    PriceWouldRise = "PRICE_WOULD_RISE" => 409,
    /// The storage class of the instance's volume does not let it grow; nothing was charged.
    VolumeCannotGrow = "VOLUME_CANNOT_GROW" => 409,
    /// This server writes manifests into a folder, and has no cluster to ask.
    NoCluster = "NO_CLUSTER" => 409,
    /// Something refers to the plugin version and keeps it.
    PluginInUse = "PLUGIN_IN_USE" => 409,
    /// The refund exceeds the cash that was paid and not returned.
    RefundTooLarge = "REFUND_TOO_LARGE" => 409,
    /// The coupon exists but its window is over or not yet begun.
    CouponNotActive = "COUPON_NOT_ACTIVE" => 409,
    /// The coupon was used as often as it may be by all customers together.
    CouponUsedUp = "COUPON_USED_UP" => 409,
    /// This customer used the coupon as often as one may.
    CouponAlreadyUsed = "COUPON_ALREADY_USED" => 409,
    /// The money set aside for the coupon is spent.
    CouponBudgetSpent = "COUPON_BUDGET_SPENT" => 409,
    /// The coupon cannot be used in this place, or for this service or plan.
    CouponNotApplicable = "COUPON_NOT_APPLICABLE" => 409,
    /// The coupon's own rule (its plugin) refused; details carry the plugin's code.
    CouponRefused = "COUPON_REFUSED" => 409,
    /// The body is larger than the operation accepts.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE" => 413,
    /// The body has another content type than the operation reads, or is compressed.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE" => 415,
    /// The `Idempotency-Key` was used for another request. Choose a new one.
    IdempotencyMismatch = "IDEMPOTENCY_MISMATCH" => 422,
    /// Too many requests in too short a time; `Retry-After` says when to try again.
    TooManyRequests = "TOO_MANY_REQUESTS" => 429,
    /// Address and headers of the request are larger than the shop reads.
    HeadTooLarge = "HEAD_TOO_LARGE" => 431,
    /// A fault of the shop, which has been logged under the `X-Request-Id` of the answer.
    Internal = "INTERNAL" => 500,
    /// A plugin trapped, hit a limit or answered malformed output; details name plugin and limit.
    PluginFailed = "PLUGIN_FAILED" => 502,
    /// The payment gateway refused; details say why.
    GatewayRefused = "GATEWAY_REFUSED" => 502,
    /// The payment gateway is away, or does not confirm what its notice says.
    GatewayUnavailable = "GATEWAY_UNAVAILABLE" => 503,
    /// The shop has no payment gateway.
    PaymentsNotConfigured = "PAYMENTS_NOT_CONFIGURED" => 503,
    /// No version of the plugin is active, or it failed to load.
    PluginUnavailable = "PLUGIN_UNAVAILABLE" => 503,
    /// All places for calls of plugins are taken. Try again in a moment.
    PluginBusy = "PLUGIN_BUSY" => 503,
    /// The plugin or the gate refuses what the plan would deploy; nothing was charged.
    NotDeliverable = "NOT_DELIVERABLE" => 503,
    /// The version failed so often in a row that it is not called for a while.
    PluginSuspended = "PLUGIN_SUSPENDED" => 503,
    /// The Kubernetes cluster does not answer.
    ClusterUnavailable = "CLUSTER_UNAVAILABLE" => 503,
    /// The database or another part of the shop does not answer at the moment. Try again.
    Unavailable = "UNAVAILABLE" => 503,
}

impl Code {
    /// Returns true for a refusal that lasts while the request stays the same: it asks for what is not
    /// there, or collides with what is. All others end by what other acts or time change: credit
    /// comes, a place is freed, a price or a state changes, a server is back.
    pub const fn lasts(self) -> bool {
        matches!(
            self,
            Self::NotFound
                | Self::CouponNotFound
                | Self::Conflict
                | Self::EmailTaken
                | Self::QuoteUsed
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One detail of a failure: the field, and its problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// A field name or JSON pointer; for plugin failures, what the message is about.
    pub field: String,
    pub message: String,
}

impl Detail {
    /// Returns it in the current language; fields are names and stay.
    #[must_use]
    pub fn in_words(&self) -> Self {
        Self {
            field: self.field.clone(),
            message: language::spoken(&self.message).into_owned(),
        }
    }
}

/// A failure: the message for the client and, never sent, the cause.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    pub code: Code,
    pub message: String,
    pub details: Vec<Detail>,
    /// Seconds after which trying again makes sense; becomes `Retry-After`.
    pub retry_after: Option<u64>,
    /// Logged once with the request id; never sent.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Returns the sentence of an error with those of its causes that it does not contain, such as `connection refused`.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        cause = deeper.source();
    }
    text
}

const INVALID_FIELDS: &str = "The request has invalid fields.";

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
            retry_after: None,
            source: None,
        }
    }

    /// An unexpected failure: the cause is logged, the client learns nothing of it.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(
            Code::Internal,
            "Something went wrong on our side. It has been logged.",
        )
        .caused_by(source)
    }

    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::ValidationFailed, INVALID_FIELDS).with(field, message)
    }

    /// Joins the refusals of several checks, so that a client learns of every fault at once.
    ///
    /// # Errors
    /// The first failure that is no `VALIDATION_FAILED`; else one with the details of all.
    pub fn join(checks: impl IntoIterator<Item = Result<()>>) -> Result<()> {
        let mut refusal: Option<Self> = None;
        for failure in checks.into_iter().filter_map(Result::err) {
            // Faults beside another failure would look like all of them, and may not be.
            if failure.code != Code::ValidationFailed {
                return Err(failure);
            }
            if let Some(refusal) = &mut refusal {
                // The sentence of one check does not speak for the others.
                INVALID_FIELDS.clone_into(&mut refusal.message);
                refusal.details.extend(failure.details);
            } else {
                refusal = Some(failure);
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Returns the refusal that an idempotency key was posted before.
    pub fn booked_already() -> Self {
        Self::new(Code::Conflict, "This has already been booked.")
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}."))
    }

    #[must_use]
    pub fn with(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.details.push(Detail {
            field: field.into(),
            message: message.into(),
        });
        self
    }

    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => Self::new(
                Code::Unavailable,
                "The database does not answer. Try again in a moment.",
            )
            .retry_after(2)
            .caused_by(error),
            other if db::is_deadlock(&other) => Self::new(
                Code::Unavailable,
                "A concurrent request got in the way and nothing was changed. Try again in a moment.",
            )
            .retry_after(1)
            .caused_by(other),
            other if db::is_passing(&other) => Self::new(
                Code::Unavailable,
                "The database is busy. Try again in a moment.",
            )
            .retry_after(2)
            .caused_by(other),
            other if is_booked(&other) => Self::booked_already().caused_by(other),
            // Names of instances are drawn: another try draws another one.
            other if is_name_taken(&other) => Self::new(
                Code::Conflict,
                "The name of the new service is already taken. Try again.",
            )
            .retry_after(1)
            .caused_by(other),
            other => Self::internal(other),
        }
    }
}

/// Journal inserts are deferred, so this violation can surface at any later statement.
fn is_booked(error: &sqlx::Error) -> bool {
    db::broken_unique(error).as_deref() == Some("journal_entries_idempotency_key_key")
}

/// Instances are inserted as entries are.
fn is_name_taken(error: &sqlx::Error) -> bool {
    db::broken_unique(error).as_deref() == Some("instances_name_key")
}

impl From<crate::money::AmountOverflow> for Error {
    fn from(error: crate::money::AmountOverflow) -> Self {
        Self::new(Code::ValidationFailed, "The amount is too large.").caused_by(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::money::AmountOverflow;

    fn invalid(field: &str) -> Result<()> {
        Err(Error::invalid(field, "is missing"))
    }

    #[test]
    fn every_code_is_one_word_of_a_failure() {
        let mut seen = HashSet::new();
        for &code in Code::ALL {
            let word = code.as_str();
            assert!(seen.insert(word), "{word}");
            let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            assert!(word.bytes().all(is_plain), "{word}");
            assert!((400..=503).contains(&code.status()), "{word}");
            assert!(code.meaning().ends_with('.'), "{word}");
            let read: Code = serde_json::from_str(&format!("\"{word}\"")).unwrap();
            assert_eq!(read, code);
        }
    }

    /// A lasting refusal is kept under its key, which a fault of the shop must never be.
    #[test]
    fn only_refusals_of_the_client_last() {
        for code in Code::ALL.iter().filter(|code| code.lasts()) {
            assert!([404, 409].contains(&code.status()), "{code}");
        }
        for passing in [
            Code::InsufficientCredit,
            Code::QuotaExhausted,
            Code::QuoteChanged,
            Code::InvalidState,
            Code::InProgress,
            Code::Internal,
        ] {
            assert!(!passing.lasts(), "{passing}");
        }
    }

    #[test]
    fn faults_of_several_checks_are_told_at_once() {
        Error::join([]).unwrap();
        Error::join([Ok(()), Ok(())]).unwrap();
        let joined = Error::join([invalid("a"), Ok(()), invalid("b"), invalid("a")]).unwrap_err();
        let fields: Vec<_> = joined
            .details
            .iter()
            .map(|one| one.field.as_str())
            .collect();
        assert_eq!(fields, ["a", "b", "a"]);
        assert_eq!(joined.message, INVALID_FIELDS);
    }

    #[test]
    fn a_fault_that_stands_alone_keeps_its_sentence() {
        let own = || Err(Error::new(Code::ValidationFailed, "Its own sentence."));
        let alone = Error::join([Ok(()), own()]).unwrap_err();
        assert_eq!(alone.message, "Its own sentence.");
        let both = Error::join([own(), invalid("a")]).unwrap_err();
        assert_eq!(both.message, INVALID_FIELDS);
    }

    #[test]
    fn another_failure_hides_the_faults() {
        let away = || Err(Error::new(Code::Unavailable, "Away."));
        for checks in [[invalid("a"), away()], [away(), invalid("a")]] {
            assert_eq!(Error::join(checks).unwrap_err().code, Code::Unavailable);
        }
    }

    #[test]
    fn a_database_that_is_slow_is_tried_again_and_a_sum_that_does_not_fit_is_not() {
        let slow = Error::from(sqlx::Error::PoolTimedOut);
        assert_eq!((slow.code, slow.retry_after), (Code::Unavailable, Some(2)));
        let broken = Error::from(sqlx::Error::RowNotFound);
        assert_eq!((broken.code, broken.retry_after), (Code::Internal, None));
        let large = Error::from(AmountOverflow);
        assert_eq!(
            (large.code, large.retry_after),
            (Code::ValidationFailed, None)
        );
    }
}
