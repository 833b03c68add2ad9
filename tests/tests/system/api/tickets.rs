//! Tests of a customer's tickets: numbers, states, pictures, and what others may not see.

mod desk;

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_tests::both_engines;
use futures::{StreamExt as _, stream};
use reqwest::{Body, Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

pub(crate) use self::desk::{Desk, OF_SHOP, REASON, TICKETS, answer, ask, opened, status, write};
use crate::{api::notifications::told_times, pictures};

both_engines!(
    Desk,
    [
        a_ticket_goes_from_open_to_closed,
        equal_answers_are_two_messages_and_two_notifications,
        tickets_are_numbered_one_after_the_other,
        tickets_of_others_do_not_exist,
        pictures_are_kept_without_what_hides_in_them,
        bad_forms_are_refused_and_leave_nothing,
        a_field_that_was_left_alone_is_none,
        an_interrupted_upload_leaves_nothing,
        a_ticket_has_an_end_of_messages,
        a_customer_writes_so_often_in_an_hour
    ]
);

/// Each answer has a notification of its own, also one that says the same.
async fn equal_answers_are_two_messages_and_two_notifications(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let id = opened(customer).await;
    for _ in 0..2 {
        answer(admin, &id, "Try again, please.").await.data(201);
    }
    let messages = told_times(customer, "TICKET_ANSWERED", 2).await;
    assert_eq!(messages.len(), 2, "{messages:#?}");
}

async fn a_ticket_goes_from_open_to_closed(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let made = ask(customer, &[]).await.data(201);
    assert_eq!(
        (&made["number"], &made["status"]),
        (&json!("#001"), &json!("OPEN"))
    );
    let messages = made["messages"].as_array().unwrap();
    assert_eq!(messages[0]["author"], "CUSTOMER");
    assert_eq!(
        messages[0]["body"],
        "It shows another page since yesterday."
    );
    let id = made["id"].as_str().unwrap();
    write(customer, id, "Still.").await.data(201);
    assert_eq!(status(customer, id).await, "OPEN");
    answer(admin, id, "Try again, please.").await.data(201);
    assert_eq!(status(customer, id).await, "IN_PROGRESS");
    let seen = write(customer, id, "It works.").await.data(201);
    assert_eq!(seen["status"], "IN_PROGRESS");
    let authors: Vec<&str> = seen["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["author"].as_str().unwrap())
        .collect();
    assert_eq!(
        authors,
        ["CUSTOMER", "CUSTOMER", "ADMINISTRATOR", "CUSTOMER"]
    );
    // Customers see no name of an administrator, nor anything of the work on it.
    for hidden in [
        "authorEmail",
        "authorId",
        "priority",
        "assignee",
        "touchedAt",
        "evidence",
    ] {
        assert!(!seen.to_string().contains(hidden), "{hidden}");
    }
    let close = format!("{TICKETS}/{id}/close");
    let closed = customer.put(&close, json!({})).await.data(200);
    assert_eq!(
        (&closed["status"], &closed["closedBy"]),
        (&json!("CLOSED"), &json!("CUSTOMER"))
    );
    customer
        .put(&close, json!({}))
        .await
        .fails(409, "INVALID_STATE");
    write(customer, id, "One more.")
        .await
        .fails(409, "INVALID_STATE");
    answer(admin, id, "One more.")
        .await
        .fails(409, "INVALID_STATE");
    let reopened = customer
        .put(&format!("{TICKETS}/{id}/reopen"), json!({}))
        .await;
    reopened.fails(404, "ROUTE_NOT_FOUND");
    let counts = customer.get(&format!("{TICKETS}/stats")).await.data(200);
    assert_eq!(
        counts,
        json!({ "open": 0, "inProgress": 0, "closed": 1, "total": 1 })
    );
    let audited = admin
        .get("/api/admin/audit?act=ticket.closed")
        .await
        .data(200);
    assert_eq!(audited[0]["subject"], format!("ticket:{id}"));
    assert_eq!(audited[0]["actorEmail"], "tanya@example.com");
}

async fn tickets_are_numbered_one_after_the_other(desk: Desk) {
    let Desk { shop, customer, .. } = &desk;
    let other = shop.customer("lain@example.com").await;
    // A refusal takes no number.
    let texts = [("subject", "Help"), ("description", "short")];
    let refused = customer.post_form(TICKETS, &texts, &[]).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("subject").is_some() && refused.detail("description").is_some());
    for (client, number) in [(customer, "#001"), (&other, "#002"), (customer, "#003")] {
        assert_eq!(ask(client, &[]).await.data(201)["number"], number);
        shop.clock().advance(TimeDelta::seconds(1));
    }
    let listed = customer.get(TICKETS).await;
    let numbers: Vec<&Value> = listed.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ticket| &ticket["number"])
        .collect();
    assert_eq!(numbers, ["#003", "#001"]);
    assert_eq!(listed.body["pagination"]["totalItems"], 2);
    let second = format!("{TICKETS}?status=OPEN&limit=1&page=2");
    assert_eq!(customer.get(&second).await.data(200)[0]["number"], "#001");
    let closed = customer.get(&format!("{TICKETS}?status=CLOSED")).await;
    assert_eq!(closed.data(200), json!([]));
    for wrong in ["?status=OPENED", "?colour=red", "?limit=101"] {
        let refused = customer.get(&format!("{TICKETS}{wrong}")).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
}

async fn tickets_of_others_do_not_exist(desk: Desk) {
    let Desk {
        shop,
        customer,
        admin,
        ..
    } = &desk;
    let made = ask(customer, &[("a.png", &pictures::png())])
        .await
        .data(201);
    let id = made["id"].as_str().unwrap();
    let file = made["messages"][0]["attachments"][0]["id"]
        .as_str()
        .unwrap();
    let stranger = shop.customer("asing@example.com").await;
    for client in [&stranger, admin] {
        for path in [
            format!("{TICKETS}/{id}"),
            format!("{TICKETS}/attachments/{file}"),
        ] {
            client.get(&path).await.fails(404, "NOT_FOUND");
        }
        write(client, id, "Let me in.")
            .await
            .fails(404, "NOT_FOUND");
        let closed = client
            .put(&format!("{TICKETS}/{id}/close"), json!({}))
            .await;
        closed.fails(404, "NOT_FOUND");
    }
    for path in [
        OF_SHOP.to_owned(),
        format!("{OF_SHOP}/{id}"),
        format!("{OF_SHOP}/stats"),
        format!("{OF_SHOP}/attachments/{file}"),
        format!("{OF_SHOP}/canned-answers"),
    ] {
        stranger.get(&path).await.fails(403, "FORBIDDEN");
        shop.client().get(&path).await.fails(401, "UNAUTHENTICATED");
    }
    shop.client()
        .get(TICKETS)
        .await
        .fails(401, "UNAUTHENTICATED");
    answer(&stranger, id, "I am the shop.")
        .await
        .fails(403, "FORBIDDEN");
    // An instance of another customer is none.
    let texts = [
        ("subject", "Your instance"),
        ("description", "What runs in there?"),
        ("instanceId", id),
    ];
    let refused = stranger.post_form(TICKETS, &texts, &[]).await;
    refused.fails(404, "NOT_FOUND");
    assert_eq!(stranger.get(TICKETS).await.data(200), json!([]));
    assert_eq!(desk.count("SELECT count(*) FROM tickets").await, 1);
}

async fn pictures_are_kept_without_what_hides_in_them(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let photo = pictures::jpeg_with_location();
    assert!(pictures::holds(&photo, pictures::LOCATION));
    let html = b"<script>alert(1)</script>";
    let polyglot = [pictures::png().as_slice(), html].concat();
    let files: [(&str, &[u8]); 3] = [
        ("../../photo\u{202e}.jpg", &photo),
        ("page.html", &polyglot),
        ("move.gif", &pictures::gif(16)),
    ];
    let made = ask(customer, &files).await.data(201);
    let kept = made["messages"][0]["attachments"].as_array().unwrap();
    let of = |field: &str| -> Vec<&str> {
        let values = kept.iter().map(|file| file[field].as_str().unwrap());
        values.collect()
    };
    assert_eq!(of("mediaType"), ["image/jpeg", "image/png", "image/gif"]);
    assert_eq!(of("name"), ["photo.jpg", "page.html", "move.gif"]);
    for id in of("id") {
        let own = customer.get(&format!("{TICKETS}/attachments/{id}")).await;
        let theirs = admin.get(&format!("{OF_SHOP}/attachments/{id}")).await;
        assert_eq!((own.status, theirs.status), (200, 200));
        assert_eq!(own.bytes, theirs.bytes);
        for headers in [&own.headers, &theirs.headers] {
            assert_eq!(headers["x-content-type-options"], "nosniff");
            let disposition = headers["content-disposition"].to_str().unwrap();
            assert!(disposition.starts_with(&format!("attachment; filename=\"{id}.")));
            let length = own.bytes.len().to_string();
            assert_eq!(headers["content-length"], length.as_str());
        }
        for hidden in [pictures::LOCATION, "<script>", "Exif"] {
            assert!(!pictures::holds(&own.bytes, hidden), "{hidden}");
        }
    }
    // Files bear the ids, whatever their names were.
    let mut names: Vec<String> = desk
        .files()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut ids = of("id");
    ids.sort_unstable();
    assert_eq!(names, ids);
}

async fn bad_forms_are_refused_and_leave_nothing(desk: Desk) {
    let Desk { customer, .. } = &desk;
    let png = pictures::png();
    let largest = pictures::of_bytes(5 * 1024 * 1024);
    let too_large = pictures::of_bytes(5 * 1024 * 1024 + 1);
    let bomb = pictures::gif(3600);
    let good: (&str, &[u8]) = ("good.png", &png);
    for (files, status, code) in [
        (vec![good; 6], 400, "TOO_MANY_FILES"),
        (
            vec![good, ("large.png", too_large.as_slice())],
            413,
            "PAYLOAD_TOO_LARGE",
        ),
        (
            vec![good, ("page.svg", b"<svg/>".as_slice())],
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (vec![good, ("cut.png", &png[..40])], 400, "IMAGE_REFUSED"),
        (
            vec![good, ("bomb.gif", bomb.as_slice())],
            400,
            "IMAGE_REFUSED",
        ),
    ] {
        ask(customer, &files).await.fails(status, code);
    }
    let subject = ("subject", "A good subject");
    let description = ("description", "A description that is long enough.");
    let long = "a".repeat(2001);
    for (texts, field) in [
        (vec![subject], "description"),
        (vec![description], "subject"),
        (vec![subject, subject, description], "subject"),
        (
            vec![subject, description, ("priority", "URGENT")],
            "priority",
        ),
        (
            vec![subject, description, ("instanceId", "mine")],
            "instanceId",
        ),
        (
            vec![("subject", "Two\r\nBcc: lines"), description],
            "subject",
        ),
        (vec![subject, ("description", &long)], "description"),
        (
            vec![subject, ("description", "A description with \0 in it.")],
            "description",
        ),
    ] {
        let refused = customer.post_form(TICKETS, &texts, &[good]).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(
            refused.detail(field).is_some(),
            "{field}: {:#}",
            refused.body
        );
    }
    let json = customer
        .post(TICKETS, json!({ "subject": "A good subject" }))
        .await;
    json.fails(415, "UNSUPPORTED_MEDIA_TYPE");
    desk.is_clean().await;
    assert_eq!(desk.count("SELECT count(*) FROM tickets").await, 0);
    // The largest that is allowed, and the most.
    let files = vec![("full.png", largest.as_slice()), good, good, good, good];
    ask(customer, &files).await.data(201);
    assert_eq!(desk.files().len(), 5);
    assert_eq!(ask(customer, &[]).await.data(201)["number"], "#002");
}

/// Browsers send an empty part for a select without a choice, and for a text that was not written.
async fn a_field_that_was_left_alone_is_none(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let subject = ("subject", "My domain does not work");
    let description = ("description", "It shows another page since yesterday.");
    let texts = [subject, description, ("instanceId", "")];
    let made = customer.post_form(TICKETS, &texts, &[]).await.data(201);
    assert_eq!(made["instanceId"], Value::Null);
    let path = format!("{OF_SHOP}/{}/messages", made["id"].as_str().unwrap());
    let texts = [("reason", ""), ("message", "Try again, please.")];
    admin.post_form(&path, &texts, &[]).await.data(201);
    let audited = admin
        .get("/api/admin/audit?act=ticket.answered")
        .await
        .data(200);
    assert_eq!(audited[0]["reason"], Value::Null);
    // A required part that is empty is missing.
    for (empty, texts) in [
        ("subject", [("subject", ""), description]),
        ("description", [subject, ("description", "")]),
    ] {
        let refused = customer.post_form(TICKETS, &texts, &[]).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail(empty).is_some(), "{}", refused.text);
    }
    let refused = admin.post_form(&path, &[("message", "")], &[]).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("message").is_some(), "{}", refused.text);
}

/// A form that never ends: the client is gone after its first picture was kept.
async fn an_interrupted_upload_leaves_nothing(desk: Desk) {
    let Desk { customer, .. } = &desk;
    let head =
        "--b\r\nContent-Disposition: form-data; name=\"attachments\"; filename=\"a.png\"\r\n\r\n";
    let begun = [head.as_bytes(), &pictures::png(), b"\r\n--b\r\n"].concat();
    let endless =
        stream::once(async move { Ok::<_, std::io::Error>(begun) }).chain(stream::pending());
    let request = customer
        .request(Method::POST, TICKETS)
        .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
        .body(Body::wrap_stream(endless));
    let sending = tokio::spawn(request.send());
    for _ in 0..200 {
        if !desk.files().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(desk.files().len(), 1, "the first picture is kept");
    sending.abort();
    desk.is_clean().await;
}

async fn a_ticket_has_an_end_of_messages(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let id = opened(customer).await;
    for number in 0..299 {
        let path = format!("{OF_SHOP}/{id}/notes");
        let note = json!({ "message": format!("Note {number}.") });
        admin.post(&path, note).await.data(201);
    }
    write(customer, &id, "Hello?")
        .await
        .fails(409, "INVALID_STATE");
    answer(admin, &id, "Yes?").await.fails(409, "INVALID_STATE");
    customer.get(&format!("{TICKETS}/{id}")).await.data(200);
}

async fn a_customer_writes_so_often_in_an_hour(desk: Desk) {
    let Desk { customer, shop, .. } = &desk;
    let id = opened(customer).await;
    for _ in 0..59 {
        write(customer, &id, "Again.").await.data(201);
    }
    let refused = write(customer, &id, "Again.").await;
    refused.fails(429, "TOO_MANY_REQUESTS");
    assert!(refused.headers.contains_key("retry-after"));
    ask(customer, &[]).await.fails(429, "TOO_MANY_REQUESTS");
    shop.clock().advance(TimeDelta::minutes(61));
    write(customer, &id, "Again.").await.data(201);
}
