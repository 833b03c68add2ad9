//! Names of objects in a status are for administrators; customers read plain sentences.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_runtime::contract::{Health, HealthState};

use super::{
    model::Instance,
    status::StatusDecider,
    test_shop::{GOOD_IMAGE, Shop},
};
use crate::cluster::ObjectRef;

fn decider(instance: &Instance, minutes: i64) -> StatusDecider<'_> {
    StatusDecider {
        seen: instance,
        now: instance.updated_at + TimeDelta::minutes(minutes),
        resync: Duration::from_secs(600),
    }
}

#[tokio::test]
async fn a_removal_that_takes_long_names_its_objects_to_administrators() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let leaving = |minutes| decider(&instance, minutes).leaving(&["Pod/x".to_owned()]);
    let quick = leaving(0);
    assert_eq!(
        (&quick.message, quick.detail),
        (&instance.message, None),
        "nothing is said of one that has just begun"
    );
    let plain = "Its removal takes long. We keep at it until everything is gone.";
    let detail = "Its removal takes long. Still there: Pod/x.".to_owned();
    let slow = leaving(2);
    assert_eq!(slow.message, plain);
    assert_eq!((slow.detail, slow.trouble), (Some(detail.clone()), None));
    let told = Instance {
        message: plain.to_owned(),
        ..instance.clone()
    };
    let next = decider(&told, 0).leaving(&["Pod/x".to_owned()]);
    assert_eq!(
        (next.message, next.detail),
        (plain.to_owned(), Some(detail.clone()))
    );
    let stuck = leaving(11);
    assert_eq!(stuck.message, plain);
    assert_eq!(stuck.trouble, Some(detail), "administrators are alerted");
}

#[tokio::test]
async fn a_secret_and_kinds_that_are_missing_are_named_to_administrators() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let decider = decider(&instance, 0);
    let secret = instance.secret_object();
    for store in [None, Some("brankas".to_owned())] {
        let written = decider.written(&["password".to_owned()], store);
        let plain = "Your service is prepared and waits to be put into operation.";
        assert_eq!(written.message, plain);
        let detail = written.detail.unwrap();
        assert!(detail.contains(&secret), "{detail}");
    }
    let health = Health {
        state: HealthState::Ready,
        message: "It runs.".to_owned(),
    };
    let left_out = ObjectRef::new("monitoring.coreos.com/v1", "ServiceMonitor", "n8n");
    let running = decider.healthy(&health, &[], (&[], std::slice::from_ref(&left_out)));
    assert_eq!(running.message, "It runs.");
    let finding = format!("{:?}", running.finding);
    assert!(finding.contains("ServiceMonitor"), "{finding}");
}
