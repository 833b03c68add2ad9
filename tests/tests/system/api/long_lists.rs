//! Long lists that are read by pages and by cursors alike: accounts, wallets, subscriptions, payments, tickets, and
//! uses of coupons. `further_lists.rs` has the others.

use dermaga_tests::{Client, Shop, both_engines, unique};
use serde_json::{Value, json};

use super::{
    cursors::{refuses_other_cursors, walked},
    payments::Till,
    tickets::{Desk, OF_SHOP, TICKETS, opened},
};

const WALLETS: &str = "/api/admin/wallets";

both_engines!(
    Shop,
    [
        subscriptions_are_read_on,
        accounts_are_read_on,
        wallets_are_read_on_by_their_balances,
        other_orders_of_wallets_have_no_cursors,
        uses_of_coupons_are_read_on,
    ]
);

both_engines!(Till, [payments_are_read_on]);

both_engines!(Desk, [tickets_are_read_on]);

/// Reads a list to its end by its pages, two at a time.
pub(super) async fn by_pages(client: &Client, path: &str, field: &str) -> Vec<Value> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let (mut seen, mut page) = (Vec::new(), 0);
    loop {
        page += 1;
        let answer = client
            .get(&format!("{path}{joint}limit=2&page={page}"))
            .await;
        let pages = answer.body["pagination"]["totalPages"].as_u64().unwrap();
        let items = answer.data(200);
        let items = items.as_array().unwrap().iter();
        seen.extend(items.map(|item| item[field].clone()));
        if page >= pages {
            return seen;
        }
    }
}

/// A list of at least five items is read on in the order of its pages, each item once, whatever comes meanwhile. It
/// refuses other cursors than its own.
pub(super) async fn is_read_on(client: &Client, path: &str, list: &str, new: impl AsyncFn()) {
    let before = by_pages(client, path, "id").await;
    assert!(before.len() >= 5, "{path}: {before:?}");
    assert_eq!(walked(client, path, "id", new).await, before, "{path}");
    refuses_other_cursors(client, path, list).await;
}

/// A cursor shows its sender's own items, also one that another customer was given.
pub(super) async fn shows_nothing_to(other: &Client, client: &Client, path: &str) {
    let first = client.get(&format!("{path}?limit=1")).await;
    let cursor = first.body["pagination"]["nextCursor"].as_str().unwrap();
    let path = format!("{path}?cursor={cursor}");
    assert_eq!(other.get(&path).await.data(200), json!([]));
}

async fn subscriptions_are_read_on(shop: Shop) {
    let (admin, customer) = (
        shop.admin().await,
        shop.customer("langganan@example.com").await,
    );
    let other = shop.customer("tetangga@example.com").await;
    let plan = shop.plan("n8n", "free").await;
    // One that has ended makes room for the next.
    let buy = async || {
        let order = json!({ "planId": plan });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = bought["subscription"]["id"].as_str().unwrap();
        let path = format!("/api/subscriptions/{id}");
        customer.delete(&path).await.data(200);
    };
    for _ in 0..5 {
        buy().await;
    }
    let own = "/api/subscriptions";
    is_read_on(&customer, own, "own-subscriptions", &buy).await;
    let ended = format!("{own}?status=CANCELLED");
    let expected = by_pages(&customer, &ended, "id").await;
    assert_eq!(walked(&customer, &ended, "id", async || {}).await, expected);
    shows_nothing_to(&other, &customer, own).await;
    let of_all = "/api/admin/subscriptions";
    is_read_on(&admin, of_all, "subscriptions", &buy).await;
    let found = format!("{of_all}?q=LANGGANAN&status=CANCELLED");
    let expected = by_pages(&admin, &found, "id").await;
    assert!(expected.len() >= 5, "{expected:?}");
    assert_eq!(walked(&admin, &found, "id", async || {}).await, expected);
}

async fn accounts_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let register = async || {
        shop.register(&format!("{}@example.com", unique())).await;
    };
    for _ in 0..5 {
        register().await;
    }
    let path = "/api/admin/users";
    is_read_on(&admin, path, "accounts", register).await;
    let found = format!("{path}?role=USER&q=EXAMPLE.COM");
    let expected = by_pages(&admin, &found, "id").await;
    assert!(expected.len() >= 5, "{expected:?}");
    assert_eq!(walked(&admin, &found, "id", async || {}).await, expected);
}

/// Registers a customer with a balance.
async fn with_balance(shop: &Shop, amount: i64) {
    let email = format!("{}@example.com", unique());
    shop.customer_with_credit(&email, amount).await;
}

async fn wallets_are_read_on_by_their_balances(shop: Shop) {
    let admin = shop.admin().await;
    // Three have one balance, so that a part ends among them.
    for amount in [1_000, 2_000, 5_000, 2_000, 3_000, 2_000] {
        with_balance(&shop, amount).await;
    }
    let owners = by_pages(&admin, WALLETS, "userId").await;
    let seen = walked(&admin, WALLETS, "userId", async || {}).await;
    assert_eq!(seen, owners);
    let filled = format!("{WALLETS}?minBalance=1");
    let owners = by_pages(&admin, &filled, "userId").await;
    assert_eq!(owners.len(), 6);
    let richer = async || with_balance(&shop, 9_000).await;
    let seen = walked(&admin, &filled, "userId", richer).await;
    assert_eq!(seen, owners, "each once, and none that came before");
    refuses_other_cursors(&admin, WALLETS, "wallets").await;

    let some = format!("{WALLETS}?minBalance=2000&maxBalance=5000&order=BALANCE");
    let seen = walked(&admin, &some, "totalBalance", async || {}).await;
    assert_eq!(seen, [5_000, 3_000, 2_000, 2_000, 2_000].map(Value::from));
    let owners = by_pages(&admin, &some, "userId").await;
    assert_eq!(walked(&admin, &some, "userId", async || {}).await, owners);
}

async fn other_orders_of_wallets_have_no_cursors(shop: Shop) {
    let admin = shop.admin().await;
    for amount in [1_000, 2_000, 3_000] {
        with_balance(&shop, amount).await;
    }
    let first = admin.get(&format!("{WALLETS}?limit=1")).await;
    let cursor = first.body["pagination"]["nextCursor"].as_str().unwrap();
    for order in ["SPENT", "TOP_UP", "CHANGED"] {
        let path = format!("{WALLETS}?order={order}&limit=1");
        let page = admin.get(&path).await;
        assert!(page.body["pagination"]["nextCursor"].is_null());
        assert!(page.body["pagination"]["totalPages"].as_u64().unwrap() >= 3);
        let refused = admin.get(&format!("{path}&cursor={cursor}")).await;
        refused.fails(400, "VALIDATION_FAILED");
        let told = refused.detail("cursor");
        let expected = "cannot be combined with this order; leave out one of them";
        assert_eq!(told, Some(expected), "{order}");
    }
    let in_order = format!("{WALLETS}?order=BALANCE&limit=1&cursor={cursor}");
    admin.get(&in_order).await.data(200);
}

async fn uses_of_coupons_are_read_on(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("kupon@example.com").await);
    let other = shop.customer("tanpa@example.com").await;
    let coupon = json!({
        "code": "BERULANG", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 }, "maxUsesPerUser": 99,
    });
    let made = admin.post("/api/admin/coupons", coupon).await.data(201);
    let redeem = async || {
        let code = json!({ "couponCode": "BERULANG" });
        customer
            .post("/api/wallet/redeem-coupon", code)
            .await
            .data(201);
    };
    for _ in 0..5 {
        redeem().await;
    }
    let own = "/api/wallet/coupon-history";
    is_read_on(&customer, own, "own-redemptions", &redeem).await;
    shows_nothing_to(&other, &customer, own).await;
    let of_coupon = format!(
        "/api/admin/coupons/{}/redemptions",
        made["id"].as_str().unwrap()
    );
    is_read_on(&admin, &of_coupon, "redemptions", &redeem).await;
}

async fn payments_are_read_on(till: Till) {
    let pay = async || {
        let email = format!("{}@example.com", unique());
        let customer = till.shop.customer(&email).await;
        till.top_up(&customer, 20_000, "QRIS").await;
    };
    for _ in 0..5 {
        pay().await;
    }
    let path = "/api/admin/payments";
    is_read_on(&till.admin, path, "payments", &pay).await;
    let pending = format!("{path}?state=PENDING");
    let expected = by_pages(&till.admin, &pending, "id").await;
    assert!(expected.len() >= 5, "{expected:?}");
    let seen = walked(&till.admin, &pending, "id", pay).await;
    assert_eq!(seen, expected);
}

async fn tickets_are_read_on(desk: Desk) {
    let Desk {
        shop,
        customer,
        admin,
    } = &desk;
    let ask = async || {
        opened(customer).await;
    };
    for _ in 0..5 {
        ask().await;
    }
    let other = shop.customer("diam@example.com").await;
    is_read_on(customer, TICKETS, "own-tickets", &ask).await;
    shows_nothing_to(&other, customer, TICKETS).await;
    is_read_on(admin, OF_SHOP, "tickets", &ask).await;
    let open = format!("{OF_SHOP}?status=OPEN&q=domain");
    let expected = by_pages(admin, &open, "id").await;
    assert_eq!(walked(admin, &open, "id", &ask).await, expected);
    let profile = customer.get("/api/auth/profile").await.data(200);
    let of_customer = format!("{OF_SHOP}/user/{}", profile["id"].as_str().unwrap());
    is_read_on(admin, &of_customer, "tickets-of", &ask).await;

    let first = admin.get(&format!("{OF_SHOP}?limit=1")).await;
    let cursor = first.body["pagination"]["nextCursor"].as_str().unwrap();
    let next = admin
        .get(&format!("{OF_SHOP}?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(next.body["message"], "Earlier tickets.");
    let of_other = admin.get(&format!("{of_customer}?cursor={cursor}")).await;
    of_other.fails(400, "VALIDATION_FAILED");
}
