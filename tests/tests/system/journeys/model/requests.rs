//! Requests for money and plans, made to the shop and to the model alike.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dermaga_tests::Answer;
use serde_json::json;

use super::{
    Bought, Kind, MOVED, Plans, REASON,
    person::{Paid, Person, Subscription},
};
use crate::api::payments::Till;

/// Repeats a request until no change of plan is under way; returns the answer.
async fn settled_down(ask: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..600 {
        let answer = ask().await;
        if answer.body["error"]["code"] != "INVALID_STATE" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a change of plan does not end");
}

pub(super) fn settled(answer: Answer, is_enough: bool) {
    if is_enough {
        answer.data(201);
    } else {
        answer.fails(402, "INSUFFICIENT_CREDIT");
    }
}

pub(super) async fn adjust(
    till: &Till,
    person: &Person,
    how: &str,
    amount: i64,
    kind: Option<Kind>,
) -> Answer {
    let kind = kind.map(|kind| match kind {
        Kind::Paid => "PAID",
        Kind::Bonus => "BONUS",
    });
    let body = json!({ "amount": amount, "kind": kind, "reason": REASON });
    let path = format!("/api/admin/wallets/{}/{how}-credit", person.id);
    till.admin.post(&path, body).await
}

pub(super) async fn buy(person: &mut Person, plans: &Plans, plan: Bought) {
    let body = json!({ "planId": plans.of(plan)["id"] });
    let answer = person.client.post("/api/subscriptions", body).await;
    if person.live(plan) >= plans.most(plan) {
        answer.fails(409, "INSTANCE_LIMIT_REACHED");
        return;
    }
    let Some(cash) = person.spend(plans.price(plan)) else {
        answer.fails(402, "INSUFFICIENT_CREDIT");
        return;
    };
    let bought = answer.data(201);
    assert_eq!(bought["paidCash"], cash);
    let begun: DateTime<Utc> = bought["subscription"]["periodStart"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let bonus = plans.price(plan) - cash;
    person.subscriptions.push(Subscription {
        id: bought["subscription"]["id"].as_str().unwrap().to_owned(),
        instance: bought["instanceId"].as_str().unwrap().to_owned(),
        plan,
        paid: vec![Paid {
            cash,
            bonus,
            from: begun,
        }],
        begun,
        periods: 1,
    });
}

/// Upgrades in both. The price of the rest of a period falls with the clock, so the shop may differ
/// by some rupiah.
pub(super) async fn upgrade(till: &Till, person: &mut Person, plans: &Plans, which: usize) {
    let (from, to) = match which % 3 {
        0 => (Bought::WorkflowsFree, Bought::Workflows),
        1 => (Bought::WorkflowsFree, Bought::WorkflowsPro),
        _ => (Bought::Workflows, Bought::WorkflowsPro),
    };
    let small = person.subscriptions.iter();
    let small: Vec<usize> = small
        .enumerate()
        .filter(|(_, one)| one.plan == from)
        .map(|(at, _)| at)
        .collect();
    let is_full = person.live(to) >= plans.most(to);
    if small.is_empty() || is_full {
        return;
    }
    let at = small[which % small.len()];
    let (id, instance) = (
        person.subscriptions[at].id.clone(),
        person.subscriptions[at].instance.clone(),
    );
    let shop = &till.shop;
    shop.instance_becomes(&person.client, &instance, "RUNNING")
        .await;
    let expected = person.subscriptions[at].upgrade_price(plans.price(to), shop.clock().now());
    let pro = json!({ "planId": plans.of(to)["id"] });
    let path = format!("/api/subscriptions/{id}/upgrade");
    let quote = person
        .client
        .post(&format!("{path}-quote"), pro.clone())
        .await;
    let quote = quote.data(200);
    let due = quote["due"].as_i64().unwrap();
    assert!(
        (due - expected).abs() <= MOVED,
        "{due}, not {expected}: {quote:#}"
    );
    let answer = person.client.put(&path, pro).await;
    if person.paid + person.bonus < due {
        // Within a few rupiah of the price, either outcome is right.
        if person.paid + person.bonus < due - MOVED || answer.status != 200 {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            return;
        }
    }
    let done = answer.data(200);
    let charged = done["charged"].as_i64().unwrap();
    assert!((due - MOVED..=due).contains(&charged), "{done:#}");
    let cash = person.spend(charged).expect("the wallet held enough");
    assert_eq!(done["paidCash"], cash);
    person.subscriptions[at].plan = to;
    person.subscriptions[at].paid.push(Paid {
        cash,
        bonus: charged - cash,
        from: shop.clock().now(),
    });
    // Cancelling during a change would undo the change; this model waits for its end.
    let path = format!("/api/admin/subscriptions/{id}/refund");
    let too_much = json!({ "amount": 1_000_000_000, "reason": REASON });
    let refused = settled_down(async || till.admin.post(&path, too_much.clone()).await).await;
    refused.fails(409, "REFUND_TOO_LARGE");
}
