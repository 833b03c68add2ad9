//! Tests of query strings on every operation of the document.

use dermaga_tests::{Engine, Shop};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// Operations that must take any query.
const TAKES_ANY: &str = "/api/wallet/webhook/midtrans";

/// A parameter that an operation does not know is refused, never ignored: also where the operation
/// has no parameters at all, and the sender meant a condition.
#[tokio::test]
async fn no_operation_ignores_a_parameter() {
    let Some(shop) = Shop::open(Engine::Sqlite).await else {
        return;
    };
    let (admin, customer) = (shop.admin().await, shop.customer("kueri@example.com").await);
    let document = admin.get("/api/openapi.json").await.body;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let caller = if path.starts_with("/api/admin") {
            &admin
        } else {
            &customer
        };
        for method in item.as_object().unwrap().keys() {
            if path == TAKES_ANY {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let url = format!("{}?unheardOf=true", with_ids(path));
            let request = caller.request(method.clone(), &url);
            let request = if method == Method::GET {
                request
            } else {
                request.json(&json!({}))
            };
            let answer = caller.send(request).await;
            asked += 1;
            let what = format!("{method} {url}: {:#}", answer.body);
            assert_eq!(answer.status, 400, "{what}");
            let details = answer.body["error"]["details"].as_array();
            let details = details.unwrap_or_else(|| panic!("{what}"));
            let named = |detail: &Value| {
                let message = detail["message"].as_str().unwrap_or_default();
                detail["field"] == "unheardOf" && message.starts_with("is not known here")
            };
            assert!(details.iter().any(named), "{what}");
        }
    }
    assert!(asked > 100, "{asked}");
    // A parameter that is not known and holds nothing is absent.
    let quiet = customer.get("/api/wallet/info?unheardOf=").await;
    assert_eq!(quiet.status, 200, "{:#}", quiet.body);
}

/// Returns a path with something that has the right form for each of its parameters.
pub(super) fn with_ids(template: &str) -> String {
    let segments = template.split('/').map(|segment| match segment {
        id if id.starts_with('{') && id.ends_with("d}") => Uuid::nil().to_string(),
        name if name.starts_with('{') => "some-name".to_owned(),
        plain => plain.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Every list with a search is searched for what can be seen of it; a text of which nothing can is none, as an empty
/// one.
#[tokio::test]
async fn a_search_is_what_is_seen_of_it() {
    let Some(shop) = Shop::open(Engine::Sqlite).await else {
        return;
    };
    let admin = shop.admin().await;
    shop.customer("telusur@example.com").await;
    let document = admin.get("/api/openapi.json").await.body;
    let mut lists = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array();
        let mut names = parameters.into_iter().flatten().map(|one| &one["name"]);
        if names.any(|name| name == "q") {
            lists.push(with_ids(path));
        }
    }
    assert!(lists.len() >= 8, "{lists:?}");
    for path in lists {
        let found = async |query: &str| {
            let answer = admin.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.status, 200, "{path}?{query}: {:#}", answer.body);
            answer.body["pagination"]["totalItems"].clone()
        };
        let all = found("").await;
        for nothing in [
            "q=",
            "q=%20",
            "q=%E2%80%8B",
            "q=%E2%80%8B%C2%AD%20",
            "q=%CC%81",
        ] {
            assert_eq!(found(nothing).await, all, "{path}?{nothing}");
        }
        assert_eq!(found("q=tidak-ada").await, 0, "{path}");
    }
    for (path, field, seen) in [
        (
            "/api/admin/users?q=telu%E2%80%8Bsur%C2%AD@",
            "email",
            "telusur@example.com",
        ),
        ("/api/admin/services?q=%20n%E2%80%8B8n", "slug", "n8n"),
        ("/api/catalog/search?q=n8n%EF%BB%BF%20", "slug", "n8n"),
    ] {
        let rows = admin.get(path).await.data(200);
        assert_eq!(rows[0][field], seen, "{path}: {rows:#}");
    }
}

/// A name is shown as it was typed, and found however its accents are typed.
#[tokio::test]
async fn a_name_is_found_however_it_is_composed() {
    let Some(shop) = Shop::open(Engine::Sqlite).await else {
        return;
    };
    let (admin, customer) = (shop.admin().await, shop.customer("aksen@example.com").await);
    for (typed, kept) in [
        ("Rene\u{301} \u{fdfa}", "Ren\u{e9} \u{fdfa}"),
        ("Ren\u{e9} \u{fb01}", "Ren\u{e9} \u{fb01}"),
    ] {
        let edit = json!({ "name": typed });
        let changed = customer.put("/api/user/profile", edit).await.data(200);
        assert_eq!(changed["name"], kept);
        for query in ["q=ren%C3%A9", "q=rene%CC%81"] {
            let rows = admin.get(&format!("/api/admin/users?{query}")).await;
            assert_eq!(rows.data(200)[0]["name"], kept, "{query}");
        }
    }
}

/// A page is within its bounds on every list that has pages, and one behind the last is empty.
#[tokio::test]
async fn every_list_refuses_huge_pages_and_has_none_behind_its_last() {
    let Some(shop) = Shop::open(Engine::Sqlite).await else {
        return;
    };
    let (admin, customer) = (
        shop.admin().await,
        shop.customer("halaman@example.com").await,
    );
    let document = admin.get("/api/openapi.json").await.body;
    let mut lists = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array();
        let mut names = parameters.into_iter().flatten().map(|one| &one["name"]);
        if names.any(|name| name == "page") {
            lists.push(path);
        }
    }
    assert!(lists.len() >= 30, "{lists:?}");
    for path in lists {
        let is_for_administrators = path.starts_with("/api/admin");
        let caller = if is_for_administrators {
            &admin
        } else {
            &customer
        };
        let list = with_ids(path);
        for (field, value) in [
            ("page", "0"),
            ("page", "-1"),
            ("page", "1000001"),
            ("page", "1000000000000000000"),
            ("page", "100000000000000000000000000"),
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "1000000000"),
        ] {
            let url = format!("{list}?{field}={value}");
            let refused = caller.get(&url).await;
            refused.fails(400, "VALIDATION_FAILED");
            assert!(refused.detail(field).is_some(), "{url}: {}", refused.text);
        }
        // One thing's list needs the thing, and one of a cluster the cluster.
        let of_cluster = ["/api/admin/k8s/", "/api/admin/instances/drift"];
        if path.contains('{') || of_cluster.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let url = format!("{list}?page=1000000&limit=100");
        let far = caller.get(&url).await;
        assert_eq!(far.status, 200, "{url}: {}", far.text);
        assert_eq!(far.body["pagination"]["page"], 1_000_000, "{url}");
        let data = &far.body["data"];
        let items = data.as_array().or(data["notifications"].as_array());
        assert!(items.is_none_or(Vec::is_empty), "{url}: {}", far.text);
    }
}
