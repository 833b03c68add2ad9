//! Tests of those who hear of an answer to a ticket, and of a note.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_tests::both_engines;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    notifications::told,
    ticket_administration::NOTE,
    tickets::{OF_SHOP, TICKETS, answer, opened, write},
    webhooks::{Hooked, deliveries},
};

both_engines!(
    Hooked,
    [an_answer_is_told_to_its_customer_and_a_note_is_not]
);

/// Reads the stream of events until it has a text.
async fn heard(response: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            let chunk = response.chunk().await.unwrap().unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    let is_heard = tokio::time::timeout(Duration::from_secs(40), reading).await;
    is_heard.unwrap();
    text
}

async fn an_answer_is_told_to_its_customer_and_a_note_is_not(hooked: Hooked) {
    let (shop, admin) = (&hooked.shop, &hooked.admin);
    let customer = &shop.customer("tanya@example.com").await;
    let (hook, _) = hooked
        .hook(customer, "/own", json!(["TICKET_ANSWERED"]))
        .await;
    let mut stream = customer
        .request(Method::GET, "/api/events")
        .send()
        .await
        .unwrap();
    heard(&mut stream, "ready").await;
    let id = opened(customer).await;
    let before = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    shop.clock().advance(TimeDelta::minutes(1));
    let note = json!({ "message": NOTE });
    let noted = admin
        .post(&format!("{OF_SHOP}/{id}/notes"), note)
        .await
        .data(201);
    assert_eq!(noted["messages"][1]["internal"], true);
    assert_eq!(noted["messages"][1]["body"], NOTE);
    assert_eq!(noted["status"], "OPEN");
    // Not even the time of the note is seen.
    let after = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    assert_eq!(before, after);
    let answered = answer(admin, &id, "It leads to us\nnow.").await.data(201);
    assert_eq!(answered["status"], "IN_PROGRESS");
    assert!(answered["awaitsCustomerSince"].is_string());
    let told = told(customer, "TICKET_ANSWERED").await;
    assert_eq!(told.len(), 1);
    let facts = &told[0]["facts"];
    assert_eq!(
        (&facts["ticketId"], &facts["number"]),
        (&json!(id), &json!("#001"))
    );
    assert_eq!(facts["answer"], "It leads to us\nnow.");
    assert!(told[0]["text"].as_str().unwrap().contains("It leads to us"));
    let events = heard(&mut stream, "TICKET_ANSWERED").await;
    let sent = deliveries(customer, &hook, "DELIVERED", 1).await;
    assert_eq!(sent.len(), 1);
    let path = format!("{hook}/deliveries/{}", sent[0]["id"].as_str().unwrap());
    let payload = customer.get(&path).await.data(200)["payload"].clone();
    assert_eq!(payload["data"]["ticketId"], json!(id));
    let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    assert_eq!(seen["messages"].as_array().unwrap().len(), 2);
    let inbox = customer.get("/api/notifications").await;
    for text in [seen.to_string(), events, payload.to_string(), inbox.text] {
        assert!(!text.contains(NOTE) && !text.contains("internal"), "{text}");
    }
    write(customer, &id, "Thank you.").await.data(201);
    let now = admin.get(&format!("{OF_SHOP}/{id}")).await.data(200);
    assert_eq!(now["awaitsCustomerSince"], Value::Null);
    assert_eq!(now["messages"].as_array().unwrap().len(), 4);
}
