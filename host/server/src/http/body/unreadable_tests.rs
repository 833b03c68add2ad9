//! Tests of bodies that JSON readers stumble over: nested without end, and not in UTF-8.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    #[garde(skip)]
    #[expect(dead_code, reason = "only its type matters here")]
    plan: String,
    #[garde(skip)]
    #[serde(default)]
    #[schema(value_type = Object)]
    config: Value,
}

async fn order(body: impl Into<axum::body::Body>) -> Result<Order, Error> {
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    let read = <Body<Order> as FromRequest<()>>::from_request(request, &()).await;
    read.map(|Body(order)| order)
        .map_err(|Refusal(error)| error)
}

/// Returns a list in a list, so many times.
fn lists(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[tokio::test]
async fn what_is_nested_too_deeply_is_named_as_such() {
    let config = |value: &str| format!(r#"{{"plan": "basic", "config": {{"a": {value}}}}}"#);
    let taken = order(config(&lists(100))).await.unwrap();
    assert_eq!(taken.config["a"].to_string(), lists(100));
    let objects = r#"{"a": "#.repeat(500) + "1" + &"}".repeat(500);
    for body in [
        lists(500),
        "[".repeat(500),
        lists(200_000),
        objects.clone(),
        config(&lists(500)),
        config(&objects),
        // Beside a blank text, for which bodies are read in another way.
        format!(r#"{{"plan": "", "config": {}}}"#, lists(500)),
        format!(r#"{{"unknown": {}}}"#, lists(500)),
    ] {
        let start: String = body.chars().take(60).collect();
        let refused = order(body).await.unwrap_err();
        assert_eq!(refused.code, Code::MalformedRequest, "{start}");
        let said = &refused.message;
        let place = said.strip_prefix("The body is nested too deeply (line 1, column ");
        assert!(place.is_some_and(|place| place.ends_with(").")), "{said}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_refused_wherever_they_are() {
    for body in [
        &b"\xff"[..],
        b"{\"plan\": \"ba\xffsic\"}",
        // Nothing but what is not UTF-8, as a blank text would be.
        b"{\"plan\": \"\xff\"}",
        // A letter in Latin-1, one that ends too early, one that is written too long, and half of a pair.
        b"{\"plan\": \"caf\xe9\"}",
        b"{\"plan\": \"caf\xc3\"}",
        b"{\"plan\": \"\xc0\xaf\"}",
        b"{\"plan\": \"\xed\xa0\x80\"}",
        b"{\"plan\": \"basic\", \"config\": {\"a\": [\"\xff\"]}}",
        b"{\"plan\": \"basic\", \"config\": {\"\xff\": 1}}",
        b"{\"plan\": \"basic\", \"\xff\": 1}",
        b"{\"plan\": \"basic\"}\xff",
    ] {
        let shown = String::from_utf8_lossy(body).into_owned();
        let refused = order(body.to_vec()).await.unwrap_err();
        assert_eq!(refused.code, Code::MalformedRequest, "{shown}");
        let said = &refused.message;
        let place =
            said.strip_prefix("The body is not JSON: it cannot be read from line 1, column ");
        assert!(
            place.is_some_and(|place| place.ends_with(" on.")),
            "{shown}: {said}"
        );
    }
}
