//! Rules about the way in to instances: a setting that it cannot carry out would be believed and not there.

use dermaga_shop::provisioning::{Controller, Entry, EntryChoice, GatewayController};

use super::Config;

/// Reports every setting that the chosen way in lacks, or cannot carry out.
pub(super) fn check(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let entry = &config.provisioning.classes.entry;
    if entry.choice == EntryChoice::Gateway {
        for (name, value) in [
            ("DERMAGA_GATEWAY_NAME", &entry.gateway.name),
            ("DERMAGA_GATEWAY_NAMESPACE", &entry.gateway.namespace),
        ] {
            if value.is_empty() {
                problem(name, "is required together with DERMAGA_ENTRY=gateway");
            }
        }
    }
    check_certificates(entry, problem);
    if entry.timeout.is_some() && !entry.holds_timeout() {
        problem("DERMAGA_ENTRY_TIMEOUT", of_timeout(entry));
    }
    if entry.body_mib.is_some() && !entry.holds_body_size() {
        problem("DERMAGA_ENTRY_BODY_MIB", of_body_size(entry));
    }
}

/// An Ingress has its certificate from one place, and a route from its Gateway.
fn check_certificates(entry: &Entry, problem: &mut impl FnMut(&str, &str)) {
    let is_gateway = entry.choice == EntryChoice::Gateway;
    for (name, is_set) in [
        ("DERMAGA_INGRESS_ISSUER", entry.issuer.is_some()),
        ("DERMAGA_INGRESS_TLS_SECRET", entry.tls_secret.is_some()),
    ] {
        if is_set && is_gateway {
            problem(
                name,
                "has no effect on a Gateway, whose listeners have the certificates",
            );
        }
    }
    if !is_gateway && entry.issuer.is_some() && entry.tls_secret.is_some() {
        problem(
            "DERMAGA_INGRESS_TLS_SECRET",
            "has no effect beside DERMAGA_INGRESS_ISSUER, which fills a Secret for each Ingress; leave one of them out",
        );
    }
}

/// Returns the reason for a way in that holds no time of answers.
const fn of_timeout(entry: &Entry) -> &'static str {
    match (entry.choice, entry.controller) {
        (EntryChoice::Gateway, _) => {
            "has no effect on a Gateway of Traefik, which ignores the times of routes; set `respondingTimeouts` of its entry point"
        }
        (EntryChoice::Ingress, Controller::Traefik) => {
            "has no effect on an Ingress of Traefik; set `respondingTimeouts` of its entry point"
        }
        (EntryChoice::Ingress, _) => {
            "needs DERMAGA_INGRESS_CONTROLLER=nginx or cilium, or DERMAGA_ENTRY=gateway; set it at your controller"
        }
    }
}

/// Returns the reason for a way in that holds no size of requests.
const fn of_body_size(entry: &Entry) -> &'static str {
    match (entry.choice, entry.controller, entry.gateway.controller) {
        (EntryChoice::Gateway, _, GatewayController::Envoy) => {
            "has no effect on a route; set `requestBuffer` in a BackendTrafficPolicy of Envoy Gateway, which breaks WebSocket"
        }
        (EntryChoice::Ingress, Controller::Traefik, _) => {
            "has no effect on an Ingress of Traefik; name a Middleware `buffering` in DERMAGA_ENTRY_ANNOTATIONS"
        }
        (EntryChoice::Gateway, _, GatewayController::Traefik) => {
            "has no effect on a Gateway of Traefik; set a Middleware `buffering` at its entry point"
        }
        (EntryChoice::Ingress, Controller::Cilium, _)
        | (EntryChoice::Gateway, _, GatewayController::Cilium) => {
            "has no effect with Cilium, which has no such limit"
        }
        _ => {
            "needs DERMAGA_ENTRY=ingress and DERMAGA_INGRESS_CONTROLLER=nginx; set it at your controller"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn problems(entry: Entry) -> Vec<String> {
        let mut config = Config::default();
        config.provisioning.classes.entry = entry;
        let mut found = Vec::new();
        check(&config, &mut |name, rule| {
            found.push(format!("{name} {rule}"));
        });
        found
    }

    /// A way in with both limits.
    fn limited(choice: EntryChoice) -> Entry {
        let mut entry = Entry {
            choice,
            timeout: Some(Duration::from_secs(8)),
            body_mib: Some(8),
            ..Entry::default()
        };
        entry.gateway.name = "gerbang".to_owned();
        entry.gateway.namespace = "pintu-masuk".to_owned();
        entry
    }

    /// Returns true for each limit that is taken, the time first, and every sentence names the software.
    fn taken(entry: Entry, software: &str) -> [bool; 2] {
        let found = problems(entry);
        for problem in &found {
            assert!(problem.contains(software), "{problem}");
        }
        ["DERMAGA_ENTRY_TIMEOUT", "DERMAGA_ENTRY_BODY_MIB"]
            .map(|name| !found.iter().any(|problem| problem.starts_with(name)))
    }

    #[test]
    fn each_ingress_takes_the_limits_that_it_can_carry_out() {
        for (controller, software, expected) in [
            (Controller::Nginx, "", [true, true]),
            (Controller::Traefik, "Traefik", [false, false]),
            (Controller::Cilium, "Cilium", [true, false]),
            (Controller::Other, "your controller", [false, false]),
        ] {
            let mut entry = limited(EntryChoice::Ingress);
            entry.controller = controller;
            assert_eq!(taken(entry, software), expected, "{controller:?}");
        }
    }

    #[test]
    fn each_gateway_takes_the_limits_that_it_can_carry_out() {
        for (controller, software, expected) in [
            (GatewayController::Envoy, "Envoy Gateway", [true, false]),
            (GatewayController::Traefik, "Traefik", [false, false]),
            (GatewayController::Cilium, "Cilium", [true, false]),
            (GatewayController::Other, "your controller", [true, false]),
        ] {
            let mut entry = limited(EntryChoice::Gateway);
            entry.gateway.controller = controller;
            assert_eq!(taken(entry, software), expected, "{controller:?}");
        }
    }

    #[test]
    fn a_certificate_comes_from_one_place() {
        let with_secret = || Entry {
            tls_secret: Some("wildcard".to_owned()),
            ..Entry::default()
        };
        assert!(problems(with_secret()).is_empty());
        let issuer = dermaga_shop::provisioning::Issuer::Cluster("letsencrypt".to_owned());
        let both = Entry {
            issuer: Some(issuer),
            ..with_secret()
        };
        let found = problems(both);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("DERMAGA_INGRESS_TLS_SECRET has no effect beside"),
            "{found:?}"
        );
        let routed = Entry {
            tls_secret: Some("wildcard".to_owned()),
            timeout: None,
            body_mib: None,
            ..limited(EntryChoice::Gateway)
        };
        assert_eq!(
            problems(routed),
            [
                "DERMAGA_INGRESS_TLS_SECRET has no effect on a Gateway, whose listeners have the certificates"
            ]
        );
    }
}
