//! The server's own rights in customers' namespaces.
//!
//! An account that may not read every Secret binds itself, in each namespace that it makes, to the
//! role that `deploy/kubernetes` has for this.

use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Cluster, ClusterError, FIELD_MANAGER, ObjectRef, namespace::NAME, object::owner_labels,
};
use crate::ids::UserId;

/// Role that the server has in a customer's namespace.
pub(super) const TENANT_ROLE: &str = "dermaga-tenant";
const RBAC: &str = "rbac.authorization.k8s.io";
pub(super) const ROLE_BINDING: (&str, &str) = ("rbac.authorization.k8s.io/v1", "RoleBinding");

impl Cluster {
    /// Returns this server as the subject of a binding; nothing when it may read every Secret, and
    /// so needs no rights in a single namespace.
    pub(super) async fn subject(&self) -> Result<Option<&Value>, ClusterError> {
        let subject = self.subject.get_or_try_init(|| self.ask_subject()).await?;
        Ok(subject.as_ref())
    }

    async fn ask_subject(&self) -> Result<Option<Value>, ClusterError> {
        let list_secrets = ResourceAttributes {
            verb: Some("list".to_owned()),
            resource: Some("secrets".to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(list_secrets),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let (params, reviews) = (PostParams::default(), Api::all(self.client.clone()));
        let rights = reviews.create(&params, &review);
        let rights = self.call("its own rights", rights).await?;
        if rights.status.is_some_and(|status| status.allowed) {
            return Ok(None);
        }
        let (review, reviews) = (SelfSubjectReview::default(), Api::all(self.client.clone()));
        let account = self.call("its own name", reviews.create(&params, &review));
        let account = match account.await {
            Ok(account) => account,
            // Before 1.28 a server cannot ask for its name: its rights must be bound by hand.
            Err(ClusterError::Refused { message, .. }) => {
                tracing::warn!(message, "cluster.own_name_unknown");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let user = account.status.and_then(|status| status.user_info);
        Ok(user
            .and_then(|user| user.username)
            .map(|name| subject(&name)))
    }

    /// Returns the binding of this server in a customer's namespace, if it needs one.
    pub(super) async fn binding(
        &self,
        namespace: &str,
        user_id: UserId,
    ) -> Result<Option<Value>, ClusterError> {
        let (api_version, kind) = ROLE_BINDING;
        Ok(self.subject().await?.map(|subject| {
            json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {"name": NAME, "namespace": namespace, "labels": owner_labels(user_id)},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": TENANT_ROLE},
                "subjects": [subject],
            })
        }))
    }

    /// Binds this server in a customer's namespace that is there, in case its rights were removed.
    ///
    /// # Errors
    /// When the cluster is away, or this server may not do that.
    pub async fn bind(&self, namespace: &str, user_id: UserId) -> Result<(), ClusterError> {
        let Some(binding) = self.binding(namespace, user_id).await? else {
            return Ok(());
        };
        let (served, object) = (self.served().await?, ObjectRef::of(&binding));
        if let Some(api) = self.api(&served, namespace, &object) {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patch = Patch::Apply(&binding);
            let bound = api.patch(NAME, &params, &patch);
            self.call(&object, bound).await?;
        }
        Ok(())
    }
}

/// Returns an account by its name, as a binding names it.
fn subject(account: &str) -> Value {
    let of_pod = account.strip_prefix("system:serviceaccount:");
    match of_pod.and_then(|rest| rest.split_once(':')) {
        Some((namespace, name)) => {
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        None => json!({"kind": "User", "apiGroup": RBAC, "name": account}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_a_pod_is_told_from_a_user() {
        assert_eq!(
            subject("system:serviceaccount:dermaga:server"),
            json!({"kind": "ServiceAccount", "namespace": "dermaga", "name": "server"})
        );
        assert_eq!(
            subject("ayu"),
            json!({"kind": "User", "apiGroup": RBAC, "name": "ayu"})
        );
    }
}
