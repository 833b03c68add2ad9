//! Compressed answers: large ones that are the same for everybody, and no others.

use dermaga_tests::{Answer, Client, Engine, Shop};
use reqwest::Method;

/// Asks as a client that reads gzip; the answer is as it was sent.
async fn asked(client: &Client, path: &str) -> Answer {
    let request = client.request(Method::GET, path);
    client.send(request.header("accept-encoding", "gzip")).await
}

fn is_compressed(answer: &Answer) -> bool {
    answer
        .headers
        .get("content-encoding")
        .is_some_and(|value| value == "gzip")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_public_answers_are_compressed_for_who_reads_it() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    for path in [
        "/api/catalog/services?limit=100",
        "/api/openapi.json",
        "/api/docs/swagger-ui.css",
    ] {
        let plain = shop.client().get(path).await;
        assert!(!is_compressed(&plain), "{path}");
        let packed = asked(shop.client(), path).await;
        assert!(is_compressed(&packed), "{path}");
        assert_eq!(&packed.bytes[..2], [0x1f, 0x8b]);
        assert!(packed.bytes.len() < plain.bytes.len() / 2, "{path}");
        let vary = packed.headers.get_all("vary");
        assert!(vary.iter().any(|name| name == "accept-encoding"), "{path}");
        assert_eq!(packed.headers["etag"], plain.headers["etag"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_personal_answers_are_sent_as_they_are() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await;
    let small = asked(shop.client(), "/api/catalog/services?limit=1&page=1000").await;
    assert!(small.bytes.len() < 1_024 && !is_compressed(&small));
    for path in [
        "/api/admin/services?limit=100",
        "/api/admin/jobs",
        "/api/auth/profile",
    ] {
        let answer = asked(&admin, path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!is_compressed(&answer), "{path}");
    }
    assert!(!is_compressed(&asked(shop.client(), "/metrics").await));
    // A stream of events arrives event by event.
    let customer = shop.customer("aliran@example.com").await;
    let request = customer.request(Method::GET, "/api/events");
    let request = request.header("accept-encoding", "gzip");
    let mut stream = request.send().await.unwrap();
    assert!(stream.headers().get("content-encoding").is_none());
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("ready"));
}

/// A request is carried out before its answer could be found unacceptable: 406 would only hide the result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_as_it_is_cannot_be_refused() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let customer = shop.customer("sandi@example.com").await;
    for refusal in [
        "gzip;q=0, identity;q=0",
        "identity;q=0",
        "*;q=0",
        "br, *;q=0",
    ] {
        let ask = async |method: Method, path: &str| {
            let request = customer.request(method, path);
            let request = request.header("accept-encoding", refusal);
            customer.send(request).await
        };
        for path in [
            "/api/catalog/services?limit=100",
            "/api/openapi.json",
            "/api/docs/swagger-ui.css",
            "/api/wallet/info",
            "/healthz",
        ] {
            let answer = ask(Method::GET, path).await;
            assert_eq!(answer.status, 200, "{path} {refusal}");
            assert!(!is_compressed(&answer), "{path} {refusal}");
        }
        ask(Method::GET, "/api/nowhere")
            .await
            .fails(404, "ROUTE_NOT_FOUND");
        ask(Method::POST, "/api/catalog/services")
            .await
            .fails(405, "METHOD_NOT_ALLOWED");
    }
    // The rest of the header decides.
    let request = customer.request(Method::GET, "/api/catalog/services?limit=100");
    let request = request.header("accept-encoding", "gzip, identity;q=0");
    assert!(is_compressed(&customer.send(request).await));
}
