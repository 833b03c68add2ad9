//! Tests of changes to the catalogue in a running shop.

use std::{fs, path::Path};

use dermaga_tests::{Answer, Engine, Shop, both_engines, checkout};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(super) fn copy(name: &str, folder: &Path) -> String {
    let text =
        fs::read_to_string(checkout().join("service-templates").join(name)).expect("the template");
    fs::write(folder.join(name), &text).unwrap();
    text
}

pub(super) async fn shop_selling(engine: Engine, folder: &TempDir) -> Option<Shop> {
    let path = folder.path().to_owned();
    Shop::open_with(engine, |config| config.templates_dir = Some(path)).await
}

async fn prices(shop: &Shop) -> Vec<(String, i64)> {
    let sold = shop.client().get("/api/catalog/services").await.data(200);
    let services = sold.as_array().unwrap().iter();
    let price = |service: &Value| {
        let slug = service["slug"].as_str().unwrap().to_owned();
        let plans = service["plans"].as_array().unwrap().iter();
        (
            slug,
            plans
                .map(|plan| plan["monthlyPrice"].as_i64().unwrap())
                .sum(),
        )
    };
    services.map(price).collect()
}

/// Templates are reloaded without a restart: additions are sold, changes apply, removed services
/// stay, and services of wrong templates stay as they were.
async fn templates_are_read_again(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let n8n = copy("n8n.toml", folder.path());
    let Some(shop) = shop_selling(engine, &folder).await else {
        return;
    };
    let admin = shop.admin().await;
    let reload = async |dry_run: bool| {
        // A dry run changes nothing and needs no reason.
        let reason = (!dry_run).then_some("The templates were edited.");
        let body = json!({ "dryRun": dry_run, "reason": reason });
        admin.post("/api/admin/catalog/reload", body).await
    };
    assert_eq!(prices(&shop).await, [("n8n".to_owned(), 200_000)]);
    let unchanged = async |told: &str| {
        let reloaded = reload(false).await;
        assert_eq!(reloaded.body["message"], told);
        assert_eq!(reloaded.data(200)["changes"], json!([]));
    };
    unchanged("The catalogue is as the template says.").await;

    copy("ghost.toml", folder.path());
    assert!(n8n.contains("monthly_price = 50000") || n8n.contains("monthly_price = 50_000"));
    let dearer = n8n
        .replace("monthly_price = 50000", "monthly_price = 60000")
        .replace("monthly_price = 50_000", "monthly_price = 60_000");
    fs::write(folder.path().join("n8n.toml"), dearer).unwrap();
    for (dry_run, expected) in [(true, 1), (false, 2)] {
        let told = reload(dry_run).await.data(200);
        assert_eq!(told["applied"], !dry_run);
        let changes = told["changes"].as_array().unwrap();
        let ghost = changes.iter().filter(|change| change["service"] == "ghost");
        assert!(
            ghost.clone().count() >= 2 && ghost.clone().all(|change| change["change"] == "ADDED")
        );
        let basic = changes
            .iter()
            .find(|change| change["service"] == "n8n")
            .unwrap();
        let field = json!([{ "field": "monthlyPrice", "before": 50_000, "after": 60_000 }]);
        assert_eq!(
            (&basic["plan"], &basic["fields"]),
            (&json!("basic"), &field)
        );
        assert_eq!(prices(&shop).await.len(), expected);
    }
    unchanged("The catalogue is as the templates say.").await;
    assert!(prices(&shop).await.contains(&("n8n".to_owned(), 210_000)));
    let buyer = shop.customer("katalog@example.com").await;
    let plan = shop.plan("ghost", "free").await;
    buyer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);

    fs::write(folder.path().join("n8n.toml"), "slug = \"bad slug\"\n").unwrap();
    let wrong = reload(false).await.data(200);
    let n8n = &wrong["refused"][0];
    assert_eq!(
        (&n8n["file"], &n8n["problems"][0]["line"]),
        (&json!("n8n.toml"), &json!(1))
    );
    assert_eq!(
        (&n8n["service"], &n8n["soldAsBefore"]),
        (&json!("n8n"), &json!(true))
    );
    assert!(prices(&shop).await.contains(&("n8n".to_owned(), 210_000)));
    fs::remove_file(folder.path().join("n8n.toml")).unwrap();
    let orphaned = reload(false).await.data(200);
    assert!(
        orphaned["withoutTemplate"]
            .as_array()
            .unwrap()
            .contains(&json!("n8n"))
    );
    assert_eq!(prices(&shop).await.len(), 2);
    fs::remove_file(folder.path().join("ghost.toml")).unwrap();
    unchanged("There is no template: nothing is added or changed.").await;
    assert_eq!(prices(&shop).await.len(), 2);
    buyer
        .post("/api/admin/catalog/reload", json!({}))
        .await
        .fails(403, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_are_read_again_on_sqlite() {
    templates_are_read_again(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_are_read_again_on_postgres() {
    templates_are_read_again(Engine::Postgres).await;
}

/// Returns the slugs of a list, and of how many it is a page.
fn slugs(answer: Answer) -> (Vec<String>, Value) {
    let total = answer.body["pagination"]["totalItems"].clone();
    let data = answer.data(200);
    let slug = |one: &Value| one["slug"].as_str().unwrap().to_owned();
    (data.as_array().unwrap().iter().map(slug).collect(), total)
}

both_engines!(
    Shop,
    [
        services_are_listed_by_category,
        services_put_forward_are_listed_alone
    ]
);

/// Everyone reads the categories by name, and the services of each.
async fn services_are_listed_by_category(shop: Shop) {
    let guest = shop.client();
    let categories = guest.get("/api/catalog/categories").await.data(200);
    let names: Vec<_> = categories
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    let known = [
        "content-management",
        "databases",
        "development-tools",
        "monitoring",
    ];
    let mut all: Vec<_> = categories
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["slug"].as_str().unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, known);

    let (mut databases, total) = slugs(
        guest
            .get("/api/catalog/categories/databases/services")
            .await,
    );
    databases.sort();
    assert_eq!(
        (databases, total),
        (vec!["postgresql".to_owned(), "valkey".to_owned()], json!(2))
    );
    let (first, total) = slugs(
        guest
            .get("/api/catalog/categories/databases/services?limit=1")
            .await,
    );
    assert_eq!((first.len(), total), (1, json!(2)));
    guest
        .get("/api/catalog/categories/nothing/services")
        .await
        .fails(404, "NOT_FOUND");
    shop.sql("UPDATE services SET active = FALSE WHERE slug = 'valkey'")
        .await
        .unwrap();
    let (left, _) = slugs(
        guest
            .get("/api/catalog/categories/databases/services")
            .await,
    );
    assert_eq!(left, ["postgresql"]);
}

/// Featured services are those of the templates that say so.
async fn services_put_forward_are_listed_alone(shop: Shop) {
    let guest = shop.client();
    let (mut featured, total) = slugs(guest.get("/api/catalog/featured").await);
    featured.sort();
    assert_eq!(featured, ["ghost", "n8n", "wordpress"]);
    assert_eq!(total, 3);
    guest
        .get("/api/catalog/featured?limit=101")
        .await
        .fails(400, "VALIDATION_FAILED");
    shop.sql("UPDATE services SET featured = FALSE WHERE slug = 'n8n'")
        .await
        .unwrap();
    let (mut featured, _) = slugs(guest.get("/api/catalog/featured").await);
    featured.sort();
    assert_eq!(featured, ["ghost", "wordpress"]);
}
