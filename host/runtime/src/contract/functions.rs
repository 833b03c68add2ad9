//! The functions of the contract: their names, limits and types.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Kind;

/// The row of limits that a call runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitClass {
    /// Pricing and coupon decisions: small and quick.
    Quick,
    /// Rendering and judging Kubernetes objects.
    Heavy,
}

/// One exported function of the contract: its name, limits and types.
pub trait Function: fmt::Debug + Send + Sync + 'static {
    /// Name in the WIT, for example `plan-change`.
    const NAME: &'static str;
    const KIND: Kind;
    const CLASS: LimitClass;
    type Input: Serialize + DeserializeOwned + fmt::Debug + Send + Sync;
    type Output: Serialize + DeserializeOwned + fmt::Debug + PartialEq + Send + Sync;
}

macro_rules! functions {
    ($($name:ident = $wit:literal ($kind:ident, $class:ident): $input:ty => $output:ty;)*) => {$(
        #[doc = concat!("`", $wit, "`")]
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl super::Function for $name {
            const NAME: &'static str = $wit;
            const KIND: super::Kind = super::Kind::$kind;
            const CLASS: super::LimitClass = super::LimitClass::$class;
            type Input = $input;
            type Output = $output;
        }
    )*};
}

/// The functions of `world service-plugin`.
pub mod service {
    use crate::contract::{
        AccessCard, Answer, ConfigCheck, DescribeRequest, Health as HealthAnswer, Instance,
        Observation, PlanChangeAnswer, PlanChangeRequest, PriceAnswer, PriceRequest,
        ServiceDescription,
    };
    use serde_json::Value;

    functions! {
        Describe = "describe" (Service, Quick): DescribeRequest => Answer<ServiceDescription>;
        Check = "check" (Service, Quick): ConfigCheck => Answer<()>;
        Price = "price" (Service, Quick): PriceRequest => Answer<PriceAnswer>;
        Manifests = "manifests" (Service, Heavy): Instance => Answer<Vec<Value>>;
        Health = "health" (Service, Heavy): Observation => HealthAnswer;
        Access = "access" (Service, Quick): Instance => AccessCard;
        PlanChange = "plan-change" (Service, Quick): PlanChangeRequest => PlanChangeAnswer;
    }
}

/// The functions of `world coupon-plugin`.
pub mod coupon {
    use crate::contract::{Answer, CouponDescription, Decision, Evaluation, ParametersCheck};

    functions! {
        Describe = "describe" (Coupon, Quick): () => CouponDescription;
        Check = "check" (Coupon, Quick): ParametersCheck => Answer<()>;
        Evaluate = "evaluate" (Coupon, Quick): Evaluation => Decision;
    }
}
