//! The commands that change what is there already, and those that make things for others.

use chrono::TimeDelta;
use serde_json::json;

use super::{Desk, WHY, row, stderr, subscriptions::bought, text};

/// Runs a command that ends with success, with a reason, and returns the data of its envelope.
async fn because(desk: &Desk, arguments: &[&str]) -> serde_json::Value {
    desk.data(&[arguments, &["--reason", WHY]].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_edited_and_deleted() {
    let desk = Desk::open().await;
    desk.shop.customer("sari@example.com").await;
    let edit = [
        "user",
        "edit",
        "sari@example.com",
        "--name",
        "Sari Dewi",
        "--phone",
        "0812-3456-7890",
    ];
    let edited = because(&desk, &edit).await;
    assert_eq!(
        (&edited["name"], &edited["phone"]),
        (&json!("Sari Dewi"), &json!("+6281234567890"))
    );
    let id = text(&edited, "/id");
    let remove = ["user", "remove-two-factor", id, "--reason", WHY];
    let by_token = desk.refused(&remove, 4).await;
    assert!(by_token.contains("(FORBIDDEN)"), "{by_token}");
    let (_, access) = desk.admin.address_and_token();
    let nothing = desk.run_as(access, &remove).await;
    assert_eq!(nothing.status.code(), Some(1), "{}", stderr(&nothing));
    assert!(
        stderr(&nothing).contains("(INVALID_STATE)"),
        "{}",
        stderr(&nothing)
    );
    because(&desk, &["user", "delete", id]).await;
    let shown = desk.data(&["user", "show", id]).await;
    assert_eq!(shown["state"], "DELETED");
    let again = desk
        .refused(&["user", "delete", id, "--reason", WHY], 1)
        .await;
    assert!(again.contains('('), "{again}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coupons_are_edited() {
    let desk = Desk::open().await;
    let content = [
        "--type",
        "coupon-credit-topup",
        "--parameters",
        "{\"amount\": 25000}",
    ];
    let create = ["coupon", "create", "--code", "HEMAT", "--max-uses", "3"];
    desk.data(&[&create[..], &content].concat()).await;
    let edit = ["coupon", "edit", "hemat", "--code", "HEMAT"];
    let more = ["--description", "For the launch", "--max-uses", "30"];
    let edited = desk.data(&[&edit[..], &content, &more].concat()).await;
    assert_eq!(
        (&edited["maxUses"], &edited["description"]),
        (&json!(30), &json!("For the launch"))
    );
    let unlimited = desk.data(&[&edit[..], &content].concat()).await;
    assert_eq!(unlimited["maxUses"], json!(null));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_given_and_edited() {
    let desk = Desk::open().await;
    desk.shop.customer("sari@example.com").await;
    let plan = desk.shop.plan("postgresql", "basic").await;
    let grant = [
        "subscription",
        "grant",
        "--user",
        "sari@example.com",
        "--plan",
        &plan,
    ];
    let unpaid = [&grant[..], &["--reason", WHY]].concat();
    let poor = desk.refused(&unpaid, 1).await;
    assert!(poor.contains("(INSUFFICIENT_CREDIT)"), "{poor}");
    let given = because(&desk, &[&grant[..], &["--gift"]].concat()).await;
    assert_eq!(given["charged"], 0);
    let id = text(&given, "/subscription/id");
    let edit = ["subscription", "edit", id];
    let kept = because(&desk, &[&edit[..], &["--auto-renew", "false"]].concat()).await;
    assert_eq!(kept["autoRenew"], false);
    let cheaper = because(&desk, &[&edit[..], &["--price", "Rp1.000"]].concat()).await;
    assert_eq!(cheaper["monthlyPrice"], 1_000);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_closed_together_and_answers_are_kept() {
    let desk = Desk::open().await;
    let customer = desk.shop.customer("sari@example.com").await;
    for subject in ["It is slow", "It is fast"] {
        let texts = [
            ("subject", subject),
            ("description", "Since this morning it is so."),
        ];
        let opened = customer.post_form("/api/tickets", &texts, &[]).await;
        opened.data(201);
    }
    let closed = because(&desk, &["ticket", "close-many", "#001", "2"]).await;
    assert_eq!(closed["closed"].as_array().unwrap().len(), 2);
    let again = because(&desk, &["ticket", "close-many", "1", "2"]).await;
    assert_eq!(again["alreadyClosed"].as_array().unwrap().len(), 2);

    let content = ["--title", "Slow", "--body", "We look into it."];
    let make = [&["ticket", "make-canned-answer"][..], &content].concat();
    let made = because(&desk, &make).await;
    let id = text(&made, "/id");
    let list = desk.told(&["ticket", "canned-answers"]).await;
    assert_eq!(row(&list, id)[..2], [id, "Slow"]);
    let content = ["--title", "Slow", "--body", "We know of it."];
    let edit = [&["ticket", "edit-canned-answer", id][..], &content].concat();
    assert_eq!(because(&desk, &edit).await["body"], "We know of it.");
    because(&desk, &["ticket", "delete-canned-answer", id]).await;
    let none = desk.data(&["ticket", "canned-answers"]).await;
    assert_eq!(none, json!([]));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_cluster_says_so_and_a_check_needs_none() {
    let desk = Desk::open().await;
    let customer = desk
        .shop
        .customer_with_credit("sari@example.com", 60_000)
        .await;
    let (_, id) = bought(&desk.shop, &customer, "postgresql", "basic").await;
    let checked = desk.data(&["instances", "check", "--id", &id]).await;
    assert_eq!(checked["unknown"], json!([]));
    let domains = desk.data(&["instances", "domains"]).await;
    assert_eq!(domains, json!([]));
    let nothing = uuid::Uuid::nil().to_string();
    let repair = [
        "instances",
        "repair",
        "--action",
        "REAPPLY",
        "--drift",
        "ORPHAN",
        "--reason",
        WHY,
    ];
    for (arguments, code) in [
        (
            &["instances", "remove-domain", &nothing, "--reason", WHY][..],
            "(NOT_FOUND)",
        ),
        (&repair, "(NO_CLUSTER)"),
        (
            &["instances", "accept-data-loss", &id, "--reason", WHY],
            "(INVALID_STATE)",
        ),
    ] {
        let refused = desk.refused(arguments, 1).await;
        assert!(refused.contains(code), "{arguments:?}: {refused}");
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_could_not_pay_is_given_time() {
    let desk = Desk::open().await;
    let customer = desk
        .shop
        .customer_with_credit("sari@example.com", 60_000)
        .await;
    let (id, _) = bought(&desk.shop, &customer, "n8n", "basic").await;
    desk.shop.clock().advance(TimeDelta::days(31));
    let show = ["subscription", "show", &id];
    let mut shown = desk.data(&show).await;
    while shown["status"] != "PAST_DUE" {
        // The job's own time may have come, too.
        let run = ["billing", "run-job", "daily-renewals"];
        let run = desk.run_as(&desk.token, &run).await;
        assert!(matches!(run.status.code(), Some(0 | 1)), "{}", stderr(&run));
        shown = desk.data(&show).await;
    }
    let given = because(&desk, &["billing", "grace", &id, "--days", "9"]).await;
    assert!(
        text(&given, "/graceUntil") > text(&shown, "/graceUntil"),
        "{given:#}"
    );
    desk.close().await;
}
