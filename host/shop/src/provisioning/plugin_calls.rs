//! Calls of the reconciler to a service plugin.

use std::{future::Future, sync::Arc};

use dermaga_runtime::contract::{self, Answer, Observation, service};
use serde_json::Value;

use crate::{
    Result,
    ids::UserId,
    plugins::{self, Decided, Registry},
};

/// The two questions of reconciliation, by the digest of the pinned plugin version. Installed
/// plugins answer them in the server, scripted ones in the reconciler's tests.
pub trait Services: Send + Sync + 'static {
    /// Renders the objects of an instance, with the decision to record.
    fn manifests(
        &self,
        digest: &str,
        input: contract::Instance,
        user_id: UserId,
    ) -> impl Future<Output = Result<Decided<Answer<Vec<Value>>>>> + Send;

    /// Judges an instance by its live objects.
    fn health(
        &self,
        digest: &str,
        input: Observation,
        user_id: UserId,
    ) -> impl Future<Output = Result<contract::Health>> + Send;
}

impl Services for Arc<Registry> {
    async fn manifests(
        &self,
        digest: &str,
        input: contract::Instance,
        user_id: UserId,
    ) -> Result<Decided<Answer<Vec<Value>>>> {
        let plugin = self.version(digest).await?;
        plugins::decide::<service::Manifests>(self, &plugin, input, user_id.into()).await
    }

    async fn health(
        &self,
        digest: &str,
        input: Observation,
        user_id: UserId,
    ) -> Result<contract::Health> {
        let plugin = self.version(digest).await?;
        // About the customer, too: a failed call is recorded with the configuration, which goes with the account.
        let decided =
            plugins::decide::<service::Health>(self, &plugin, input, user_id.into()).await?;
        Ok(decided.value)
    }
}
