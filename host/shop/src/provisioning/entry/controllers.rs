//! Software that carries out the way in: the annotations that it reads, and the limits that it holds.

use serde_json::Value;

use super::{Entry, EntryChoice};

/// Software that carries out Ingresses, as far as its annotations are known here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Controller {
    #[default]
    Nginx,
    Traefik,
    Cilium,
    Other,
}

/// Software that carries out the routes of a Gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GatewayController {
    Envoy,
    Traefik,
    Cilium,
    #[default]
    Other,
}

/// Longest time that a plugin may ask for, in seconds.
const LONGEST: u64 = 86_400;

const BODY_SIZE: &str = "nginx.ingress.kubernetes.io/proxy-body-size";
/// Annotation by which plugins say for how many seconds an answer may pause.
const READ_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-read-timeout";
const SEND_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-send-timeout";
const ENDS_TLS: &str = "traefik.ingress.kubernetes.io/router.tls";
const REQUEST_TIMEOUT: &str = "ingress.cilium.io/request-timeout";

impl Entry {
    /// Returns true where the longest time of an answer can be written down.
    #[must_use]
    pub const fn holds_timeout(&self) -> bool {
        match self.choice {
            EntryChoice::Ingress => {
                matches!(self.controller, Controller::Nginx | Controller::Cilium)
            }
            // Traefik takes the times of routes and does nothing with them.
            EntryChoice::Gateway => !matches!(self.gateway.controller, GatewayController::Traefik),
        }
    }

    /// Returns true where the largest body of a request can be written down.
    #[must_use]
    pub const fn holds_body_size(&self) -> bool {
        matches!(
            (self.choice, self.controller),
            (EntryChoice::Ingress, Controller::Nginx)
        )
    }

    /// Returns the longest time of an answer through a route in seconds: the operator's, else the one that the
    /// plugin asks for. `None` where routes hold none.
    pub(super) fn seconds_of_route(&self, ingress: &Value) -> Option<u64> {
        let decided = self.timeout.map(|timeout| timeout.as_secs());
        let asked = || -> Option<u64> { annotation(ingress, READ_TIMEOUT)?.parse().ok() };
        let seconds = decided.or_else(asked);
        seconds.filter(|seconds| self.holds_timeout() && *seconds <= LONGEST)
    }

    /// Returns the annotations that the controller of an Ingress reads.
    pub(super) fn of_controller(&self, ingress: &Value) -> Vec<(&'static str, String)> {
        match self.controller {
            Controller::Nginx => self.of_nginx(ingress),
            // Hosts under `tls` are not enough: without this, Traefik answers them without TLS.
            Controller::Traefik if ingress.pointer("/spec/tls").is_some() => {
                vec![(ENDS_TLS, "true".to_owned())]
            }
            // Without the annotation Cilium has no limit, unless its operator has a default one.
            Controller::Cilium => {
                let timeout = self.timeout.map(|timeout| timeout.as_secs());
                let timeout = timeout.map(|seconds| (REQUEST_TIMEOUT, format!("{seconds}s")));
                timeout.into_iter().collect()
            }
            Controller::Traefik | Controller::Other => Vec::new(),
        }
    }

    fn of_nginx(&self, ingress: &Value) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if let Some(mib) = self.body_mib {
            all.push((BODY_SIZE, format!("{mib}m")));
        }
        if let Some(timeout) = self.timeout {
            let seconds = timeout.as_secs().to_string();
            all.push((READ_TIMEOUT, seconds.clone()));
            all.push((SEND_TIMEOUT, seconds));
        } else if let Some(seconds) = annotation(ingress, READ_TIMEOUT)
            && annotation(ingress, SEND_TIMEOUT).is_none()
        {
            // A WebSocket is ended by the shorter one of both, and the default of either is a minute.
            all.push((SEND_TIMEOUT, seconds.to_owned()));
        }
        all
    }
}

fn annotation<'a>(ingress: &'a Value, key: &str) -> Option<&'a str> {
    let annotations = ingress.pointer("/metadata/annotations");
    annotations?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    /// An Ingress as the kit of plugins renders it.
    fn ingress() -> Value {
        json!({
            "kind": "Ingress",
            "metadata": {"name": "n8n-a", "annotations": {
                "nginx.ingress.kubernetes.io/proxy-body-size": "64m",
                "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
            }},
            "spec": {"tls": [{"hosts": ["n8n-a.apps.example"]}]},
        })
    }

    fn by_ingress(controller: Controller) -> Entry {
        Entry {
            controller,
            ..Entry::default()
        }
    }

    fn by_gateway(controller: GatewayController) -> Entry {
        let mut entry = Entry {
            choice: EntryChoice::Gateway,
            ..Entry::default()
        };
        entry.gateway.controller = controller;
        entry
    }

    fn written(entry: &Entry) -> Vec<(&'static str, String)> {
        entry.of_controller(&ingress())
    }

    fn told(key: &'static str, value: &str) -> (&'static str, String) {
        (key, value.to_owned())
    }

    #[test]
    fn each_controller_of_ingresses_has_the_limits_that_it_reads() {
        let limited = |controller| Entry {
            timeout: Some(Duration::from_secs(600)),
            body_mib: Some(256),
            ..by_ingress(controller)
        };
        for (controller, holds, expected) in [
            (
                Controller::Nginx,
                (true, true),
                vec![
                    told(BODY_SIZE, "256m"),
                    told(READ_TIMEOUT, "600"),
                    told(SEND_TIMEOUT, "600"),
                ],
            ),
            (
                Controller::Traefik,
                (false, false),
                vec![told(ENDS_TLS, "true")],
            ),
            (
                Controller::Cilium,
                (true, false),
                vec![told(REQUEST_TIMEOUT, "600s")],
            ),
            (Controller::Other, (false, false), vec![]),
        ] {
            let entry = limited(controller);
            assert_eq!(
                (entry.holds_timeout(), entry.holds_body_size()),
                holds,
                "{controller:?}"
            );
            assert_eq!(written(&entry), expected, "{controller:?}");
        }
    }

    /// Connections that stay open and are silent for a while, such as WebSockets.
    #[test]
    fn no_controller_of_ingresses_ends_a_websocket_before_its_plugin_would() {
        // ingress-nginx ends one that pauses for longer than either of both times.
        assert_eq!(
            written(&by_ingress(Controller::Nginx)),
            [told(SEND_TIMEOUT, "3600")]
        );
        let mut both = ingress();
        both["metadata"]["annotations"][SEND_TIMEOUT] = json!("60");
        let nginx = by_ingress(Controller::Nginx);
        assert!(nginx.of_controller(&both).is_empty(), "the plugin decided");
        let mut none = ingress();
        none["metadata"]["annotations"] = json!({});
        assert!(nginx.of_controller(&none).is_empty());
        // The others have no limit of their own in an Ingress, and get none.
        assert_eq!(
            written(&by_ingress(Controller::Traefik)),
            [told(ENDS_TLS, "true")]
        );
        for controller in [Controller::Cilium, Controller::Other] {
            assert!(written(&by_ingress(controller)).is_empty());
        }
    }

    #[test]
    fn each_gateway_has_the_time_that_it_keeps() {
        for (controller, seconds) in [
            (GatewayController::Envoy, Some(3600)),
            (GatewayController::Cilium, Some(3600)),
            (GatewayController::Other, Some(3600)),
            (GatewayController::Traefik, None),
        ] {
            let entry = by_gateway(controller);
            assert_eq!(
                entry.seconds_of_route(&ingress()),
                seconds,
                "{controller:?}"
            );
            assert_eq!(
                (entry.holds_timeout(), entry.holds_body_size()),
                (seconds.is_some(), false),
                "{controller:?}"
            );
            let decided = Entry {
                timeout: Some(Duration::from_secs(90)),
                ..entry
            };
            let expected = seconds.map(|_| 90);
            assert_eq!(decided.seconds_of_route(&ingress()), expected);
        }
    }

    #[test]
    fn a_plugin_may_ask_for_a_day_at_most() {
        let mut long = ingress();
        long["metadata"]["annotations"][READ_TIMEOUT] = json!("86401");
        let envoy = by_gateway(GatewayController::Envoy);
        assert_eq!(envoy.seconds_of_route(&long), None);
    }
}
