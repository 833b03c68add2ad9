//! Tests of webhooks themselves: their owners, their secrets, and public addresses only.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::outbox::Topic;
use dermaga_tests::both_engines;
use serde_json::{Value, json};

use super::{
    notifications::told,
    webhooks::{Hooked, OF_SHOP, OWN, REASON, a_while, deliveries, detail, put, user_id},
};
use crate::{receiver::Receiver, settings};

const NO_PUBLIC_NAME: &str = "has a name that leads to no public address";

both_engines!(
    Hooked,
    [
        a_webhook_is_its_owners,
        a_private_address_is_refused_whenever_it_comes,
        secrets_sign_together_for_a_while
    ]
);

async fn a_webhook_is_its_owners(hooked: Hooked) {
    let Hooked {
        shop,
        receiver,
        admin,
        ..
    } = &hooked;
    let (owner, other) = (
        shop.customer("pemilik@example.com").await,
        shop.customer("lain@example.com").await,
    );
    let (hook, secret) = hooked.hook(&owner, "/own", json!([])).await;
    owner
        .post(&format!("{hook}/test"), json!({}))
        .await
        .data(202);
    let delivery = deliveries(&owner, &hook, "DELIVERED", 1).await.remove(0);
    let delivery = format!("{hook}/deliveries/{}", delivery["id"].as_str().unwrap());
    let of_shop = |path: &str| path.replace(OWN, OF_SHOP);
    for (client, hook, delivery) in [
        (&other, hook.clone(), delivery.clone()),
        (admin, of_shop(&hook), of_shop(&delivery)),
    ] {
        let with_reason = client.delete_with(&hook, json!({ "reason": REASON })).await;
        assert!(
            [404, 400].contains(&with_reason.status),
            "{}",
            with_reason.text
        );
        client.get(&hook).await.fails(404, "NOT_FOUND");
        client.get(&delivery).await.fails(404, "NOT_FOUND");
        let list = client.get(&format!("{hook}/deliveries")).await;
        list.fails(404, "NOT_FOUND");
        let test = client.post(&format!("{hook}/test"), json!({})).await;
        test.fails(404, "NOT_FOUND");
        let resent = client.post(&format!("{delivery}/resend"), json!({})).await;
        resent.fails(404, "NOT_FOUND");
    }
    let patched = other.patch(&hook, json!({ "enabled": false })).await;
    patched.fails(404, "NOT_FOUND");
    other.delete(&hook).await.fails(404, "NOT_FOUND");
    let rotated = other
        .post(&format!("{hook}/rotate-secret"), json!({}))
        .await;
    rotated.fails(404, "NOT_FOUND");
    assert_eq!(other.get(OWN).await.data(200), json!([]));
    assert_eq!(admin.get(OF_SHOP).await.data(200), json!([]));
    owner.get(OF_SHOP).await.fails(403, "FORBIDDEN");
    shop.client().get(OWN).await.fails(401, "UNAUTHENTICATED");

    for wrong in [
        json!({}),
        json!({ "url": receiver.url("/a"), "loud": true }),
        json!({ "url": receiver.url("/a"), "events": ["NOISE"] }),
        json!({ "url": receiver.url("/a"), "events": ["IMAGE_OLD"] }),
        json!({ "url": receiver.url("/a"), "events": ["EMAIL_CONFIRMATION"] }),
        json!({ "url": "ftp://example.com/" }),
        json!({ "url": "" }),
    ] {
        let answer = owner.post(OWN, wrong).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    let unexplained = json!({ "url": receiver.url("/a") });
    let answer = admin.post(OF_SHOP, unexplained).await;
    answer.fails(400, "VALIDATION_FAILED");
    let kinds = owner.get(&format!("{OWN}/event-types")).await.data(200);
    let kinds = kinds.as_array().unwrap();
    assert!(kinds.contains(&json!("TOP_UP_RECEIVED")) && !kinds.contains(&json!("IMAGE_OLD")));

    // The fifth place is taken once.
    for path in ["/b", "/c", "/d"] {
        hooked.hook(&owner, path, json!([])).await;
    }
    let new = json!({ "url": receiver.url("/e") });
    let (first, second) = tokio::join!(owner.post(OWN, new.clone()), owner.post(OWN, new));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let listed = owner.get(OWN).await;
    assert!(!listed.text.contains(&secret) && !listed.text.contains("whsec_"));

    // A text that the document wants to have at least a character is not taken as left out.
    let emptied = json!({ "url": "", "description": "" });
    let refused = owner.patch(&hook, emptied).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert_eq!(refused.detail("url"), Some("must not be empty"));
    assert!(refused.detail("description").is_none(), "{}", refused.text);
    let changed =
        json!({ "events": ["QUOTA_FREE", "QUOTA_FREE"], "description": "Buku", "enabled": false });
    let changed = owner.patch(&hook, changed).await.data(200);
    assert_eq!(changed["events"], json!(["QUOTA_FREE"]));
    assert_eq!(changed["disabledBecause"], "OWNER");
    put(shop, (Topic::QuotaFree, user_id(&owner).await), "1").await;
    told(&owner, "QUOTA_FREE").await;
    a_while().await;
    assert_eq!(receiver.at("/own").len(), 1, "only the test from before");
    let test = owner.post(&format!("{hook}/test"), json!({})).await;
    test.fails(409, "INVALID_STATE");
    let (one, two) = tokio::join!(owner.delete(&hook), owner.delete(&hook));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
    owner.get(&delivery).await.fails(404, "NOT_FOUND");
    acts_of_administrators(&hooked).await;
}

async fn acts_of_administrators(hooked: &Hooked) {
    let Hooked {
        admin, receiver, ..
    } = hooked;
    let new = json!({ "url": receiver.url("/shop"), "events": ["IMAGE_OLD"], "reason": REASON });
    let made = admin.post(OF_SHOP, new).await.data(201);
    let hook = format!("{OF_SHOP}/{}", made["id"].as_str().unwrap());
    let change = json!({ "description": "Buku", "reason": REASON });
    admin.patch(&hook, change).await.data(200);
    let rotate = format!("{hook}/rotate-secret");
    admin
        .post(&rotate, json!({ "reason": REASON }))
        .await
        .data(200);
    admin
        .post(&format!("{hook}/test"), json!({}))
        .await
        .data(202);
    let delivery = deliveries(admin, &hook, "DELIVERED", 1).await.remove(0);
    let path = format!(
        "{hook}/deliveries/{}/resend",
        delivery["id"].as_str().unwrap()
    );
    admin.post(&path, json!({})).await.data(202);
    let other = admin.get(&format!("{OF_SHOP}/event-types")).await.data(200);
    assert!(other.as_array().unwrap().contains(&json!("IMAGE_OLD")));
    let removed = admin.delete_with(&hook, json!({ "reason": REASON })).await;
    removed.data(200);
    let subject = format!("webhook:{}", made["id"].as_str().unwrap());
    let acts = admin
        .get(&format!("/api/admin/audit?subject={subject}"))
        .await;
    let acts = acts.data(200);
    let acts: Vec<(&str, bool)> = acts
        .as_array()
        .unwrap()
        .iter()
        .map(|act| (act["act"].as_str().unwrap(), act["reason"] == REASON))
        .collect();
    assert_eq!(
        acts,
        [
            ("webhook.deleted", true),
            ("webhook.resent", false),
            ("webhook.tested", false),
            ("webhook.secret_rotated", true),
            ("webhook.changed", true),
            ("webhook.created", true),
        ]
    );
}

async fn a_private_address_is_refused_whenever_it_comes(hooked: Hooked) {
    let Hooked { shop, receiver, .. } = &hooked;
    let owner = shop.customer("dalam@example.com").await;
    let id = user_id(&owner).await;
    let named = format!("http://hook.example:{}/named", receiver.address.port());
    for addresses in [
        &["10.0.0.1"][..],
        &["169.254.169.254"],
        &["::ffff:10.0.0.1"],
        &["127.0.0.1", "192.168.0.1"],
        &[],
    ] {
        hooked.resolves_to(addresses);
        let answer = owner.post(OWN, json!({ "url": named })).await;
        answer.fails(400, "VALIDATION_FAILED");
        // The same for each: strangers learn nothing of the names that the shop's machine can find.
        let told = answer.detail("url").unwrap();
        assert_eq!(told, NO_PUBLIC_NAME, "{addresses:?}");
    }
    for url in [
        "http://169.254.169.254/latest",
        "http://[fd00::1]/",
        "http://3232235521/",
    ] {
        let answer = owner.post(OWN, json!({ "url": url })).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    hooked.resolves_to(&["127.0.0.1"]);
    for url in ["http://hook.example/a\r\nb", "http://hook.example/a b"] {
        let answer = owner.post(OWN, json!({ "url": url })).await;
        answer.fails(400, "VALIDATION_FAILED");
        let told = answer.detail("url").unwrap();
        assert!(told.starts_with("must not have blanks"), "{told}");
    }
    hooked.resolves_to(&["127.0.0.1"]);
    let made = owner.post(OWN, json!({ "url": named })).await.data(201);
    let hook = format!("{OWN}/{}", made["id"].as_str().unwrap());
    let private = json!({ "url": "http://10.0.0.1/" });
    let answer = owner.patch(&hook, private).await;
    answer.fails(400, "VALIDATION_FAILED");
    put(shop, (Topic::QuotaFree, id), "1").await;
    let received = receiver.wait_for("/named", 1).await.remove(0);
    let port = receiver.address.port();
    assert_eq!(received.header("host"), format!("hook.example:{port}"));

    // The name leads elsewhere from now on, also when only in part.
    hooked.resolves_to(&["127.0.0.1", "10.0.0.1"]);
    put(shop, (Topic::QuotaFree, id), "2").await;
    let failed = deliveries(&owner, &hook, "FAILED", 1).await.remove(0);
    let log = detail(&owner, &hook, &failed).await["log"].clone();
    assert_eq!(log[0]["status"], Value::Null);
    assert_eq!(log[0]["answer"], format!("the address {NO_PUBLIC_NAME}"));
    assert_eq!(receiver.at("/named").len(), 1);
    hooked.resolves_to(&["127.0.0.1"]);
    shop.clock().advance(TimeDelta::seconds(5));
    receiver.wait_for("/named", 2).await;
    deliveries(&owner, &hook, "DELIVERED", 2).await;
}

async fn secrets_sign_together_for_a_while(hooked: Hooked) {
    let Hooked { shop, receiver, .. } = &hooked;
    let owner = shop.customer("kunci@example.com").await;
    let (hook, first) = hooked.hook(&owner, "/keys", json!([])).await;
    let path = format!("{hook}/rotate-secret");
    let secret = |answer: Value| answer["secret"].as_str().unwrap().to_owned();
    let (one, two) = tokio::join!(owner.post(&path, json!({})), owner.post(&path, json!({})));
    let (one, two) = (secret(one.data(200)), secret(two.data(200)));
    assert!(one != two && one != first);
    let test = async |count: usize| {
        let owner = shop.sign_in("kunci@example.com").await;
        owner
            .post(&format!("{hook}/test"), json!({}))
            .await
            .data(202);
        receiver.wait_for("/keys", count).await.remove(count - 1)
    };
    let received = test(1).await;
    assert_eq!(received.signatures(), 3);
    for secret in [&first, &one, &two] {
        assert!(received.is_signed_with(secret));
    }
    shop.clock().advance(TimeDelta::hours(25));
    let received = test(2).await;
    assert_eq!(received.signatures(), 1, "the overlap is over");
    assert!(received.is_signed_with(&one) ^ received.is_signed_with(&two));

    let owner = shop.sign_in("kunci@example.com").await;
    let at_once = owner.post(&path, json!({ "overlapHours": 0 })).await;
    let last = secret(at_once.data(200));
    let received = test(3).await;
    assert_eq!(received.signatures(), 1);
    assert!(received.is_signed_with(&last));
    for _ in 0..4 {
        owner
            .post(&path, json!({ "overlapHours": 168 }))
            .await
            .data(200);
    }
    let refused = owner.post(&path, json!({ "overlapHours": 1 })).await;
    refused.fails(409, "CONFLICT");
    assert!(test(4).await.is_signed_with(&last), "a refusal ends none");
    let long = owner.post(&path, json!({ "overlapHours": 169 })).await;
    long.fails(400, "VALIDATION_FAILED");
    // Sealed like other secrets.
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT sealed FROM webhook_secrets";
    let sealed = dermaga_shop::fetch_all!(conn, (Vec<u8>,), sql).unwrap();
    assert_eq!(sealed.len(), 5);
    for (sealed,) in sealed {
        assert!(!String::from_utf8_lossy(&sealed).contains("whsec_"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_as_the_settings_say() {
    let receiver = Receiver::start().await;
    let new = json!({ "url": receiver.url("/a") });
    // HTTP and this machine are two permissions.
    let strict = settings::empty_shop(&[("DERMAGA_WEBHOOK_ALLOW_HTTP", "true")]).await;
    let owner = strict.customer("ketat@example.com").await;
    let answer = owner.post(OWN, new.clone()).await;
    assert!(
        answer
            .detail("url")
            .unwrap()
            .contains("not a public address")
    );
    let strict = settings::empty_shop(&[("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", "true")]).await;
    let owner = strict.customer("ketat@example.com").await;
    let answer = owner.post(OWN, new.clone()).await;
    assert_eq!(answer.detail("url"), Some("must begin with https://"));

    let shop = settings::empty_shop(&[
        ("DERMAGA_WEBHOOKS_PER_CUSTOMER", "1"),
        ("DERMAGA_WEBHOOK_TIMEOUT", "1s"),
        ("DERMAGA_WEBHOOK_DISABLE_DAYS", "1"),
        ("DERMAGA_WEBHOOK_ALLOW_HTTP", "true"),
        ("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", "true"),
    ])
    .await;
    let owner = shop.customer("batas@example.com").await;
    let made = owner.post(OWN, new.clone()).await.data(201);
    owner.post(OWN, new).await.fails(409, "CONFLICT");
    let hook = format!("{OWN}/{}", made["id"].as_str().unwrap());
    receiver.pause(Duration::from_secs(3));
    owner
        .post(&format!("{hook}/test"), json!({}))
        .await
        .data(202);
    let failed = deliveries(&owner, &hook, "FAILED", 1).await.remove(0);
    let log = detail(&owner, &hook, &failed).await["log"].clone();
    assert_eq!(log[0]["answer"], "no answer in time");
    let duration = log[0]["durationMs"].as_i64().unwrap();
    assert!((900..3000).contains(&duration), "{duration}");
    shop.clock().advance(TimeDelta::hours(25));
    receiver.wait_for("/a", 2).await;
    let owner = shop.sign_in("batas@example.com").await;
    assert_eq!(told(&owner, "WEBHOOK_DISABLED").await.len(), 1);
}
