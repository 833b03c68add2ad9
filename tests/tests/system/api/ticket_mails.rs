//! Tests of answers by e-mail: only with the token of the ticket, only what was written, and once.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use dermaga_shop::replies::ReplyAddress;
use dermaga_tests::{Answer, Client, Engine, MailServer, Shop, both_engines};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    mails::sends_to,
    tickets::{OF_SHOP, REASON, TICKETS, answer, opened},
};
use crate::settings;

const PATH: &str = "0123456789abcdef0123456789abcdef";
const KEY: &[u8] = b"kunci yang cukup panjang untuk ini";

/// A shop that sends mails and takes them, and the mail of an answer.
struct Post {
    shop: Shop,
    server: MailServer,
    customer: Client,
    admin: Client,
}

impl Post {
    async fn open(engine: Engine) -> Option<Self> {
        let server = MailServer::start().await;
        let shop = Shop::open_with(engine, |config| {
            sends_to(config, &server);
            let address = ReplyAddress::parse("tiket@reply.example.com");
            config.tickets.reply_address = Some(address.unwrap());
            config.tickets.mail_path = Some(dermaga_shop::crypto::Secret::new(PATH));
        })
        .await?;
        let (customer, admin) = (shop.customer("surat@example.com").await, shop.admin().await);
        Some(Self {
            shop,
            server,
            customer,
            admin,
        })
    }

    /// Returns the address that the answer to a ticket can be answered at.
    async fn reply_to(&self, count: usize) -> String {
        let mails = self.server.wait_for(count).await;
        let mut addresses = mails.iter().filter_map(|mail| mail.header("Reply-To"));
        addresses.next_back().unwrap().to_owned()
    }
}

/// Sends a mail to a shop at the secret path.
async fn deliver(client: &Client, path: &str, mail: &str) -> Answer {
    deliver_bytes(client, path, mail.into()).await
}

async fn deliver_bytes(client: &Client, path: &str, mail: Vec<u8>) -> Answer {
    let request = client.request(Method::POST, &format!("{TICKETS}/mail/{path}"));
    let request = request.header("content-type", "message/rfc822");
    client.send(request.body(mail)).await
}

fn mail(to: &str, id: &str, text: &str) -> String {
    let text = text.replace('\n', "\r\n");
    format!(
        "From: Sari <surat@example.com>\r\nTo: Toko <{to}>\r\nSubject: Re: Answer\r\nMessage-ID: <{id}@mail.example.com>\r\n\r\n{text}\r\n"
    )
}

fn bodies(ticket: &Value) -> Vec<&str> {
    let messages = ticket["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["body"].as_str().unwrap())
        .collect()
}

both_engines!(
    Post,
    [
        a_reply_becomes_a_message_once,
        a_mail_without_the_token_is_for_no_ticket,
        what_is_no_answer_is_not_added,
        a_long_mail_is_cut_where_it_says_so,
        who_is_disabled_writes_nothing_by_mail
    ]
);

async fn a_reply_becomes_a_message_once(post: Post) {
    let (client, customer, admin) = (post.shop.client(), &post.customer, &post.admin);
    let id = opened(customer).await;
    answer(admin, &id, "Does it work now?").await.data(201);
    // The first mail confirms the address of the account.
    let address = post.reply_to(2).await;
    assert!(
        address.starts_with("tiket+1-") && address.ends_with("@reply.example.com"),
        "{address}"
    );
    let sent = post.server.received();
    let of_answer = sent
        .iter()
        .find(|mail| mail.header("Reply-To").is_some())
        .unwrap();
    assert!(of_answer.unfolded().contains("Does it work now?"));
    // No table and no list has the token.
    let token = &address[8..40];
    for path in ["/api/notifications".to_owned(), format!("{TICKETS}/{id}")] {
        assert!(!customer.get(&path).await.text.contains(token), "{path}");
    }
    let reply = "It does, thank you!\n\nOn 1 Feb 2027 at 10:00 Toko <toko@example.com> wrote:\n> Does it work now?";
    let taken = deliver(client, PATH, &mail(&address, "a", reply))
        .await
        .data(200);
    assert_eq!(taken, json!({ "result": "ADDED", "number": "#001" }));
    let again = [(); 3].map(|()| {
        let mail = mail(&address, "a", reply);
        async move { deliver(client, PATH, &mail).await.data(200) }
    });
    for taken in futures::future::join_all(again).await {
        assert_eq!(taken["result"], "KNOWN");
    }
    let both = [(); 4].map(|()| {
        let mail = mail(&address, "b", "A second one.");
        async move { deliver(client, PATH, &mail).await.data(200) }
    });
    let both = futures::future::join_all(both).await;
    let added = both
        .iter()
        .filter(|taken| taken["result"] == "ADDED")
        .count();
    assert_eq!(added, 1, "{both:#?}");
    let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    assert_eq!(bodies(&seen)[2..], ["It does, thank you!", "A second one."]);
    let message = &seen["messages"][2];
    assert_eq!(
        (&message["author"], &message["channel"]),
        (&json!("CUSTOMER"), &json!("EMAIL"))
    );
    let managed = admin.get(&format!("{OF_SHOP}/{id}")).await.data(200);
    assert_eq!(managed["awaitsCustomerSince"], Value::Null);
    assert_eq!(managed["messages"][2]["sentFrom"], Value::Null);
    // A mail that was passed on is answered by another person.
    let other = mail(&address, "lain", "I am another person.");
    let other = other.replace("surat@example.com", "Lain@example.com");
    deliver(client, PATH, &other).await.data(200);
    let managed = admin.get(&format!("{OF_SHOP}/{id}")).await.data(200);
    let message = &managed["messages"][4];
    assert_eq!(
        (&message["authorEmail"], &message["sentFrom"]),
        (&json!("surat@example.com"), &json!("lain@example.com"))
    );
    let closing = json!({ "reason": REASON });
    admin
        .put(&format!("{OF_SHOP}/{id}/close"), closing)
        .await
        .data(200);
    let late = deliver(client, PATH, &mail(&address, "c", "Too late.")).await;
    late.fails(409, "INVALID_STATE");
}

async fn a_mail_without_the_token_is_for_no_ticket(post: Post) {
    let (client, customer) = (post.shop.client(), &post.customer);
    let [first, second] = [opened(customer).await, opened(customer).await];
    answer(&post.admin, &first, "Does it work now?")
        .await
        .data(201);
    let address = post.reply_to(2).await;
    let flipped = if address.contains('0') {
        ("0", "f")
    } else {
        ("1", "e")
    };
    for wrong in [
        address.replace("+1-", "+2-"),
        address.replace(flipped.0, flipped.1),
        "tiket@reply.example.com".to_owned(),
        "tiket+1-@reply.example.com".to_owned(),
        address.replace("reply.example.com", "example.org"),
        "lain@example.com".to_owned(),
    ] {
        let refused = deliver(client, PATH, &mail(&wrong, "a", "Let me in.")).await;
        refused.fails(404, "NOT_FOUND");
    }
    let good = mail(&address, "a", "It is me.");
    for path in [&PATH[1..], "x", &PATH.to_uppercase()] {
        deliver(client, path, &good).await.fails(404, "NOT_FOUND");
    }
    // Mails are not taken by signature here, and one without any is refused as everywhere.
    let post_mail = || {
        let request = client.request(Method::POST, &format!("{TICKETS}/mail"));
        let request = request.header("content-type", "message/rfc822");
        request.body(good.clone())
    };
    let unsigned = client.send(post_mail()).await;
    unsigned.fails(401, "SIGNATURE_INVALID");
    let signed = post_mail()
        .header("webhook-id", "a")
        .header("webhook-timestamp", "1")
        .header("webhook-signature", "v1,a");
    client.send(signed).await.fails(404, "NOT_FOUND");
    for id in [first, second] {
        let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
        assert!(
            bodies(&seen).iter().all(|body| !body.contains("me")),
            "{seen:#}"
        );
    }
}

async fn what_is_no_answer_is_not_added(post: Post) {
    let (client, customer) = (post.shop.client(), &post.customer);
    let id = opened(customer).await;
    answer(&post.admin, &id, "Does it work now?")
        .await
        .data(201);
    let address = post.reply_to(2).await;
    let away = mail(&address, "a", "I am on holiday.");
    let away = away.replace("Subject:", "Auto-Submitted: auto-replied\r\nSubject:");
    let taken = deliver(client, PATH, &away).await.data(200);
    assert_eq!(taken["result"], "AUTOMATIC");
    let quoted = mail(&address, "b", "> Does it work now?\n> Please tell.");
    deliver(client, PATH, &quoted)
        .await
        .fails(400, "VALIDATION_FAILED");
    let html = mail(&address, "c", "<b>Yes</b>");
    let html = html.replace("Subject:", "Content-Type: text/html\r\nSubject:");
    deliver(client, PATH, &html)
        .await
        .fails(400, "VALIDATION_FAILED");
    deliver(client, PATH, "")
        .await
        .fails(400, "MALFORMED_REQUEST");
    let request = client.request(Method::POST, &format!("{TICKETS}/mail/{PATH}"));
    let as_json = client.send(request.json(&json!({ "text": "Yes" }))).await;
    as_json.fails(415, "UNSUPPORTED_MEDIA_TYPE");
    let large = mail(&address, "d", &"x".repeat(11 * 1024 * 1024));
    deliver(client, PATH, &large)
        .await
        .fails(413, "PAYLOAD_TOO_LARGE");
    let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    assert_eq!(bodies(&seen).len(), 2, "{seen:#}");
    // Pictures of a mail are not taken; its text is.
    let parts = "Content-Type: multipart/mixed; boundary=b\r\nSubject:";
    let body = "--b\nContent-Type: text/plain\n\nLook at this.\n--b\nContent-Type: image/png\nContent-Disposition: attachment\n\n\u{89}PNG\n--b--";
    let mixed = mail(&address, "e", body).replace("Subject:", parts);
    assert_eq!(
        deliver(client, PATH, &mixed).await.data(200)["result"],
        "ADDED"
    );
    let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    assert_eq!(seen["messages"][2]["body"], "Look at this.");
    assert_eq!(seen["messages"][2]["attachments"], json!([]));
    // Bytes in a charset that is not named: what can be read of the text is kept.
    let mut latin = mail(&address, "f", "Caf~ di mana?").into_bytes();
    for byte in latin.iter_mut().filter(|byte| **byte == b'~') {
        *byte = 0xe9;
    }
    let taken = deliver_bytes(client, PATH, latin).await.data(200);
    assert_eq!(taken["result"], "ADDED");
    let seen = customer.get(&format!("{TICKETS}/{id}")).await.data(200);
    let body = seen["messages"][3]["body"].as_str().unwrap();
    assert!(
        body.starts_with("Caf") && body.ends_with(" di mana?"),
        "{body}"
    );
}

async fn a_long_mail_is_cut_where_it_says_so(post: Post) {
    let id = opened(&post.customer).await;
    answer(&post.admin, &id, "Does it work now?")
        .await
        .data(201);
    let address = post.reply_to(2).await;
    let long = mail(&address, "a", &"Panjang sekali. ".repeat(200));
    deliver(post.shop.client(), PATH, &long).await.data(200);
    let seen = post.customer.get(&format!("{TICKETS}/{id}")).await;
    let seen = seen.data(200);
    let body = seen["messages"][2]["body"].as_str().unwrap();
    assert!(body.chars().count() <= 2000, "{body}");
    let (_, note) = body.rsplit_once("\n\n[").unwrap();
    assert!(note.contains("2000") && note.ends_with(".]"), "{note}");
}

async fn who_is_disabled_writes_nothing_by_mail(post: Post) {
    let (client, customer, admin) = (post.shop.client(), &post.customer, &post.admin);
    let id = opened(customer).await;
    answer(admin, &id, "Does it work now?").await.data(201);
    let address = post.reply_to(2).await;
    let profile = customer.get("/api/user/profile").await.data(200);
    let path = format!(
        "/api/admin/users/{}/status",
        profile["id"].as_str().unwrap()
    );
    let set = async |status: &str| {
        let request = admin.request(Method::PATCH, &path);
        let wanted = json!({ "status": status, "reason": REASON });
        admin.send(request.json(&wanted)).await.data(200);
    };
    set("DISABLED").await;
    let refused = deliver(client, PATH, &mail(&address, "a", "Let me in.")).await;
    refused.fails(403, "ACCOUNT_DISABLED");
    let managed = admin.get(&format!("{OF_SHOP}/{id}")).await.data(200);
    assert_eq!(bodies(&managed).len(), 2, "{managed:#}");
    set("ACTIVE").await;
    let taken = deliver(client, PATH, &mail(&address, "a", "Let me in.")).await;
    assert_eq!(taken.data(200)["result"], "ADDED");
}

/// Signs as a mail server does that speaks Standard Webhooks.
fn signed(id: &str, at: i64, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    let mac = mac.chain_update(format!("{id}.{at}.{body}"));
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_are_taken_as_the_settings_say() {
    let server = MailServer::start().await;
    let url = server.url();
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(KEY));
    let mut given = vec![
        ("SMTP_URL", url.as_str()),
        ("MAIL_FROM", "Toko <toko@example.com>"),
        ("TICKETS_REPLY_ADDRESS", "balas@toko.example"),
        ("TICKETS_MAIL_SECRET", &secret),
    ];
    let shop = settings::empty_shop(&given).await;
    let (customer, admin) = (shop.customer("surat@example.com").await, shop.admin().await);
    let id = opened(&customer).await;
    answer(&admin, &id, "Does it work now?").await.data(201);
    let mails = server.wait_for(2).await;
    let address = mails
        .iter()
        .find_map(|mail| mail.header("Reply-To"))
        .unwrap();
    assert!(address.starts_with("balas+1-") && address.ends_with("@toko.example"));
    let body = mail(address, "a", "It works.");
    let now = shop.clock().now().timestamp();
    let send = async |signature: String, at: i64| {
        let request = shop
            .client()
            .request(Method::POST, &format!("{TICKETS}/mail"));
        let request = request
            .header("content-type", "message/rfc822")
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature);
        shop.client().send(request.body(body.clone())).await
    };
    for (signature, at) in [
        (signed("msg_2", now, &body), now),
        (signed("msg_1", now, "another"), now),
        (signed("msg_1", now - 301, &body), now - 301),
        ("v1,".to_owned(), now),
    ] {
        send(signature, at).await.fails(401, "SIGNATURE_INVALID");
    }
    let request = shop
        .client()
        .request(Method::POST, &format!("{TICKETS}/mail"));
    let request = request
        .header("content-type", "message/rfc822")
        .body(body.clone());
    let unsigned = shop.client().send(request).await;
    unsigned.fails(401, "SIGNATURE_INVALID");
    let taken = send(signed("msg_1", now, &body), now).await.data(200);
    assert_eq!(taken["result"], "ADDED");
    deliver(shop.client(), PATH, &body)
        .await
        .fails(404, "NOT_FOUND");

    given.retain(|(name, _)| *name != "TICKETS_MAIL_SECRET");
    given.push(("TICKETS_MAIL_PATH", PATH));
    let other = settings::empty_shop(&given).await;
    let to_none = deliver(other.client(), PATH, &body).await;
    to_none.fails(404, "NOT_FOUND");
    assert!(to_none.body["message"].as_str().unwrap().contains("ticket"));
    let elsewhere = deliver(other.client(), "elsewhere", &body).await;
    assert!(
        elsewhere.body["message"]
            .as_str()
            .unwrap()
            .contains("address")
    );
}
