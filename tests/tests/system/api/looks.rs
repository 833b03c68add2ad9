//! Tests of looks of administrators at the accounts of customers.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dermaga_tests::{Client, both_engines};
use serde_json::json;

use super::users::{Office, PASSWORD, USERS, id};

both_engines!(
    Office,
    [
        an_administrator_looks_and_does_nothing_else,
        a_look_ends_with_each_of_its_causes
    ]
);

async fn look(admin: &Client, user: &str) -> dermaga_tests::Answer {
    let path = format!("{USERS}/{user}/sign-in");
    admin
        .post(&path, json!({ "reason": "You asked about your invoice." }))
        .await
}

/// An administrator who looks at an account reads it, and neither spends nor changes anything, nor
/// sees passwords and keys; the owner gets a notification, and sees it among the sessions.
async fn an_administrator_looks_and_does_nothing_else(office: Office) {
    let Office { shop, admin, .. } = &office;
    let customer = shop
        .customer_with_credit("dilihat@example.com", 100_000)
        .await;
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    let bought = customer
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    let person = id(&customer.get("/api/user/profile").await.data(200));
    let answer = look(admin, &person).await.data(201);
    assert_eq!(answer["userId"], json!(person));
    assert!(answer.get("refreshToken").is_none());
    let looking = shop
        .client()
        .with_token(answer["accessToken"].as_str().unwrap());

    let profile = looking.get("/api/auth/profile").await.data(200);
    assert_eq!(profile["email"], "dilihat@example.com");
    for path in [
        "/api/user/profile".to_owned(),
        "/api/wallet/info".to_owned(),
        "/api/wallet/transactions".to_owned(),
        "/api/subscriptions".to_owned(),
        "/api/notifications".to_owned(),
        format!("/api/instances/{instance}"),
    ] {
        assert_eq!(looking.get(&path).await.status, 200, "{path}");
    }
    for path in [
        "/api/user/sessions".to_owned(),
        "/api/user/api-tokens".to_owned(),
        "/api/user/two-factor".to_owned(),
        format!("/api/instances/{instance}/credentials"),
        USERS.to_owned(),
    ] {
        looking.get(&path).await.fails(403, "FORBIDDEN");
    }
    let password = json!({ "currentPassword": PASSWORD, "newPassword": "kata sandi yang baru" });
    for (path, body) in [
        ("/api/auth/change-password", password),
        ("/api/auth/logout-all", json!({})),
        ("/api/subscriptions", order),
        (
            "/api/wallet/topup",
            json!({ "amount": 20_000, "paymentMethod": "QRIS" }),
        ),
        ("/api/wallet/redeem-coupon", json!({ "couponCode": "X" })),
        (
            "/api/webhooks",
            json!({ "url": "https://example.com/", "events": [] }),
        ),
    ] {
        looking.post(path, body).await.fails(403, "FORBIDDEN");
    }
    let name = json!({ "name": "Lain" });
    looking
        .put("/api/user/profile", name)
        .await
        .fails(403, "FORBIDDEN");

    let acts = office.acts(&person).await;
    assert_eq!(
        (&acts[0]["act"], &acts[0]["reason"]),
        (
            &json!("user.looked_at"),
            &json!("You asked about your invoice.")
        )
    );
    let deadline = Instant::now() + Duration::from_secs(90);
    let inbox = loop {
        let path = "/api/notifications?kind=ACCOUNT_LOOKED_AT";
        let inbox = customer.get(path).await.data(200)["notifications"].clone();
        if inbox[0].is_object() {
            break inbox;
        }
        assert!(Instant::now() < deadline, "the account is told nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let text = inbox[0]["text"].as_str().unwrap();
    assert!(text.contains("You asked about your invoice."), "{text}");
    let sessions = customer.get("/api/user/sessions").await.data(200);
    let sessions = sessions.as_array().unwrap();
    let look = sessions
        .iter()
        .find(|session| session["byAdministrator"] == true);
    let path = format!("/api/user/sessions/{}", id(look.unwrap()));
    customer.delete(&path).await.data(200);
    looking
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
}

/// A look ends after fifteen minutes, by its end, and with the administrator; administrators and
/// disabled accounts are not looked at.
async fn a_look_ends_with_each_of_its_causes(office: Office) {
    let Office { shop, admin, .. } = &office;
    let registered = shop.register("sebentar@example.com").await;
    let person = id(&registered["user"]);
    let look_at = async |by: &Client| {
        let answer = look(by, &person).await.data(201);
        shop.client()
            .with_token(answer["accessToken"].as_str().unwrap())
    };
    let profile = "/api/auth/profile";
    let looking = look_at(admin).await;
    shop.clock().advance(TimeDelta::minutes(15));
    looking.get(profile).await.fails(401, "TOKEN_EXPIRED");

    let looking = look_at(admin).await;
    looking.post("/api/auth/logout", json!({})).await.data(200);
    looking.get(profile).await.fails(401, "UNAUTHENTICATED");

    let second = office.make("dua@example.com", "ADMINISTRATOR").await;
    let other = shop.sign_in("dua@example.com").await;
    let looking = look_at(&other).await;
    office.set_status(&second, "DISABLED").await.data(200);
    shop.clock().advance(TimeDelta::seconds(10));
    looking.get(profile).await.fails(401, "UNAUTHENTICATED");

    let looking = look_at(admin).await;
    office.set_status(&person, "DISABLED").await.data(200);
    looking.get(profile).await.fails(401, "UNAUTHENTICATED");
    look(admin, &person).await.fails(409, "INVALID_STATE");
    look(admin, &second).await.fails(409, "INVALID_STATE");
    let nobody = uuid::Uuid::nil().to_string();
    look(admin, &nobody).await.fails(404, "NOT_FOUND");
    let customer = shop.customer("lain@example.com").await;
    look(&customer, &person).await.fails(403, "FORBIDDEN");
    let path = format!("{USERS}/{person}/sign-in");
    let without = admin.post(&path, json!({})).await;
    without.fails(400, "VALIDATION_FAILED");
}
