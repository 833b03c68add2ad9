//! Tests of tickets as administrators work on them: answers, notes, evidence, and what is recorded.

use chrono::TimeDelta;
use dermaga_shop::{Code, tickets::NewTicket};
use dermaga_tests::{Answer, Client, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    tickets::{Desk, OF_SHOP, REASON, TICKETS, answer, ask, opened, status, write},
    webhooks::user_id,
};
use crate::{
    journeys::renewal::{becomes, buy, id_of},
    pictures, settings,
};

both_engines!(
    Desk,
    [
        every_act_is_recorded_with_its_reason,
        a_ticket_is_assigned_to_administrators_alone,
        lists_find_what_is_looked_for,
        many_are_closed_by_one_request_or_none,
        canned_answers_have_their_titles,
        a_ticket_carries_the_evidence_of_its_instance
    ]
);

pub(crate) const NOTE: &str = "catatan rahasia tim";

async fn put(admin: &Client, id: &str, act: &str, mut body: Value) -> Answer {
    body["reason"] = json!(REASON);
    admin.put(&format!("{OF_SHOP}/{id}/{act}"), body).await
}

async fn audited(admin: &Client, act: &str) -> Vec<Value> {
    let found = admin.get(&format!("/api/admin/audit?act={act}")).await;
    found.data(200).as_array().unwrap().clone()
}

async fn every_act_is_recorded_with_its_reason(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let id = opened(customer).await;
    put(admin, &id, "priority", json!({ "priority": "HIGH" }))
        .await
        .data(200);
    answer(admin, &id, "One moment.").await.data(201);
    let note = json!({ "message": NOTE });
    let notes = format!("{OF_SHOP}/{id}/notes");
    let noted = admin.post(&notes, note).await.data(201);
    put(admin, &id, "close", json!({})).await.data(200);
    put(admin, &id, "close", json!({}))
        .await
        .fails(409, "INVALID_STATE");
    let reopened = put(admin, &id, "reopen", json!({})).await.data(200);
    assert_eq!(
        (
            &reopened["status"],
            &reopened["closedAt"],
            &reopened["closedBy"]
        ),
        (&json!("OPEN"), &Value::Null, &Value::Null)
    );
    put(admin, &id, "reopen", json!({}))
        .await
        .fails(409, "INVALID_STATE");
    assert_eq!(status(customer, &id).await, "OPEN");
    for (act, reason) in [
        ("ticket.priority_set", Some(REASON)),
        ("ticket.closed", Some(REASON)),
        ("ticket.reopened", Some(REASON)),
        ("ticket.answered", None),
        ("ticket.noted", None),
    ] {
        let found = audited(admin, act).await;
        assert_eq!(found.len(), 1, "{act}: {found:#?}");
        assert_eq!(found[0]["subject"], format!("ticket:{id}"));
        assert_eq!(found[0]["reason"].as_str(), reason);
        assert_eq!(found[0]["details"]["number"], "#001");
    }
    // The log names the note, and does not repeat it.
    let of_note = &audited(admin, "ticket.noted").await[0]["details"];
    let messages = noted["messages"].as_array().unwrap();
    assert_eq!(of_note["messageId"], messages[2]["id"]);
    assert!(!of_note.to_string().contains(NOTE), "{of_note:#}");
    let priority = &audited(admin, "ticket.priority_set").await[0]["details"];
    assert_eq!(
        (&priority["before"], &priority["after"]),
        (&json!("NORMAL"), &json!("HIGH"))
    );
    for (act, body) in [
        ("close", json!({})),
        ("close", json!({ "reason": "short" })),
        ("priority", json!({ "priority": "SOON", "reason": REASON })),
        ("assign", json!({ "assigneeId": "me", "reason": REASON })),
    ] {
        let refused = admin.put(&format!("{OF_SHOP}/{id}/{act}"), body).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
    let unknown = Uuid::nil().to_string();
    for act in ["close", "reopen"] {
        put(admin, &unknown, act, json!({}))
            .await
            .fails(404, "NOT_FOUND");
    }
    answer(admin, &unknown, "Hello?")
        .await
        .fails(404, "NOT_FOUND");
    let note = json!({ "message": "Hello?" });
    let noted = admin
        .post(&format!("{OF_SHOP}/{unknown}/notes"), note)
        .await;
    noted.fails(404, "NOT_FOUND");
}

async fn a_ticket_is_assigned_to_administrators_alone(desk: Desk) {
    let Desk {
        shop,
        customer,
        admin,
    } = &desk;
    let id = opened(customer).await;
    let colleague = user_id(&shop.admin().await).await;
    let assigned = put(admin, &id, "assign", json!({ "assigneeId": colleague }))
        .await
        .data(200);
    assert_eq!(assigned["assigneeId"], json!(colleague));
    assert!(
        assigned["assigneeEmail"]
            .as_str()
            .unwrap()
            .starts_with("admin-")
    );
    for other in [user_id(customer).await, Uuid::nil()] {
        let refused = put(admin, &id, "assign", json!({ "assigneeId": other })).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("assigneeId").is_some());
    }
    let freed = put(admin, &id, "assign", json!({})).await.data(200);
    assert_eq!(freed["assigneeId"], Value::Null);
    assert_eq!(audited(admin, "ticket.assigned").await.len(), 2);
}

async fn lists_find_what_is_looked_for(desk: Desk) {
    let Desk {
        shop,
        customer,
        admin,
    } = &desk;
    let other = shop.customer("lain@example.com").await;
    let first = opened(customer).await;
    let texts = [
        ("subject", "An invoice of March"),
        ("description", "Where is the invoice of March?"),
    ];
    let second = other.post_form(TICKETS, &texts, &[]).await.data(201);
    let second = second["id"].as_str().unwrap();
    put(admin, second, "priority", json!({ "priority": "URGENT" }))
        .await
        .data(200);
    let me = user_id(admin).await;
    put(admin, second, "assign", json!({ "assigneeId": me }))
        .await
        .data(200);
    answer(admin, &first, "One moment.").await.data(201);
    let owner = user_id(&other).await;
    for (query, expected) in [
        (String::new(), vec![second, &first]),
        ("?status=OPEN".to_owned(), vec![second]),
        ("?priority=URGENT".to_owned(), vec![second]),
        ("?q=INVOICE".to_owned(), vec![second]),
        ("?q=lain%40example".to_owned(), vec![second]),
        ("?q=%23001".to_owned(), vec![&first]),
        ("?q=2".to_owned(), vec![second]),
        ("?q=%25".to_owned(), vec![]),
        (format!("?userId={owner}"), vec![second]),
        (format!("?assigneeId={me}"), vec![second]),
        ("?unassigned=true".to_owned(), vec![&first]),
        (
            "?from=2000-01-01&to=2199-01-01".to_owned(),
            vec![second, &first],
        ),
        ("?to=2000-01-01".to_owned(), vec![]),
        (format!("/user/{owner}"), vec![second]),
    ] {
        let found = admin.get(&format!("{OF_SHOP}{query}")).await.data(200);
        let ids: Vec<&str> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|ticket| ticket["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
    let nobody = admin.get(&format!("{OF_SHOP}/user/{}", Uuid::nil())).await;
    nobody.fails(404, "NOT_FOUND");
    let figures = admin.get(&format!("{OF_SHOP}/stats")).await.data(200);
    assert_eq!(
        (&figures["open"], &figures["inProgress"], &figures["total"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(
        figures["byPriority"][0],
        json!({ "priority": "URGENT", "count": 1 })
    );
    assert_eq!(figures["unassigned"], 1);
    assert!(figures["oldestOpenAt"].is_string());
}

async fn many_are_closed_by_one_request_or_none(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let (first, second, third) = (
        opened(customer).await,
        opened(customer).await,
        opened(customer).await,
    );
    let path = format!("{OF_SHOP}/bulk/close");
    let close = |ids: Value| {
        let path = path.clone();
        async move {
            admin
                .put(&path, json!({ "ids": ids, "reason": REASON }))
                .await
        }
    };
    let unknown = close(json!([first, Uuid::nil(), second])).await;
    unknown.fails(404, "NOT_FOUND");
    assert!(unknown.detail("ids").unwrap().contains("00000000"));
    assert_eq!(status(customer, &first).await, "OPEN");
    put(admin, &third, "close", json!({})).await.data(200);
    let closed = close(json!([second, first, third, first])).await.data(200);
    assert_eq!(closed["alreadyClosed"], json!([third]));
    assert_eq!(closed["closed"].as_array().unwrap().len(), 2);
    for id in [&first, &second] {
        assert_eq!(status(customer, id).await, "CLOSED");
    }
    assert_eq!(audited(admin, "ticket.closed").await.len(), 3);
    let many: Vec<Uuid> = (0..101).map(Uuid::from_u128).collect();
    for wrong in [json!([]), json!(many), json!(["x"])] {
        close(wrong).await.fails(400, "VALIDATION_FAILED");
    }
    let denied = customer
        .put(&path, json!({ "ids": [first], "reason": REASON }))
        .await;
    denied.fails(403, "FORBIDDEN");
}

async fn canned_answers_have_their_titles(desk: Desk) {
    let Desk { admin, .. } = &desk;
    let path = format!("{OF_SHOP}/canned-answers");
    let new = |title: &str| json!({ "title": title, "body": "Point it to us.", "reason": REASON });
    let made = admin.post(&path, new("Domain")).await.data(201);
    admin
        .post(&path, new("Domain"))
        .await
        .fails(409, "CONFLICT");
    let other = admin.post(&path, new("Access")).await.data(201);
    let own = format!("{path}/{}", made["id"].as_str().unwrap());
    admin.put(&own, new("Access")).await.fails(409, "CONFLICT");
    assert_eq!(
        admin.put(&own, new("Domains")).await.data(200)["title"],
        "Domains"
    );
    let listed = admin.get(&path).await.data(200);
    let titles: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["Access", "Domains"]);
    let reason = json!({ "reason": REASON });
    let gone = format!("{path}/{}", other["id"].as_str().unwrap());
    admin.delete_with(&gone, reason.clone()).await.data(200);
    admin
        .delete_with(&gone, reason)
        .await
        .fails(404, "NOT_FOUND");
    for wrong in [
        json!({}),
        json!({ "title": "", "body": "x", "reason": REASON }),
    ] {
        admin
            .post(&path, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    for act in ["created", "changed", "deleted"] {
        let found = audited(admin, &format!("canned_answer.{act}")).await;
        assert_eq!(found[0]["reason"], REASON, "{act}");
    }
}

/// Returns the shortest secret of an instance's access, which others are made of.
fn secret_of(access: &Value) -> &str {
    let fields = access["fields"].as_array().unwrap().iter();
    let secrets = fields.filter(|field| field["isSecret"] == true);
    let secrets = secrets.map(|field| field["value"].as_str().unwrap());
    secrets.min_by_key(|secret| secret.len()).unwrap()
}

async fn a_ticket_carries_the_evidence_of_its_instance(desk: Desk) {
    let Desk { shop, admin, .. } = &desk;
    let customer = shop.customer_with_credit("basis@example.com", 500_000);
    let customer = &customer.await;
    let bought = buy(shop, customer, ("postgresql", "basic"), None).await;
    becomes(shop, id_of(&bought), "ACTIVE").await;
    let instance = bought["instanceId"].as_str().unwrap();
    let access = customer
        .get(&format!("/api/instances/{instance}/credentials"))
        .await;
    let access = access.data(200);
    // A secret that got into a sentence about the instance, as it may into its logs.
    let secret = secret_of(&access);
    let quoted = secret.replace('\'', "''");
    let slip = format!("UPDATE instance_events SET message = 'It says {quoted} to all.'");
    shop.rewrite(&[slip]).await.unwrap();
    let access = access.to_string();
    let texts = [
        ("subject", "My database"),
        ("description", "It does not let me in any more."),
        ("instanceId", instance),
    ];
    let made = customer.post_form(TICKETS, &texts, &[]).await.data(201);
    assert_eq!(made["instanceId"], instance);
    assert!(!made.to_string().contains("evidence"));
    let id = made["id"].as_str().unwrap();
    let evidence = |ticket: &Value| ticket["evidence"].clone();
    let seen = evidence(&admin.get(&format!("{OF_SHOP}/{id}")).await.data(200));
    assert_eq!(seen["instance"]["id"], instance);
    assert!(seen["instance"]["status"].is_string());
    let events = seen["events"].as_array().unwrap();
    let first = events.last().unwrap();
    assert_eq!(first["message"], "It says ****** to all.", "{events:#?}");
    assert!(!seen.to_string().contains(secret), "{seen:#}");
    assert_eq!(seen["logs"], Value::Null);
    assert!(seen["logsMissing"].as_str().unwrap().contains("no cluster"));
    assert!(
        seen["lastDecision"]["pluginId"]
            .as_str()
            .unwrap()
            .contains("postgresql")
    );
    assert_eq!(seen["payment"]["status"], "ACTIVE");
    assert_eq!(seen["payment"]["openDebts"], 0);
    assert!(seen["payment"]["balance"].is_object());
    // No secret of its access is in it.
    let secrets: Vec<&str> = access
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| word.len() >= 20)
        .collect();
    assert!(!secrets.is_empty(), "{access}");
    for secret in secrets {
        assert!(!seen.to_string().contains(secret), "{secret}");
    }
    // It stays as it was at that moment.
    let stop = format!("/api/instances/{instance}/stop");
    customer.put(&stop, json!({})).await.data(202);
    shop.instance_becomes(customer, instance, "STOPPED").await;
    let later = evidence(&admin.get(&format!("{OF_SHOP}/{id}")).await.data(200));
    assert_eq!(later, seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_closes_after_the_days_that_were_set() {
    let tokens = ["JWT_EXPIRES_IN", "JWT_REFRESH_EXPIRES_IN"].map(|name| (name, "30d"));
    let silence = ("TICKETS_SILENCE_DAYS", "3");
    let shop = settings::empty_shop(&[silence, tokens[0], tokens[1]]).await;
    let customer = shop.customer("tanya@example.com").await;
    let admin = shop.admin().await;
    let [open, answered, writing] = [
        opened(&customer).await,
        opened(&customer).await,
        opened(&customer).await,
    ];
    for id in [&answered, &writing] {
        answer(&admin, id, "Does it work now?").await.data(201);
    }
    shop.clock().advance(TimeDelta::hours(12));
    write(&customer, &writing, "Not yet.").await.data(201);
    let run = async |admin: &Client| {
        let path = "/api/admin/jobs/ticket-silence/run";
        admin.post(path, json!({})).await.data(200)["items"].clone()
    };
    shop.clock().advance(TimeDelta::hours(59));
    assert_eq!(run(&admin).await, 0);
    shop.clock().advance(TimeDelta::hours(2));
    assert_eq!(run(&admin).await, 1);
    assert_eq!(run(&admin).await, 0);
    let seen = customer
        .get(&format!("{TICKETS}/{answered}"))
        .await
        .data(200);
    assert_eq!(seen["closedBy"], "SILENCE");
    for id in [&open, &writing] {
        assert_ne!(status(&customer, id).await, "CLOSED");
    }
    let closed = audited(&admin, "ticket.closed").await;
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0]["actorId"], Value::Null);
    assert_eq!(closed[0]["details"]["by"], "SILENCE");

    let never = settings::empty_shop(&[("TICKETS_SILENCE_DAYS", "0")]).await;
    let customer = never.customer("tanya@example.com").await;
    let id = opened(&customer).await;
    answer(&never.admin().await, &id, "Does it work now?")
        .await
        .data(201);
    never.clock().advance(TimeDelta::days(400));
    assert_eq!(run(&never.admin().await).await, 0);
}

/// A picture whose server died an hour ago is swept; one that is younger is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweeper_leaves_uploads_under_way() {
    let shop = settings::empty_shop(&[]).await;
    let tickets = &shop.state().tickets;
    let customer = shop.customer("tanya@example.com").await;
    let owner = user_id(&customer).await.into();
    let kept = tickets
        .take_in(owner, "a.png", pictures::png())
        .await
        .unwrap();
    shop.clock().advance(TimeDelta::minutes(59));
    assert_eq!(tickets.sweep().await.unwrap(), (0, Vec::new()));
    shop.clock().advance(TimeDelta::minutes(2));
    assert_eq!(tickets.sweep().await.unwrap(), (1, Vec::new()));
    // Its message comes too late.
    let new = NewTicket {
        subject: "A subject",
        description: "A description that is long enough.",
        instance_id: None,
        files: vec![kept],
    };
    let refused = tickets.open(owner, new).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert_eq!(
        customer.get(TICKETS).await.body["pagination"]["totalItems"],
        0
    );
    ask(&customer, &[("a.png", &pictures::png())])
        .await
        .data(201);
}
