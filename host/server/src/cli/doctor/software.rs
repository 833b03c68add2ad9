//! Check of the software behind the way in: the cluster's class names it, and limits are written for the one that
//! the settings name.

use dermaga_shop::{
    cluster::Cluster,
    provisioning::{Controller, Gateway, GatewayController},
};

use super::{
    outside::APPLY_ROLES,
    report::{Finding, Part},
};

/// Controllers of Ingress classes, with the words of DERMAGA_INGRESS_CONTROLLER.
const OF_INGRESSES: [(&str, &str, Controller); 3] = [
    ("k8s.io/ingress-nginx", "nginx", Controller::Nginx),
    (
        "traefik.io/ingress-controller",
        "traefik",
        Controller::Traefik,
    ),
    ("cilium.io/ingress-controller", "cilium", Controller::Cilium),
];
/// Controllers of Gateway classes, with the words of DERMAGA_GATEWAY_CONTROLLER.
const OF_GATEWAYS: [(&str, &str, GatewayController); 3] = [
    (
        "gateway.envoyproxy.io/gatewayclass-controller",
        "envoy",
        GatewayController::Envoy,
    ),
    (
        "traefik.io/gateway-controller",
        "traefik",
        GatewayController::Traefik,
    ),
    (
        "io.cilium/gateway-controller",
        "cilium",
        GatewayController::Cilium,
    ),
];

/// Warns of an Ingress class that other software carries out than the settings say.
pub(super) async fn of_ingresses(
    cluster: &Cluster,
    class: &str,
    chosen: Controller,
) -> Option<Finding> {
    // Classes that cannot be read are a finding of their own.
    let controller = cluster.ingress_controller(class).await.ok()??;
    let named = format!("ingress class {class}");
    let setting = "DERMAGA_INGRESS_CONTROLLER";
    compare(&OF_INGRESSES, &controller, chosen).map(|word| differs(&named, setting, word))
}

/// Warns of a Gateway that other software carries out than the settings say.
pub(super) async fn of_gateway(cluster: &Cluster, gateway: &Gateway) -> Option<Finding> {
    let named = format!("Gateway {}/{}", gateway.namespace, gateway.name);
    let asked = cluster.gateway_controller(&gateway.namespace, &gateway.name);
    let controller = match asked.await {
        Ok(controller) => controller?,
        Err(error) => {
            let message = format!("the software of {named} is not known: {error}");
            return Some(Part::Cluster.warning(message, APPLY_ROLES));
        }
    };
    let setting = "DERMAGA_GATEWAY_CONTROLLER";
    compare(&OF_GATEWAYS, &controller, gateway.controller)
        .map(|word| differs(&named, setting, word))
}

/// Returns the word for the software of a class, when that is known and another one is chosen.
fn compare<S: PartialEq + Copy>(
    known: &[(&'static str, &'static str, S)],
    controller: &str,
    chosen: S,
) -> Option<&'static str> {
    let mut all = known.iter();
    let (_, word, software) = all.find(|(name, ..)| *name == controller)?;
    (*software != chosen).then_some(*word)
}

fn differs(named: &str, setting: &str, word: &str) -> Finding {
    Part::Cluster.warning(
        format!("{named} is carried out by {word}, which {setting} does not say"),
        format!("Set {setting}={word}: limits are written for it then, and those that it cannot carry out are refused."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_software_has_to_be_the_chosen_one() {
        for (controller, word, software) in OF_INGRESSES {
            assert_eq!(compare(&OF_INGRESSES, controller, software), None);
            assert_eq!(
                compare(&OF_INGRESSES, controller, Controller::Other),
                Some(word)
            );
        }
        for (controller, word, software) in OF_GATEWAYS {
            assert_eq!(compare(&OF_GATEWAYS, controller, software), None);
            assert_eq!(
                compare(&OF_GATEWAYS, controller, GatewayController::Other),
                Some(word)
            );
        }
        let unknown = "haproxy.org/ingress-controller";
        assert_eq!(compare(&OF_INGRESSES, unknown, Controller::Nginx), None);
    }

    #[test]
    fn a_difference_names_the_setting_and_its_word() {
        let finding = differs("ingress class web", "DERMAGA_INGRESS_CONTROLLER", "traefik");
        assert_eq!(
            finding.message,
            "ingress class web is carried out by traefik, which DERMAGA_INGRESS_CONTROLLER does not say"
        );
        let todo = finding.todo.unwrap();
        assert!(
            todo.starts_with("Set DERMAGA_INGRESS_CONTROLLER=traefik:"),
            "{todo}"
        );
    }
}
