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
