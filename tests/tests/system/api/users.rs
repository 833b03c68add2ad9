//! Tests of acts of administrators on accounts.

use dermaga_tests::{Client, Engine, MailServer, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};

use super::mails::sends_to;

pub(super) const USERS: &str = "/api/admin/users";
pub(super) const PASSWORD: &str = "kata sandi yang panjang";
const WHY: &str = "As asked for by the owner.";

/// A shop that sends mails, and its first administrator.
pub(super) struct Office {
    pub(super) shop: Shop,
    server: MailServer,
    pub(super) admin: Client,
}

impl Office {
    pub(super) async fn open(engine: Engine) -> Option<Self> {
        let server = MailServer::start().await;
        let shop = Shop::open_with(engine, |config| sends_to(config, &server)).await?;
        let admin = shop.admin().await;
        Some(Self {
            shop,
            server,
            admin,
        })
    }

    /// Makes an account; returns its id.
    pub(super) async fn make(&self, email: &str, role: &str) -> String {
        let body = json!({
            "email": email, "name": "Orang", "role": role, "password": PASSWORD, "reason": WHY,
        });
        id(&self.admin.post(USERS, body).await.data(201))
    }

    pub(super) async fn set_status(&self, id: &str, status: &str) -> dermaga_tests::Answer {
        let body = json!({ "status": status, "reason": WHY });
        patch(&self.admin, &format!("{USERS}/{id}/status"), body).await
    }

    /// Lists what was recorded about an account, the oldest first.
    pub(super) async fn acts(&self, id: &str) -> Vec<Value> {
        let path = format!("/api/admin/audit?subject=user:{id}");
        let mut found = self.admin.get(&path).await.data(200);
        let found = found.as_array_mut().unwrap();
        found.reverse();
        found.clone()
    }
}

pub(super) fn id(account: &Value) -> String {
    account["id"].as_str().unwrap().to_owned()
}

async fn patch(client: &Client, path: &str, body: Value) -> dermaga_tests::Answer {
    let request = client.request(Method::PATCH, path).json(&body);
    client.send(request).await
}

/// Waits for the notifications of an account, and returns their kinds, the newest first.
async fn kinds(owner: &Client, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let inbox = owner.get("/api/notifications").await.data(200);
        let found = inbox["notifications"].as_array().unwrap().clone();
        if found.len() >= count {
            return found.iter().map(|one| one["kind"].clone()).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("fewer than {count} notifications");
}

both_engines!(
    Office,
    [
        accounts_are_found_made_and_changed,
        an_invited_person_chooses_a_password,
        another_role_ends_what_was_signed_in_before,
        a_program_makes_and_removes_no_administrators,
        a_disabled_account_opens_nothing,
        a_sign_out_ends_what_was_signed_in_alone,
        the_last_administrator_stays
    ]
);
both_engines!(Shop, [an_account_without_a_password_needs_mails]);

/// Accounts are found by each filter and shown with what they have; changes have a reason in the
/// audit trail, without what was personal.
async fn accounts_are_found_made_and_changed(office: Office) {
    let Office { shop, admin, .. } = &office;
    let customer = shop.customer_with_credit("sari@example.com", 25_000).await;
    let made = office.make("budi@example.com", "USER").await;
    let found = async |query: &str| {
        let page = admin.get(&format!("{USERS}?{query}")).await.data(200);
        let emails = page.as_array().unwrap().iter();
        emails
            .map(|user| user["email"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("role=USER").await,
        ["budi@example.com", "sari@example.com"]
    );
    assert_eq!(found("q=SARI").await, ["sari@example.com"]);
    assert_eq!(found("q=orang").await, ["budi@example.com"]);
    assert_eq!(found("role=USER&limit=1&page=2").await.len(), 1);
    assert!(found("role=USER&state=DISABLED").await.is_empty());
    assert!(found("emailVerified=true").await.is_empty());
    assert!(found("to=2001-01-01").await.is_empty());
    for wrong in ["role=KING", "state=x", "emailVerified=maybe", "x=1"] {
        let refused = admin.get(&format!("{USERS}?{wrong}")).await;
        refused.fails(400, "VALIDATION_FAILED");
    }

    let sari = admin.get(&format!("{USERS}?q=sari")).await.data(200)[0].clone();
    assert_eq!(
        (&sari["bonusBalance"], &sari["paidBalance"]),
        (&json!(25_000), &json!(0))
    );
    assert!(sari["lastSeenAt"].is_string() && sari["liveSubscriptions"] == 0);
    let path = format!("{USERS}/{made}");
    let shown = admin.get(&path).await.data(200);
    assert_eq!(
        (&shown["name"], &shown["lastSeenAt"]),
        (&json!("Orang"), &Value::Null)
    );
    shop.sign_in("budi@example.com").await;

    let change = json!({ "name": "Budi Santoso", "phone": "0812-3456-7890", "reason": WHY });
    let changed = admin.put(&path, change).await.data(200);
    assert_eq!(
        (&changed["name"], &changed["phone"], &changed["role"]),
        (
            &json!("Budi Santoso"),
            &json!("+6281234567890"),
            &json!("USER")
        )
    );
    let acts = office.acts(&made).await;
    let named: Vec<(&Value, &Value)> = acts
        .iter()
        .map(|act| (&act["act"], &act["reason"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!("user.created"), &json!(WHY)),
            (&json!("user.changed"), &json!(WHY))
        ]
    );
    assert!(!json!(acts).to_string().contains("Santoso"));

    let nowhere = format!("{USERS}/{}", uuid::Uuid::nil());
    admin.get(&nowhere).await.fails(404, "NOT_FOUND");
    let change = json!({ "name": "X", "reason": WHY });
    admin
        .put(&nowhere, change.clone())
        .await
        .fails(404, "NOT_FOUND");
    for wrong in [
        json!({ "name": "X" }),
        json!({ "reason": "short" }),
        json!({ "name": "", "reason": WHY }),
        json!({ "email": "lain@example.com", "reason": WHY }),
    ] {
        admin
            .put(&path, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    let taken = json!({ "email": "SARI@example.com", "name": "S", "role": "USER", "reason": WHY });
    admin.post(USERS, taken).await.fails(409, "EMAIL_TAKEN");
    for client in [&customer, shop.client()] {
        let code = if std::ptr::eq(client, &customer) {
            (403, "FORBIDDEN")
        } else {
            (401, "UNAUTHENTICATED")
        };
        client.get(USERS).await.fails(code.0, code.1);
        client
            .put(&path, change.clone())
            .await
            .fails(code.0, code.1);
    }
}

/// A person whose account was made without a password gets a mail, and nothing else opens it.
async fn an_invited_person_chooses_a_password(office: Office) {
    let Office {
        shop,
        server,
        admin,
    } = &office;
    let body = json!({ "email": "baru@example.com", "name": "Baru", "role": "ADMINISTRATOR", "reason": WHY });
    admin.post(USERS, body).await.data(201);
    let mails = server.wait_for(1).await;
    assert_eq!(mails[0].to, "baru@example.com");
    let text = mails[0].unfolded();
    let (_, token) = text.split_once("reset-password?token=").unwrap();
    let token = token.split_whitespace().next().unwrap();
    let body = json!({ "token": token, "newPassword": PASSWORD });
    let path = "/api/auth/reset-password";
    shop.client().post(path, body).await.data(200);
    let invited = shop.sign_in("baru@example.com").await;
    invited.get(USERS).await.data(200);
}

/// A shop that sends no mails promises none.
async fn an_account_without_a_password_needs_mails(shop: Shop) {
    let admin = shop.admin().await;
    let mut body =
        json!({ "email": "baru@example.com", "name": "Baru", "role": "USER", "reason": WHY });
    let refused = admin.post(USERS, body.clone()).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.text.contains("sends no mails"), "{}", refused.text);
    body["password"] = json!(PASSWORD);
    admin.post(USERS, body).await.data(201);
    shop.sign_in("baru@example.com").await;
}

/// A session and a key of a customer do not become an administrator's, nor the other way around.
async fn another_role_ends_what_was_signed_in_before(office: Office) {
    let Office { shop, admin, .. } = &office;
    let person = office.make("naik@example.com", "USER").await;
    let before = shop.sign_in("naik@example.com").await;
    let key = json!({ "name": "laporan", "scope": "READ" });
    let key = before.post("/api/user/api-tokens", key).await.data(201);
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    let path = format!("{USERS}/{person}");
    // A stranger may have registered it.
    let change = json!({ "role": "ADMINISTRATOR", "reason": WHY });
    let unconfirmed = admin.put(&path, change).await;
    unconfirmed.fails(409, "INVALID_STATE");
    shop.sql("UPDATE users SET email_verified_at = created_at WHERE email = 'naik@example.com'")
        .await
        .unwrap();
    for (role, status) in [("ADMINISTRATOR", 200), ("USER", 403)] {
        let change = json!({ "role": role, "reason": WHY });
        let changed = admin.put(&path, change).await.data(200);
        assert_eq!(changed["role"], role);
        before
            .get("/api/auth/profile")
            .await
            .fails(401, "UNAUTHENTICATED");
        program
            .get("/api/wallet/info")
            .await
            .fails(401, "UNAUTHENTICATED");
        let after = shop.sign_in("naik@example.com").await;
        assert_eq!(after.get(USERS).await.status, status);
    }
    let after = shop.sign_in("naik@example.com").await;
    let told = kinds(&after, 3).await;
    assert_eq!(
        told,
        ["ACCOUNT_CHANGED", "ACCOUNT_CHANGED", "API_TOKEN_CREATED"]
    );
    let acts = office.acts(&person).await;
    assert_eq!(
        acts[1]["details"],
        json!({ "from": "USER", "to": "ADMINISTRATOR" })
    );
    assert_eq!(acts.len(), 3);
}

/// A program of an administrator looks after customers: it makes and removes no administrators, and opens no
/// account.
async fn a_program_makes_and_removes_no_administrators(office: Office) {
    let Office { shop, admin, .. } = &office;
    let customer = office.make("pelanggan@example.com", "USER").await;
    let second = office.make("dua@example.com", "ADMINISTRATOR").await;
    let off = office.make("mati@example.com", "ADMINISTRATOR").await;
    office.set_status(&off, "DISABLED").await.data(200);
    let own = id(&admin.get("/api/user/profile").await.data(200));
    let key = json!({ "name": "pipeline", "scope": "WRITE" });
    let key = admin.post("/api/user/api-tokens", key).await.data(201);
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    let because = json!({ "reason": WHY });

    let third = json!({
        "email": "tiga@example.com", "name": "Tiga", "role": "ADMINISTRATOR", "password": PASSWORD, "reason": WHY,
    });
    let mut refused = vec![program.post(USERS, third.clone()).await];
    for (person, role) in [
        (&customer, "ADMINISTRATOR"),
        (&second, "USER"),
        (&own, "USER"),
    ] {
        let change = json!({ "role": role, "reason": WHY });
        let path = format!("{USERS}/{person}");
        refused.push(program.put(&path, change).await);
    }
    for (person, status) in [(&second, "DISABLED"), (&off, "ACTIVE")] {
        let change = json!({ "status": status, "reason": WHY });
        let path = format!("{USERS}/{person}/status");
        refused.push(patch(&program, &path, change).await);
    }
    let path = format!("{USERS}/{second}");
    refused.push(program.delete_with(&path, because.clone()).await);
    for person in [&second, &own] {
        let path = format!("{USERS}/{person}/sign-out");
        refused.push(program.post(&path, because.clone()).await);
        let change = json!({ "name": "Lain", "reason": WHY });
        let path = format!("{USERS}/{person}");
        refused.push(program.put(&path, change).await);
    }
    for answer in &refused {
        answer.fails(403, "FORBIDDEN");
        let sentence = "No API token makes administrators, or acts on them. Log in, and send the access token.";
        assert_eq!(answer.body["message"], sentence);
    }
    let path = format!("{USERS}/{customer}/sign-in");
    let look = program.post(&path, because.clone()).await;
    look.fails(403, "FORBIDDEN");
    let path = format!("{USERS}/{customer}/two-factor");
    let help = program.delete_with(&path, because.clone()).await;
    help.fails(403, "FORBIDDEN");
    let path = format!("{USERS}?role=ADMINISTRATOR&state=ACTIVE");
    let active = admin.get(&path).await.data(200);
    assert_eq!(active.as_array().unwrap().len(), 2, "{active:#}");

    // Customers are its work, as before.
    let path = format!("{USERS}/{customer}");
    let change = json!({ "name": "Pelanggan", "role": "USER", "reason": WHY });
    program.put(&path, change).await.data(200);
    for status in ["DISABLED", "ACTIVE"] {
        let change = json!({ "status": status, "reason": WHY });
        let path = format!("{path}/status");
        patch(&program, &path, change).await.data(200);
    }
    program.delete_with(&path, because).await.data(200);
    // The same by a session.
    admin.post(USERS, third).await.data(201);
}

/// Neither sessions nor keys nor the password open a disabled account, until it is enabled again.
async fn a_disabled_account_opens_nothing(office: Office) {
    let Office { shop, .. } = &office;
    let registered = shop.register("mati@example.com").await;
    let person = id(&registered["user"]);
    let customer = shop
        .client()
        .with_token(registered["accessToken"].as_str().unwrap());
    let key = json!({ "name": "laporan", "scope": "READ" });
    let key = customer.post("/api/user/api-tokens", key).await.data(201);
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    office
        .set_status(&person, "ACTIVE")
        .await
        .fails(409, "INVALID_STATE");
    let disabled = office.set_status(&person, "DISABLED").await.data(200);
    assert_eq!(disabled["state"], "DISABLED");
    office
        .set_status(&person, "DISABLED")
        .await
        .fails(409, "INVALID_STATE");
    for client in [&customer, &program] {
        let answer = client.get("/api/wallet/info").await;
        answer.fails(401, "UNAUTHENTICATED");
    }
    let login = json!({ "email": "mati@example.com", "password": PASSWORD });
    let path = "/api/auth/login";
    let refused = shop.client().post(path, login).await;
    refused.fails(403, "ACCOUNT_DISABLED");
    let refresh = json!({ "refreshToken": registered["refreshToken"] });
    let refused = shop.client().post("/api/auth/refresh-token", refresh).await;
    refused.fails(401, "UNAUTHENTICATED");

    office.set_status(&person, "ACTIVE").await.data(200);
    let again = shop.sign_in("mati@example.com").await;
    let told = kinds(&again, 3).await;
    assert_eq!(told[..2], ["ACCOUNT_CHANGED", "ACCOUNT_CHANGED"]);
    customer
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    let acts = office.acts(&person).await;
    let names: Vec<&Value> = acts.iter().map(|act| &act["act"]).collect();
    assert_eq!(names, ["user.disabled", "user.enabled"]);
}

/// Sessions and API tokens end at once, with a reason and a notification; the account stays open.
async fn a_sign_out_ends_what_was_signed_in_alone(office: Office) {
    let Office { shop, admin, .. } = &office;
    let registered = shop.register("lupa@example.com").await;
    let person = id(&registered["user"]);
    let access = registered["accessToken"].as_str().unwrap();
    let customer = shop.client().with_token(access);
    let key = json!({ "name": "laporan", "scope": "READ" });
    let key = customer.post("/api/user/api-tokens", key).await.data(201);
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    let path = format!("{USERS}/{person}/sign-out");
    let body = json!({ "reason": WHY });
    admin
        .post(&path, json!({ "reason": "short" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    customer
        .post(&path, body.clone())
        .await
        .fails(403, "FORBIDDEN");
    program.get("/api/wallet/info").await.data(200);
    admin.post(&path, body.clone()).await.data(200);
    for client in [&customer, &program] {
        let answer = client.get("/api/wallet/info").await;
        answer.fails(401, "UNAUTHENTICATED");
    }
    let refresh = json!({ "refreshToken": registered["refreshToken"] });
    let refused = shop.client().post("/api/auth/refresh-token", refresh).await;
    refused.fails(401, "UNAUTHENTICATED");
    let again = shop.sign_in("lupa@example.com").await;
    assert_eq!(kinds(&again, 2).await[0], "SESSIONS_ENDED");
    let acts = office.acts(&person).await;
    assert_eq!(
        (acts.len(), &acts[0]["act"], &acts[0]["reason"]),
        (1, &json!("user.signed_out"), &json!(WHY))
    );
    let nowhere = format!("{USERS}/00000000-0000-0000-0000-000000000009/sign-out");
    admin.post(&nowhere, body).await.fails(404, "NOT_FOUND");
}

/// The only administrator keeps role and status, until there is another active one.
async fn the_last_administrator_stays(office: Office) {
    let Office { shop, admin, .. } = &office;
    let own = id(&admin.get("/api/user/profile").await.data(200));
    let path = format!("{USERS}/{own}");
    let demotion = json!({ "role": "USER", "reason": WHY });
    let refused = admin.put(&path, demotion.clone()).await;
    refused.fails(409, "INVALID_STATE");
    office
        .set_status(&own, "DISABLED")
        .await
        .fails(409, "INVALID_STATE");
    // Name and phone are no matter of that.
    let name = json!({ "name": "Kepala", "reason": WHY });
    admin.put(&path, name).await.data(200);

    let second = office.make("dua@example.com", "ADMINISTRATOR").await;
    office.set_status(&second, "DISABLED").await.data(200);
    let refused = admin.put(&path, demotion.clone()).await;
    refused.fails(409, "INVALID_STATE");
    office.set_status(&second, "ACTIVE").await.data(200);
    let other = shop.sign_in("dua@example.com").await;
    admin.put(&path, demotion).await.data(200);
    // A request that had passed the door before the demotion does not act after it: see `races`.
    let answer = admin.get(USERS).await;
    answer.fails(401, "UNAUTHENTICATED");
    other.get(USERS).await.data(200);
}
