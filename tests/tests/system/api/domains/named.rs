//! Shops whose customers have domains, and those customers.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use dermaga::config::Config;
use dermaga_shop::{provisioning::domains::Records, webhooks::Lookup};
use dermaga_tests::{Answer, Client, Engine, Shop};
use serde_json::{Value, json};

use crate::receiver::Receiver;

/// A name that does not exist.
pub(super) const UNKNOWN: &str = "hilang.example.com";
/// A name without an address.
pub(super) const EMPTY: &str = "kosong.example.com";
/// A name that leads to an address which is not public.
pub(super) const PRIVATE: &str = "dalam.example.com";

/// TXT records by name.
type Zone = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// A shop whose customers have domains: their records, and the web server that all of them lead to.
pub(super) struct Named {
    pub(super) shop: Shop,
    zone: Zone,
    pub(super) web: Receiver,
}

impl Named {
    pub(super) async fn open(engine: Engine) -> Option<Self> {
        let web = Receiver::start().await;
        let zone = Zone::default();
        let (known, port) = (Arc::clone(&zone), web.address.port());
        let change = |config: &mut Config| {
            let domains = &mut config.provisioning.domains;
            domains.web_port = Some(port);
            domains.records = Some(Records::new(move |name| {
                let known = known.lock().unwrap().get(name).cloned();
                let found: io::Result<Vec<String>> = if name.ends_with(UNKNOWN) {
                    Err(io::ErrorKind::NotFound.into())
                } else {
                    Ok(known.unwrap_or_default())
                };
                Box::pin(async move { found })
            }));
            config.webhooks.lookup = Lookup::new(|name| {
                let found = addresses(name.trim_end_matches('.'));
                Box::pin(async move { found })
            });
        };
        let shop = Shop::open_with(engine, change).await?;
        Some(Self { shop, zone, web })
    }

    /// Publishes a text in the record of a claim, beside those that are there.
    pub(super) fn publish_text(&self, claim: &Value, text: &str) {
        let name = claim["proof"]["recordName"].as_str().unwrap().to_owned();
        let mut zone = self.zone.lock().unwrap();
        zone.entry(name).or_default().push(text.to_owned());
    }

    /// Publishes the record that proves a claim.
    pub(super) fn publish(&self, claim: &Value) {
        self.publish_text(claim, claim["proof"]["recordValue"].as_str().unwrap());
    }

    /// Registers a customer who has an n8n.
    pub(super) async fn owner(&self, email: &str) -> Owner {
        let client = self.shop.customer(email).await;
        self.buy(client, ("n8n", "free")).await
    }

    /// Buys a service and waits until it is there.
    pub(super) async fn buy(&self, client: Client, (service, plan): (&str, &str)) -> Owner {
        let order = json!({ "planId": self.shop.plan(service, plan).await });
        let bought = client.post("/api/subscriptions", order).await.data(201);
        let instance = text(&bought["instanceId"]);
        let seen = self
            .shop
            .instance_becomes(&client, &instance, "RUNNING")
            .await;
        Owner {
            client,
            subscription: text(&bought["subscription"]["id"]),
            instance,
            name: text(&seen["name"]),
            namespace: text(&seen["namespace"]),
        }
    }

    /// Waits until the Ingress of an instance was written with these hosts.
    pub(super) async fn leads(&self, owner: &Owner, hosts: &[&str]) {
        let folder = self.shop.data_dir().join("manifests");
        let folder = folder.join(&owner.namespace).join(&owner.name);
        let mut found = Vec::new();
        for _ in 0..400 {
            found = fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_string_lossy().contains("-ingress-"))
                .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
                .filter_map(|path| fs::read_to_string(path).ok())
                .flat_map(|text| hosts_of(&serde_norway::from_str(&text).unwrap()))
                .collect();
            if found == hosts {
                assert_eq!(owner.hosts().await, hosts);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{found:?} is written, and not {hosts:?}");
    }

    pub(super) async fn cancel(&self, owner: &Owner) {
        let path = format!("/api/subscriptions/{}", owner.subscription);
        owner.client.delete(&path).await.data(200);
        let end = "TERMINATED";
        self.shop
            .instance_becomes(&owner.client, &owner.instance, end)
            .await;
    }
}

/// Returns the addresses of a name: this machine's, but for those names that show what else there can be.
fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    match name {
        UNKNOWN => Err(io::ErrorKind::NotFound.into()),
        EMPTY => Ok(Vec::new()),
        PRIVATE => Ok(vec![[10, 0, 0, 1].into()]),
        _ => Ok(vec![[127, 0, 0, 1].into()]),
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Returns the hosts of the rules of an Ingress.
fn hosts_of(ingress: &Value) -> Vec<String> {
    let rules = ingress["spec"]["rules"].as_array().unwrap().iter();
    rules.map(|rule| text(&rule["host"])).collect()
}

/// A customer with a service.
pub(super) struct Owner {
    pub(super) client: Client,
    subscription: String,
    pub(super) instance: String,
    pub(super) name: String,
    namespace: String,
}

impl Owner {
    pub(super) fn path(&self) -> String {
        format!("/api/instances/{}/domains", self.instance)
    }

    fn path_of(&self, claim: &Value) -> String {
        format!("{}/{}", self.path(), claim["id"].as_str().unwrap())
    }

    pub(super) async fn ask(&self, domain: &str) -> Answer {
        let request = json!({ "domain": domain });
        self.client.post(&self.path(), request).await
    }

    pub(super) async fn claim(&self, domain: &str) -> Value {
        self.ask(domain).await.data(201)
    }

    pub(super) async fn verify(&self, claim: &Value) -> Answer {
        let path = format!("{}/verify", self.path_of(claim));
        self.client.post(&path, json!({})).await
    }

    /// Looks for a proof that is not there; returns the reason.
    pub(super) async fn fails_to_verify(&self, claim: &Value) -> String {
        let looked = self.verify(claim).await.data(200);
        assert_eq!(looked["state"], "PENDING", "{looked:#}");
        assert!(looked["checkedAt"].is_string(), "{looked:#}");
        text(&looked["problem"])
    }

    /// Looks for a proof that is there; returns the domain.
    pub(super) async fn proves(&self, claim: &Value) -> Value {
        let proven = self.verify(claim).await.data(200);
        assert_eq!(proven["state"], "ACTIVE", "{proven:#}");
        proven
    }

    pub(super) async fn remove(&self, claim: &Value) -> Answer {
        self.client.delete(&self.path_of(claim)).await
    }

    pub(super) async fn all(&self) -> Vec<Value> {
        let all = self.client.get(&self.path()).await.data(200);
        all.as_array().unwrap().clone()
    }

    /// Waits until the instance has these domains, in these states.
    pub(super) async fn has(&self, expected: &[(&str, &str)]) -> Vec<Value> {
        let mut all = Vec::new();
        for _ in 0..400 {
            all = self.all().await;
            let word = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
            let found = all
                .iter()
                .map(|one| (word(one, "domain"), word(one, "state")));
            let wanted = expected
                .iter()
                .map(|(domain, state)| ((*domain).to_owned(), (*state).to_owned()));
            if found.eq(wanted) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not {expected:?}: {all:#?}");
    }

    /// Returns the hosts of the Ingress as the API shows it.
    async fn hosts(&self) -> Vec<String> {
        let path = format!("/api/instances/{}/manifests", self.instance);
        let view = self.client.get(&path).await.data(200);
        let mut objects = view["objects"].as_array().unwrap().iter();
        hosts_of(objects.find(|object| object["kind"] == "Ingress").unwrap())
    }

    pub(super) async fn events(&self) -> String {
        let path = format!("/api/instances/{}/events", self.instance);
        let answer = self.client.get(&path).await;
        let text = answer.text.clone();
        answer.data(200);
        text
    }
}
