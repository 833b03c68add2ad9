//! Tests of administrators who act on one another at the same moment.

use dermaga_shop::{accounts::Email, fetch_one};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};

const USERS: &str = "/api/admin/users";
const WHY: &str = "They act on one another.";

both_engines!(
    Shop,
    [
        of_two_who_demote_each_other_one_stays,
        of_two_first_administrators_one_is_made
    ]
);

struct Duellist {
    client: Client,
    id: String,
}

impl Duellist {
    async fn of(client: Client) -> Self {
        let profile = client.get("/api/user/profile").await.data(200);
        let id = profile["id"].as_str().unwrap().to_owned();
        Self { client, id }
    }

    async fn is_administrator(&self) -> bool {
        self.client.get(USERS).await.status == 200
    }

    /// Acts on another: takes the role, or disables.
    async fn attack(&self, other: &Self, round: usize) -> dermaga_tests::Answer {
        let path = format!("{USERS}/{}", other.id);
        if round.is_multiple_of(2) {
            let body = json!({ "role": "USER", "reason": WHY });
            return self.client.put(&path, body).await;
        }
        let body = json!({ "status": "DISABLED", "reason": WHY });
        let path = format!("{path}/status");
        let request = self.client.request(reqwest::Method::PATCH, &path);
        self.client.send(request.json(&body)).await
    }
}

/// Plays rounds in which the only two administrators take the role from each other, each on its
/// server; exactly one of them is left every time.
async fn duels(here: &Shop, there: &Client) {
    let mut one = Duellist::of(here.admin().await).await;
    for round in 0..8 {
        let email = format!("lawan-{round}@example.com");
        let body = json!({
            "email": email, "name": "Lawan", "role": "ADMINISTRATOR", "password": "kata sandi yang panjang", "reason": WHY,
        });
        one.client.post(USERS, body).await.data(201);
        let signed_in = here.sign_in(&email).await;
        let two = Duellist::of(signed_in.moved_to(there)).await;
        let (first, second) = tokio::join!(one.attack(&two, round), two.attack(&one, round));
        let statuses = [first.status, second.status];
        assert!(
            statuses.iter().filter(|status| **status == 200).count() == 1,
            "{:#} {:#}",
            first.body,
            second.body
        );
        let lost = if first.status == 200 { &second } else { &first };
        let refusals = [
            (401, json!("UNAUTHENTICATED")),
            (403, json!("FORBIDDEN")),
            (409, json!("INVALID_STATE")),
        ];
        let refusal: (u16, Value) = (lost.status, lost.body["error"]["code"].clone());
        assert!(refusals.contains(&refusal), "{:#}", lost.body);
        // Another server may know a session for some seconds more.
        tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
        let left = (one.is_administrator().await, two.is_administrator().await);
        one = match left {
            (true, false) => one,
            (false, true) => Duellist {
                client: two.client.moved_to(here.client()),
                ..two
            },
            other => panic!("administrators left in round {round}: {other:?}"),
        };
    }
}

async fn of_two_who_demote_each_other_one_stays(shop: Shop) {
    Box::pin(duels(&shop, shop.client())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_on_two_servers_who_demote_each_other_one_stays() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let second = shop.second_server().await;
    Box::pin(duels(&shop, second.client())).await;
}

/// Servers that start at the same moment and name different persons make one of them an administrator.
async fn of_two_first_administrators_one_is_made(shop: Shop) {
    let accounts = &shop.state().accounts;
    for round in 0..8 {
        let start = async |name: &str| {
            let email = Email::parse(&format!("{name}-{round}@example.com")).unwrap();
            let password = "kata sandi yang panjang".to_owned().into();
            let made = accounts.ensure_first_administrator(email, password).await;
            made.unwrap()
        };
        let (one, two) = tokio::join!(start("satu"), start("dua"));
        assert_eq!(one.is_some(), two.is_none(), "{round}: {one:?} {two:?}");
        let sql = "SELECT count(*) FROM users WHERE role = 'ADMINISTRATOR'";
        let mut conn = shop.state().db.read().await.unwrap();
        let (administrators,): (i64,) = fetch_one!(conn, (i64,), sql).unwrap();
        assert_eq!(administrators, 1, "{round}");
        drop(conn);
        assert!(start("tiga").await.is_none(), "there is one");
        shop.sql("UPDATE users SET role = 'USER'").await.unwrap();
    }
}
