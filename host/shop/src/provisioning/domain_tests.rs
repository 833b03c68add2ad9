//! Domains of customers on a real cluster, where `DERMAGA_TEST_KUBECONFIG` names a disposable one.

use std::time::Duration;

use chrono::TimeDelta;
use k8s_openapi::api::{core::v1::Secret, networking::v1::Ingress};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Instance, Issuer, Status,
    entry_tests::public,
    test_shop::{GOOD_IMAGE, Shop, in_cluster},
};
use crate::{db::new_id, execute, ids::DomainId, test_cluster::named_by};

const BROUGHT: &str = "bawaan.example.com";
const SHOWN: &str = "toko.example.com";
const ROWS: &str = "SELECT count(*) FROM custom_domains";

/// Leads a domain to an instance, as a proof does.
async fn lead(shop: &Shop, instance: &Instance, name: &str) {
    let (id, now): (DomainId, _) = (new_id(&shop.clock), shop.clock.now());
    let sql = "INSERT INTO custom_domains (id, instance_id, user_id, name, token, state, proven_by, proven_at, \
               next_check_at, expires_at, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, 'token', 'ACTIVE', 'DNS', $5, $5, $5, $5, $5)";
    let mut conn = shop.db.begin().await.unwrap();
    execute!(conn, sql, id, instance.id, instance.user_id, name, now).unwrap();
    let sql =
        "UPDATE instances SET generation = generation + 1, next_attempt_at = $2 WHERE id = $1";
    execute!(conn, sql, instance.id, now).unwrap();
    conn.commit().await.unwrap();
}

/// Begins to take all domains of an instance back, as removals do.
async fn leave(shop: &Shop, instance: &Instance) {
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let sql =
        "UPDATE instances SET generation = generation + 1, next_attempt_at = $2 WHERE id = $1";
    execute!(conn, sql, instance.id, now).unwrap();
    let sql = "UPDATE custom_domains SET state = 'REMOVING', next_check_at = $2, updated_at = $2, \
               gone_with = (SELECT generation FROM instances WHERE id = $1) WHERE instance_id = $1";
    execute!(conn, sql, instance.id, now).unwrap();
    conn.commit().await.unwrap();
}

async fn live(ingresses: &Api<Ingress>, instance: &Instance) -> Value {
    serde_json::to_value(ingresses.get(&instance.name).await.unwrap()).unwrap()
}

fn hosts(ingress: &Value) -> Vec<&str> {
    let rules = ingress["spec"]["rules"].as_array().unwrap().iter();
    rules.map(|rule| rule["host"].as_str().unwrap()).collect()
}

/// Returns the name of the Secret with the certificate of a host.
fn certificate(ingress: &Value, host: &str) -> String {
    let mut tls = ingress["spec"]["tls"].as_array().unwrap().iter();
    let of_host = tls.find(|one| one["hosts"] == json!([host])).unwrap();
    of_host["secretName"].as_str().unwrap().to_owned()
}

/// Makes the Secret of a certificate, as cert-manager or another one does.
async fn issue(secrets: &Api<Secret>, name: &str, annotations: &Value) {
    let secret = json!({"metadata": {"name": name, "annotations": annotations}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let params = PostParams::default();
    secrets.create(&params, &secret).await.unwrap();
}

#[tokio::test]
async fn a_domain_has_its_rule_and_its_certificate_until_it_is_removed() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    let mut shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().render = Some(public);
    shop.classes.entry.issuer = Some(Issuer::Cluster("letsencrypt".to_owned()));
    let server = shop.server(provisioner);
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;
    let own = instance.hostname.as_deref().unwrap();
    let ingresses: Api<Ingress> = Api::namespaced(client.clone(), &instance.namespace);
    let secrets: Api<Secret> = Api::namespaced(client, &instance.namespace);
    let before = live(&ingresses, &instance).await;
    assert_eq!(hosts(&before), [own]);

    lead(&shop, &instance, BROUGHT).await;
    lead(&shop, &instance, SHOWN).await;
    server.handle.wake();
    shop.until(&instance, |now| now.observed_generation == 3)
        .await;
    let led = live(&ingresses, &instance).await;
    assert_eq!(hosts(&led), [own, BROUGHT, SHOWN]);
    let rules = &led["spec"]["rules"];
    for number in [1, 2] {
        assert_eq!(rules[number]["http"], rules[0]["http"]);
    }
    let annotations = &led["metadata"]["annotations"];
    assert_eq!(annotations["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(certificate(&led, own), format!("{}-tls", instance.name));

    // One was issued, the other one is of the customer's own making.
    let (issued, made) = (certificate(&led, BROUGHT), certificate(&led, SHOWN));
    let by_issuer = json!({"cert-manager.io/certificate-name": issued});
    issue(&secrets, &issued, &by_issuer).await;
    issue(&secrets, &made, &json!({})).await;
    // Nothing that is applied counts as seen from here on.
    shop.services.script().judges_nothing = true;
    leave(&shop, &instance).await;
    server.handle.wake();
    let deadline = Instant::now() + Duration::from_secs(60);
    while live(&ingresses, &instance).await["spec"] != before["spec"] {
        assert!(Instant::now() < deadline, "the rules are kept");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shop.count(ROWS).await, 2, "the issuer has to see it first");
    assert!(secrets.get_opt(&issued).await.unwrap().is_some());

    shop.clock.advance(TimeDelta::seconds(11));
    server.handle.wake();
    let deadline = Instant::now() + Duration::from_secs(60);
    while shop.count(ROWS).await > 0 {
        assert!(Instant::now() < deadline, "the domains are kept");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(secrets.get_opt(&issued).await.unwrap().is_none());
    assert!(secrets.get_opt(&made).await.unwrap().is_some());
    assert_eq!(shop.now(&instance).await.observed_generation, 3);
    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    server.stop().await;
}
