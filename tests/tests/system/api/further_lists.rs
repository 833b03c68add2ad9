//! Lists that are read by pages and by cursors alike: instances, debts, alerts, coupons, domains, and customers who
//! wait for a plan.

use chrono::TimeDelta;
use dermaga_shop::{db::new_id, execute, ids::DomainId};
use dermaga_tests::{Shop, both_engines, unique};
use serde_json::json;

use super::{
    alerts,
    cursors::{refuses_other_cursors, walked},
    long_lists::{by_pages, is_read_on, shows_nothing_to},
    payments::Till,
    waitlist::{SoldOut, join},
};

both_engines!(
    Shop,
    [
        instances_are_read_on,
        alerts_are_read_on,
        coupons_are_read_on,
        domains_are_read_on,
        a_queue_is_read_on,
    ]
);

both_engines!(Till, [debts_are_read_on]);

async fn instances_are_read_on(shop: Shop) {
    let customer = shop.customer("layanan@example.com").await;
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
    let own = "/api/instances";
    is_read_on(&customer, own, "own-instances", &buy).await;
    shows_nothing_to(&other, &customer, own).await;
    let first = customer.get(&format!("{own}?limit=1")).await;
    let cursor = first.body["pagination"]["nextCursor"].as_str().unwrap();
    let next = customer
        .get(&format!("{own}?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(next.body["message"], "Earlier instances.");
    let of_status = format!("{own}?status=RUNNING&cursor={cursor}");
    assert_eq!(customer.get(&of_status).await.data(200), json!([]));
}

async fn debts_are_read_on(till: Till) {
    let customer = till.shop.customer("utang@example.com").await;
    let other = till.shop.customer("lunas@example.com").await;
    // Debts that were paid: the books are as without them.
    let owe = async || {
        till.paid(&customer, 20_000).await;
        let debt = "INSERT INTO debts (id, user_id, payment_id, transaction_id, amount, paid, created_at, settled_at)
                    SELECT p.id, p.user_id, p.id, p.transaction_id, 5000, 5000, p.created_at, p.created_at
                    FROM payments p WHERE NOT EXISTS (SELECT 1 FROM debts d WHERE d.payment_id = p.id)";
        assert_eq!(till.shop.sql(debt).await.unwrap(), 1);
    };
    for _ in 0..5 {
        owe().await;
    }
    let own = "/api/wallet/debts";
    is_read_on(&customer, own, "own-debts", &owe).await;
    shows_nothing_to(&other, &customer, own).await;
    let of_all = "/api/admin/debts";
    is_read_on(&till.admin, of_all, "debts", &owe).await;
    let paid = format!("{of_all}?open=false");
    let expected = by_pages(&till.admin, &paid, "id").await;
    let seen = walked(&till.admin, &paid, "id", &owe).await;
    assert_eq!(seen, expected);
    let open = format!("{of_all}?open=true");
    let seen = walked(&till.admin, &open, "id", async || {}).await;
    assert!(seen.is_empty(), "{seen:?}");
}

async fn alerts_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let raise = async || alerts::raise(&shop, &unique(), "A fault in a list.").await;
    for _ in 0..5 {
        raise().await;
    }
    // The shop raises alerts of other kinds by itself.
    let path = "/api/admin/alerts";
    let of_kind = format!("{path}?kind=PLUGIN_NOT_LOADED");
    let expected = by_pages(&admin, &of_kind, "id").await;
    assert_eq!(expected.len(), 5);
    assert_eq!(walked(&admin, &of_kind, "id", raise).await, expected);
    refuses_other_cursors(&admin, path, "alerts").await;
}

async fn coupons_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let create = async || {
        let coupon = json!({
            "code": format!("DAFTAR-{}", unique()), "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 },
        });
        admin.post("/api/admin/coupons", coupon).await.data(201);
    };
    for _ in 0..5 {
        create().await;
    }
    let path = "/api/admin/coupons";
    is_read_on(&admin, path, "coupons", &create).await;
    let found = format!("{path}?q=daftar&status=ACTIVE");
    let expected = by_pages(&admin, &found, "id").await;
    assert!(expected.len() >= 5, "{expected:?}");
    assert_eq!(walked(&admin, &found, "id", create).await, expected);
}

async fn domains_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("domain@example.com").await;
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    customer.post("/api/subscriptions", order).await.data(201);
    // An instance has few claims at a time, and they are looked at later than this test ends.
    let claim = async || {
        let (id, now): (DomainId, _) = (new_id(shop.clock()), shop.clock().now());
        let (name, later) = (unique(), now + TimeDelta::hours(1));
        let sql = "INSERT INTO custom_domains (id, instance_id, user_id, name, token, state, next_check_at, expires_at,
                     created_at, updated_at)
                   SELECT $1, id, user_id, $2, $2, 'PENDING', $3, $3, $4, $4 FROM instances";
        let mut conn = shop.state().db.begin().await.unwrap();
        assert_eq!(execute!(conn, sql, id, &name, later, now).unwrap(), 1);
        conn.commit().await.unwrap();
    };
    for _ in 0..5 {
        claim().await;
    }
    let path = "/api/admin/domains";
    is_read_on(&admin, path, "domains", &claim).await;
    let found = format!("{path}?state=PENDING&q=DOMAIN@");
    let expected = by_pages(&admin, &found, "id").await;
    assert!(expected.len() >= 5, "{expected:?}");
    assert_eq!(walked(&admin, &found, "id", &claim).await, expected);
}

/// A queue begins with those who wait longest, so that new ones are met at its end.
async fn a_queue_is_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let sold_out = SoldOut::open(&shop).await;
    let wait = async || {
        let customer = shop.customer(&format!("{}@example.com", unique())).await;
        join(&customer, &sold_out.plan).await.data(201);
    };
    for _ in 0..5 {
        wait().await;
    }
    let path = format!("/api/admin/quota/plans/{}/waitlist", sold_out.plan);
    let expected = by_pages(&admin, &path, "id").await;
    assert_eq!(expected.len(), 5);
    let seen = walked(&admin, &path, "id", async || {}).await;
    assert_eq!(seen, expected);
    let seen = walked(&admin, &path, "id", wait).await;
    assert!(seen.starts_with(&expected) && seen.len() > 5, "{seen:?}");
    refuses_other_cursors(&admin, &path, "queue").await;
    let first = admin.get(&format!("{path}?limit=1")).await;
    let cursor = first.body["pagination"]["nextCursor"].as_str().unwrap();
    let other = shop.plan("n8n", "free").await;
    let of_other = format!("/api/admin/quota/plans/{other}/waitlist?cursor={cursor}");
    assert_eq!(admin.get(&of_other).await.data(200), json!([]));
}
