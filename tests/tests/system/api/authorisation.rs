//! Who reaches which operation: the [matrix](matrix), asked of every operation of the document.

mod matrix;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use dermaga_tests::{Client, Shop, both_engines, unique};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use self::matrix::MATRIX;
use super::tickets;
use crate::pictures;

both_engines!(
    Shop,
    [
        every_operation_answers_each_caller_as_the_matrix_says,
        what_belongs_to_another_is_not_found
    ]
);

/// Callers that reach an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All, whatever token they send.
    Public,
    /// Those who are signed in, and programs within the scope of their API token.
    Customer,
    /// Those who are signed in, and no program: it manages the account itself.
    Account,
    /// Administrators, and their programs within the scope of their API token.
    Admin,
    /// Administrators who are signed in, and no program: it opens the account of another.
    AdminSession,
    /// As [`Reach::Admin`], and programs with the scope `PLUGINS`.
    Plugins,
}

/// Caller of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Nobody,
    /// Its token was good until yesterday.
    Expired,
    /// Its token has another signature.
    Forged,
    /// Its token says that it needs no signature.
    Unsigned,
    Customer,
    /// Program of a customer that may read.
    CustomersReader,
    /// An administrator who looks at the account of a customer.
    Look,
    Administrator,
    /// Program of an administrator that may read.
    AdministratorsReader,
    /// Program of an administrator that may upload plugins.
    Uploader,
}

const CALLERS: [Caller; 10] = [
    Caller::Nobody,
    Caller::Expired,
    Caller::Forged,
    Caller::Unsigned,
    Caller::Customer,
    Caller::CustomersReader,
    Caller::Look,
    Caller::Administrator,
    Caller::AdministratorsReader,
    Caller::Uploader,
];

/// Operations after which the token of their caller is no longer good.
const FAREWELLS: [&str; 3] = [
    "/api/auth/logout",
    "/api/auth/logout-all",
    "/api/user/sessions",
];

/// Status, and the code of a refusal at the door.
type Outcome = (u16, Option<&'static str>);

fn outcome(caller: Caller, reach: Reach, (method, path): (&str, &str), status: u16) -> Outcome {
    const FORBIDDEN: Outcome = (403, Some("FORBIDDEN"));
    let is_read = method == "GET" && !path.ends_with("/credentials");
    let is_admins = matches!(reach, Reach::Admin | Reach::AdminSession | Reach::Plugins);
    let is_of_people = matches!(reach, Reach::Account | Reach::AdminSession);
    let is_let_in = match caller {
        _ if reach == Reach::Public => true,
        Caller::Nobody | Caller::Forged | Caller::Unsigned => {
            return (401, Some("UNAUTHENTICATED"));
        }
        Caller::Expired => return (401, Some("TOKEN_EXPIRED")),
        Caller::Customer => !is_admins,
        Caller::CustomersReader => reach == Reach::Customer && is_read,
        // A look knows whose account it is, and ends itself.
        Caller::Look => {
            let is_own = [("GET", "/api/auth/profile"), ("POST", "/api/auth/logout")];
            is_own.contains(&(method, path)) || (reach == Reach::Customer && is_read)
        }
        Caller::Administrator => true,
        Caller::AdministratorsReader => !is_of_people && is_read,
        Caller::Uploader => reach == Reach::Plugins,
    };
    if is_let_in { (status, None) } else { FORBIDDEN }
}

/// Tokens of all callers.
struct Callers<'a> {
    shop: &'a Shop,
    customer: Client,
    look: Client,
    administrator: Client,
    expired: Client,
    programs: [Client; 3],
}

impl<'a> Callers<'a> {
    async fn of(shop: &'a Shop) -> Self {
        let email = "matriks@example.com";
        let expired = shop.customer(email).await;
        shop.clock().advance(TimeDelta::hours(25));
        let customer = shop.sign_in(email).await;
        let administrator = shop.admin().await;
        let program = async |owner: &Client, scope: &str| {
            let body = json!({ "name": "matriks", "scope": scope });
            let made = owner.post("/api/user/api-tokens", body).await.data(201);
            shop.client().with_token(made["token"].as_str().unwrap())
        };
        let programs = [
            program(&customer, "READ").await,
            program(&administrator, "READ").await,
            program(&administrator, "PLUGINS").await,
        ];
        let look = look(shop, &administrator, &customer).await;
        Self {
            shop,
            customer,
            look,
            administrator,
            expired,
            programs,
        }
    }

    /// Returns a client that calls as this caller. One that says farewell is an account of its own.
    async fn client(&self, caller: Caller, path: &str) -> Client {
        let (_, good) = self.administrator.address_and_token();
        let parts: Vec<&str> = good.split('.').collect();
        let [head, claims, signature] = parts[..] else {
            panic!("not a token: {good}");
        };
        let says_farewell = FAREWELLS.contains(&path);
        let [customers, administrators, uploader] = &self.programs;
        match caller {
            Caller::Nobody => self.shop.client().clone(),
            Caller::Expired => self.expired.clone(),
            Caller::Forged => {
                let other: String = signature.chars().rev().collect();
                let forged = format!("{head}.{claims}.{other}");
                self.shop.client().with_token(forged)
            }
            Caller::Unsigned => {
                let mut header: Value =
                    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
                header["alg"] = json!("none");
                let head = URL_SAFE_NO_PAD.encode(header.to_string());
                self.shop.client().with_token(format!("{head}.{claims}."))
            }
            Caller::Customer if says_farewell => {
                let email = format!("{}@example.com", unique());
                self.shop.customer(&email).await
            }
            Caller::Look if says_farewell => {
                look(self.shop, &self.administrator, &self.customer).await
            }
            Caller::Administrator if says_farewell => self.shop.admin().await,
            Caller::Customer => self.customer.clone(),
            Caller::CustomersReader => customers.clone(),
            Caller::Look => self.look.clone(),
            Caller::Administrator => self.administrator.clone(),
            Caller::AdministratorsReader => administrators.clone(),
            Caller::Uploader => uploader.clone(),
        }
    }
}

/// Lets an administrator look at the account of a customer.
async fn look(shop: &Shop, administrator: &Client, customer: &Client) -> Client {
    let profile = customer.get("/api/user/profile").await.data(200);
    let path = format!("/api/admin/users/{}/sign-in", id(&profile));
    let reason = json!({ "reason": "You asked about your invoice." });
    let look = administrator.post(&path, reason).await.data(201);
    let token = look["accessToken"].as_str().unwrap();
    shop.client().with_token(token)
}

/// Calls an operation with an empty body, or this one. The body of an endless answer is not read.
async fn call(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Option<Value>) {
    let method: Method = method.parse().unwrap();
    let request = client.request(method.clone(), path);
    let request = if method == Method::GET {
        request
    } else {
        request.json(body)
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let is_json = response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.to_str().unwrap().starts_with("application/json"));
    if status == 401 {
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    let body = if is_json {
        Some(response.json().await.unwrap())
    } else {
        None
    };
    (status, body)
}

/// Returns a fault of an answer's envelope.
fn fault(status: u16, body: Option<&Value>) -> Option<&'static str> {
    let Some(body) = body else {
        return (status >= 400).then_some("a refusal without an envelope");
    };
    let has = |pointer: &str| body.pointer(pointer).is_some_and(Value::is_string);
    if body["success"] != json!(status < 400) {
        return Some("`success` is wrong");
    }
    if !has("/message") || !has("/timestamp") {
        return Some("without message or timestamp");
    }
    (status >= 400 && !has("/error/code")).then_some("without a code")
}

/// Fills the names in a path with those of nothing.
pub(super) fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{digest}" => "0".repeat(64),
        part if part.starts_with('{') => Uuid::nil().to_string(),
        part => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn operations(shop: &Shop) -> BTreeSet<(String, String)> {
    let document = shop.client().get("/api/openapi.json").await.body;
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, item)| {
        let names = item.as_object().unwrap().keys();
        names
            .filter(|name| name.as_str() != "parameters")
            .map(move |name| (name.to_uppercase(), path.clone()))
    });
    methods.collect()
}

/// Every operation of the document is in the matrix, and answers each caller with the status, the
/// code and the envelope that follow from it.
async fn every_operation_answers_each_caller_as_the_matrix_says(shop: Shop) {
    let listed: BTreeSet<(String, String)> = MATRIX
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(listed.len(), MATRIX.len(), "an operation is listed twice");
    let documented = operations(&shop).await;
    let missing: Vec<_> = documented.difference(&listed).collect();
    assert!(missing.is_empty(), "not in the matrix: {missing:#?}");
    let gone: Vec<_> = listed.difference(&documented).collect();
    assert!(gone.is_empty(), "not in the document: {gone:#?}");

    let callers = Callers::of(&shop).await;
    let mut faults = Vec::new();
    for (method, path, reach, status) in MATRIX {
        for caller in CALLERS {
            let client = callers.client(caller, path).await;
            let expected = outcome(caller, *reach, (method, path), *status);
            let (status, body) = call(&client, method, &filled(path), &json!({})).await;
            let code = body
                .as_ref()
                .and_then(|body| body["error"]["code"].as_str());
            let is_expected = status == expected.0 && (expected.1.is_none() || code == expected.1);
            if !is_expected {
                faults.push(format!(
                    "{method} {path} for {caller:?}: {status} {code:?}, expected {expected:?}"
                ));
            }
            if let Some(fault) = fault(status, body.as_ref()) {
                faults.push(format!("{method} {path} for {caller:?}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Real ids of a customer, by the beginning of the paths that they are in, and ids within those.
pub(super) struct Belongings(
    pub(super) Vec<(&'static str, String)>,
    Vec<(&'static str, String)>,
);

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

impl Belongings {
    pub(super) async fn of(shop: &Shop, owner: &Client) -> Self {
        let order = json!({ "planId": shop.plan("n8n", "free").await });
        let bought = owner.post("/api/subscriptions", order).await.data(201);
        let instance = bought["instanceId"].as_str().unwrap().to_owned();
        shop.instance_becomes(owner, &instance, "RUNNING").await;
        let path = format!("/api/instances/{instance}/domains");
        let domain = json!({ "domain": "www.example.com" });
        let domain = owner.post(&path, domain).await.data(201);
        let plan = shop.plan("ghost", "free").await;
        shop.leave_quota(&plan, 0).await;
        let path = "/api/subscriptions/waitlist";
        let waiting = owner.post(path, json!({ "planId": plan })).await.data(201);
        let token = json!({ "name": "milik", "scope": "READ" });
        let token = owner.post("/api/user/api-tokens", token).await.data(201);
        let hook = json!({ "url": "https://hooks.example.com/", "events": ["TICKET_ANSWERED"] });
        let hook = owner.post("/api/webhooks", hook).await.data(201);
        let picture = pictures::png();
        let asked = tickets::ask(owner, &[("layar.png", &picture)]).await;
        let asked = asked.data(201);
        let transactions = owner.get("/api/wallet/transactions").await.data(200);
        let sessions = owner.get("/api/user/sessions").await.data(200);
        let notification = loop {
            let inbox = owner.get("/api/notifications").await.data(200);
            if inbox["notifications"][0].is_object() {
                break id(&inbox["notifications"][0]);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        let within = vec![("/domains/", id(&domain))];
        let first = vec![
            ("/api/instances/", instance),
            ("/api/subscriptions/waitlist/", id(&waiting)),
            ("/api/subscriptions/", id(&bought["subscription"])),
            ("/api/notifications/", notification),
            (
                "/api/tickets/attachments/",
                id(&asked["messages"][0]["attachments"][0]),
            ),
            ("/api/tickets/", id(&asked)),
            ("/api/user/api-tokens/", id(&token)),
            ("/api/user/sessions/", id(&sessions[0])),
            ("/api/wallet/transactions/", id(&transactions[0])),
            ("/api/webhooks/", id(&hook)),
        ];
        Self(first, within)
    }

    /// Fills the first name of a path with the id of what is there, and a second one where there is something.
    pub(super) fn path(&self, path: &str) -> String {
        let found = self.0.iter().find(|(start, _)| path.starts_with(start));
        let (_, id) = found.unwrap_or_else(|| panic!("whose is {path}? Add it to Belongings"));
        let (before, rest) = path.split_once('{').unwrap();
        let (_, after) = rest.split_once('}').unwrap();
        let path = format!("{before}{id}{after}");
        let inner = self.1.iter().find(|(part, _)| path.contains(part));
        let Some(((start, rest), (_, id))) = path.split_once('{').zip(inner) else {
            return filled(&path);
        };
        let (_, rest) = rest.split_once('}').unwrap();
        filled(&format!("{start}{id}{rest}"))
    }
}

/// A customer's belongings are not found by another one, nor by an administrator who uses the
/// routes of customers; their owner finds them.
async fn what_belongs_to_another_is_not_found(shop: Shop) {
    let owner = shop
        .customer_with_credit("pemilik@example.com", 50_000)
        .await;
    let others = [shop.customer("lain@example.com").await, shop.admin().await];
    let mut belongings = Belongings::of(&shop, &owner).await;
    let hook = belongings.path("/api/webhooks/{id}/test");
    let delivery = owner.post(&hook, json!({})).await.data(202);
    belongings.1.push(("/deliveries/", id(&delivery)));
    let plan = shop.plan("n8n", "basic").await;
    let owned = MATRIX.iter().filter(|(_, path, reach, _)| {
        matches!(reach, Reach::Customer | Reach::Account) && path.contains('{')
    });
    let mut faults = Vec::new();
    for (method, path, ..) in owned {
        let body = match *path {
            path if path.contains("/upgrade") => json!({ "planId": plan }),
            path if path.ends_with("/auto-renew") => json!({ "autoRenew": false }),
            path if path.ends_with("/update") => json!({ "config": {} }),
            path if path.ends_with("/domains") => json!({ "domain": "toko.example.com" }),
            _ => json!({}),
        };
        let path = belongings.path(path);
        for other in &others {
            let (status, body) = if path.ends_with("/messages") {
                let sent = [("message", "Which is not mine.")];
                let answer = other.post_form(&path, &sent, &[]).await;
                (answer.status, Some(answer.body))
            } else {
                call(other, method, &path, &body).await
            };
            if status != 404 {
                faults.push(format!("{method} {path}: {status} {body:?}"));
            }
            if let Some(fault) = fault(status, body.as_ref()) {
                faults.push(format!("{method} {path}: {fault}"));
            }
        }
        // The ids are real, or this would prove nothing. Nothing was paid through a gateway that could be asked.
        let is_there = *method == "GET" && !path.ends_with("/status");
        if is_there && call(&owner, method, &path, &body).await.0 == 404 {
            faults.push(format!("{method} {path}: not found by its owner"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
