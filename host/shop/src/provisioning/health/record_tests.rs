//! Tests of the records about health, on a database without a cluster.

use std::time::Duration;

use chrono::TimeDelta;

use super::{
    Act, CheckSource, Finding, Ground, InstanceHealth, Plan, Span,
    limits::{Attempt, WINDOW},
    load,
    plan::Situation,
    record, store,
};
use crate::{
    Code, Error,
    db::new_id,
    provisioning::{
        model::{Instance, Status},
        status::StatusDecider,
        test_shop::{GOOD_IMAGE, Shop},
    },
};

/// An instance that runs, whatever the shop knows of it.
async fn running(shop: &Shop) -> Instance {
    Instance {
        status: Status::Running,
        delivered_at: Some(shop.clock.now()),
        observed_generation: 1,
        ..shop.buy().await
    }
}

fn span(shop: &Shop, state: InstanceHealth) -> Span {
    let since = shop.clock.now() - TimeDelta::minutes(10);
    Span {
        id: new_id(&shop.clock),
        state,
        reason: "It does not answer.".to_owned(),
        detail: "Its probe fails.".to_owned(),
        source: CheckSource::Periodic,
        since,
        until: None,
        unwell_since: Some(since),
        ailing_since: Some(since),
        given_up_at: None,
    }
}

fn decider<'a>(shop: &Shop, seen: &'a Instance) -> StatusDecider<'a> {
    StatusDecider {
        seen,
        now: shop.clock.now(),
        resync: Duration::from_secs(300),
    }
}

#[tokio::test]
async fn the_health_of_what_was_not_looked_at_stays_what_it_was() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let seen = running(&shop).await;
    let ailing = span(&shop, InstanceHealth::Failed);
    let mut conn = shop.db.begin().await.unwrap();
    store::insert_span(&mut conn, seen.id, &ailing, true)
        .await
        .unwrap();
    for code in [Code::PluginSuspended, Code::PluginBusy, Code::Unavailable] {
        let new_status = decider(&shop, &seen).host_failed(&Error::new(code, "Not now."));
        let now = shop.clock.now();
        let plan = load(&mut conn, &seen, &new_status, TimeDelta::minutes(3), now).await;
        let plan = plan.unwrap();
        record(&mut conn, &shop.clock, &seen, &new_status, &plan)
            .await
            .unwrap();
        let left = store::open_span(&mut conn, seen.id).await.unwrap().unwrap();
        assert_eq!(
            (left.id, left.state, left.ailing_since),
            (ailing.id, InstanceHealth::Failed, ailing.ailing_since),
            "{code:?}"
        );
    }
}

/// Plays a pass that gives an instance up, as its attempts are used.
async fn give_up(shop: &Shop, seen: &Instance) {
    let now = shop.clock.now();
    let attempt = |act| Attempt {
        act,
        at: now - TimeDelta::minutes(9),
    };
    let attempts = [Act::Restart, Act::Restart, Act::Restart, Act::Recreation].map(attempt);
    let mut conn = shop.db.begin().await.unwrap();
    let new_status = decider(shop, seen).unchanged();
    let plan = Plan::of(Situation {
        seen,
        before: Some(span(shop, InstanceHealth::Degraded)),
        attempts: &attempts,
        finding: Finding {
            state: InstanceHealth::Failed,
            ground: Ground::Ailing,
            reason: "It does not answer.".to_owned(),
            detail: "Its probe fails.".to_owned(),
            silent: Vec::new(),
        },
        is_changing: false,
        patience: TimeDelta::minutes(3),
        now,
    });
    assert!(plan.gives_up);
    record(&mut conn, &shop.clock, seen, &new_status, &plan)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

#[tokio::test]
async fn a_fault_that_comes_and_goes_is_told_once_an_hour() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let seen = running(&shop).await;
    let told = "SELECT count(*) FROM outbox WHERE topic = 'INSTANCE_FAILED'";
    for (later, times) in [
        (TimeDelta::zero(), 1),
        (TimeDelta::minutes(20), 1),
        (WINDOW, 2),
    ] {
        shop.clock.advance(later);
        give_up(&shop, &seen).await;
        assert_eq!(shop.count(told).await, times, "{later}");
    }
}

/// Records a finding of this state after the span that lasts.
async fn find(shop: &Shop, seen: &Instance, state: InstanceHealth) {
    shop.clock.advance(TimeDelta::minutes(1));
    let mut conn = shop.db.begin().await.unwrap();
    let new_status = decider(shop, seen).unchanged();
    let plan = Plan::of(Situation {
        seen,
        before: store::open_span(&mut conn, seen.id).await.unwrap(),
        attempts: &[],
        finding: Finding {
            state,
            ground: Ground::NoUse,
            reason: state.to_string(),
            detail: state.to_string(),
            silent: Vec::new(),
        },
        is_changing: false,
        patience: TimeDelta::minutes(3),
        now: shop.clock.now(),
    });
    record(&mut conn, &shop.clock, seen, &new_status, &plan)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

#[tokio::test]
async fn a_failure_that_outlasts_an_outage_of_the_cluster_is_one() {
    use InstanceHealth::{Failed, Healthy, Unknown};
    let recoveries =
        "SELECT count(*) FROM health_spans WHERE state = 'HEALTHY' AND unwell_since IS NOT NULL";
    let shop = Shop::open(GOOD_IMAGE).await;
    let seen = running(&shop).await;
    let failures =
        "SELECT count(*) FROM health_spans WHERE state = 'FAILED' AND is_new_state = TRUE";
    for (state, count) in [
        (Failed, 1),
        (Unknown, 1),
        (Failed, 1),
        (Healthy, 1),
        (Unknown, 1),
        (Healthy, 1),
        (Unknown, 1),
        (Failed, 2),
    ] {
        find(&shop, &seen, state).await;
        assert_eq!(shop.count(failures).await, count, "{state}");
    }
    assert_eq!(shop.count(recoveries).await, 1, "an outage is no fault");
}
