//! Tests of tickets under concurrency.

use std::collections::BTreeSet;

use dermaga_tests::both_engines;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    api::tickets::{Desk, OF_SHOP, REASON, TICKETS, answer, ask, opened, status, write},
    pictures,
};

both_engines!(
    Desk,
    [
        numbers_have_no_gaps_when_all_ask_at_once,
        two_administrators_answer_and_one_closes,
        nothing_is_written_to_a_ticket_that_is_closed_at_the_same_moment,
        bulk_closes_do_not_stop_each_other
    ]
);

/// Some of those that ask at once are refused after they would have taken a number.
async fn numbers_have_no_gaps_when_all_ask_at_once(desk: Desk) {
    let customers = desk.shop.many_customers(8).await;
    let asking = customers.iter().flat_map(|customer| {
        let pictured = async {
            let png = pictures::png();
            ask(customer, &[("a.png", &png)]).await
        };
        let plain = ask(customer, &[]);
        let refused = async {
            let texts = [
                ("subject", "An instance of others"),
                ("description", "It is not mine, but still."),
                ("instanceId", "00000000-0000-0000-0000-000000000001"),
            ];
            customer.post_form(TICKETS, &texts, &[]).await
        };
        let all: [std::pin::Pin<Box<dyn Future<Output = _> + Send>>; 3] =
            [Box::pin(pictured), Box::pin(plain), Box::pin(refused)];
        all
    });
    let answers: Vec<dermaga_tests::Answer> = join_all(asking).await;
    let mut numbers = BTreeSet::new();
    for answer in &answers {
        match answer.status {
            201 => {
                let number = answer.body["data"]["number"].as_str().unwrap();
                assert!(numbers.insert(number.to_owned()), "{number} twice");
            }
            _ => drop(answer.fails(404, "NOT_FOUND")),
        }
    }
    let expected: BTreeSet<String> = (1..=16).map(|number| format!("#{number:03}")).collect();
    assert_eq!(numbers, expected);
}

async fn two_administrators_answer_and_one_closes(desk: Desk) {
    let Desk {
        shop,
        customer,
        admin,
    } = &desk;
    let other = shop.admin().await;
    let id = opened(customer).await;
    let (first, second) = tokio::join!(
        answer(admin, &id, "From the first."),
        answer(&other, &id, "From the second.")
    );
    first.data(201);
    second.data(201);
    let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    assert_eq!(seen["messages"].as_array().unwrap().len(), 3);
    let path = format!("{OF_SHOP}/{id}/close");
    let reason = || json!({ "reason": REASON });
    let own = format!("{TICKETS}/{id}/close");
    let (first, second, third) = tokio::join!(
        admin.put(&path, reason()),
        other.put(&path, reason()),
        customer.put(&own, json!({}))
    );
    let statuses = [&first, &second, &third].map(|answer| answer.status);
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    for answer in [first, second, third] {
        if answer.status != 200 {
            answer.fails(409, "INVALID_STATE");
        }
    }
    let audited = admin
        .get("/api/admin/audit?act=ticket.closed")
        .await
        .data(200);
    assert_eq!(audited.as_array().unwrap().len(), 1);
}

async fn nothing_is_written_to_a_ticket_that_is_closed_at_the_same_moment(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    for _ in 0..5 {
        let id = opened(customer).await;
        let path = format!("{OF_SHOP}/{id}/close");
        let closing = json!({ "reason": REASON });
        let (closed, written, answered) = tokio::join!(
            admin.put(&path, closing),
            write(customer, &id, "Wait!"),
            answer(admin, &id, "Here it is.")
        );
        closed.data(200);
        let taken = [&written, &answered];
        let taken = taken.iter().filter(|answer| answer.status == 201).count();
        for answer in [written, answered] {
            if answer.status != 201 {
                answer.fails(409, "INVALID_STATE");
            }
        }
        assert_eq!(status(customer, &id).await, "CLOSED");
        let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
        assert_eq!(seen["messages"].as_array().unwrap().len(), 1 + taken);
    }
}

async fn bulk_closes_do_not_stop_each_other(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(opened(customer).await);
    }
    let path = format!("{OF_SHOP}/bulk/close");
    let mut reversed = ids.clone();
    reversed.reverse();
    let orders = [&ids, &reversed, &ids];
    let closing = orders.map(|ids| admin.put(&path, json!({ "ids": ids, "reason": REASON })));
    let mut closed: Vec<Value> = Vec::new();
    for answer in join_all(closing).await {
        let data = answer.data(200);
        closed.extend(data["closed"].as_array().unwrap().clone());
        let others = data["alreadyClosed"].as_array().unwrap().len();
        assert_eq!(data["closed"].as_array().unwrap().len() + others, 12);
    }
    assert_eq!(closed.len(), 12, "each is closed once");
}
