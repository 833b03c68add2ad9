//! Hosts of an instance: its own name, and domains of its customer, which lead to the same places.

use serde_json::{Value, json};

use super::name;
use crate::crypto;

/// Hexadecimal digits that tell the certificates of an Ingress apart.
const DIGITS: usize = 16;

/// Hosts that lead to an instance.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::provisioning) struct Hosts<'a> {
    /// Its own name below the shop's domain.
    pub(in crate::provisioning) own: Option<&'a str>,
    /// Domains of its customer, in ASCII.
    pub(in crate::provisioning) domains: &'a [String],
}

impl Hosts<'_> {
    /// Returns true for a host that is a domain of the customer.
    pub(super) fn is_domain(self, host: &Value) -> bool {
        let host = host.as_str();
        host.is_some_and(|host| self.domains.iter().any(|domain| domain == host))
    }

    /// Leads each domain where a gated Ingress leads the instance's own name, by rules of its own.
    pub(super) fn lead(self, ingress: &mut Value) {
        let rules = ingress.pointer_mut("/spec/rules");
        let (Some(own), Some(rules)) = (self.own, rules.and_then(Value::as_array_mut)) else {
            return;
        };
        let is_own = |rule: &&Value| rule.get("host").and_then(Value::as_str) == Some(own);
        let led: Vec<Value> = rules.iter().filter(is_own).cloned().collect();
        for domain in self.domains {
            for rule in &led {
                let mut rule = rule.clone();
                if let Some(fields) = rule.as_object_mut() {
                    fields.insert("host".to_owned(), json!(domain));
                }
                rules.push(rule);
            }
        }
    }

    /// Lets TLS end for the domains, too, where an Ingress ends it without a certificate of its own.
    pub(super) fn protect(self, ingress: &mut Value) {
        let tls = ingress.pointer_mut("/spec/tls");
        if let Some(tls) = tls.and_then(Value::as_array_mut) {
            let domains = self.domains.iter();
            tls.extend(domains.map(|domain| json!({ "hosts": [domain] })));
        }
    }
}

/// Returns the name of the Secret with the certificate of a domain of an Ingress. No gated name has a dot, so
/// that it is none of a plugin's objects.
pub(super) fn certificate(ingress: &Value, domain: &str) -> String {
    let digest = crypto::sha256_hex(domain);
    let digest = digest.get(..DIGITS).unwrap_or_default();
    format!("{}.{digest}-tls", name(ingress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioning::entry::{Entry, EntryChoice, Gateway, Issuer};

    const OWN: &str = "n8n-a.apps.example";

    fn ingress(rules: &Value) -> Value {
        json!({
            "kind": "Ingress", "metadata": {"name": "n8n-a", "namespace": "user-a"},
            "spec": {"tls": [{"hosts": [OWN]}], "rules": rules},
        })
    }

    fn rule(host: &str, path: &str) -> Value {
        json!({"host": host, "http": {"paths": [{
            "path": path, "pathType": "Prefix",
            "backend": {"service": {"name": "n8n-a", "port": {"number": 5678}}},
        }]}})
    }

    fn led(entry: &Entry, domains: &[String]) -> Value {
        let rules = json!([rule(OWN, "/"), rule("other.apps.example", "/api")]);
        let hosts = Hosts {
            own: Some(OWN),
            domains,
        };
        let mut objects = entry.lead_to(vec![ingress(&rules)], hosts);
        assert!(!objects.is_empty());
        objects.remove(0)
    }

    fn domains() -> Vec<String> {
        vec!["toko.example".to_owned(), "www.toko.example".to_owned()]
    }

    #[test]
    fn a_domain_leads_where_the_own_name_does() {
        let ingress = led(&Entry::default(), &domains());
        let expected = json!([
            rule(OWN, "/"),
            rule("other.apps.example", "/api"),
            rule("toko.example", "/"),
            rule("www.toko.example", "/"),
        ]);
        assert_eq!(ingress["spec"]["rules"], expected);
        let expected = json!([
            {"hosts": [OWN]}, {"hosts": ["toko.example"]}, {"hosts": ["www.toko.example"]},
        ]);
        assert_eq!(ingress["spec"]["tls"], expected);
        // Without a domain, nothing is different.
        let alone = led(&Entry::default(), &[]);
        assert_eq!(alone["spec"]["tls"], json!([{"hosts": [OWN]}]));
        assert_eq!(alone["spec"]["rules"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn each_domain_has_a_certificate_of_its_own() {
        let entry = Entry {
            issuer: Some(Issuer::Cluster("letsencrypt".to_owned())),
            ..Entry::default()
        };
        let ingress = led(&entry, &domains());
        let tls = ingress["spec"]["tls"].as_array().unwrap();
        assert_eq!(tls.len(), 3);
        let expected = json!({"hosts": [OWN, "other.apps.example"], "secretName": "n8n-a-tls"});
        assert_eq!(tls[0], expected);
        let certificates: Vec<_> = domains()
            .iter()
            .flat_map(|domain| entry.certificates(std::slice::from_ref(&ingress), domain))
            .collect();
        for (place, domain) in domains().iter().enumerate() {
            assert_eq!(tls[place + 1]["hosts"], json!([domain]));
            assert_eq!(tls[place + 1]["secretName"], json!(certificates[place]));
            assert!(certificates[place].starts_with("n8n-a."));
        }
        assert_ne!(certificates[0], certificates[1]);
        let none = Entry::default().certificates(&[ingress], "toko.example");
        assert!(none.is_empty(), "the controller has the certificate");
    }

    #[test]
    fn a_wildcard_is_for_no_domain_of_a_customer() {
        let entry = Entry {
            tls_secret: Some("wildcard".to_owned()),
            ..Entry::default()
        };
        let ingress = led(&entry, &domains());
        let expected = json!([
            {"hosts": [OWN, "other.apps.example"], "secretName": "wildcard"},
            {"hosts": ["toko.example"]}, {"hosts": ["www.toko.example"]},
        ]);
        assert_eq!(ingress["spec"]["tls"], expected);
        // None of them is the server's to remove with a domain.
        let left = entry.certificates(&[ingress], "toko.example");
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_route_has_the_domains_among_its_hosts() {
        let entry = Entry {
            choice: EntryChoice::Gateway,
            gateway: Gateway {
                name: "gerbang".to_owned(),
                namespace: "pintu-masuk".to_owned(),
                ..Gateway::default()
            },
            ..Entry::default()
        };
        let route = led(&entry, &domains());
        assert_eq!(route["kind"], "HTTPRoute");
        let expected = json!([OWN, "toko.example", "www.toko.example"]);
        assert_eq!(route["spec"]["hostnames"], expected);
    }

    #[test]
    fn without_a_name_of_its_own_an_instance_has_no_domains() {
        let rules = json!([rule(OWN, "/")]);
        let hosts = Hosts {
            own: None,
            domains: &domains(),
        };
        let mut led = ingress(&rules);
        hosts.lead(&mut led);
        assert_eq!(led, ingress(&rules));
    }
}
