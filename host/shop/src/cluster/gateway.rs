//! Gateway that routes of instances belong to, as an operator examines it.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{
    Cluster, ClusterError,
    reading::{all, text},
};

/// State of the Gateway that settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundGateway {
    /// Routes of customers' namespaces may belong to it.
    Open,
    /// It is not there.
    Absent,
    /// It has no listener of that name; it has these.
    NoSection(Vec<String>),
    /// Its listeners take no routes of other namespaces.
    Closed,
}

impl Cluster {
    /// Examines a Gateway, or one listener of it.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read it.
    pub async fn gateway(
        &self,
        namespace: &str,
        name: &str,
        section: Option<&str>,
    ) -> Result<FoundGateway, ClusterError> {
        let live = self.live_gateway(namespace, name).await?;
        Ok(live.map_or(FoundGateway::Absent, |live| examine(&live, section)))
    }

    /// Returns the controller of the class of a Gateway; `None` when one of both is not there.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read them.
    pub async fn gateway_controller(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, ClusterError> {
        let live = self.live_gateway(namespace, name).await?;
        let Some(class) = live.and_then(|live| text(&live, "/spec/gatewayClassName")) else {
            return Ok(None);
        };
        let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass");
        let resource = ApiResource::from_gvk_with_plural(&kind, "gatewayclasses");
        let classes: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let object = format!("GatewayClass/{class}");
        let found = self.call(&object, classes.get_opt(&class)).await?;
        Ok(found.and_then(|found| text(&found.data, "/spec/controllerName")))
    }

    /// Reads a Gateway; `None` when it is not there, or the cluster does not know the kind.
    pub(super) async fn live_gateway(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
        let resource = ApiResource::from_gvk_with_plural(&kind, "gateways");
        let gateways: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let object = format!("Gateway/{name}");
        let found = async {
            match gateways.get(name).await {
                Ok(live) => Ok(Some(live)),
                // A cluster that does not know the kind answers 404 without a reason.
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        };
        let live = self.call(&object, found).await?;
        Ok(live.map(|live| live.data))
    }
}

fn examine(gateway: &Value, section: Option<&str>) -> FoundGateway {
    let name = |listener: &Value| {
        let name = listener.get("name").and_then(Value::as_str);
        name.unwrap_or_default().to_owned()
    };
    let is_meant = |listener: &Value| section.is_none_or(|section| name(listener) == section);
    let listeners: Vec<&Value> = all(gateway, "/spec/listeners").collect();
    let mut meant = listeners
        .iter()
        .filter(|listener| is_meant(listener))
        .peekable();
    if meant.peek().is_none() {
        let names = listeners.iter().map(|listener| name(listener));
        return FoundGateway::NoSection(names.collect());
    }
    // A listener that says nothing takes routes of its own namespace alone.
    let is_open = |listener: &Value| {
        let from = listener.pointer("/allowedRoutes/namespaces/from");
        matches!(from.and_then(Value::as_str), Some("All" | "Selector"))
    };
    if meant.any(|listener| is_open(listener)) {
        FoundGateway::Open
    } else {
        FoundGateway::Closed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_open_when_a_listener_takes_routes_of_others() {
        let gateway = json!({"spec": {"listeners": [
            {"name": "http", "port": 80},
            {"name": "https", "port": 443, "allowedRoutes": {"namespaces": {"from": "All"}}},
            {"name": "own", "port": 444, "allowedRoutes": {"namespaces": {"from": "Same"}}},
        ]}});
        assert_eq!(examine(&gateway, None), FoundGateway::Open);
        assert_eq!(examine(&gateway, Some("https")), FoundGateway::Open);
        assert_eq!(examine(&gateway, Some("http")), FoundGateway::Closed);
        assert_eq!(examine(&gateway, Some("own")), FoundGateway::Closed);
        let names = ["http", "https", "own"].map(str::to_owned).to_vec();
        assert_eq!(
            examine(&gateway, Some("tls")),
            FoundGateway::NoSection(names)
        );
        let chosen = json!({"spec": {"listeners": [
            {"name": "a", "allowedRoutes": {"namespaces": {"from": "Selector"}}},
        ]}});
        assert_eq!(examine(&chosen, None), FoundGateway::Open);
        assert_eq!(
            examine(&json!({}), None),
            FoundGateway::NoSection(Vec::new())
        );
    }
}
