//! Errors of the cluster.

use crate::{Code, Error};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Neither a kubeconfig nor an in-cluster service account could be read.
    #[error("no cluster is configured: {0}")]
    NotConfigured(String),
    /// No answer, or one that says to come back later.
    #[error("the cluster does not answer: {0}")]
    Unreachable(String),
    /// The credentials are not accepted, or lack a right.
    #[error("the cluster denies access: {0}")]
    Denied(String),
    /// The object exists already and belongs to another owner.
    #[error("{object} exists in namespace {namespace} and was not made by Dermaga")]
    NotOurs { namespace: String, object: String },
    /// The API server does not accept the object.
    #[error("the cluster refuses {object}: {message}")]
    Refused { object: String, message: String },
    /// The customer's quota in the cluster does not hold the object yet.
    #[error("the cluster has no quota for {object}: {message}")]
    OverQuota { object: String, message: String },
    /// A claim that held data is not there any more, or is another one.
    #[error("{object} {how}; its volume was {volume}")]
    DataLost {
        object: String,
        how: &'static str,
        volume: String,
    },
    /// Something is still under way; looking again shortly will do.
    #[error("{0}")]
    NotYet(String),
}

impl ClusterError {
    /// Returns true when a retry may help although nothing is changed.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::NotYet(_))
    }

    /// Returns true when one object is concerned, and others may be accepted all the same.
    pub const fn is_about_object(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::NotConfigured(_))
    }

    /// Converts a failure of a request about `object` (kind and name).
    pub(super) fn of(error: kube::Error, object: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status, object),
            kube::Error::Auth(error) => Self::Denied(error.to_string()),
            kube::Error::BuildRequest(_) => Self::Refused {
                object: object.to_owned(),
                message: error.to_string(),
            },
            other => Self::Unreachable(innermost(&other)),
        }
    }

    fn of_status(status: &kube::core::Status, object: &str) -> Self {
        let refused = || Self::Refused {
            object: object.to_owned(),
            message: status.message.clone(),
        };
        match status.code {
            401 => Self::Denied(status.message.clone()),
            // Quotas and admission answer 403 too, and are about the object, not about us.
            403 if status.message.contains("exceeded quota") => Self::OverQuota {
                object: object.to_owned(),
                message: status.message.clone(),
            },
            403 if status.message.contains("admission") => refused(),
            403 if status.message.contains("being terminated") => Self::NotYet(format!(
                "{object} waits for its namespace, which is still being removed"
            )),
            403 => Self::Denied(status.message.clone()),
            409 => Self::NotYet(format!(
                "{object} was changed by another client at the same time"
            )),
            // Before 1.25 an unknown field in a server-side apply is a 500 with an empty reason.
            500 if status.reason.is_empty() => refused(),
            429 | 500.. => Self::Unreachable(status.message.clone()),
            _ => refused(),
        }
    }
}

/// Returns the last cause of the chain (`connection refused`), which a person can act on.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl From<ClusterError> for Error {
    fn from(error: ClusterError) -> Self {
        match &error {
            ClusterError::NotConfigured(_)
            | ClusterError::Unreachable(_)
            | ClusterError::NotYet(_) => Self::new(
                Code::ClusterUnavailable,
                "The cluster is away. Try again in a moment.",
            )
            .retry_after(5)
            .caused_by(error),
            ClusterError::Denied(_)
            | ClusterError::NotOurs { .. }
            | ClusterError::OverQuota { .. }
            | ClusterError::DataLost { .. }
            | ClusterError::Refused { .. } => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn classified(code: u16, reason: &str, message: &str) -> ClusterError {
        let status = Status::failure(message, reason).with_code(code);
        ClusterError::of(kube::Error::Api(status.boxed()), "Deployment/a")
    }

    #[test]
    fn an_unknown_field_is_a_refusal_although_it_is_a_500() {
        let error = classified(
            500,
            "",
            "failed to create typed patch object: field not declared in schema",
        );
        assert!(matches!(error, ClusterError::Refused { .. }), "{error:?}");
        assert!(classified(500, "InternalError", "etcdserver: leader changed").is_transient());
    }

    /// A proxy's page to sign in is one.
    #[test]
    fn an_answer_that_is_no_json_is_a_cluster_that_is_away() {
        let page = serde_json::from_str::<Status>("<html>").unwrap_err();
        let error = ClusterError::of(kube::Error::SerdeError(page), "Pod/a");
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(Error::from(error).code, Code::ClusterUnavailable);
    }

    #[test]
    fn a_full_quota_is_about_the_object_and_a_missing_right_about_us() {
        let quota = classified(
            403,
            "Forbidden",
            "persistentvolumeclaims \"a\" is forbidden: exceeded quota: q",
        );
        assert!(matches!(quota, ClusterError::OverQuota { .. }), "{quota:?}");
        let right = classified(
            403,
            "Forbidden",
            "User \"x\" cannot patch resource \"deployments\"",
        );
        assert!(matches!(right, ClusterError::Denied(_)), "{right:?}");
        let leaving = classified(
            403,
            "Forbidden",
            "unable to create new content because it is being terminated",
        );
        assert!(leaving.is_transient(), "{leaving:?}");
    }
}
