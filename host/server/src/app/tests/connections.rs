//! Connections of both protocols on one port, and their end when the server stops.

mod bodies;
mod targets;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::routing::get;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::timeout};

use super::*;

/// A server with one slow route, which waits until it is let go.
struct Server {
    address: SocketAddr,
    departure: http::Departure,
    /// Wakes when a request is under way.
    reached: Arc<Notify>,
    go: Arc<Notify>,
    serving: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(idle: Duration) -> Self {
        Self::start_with(idle, |_| ()).await
    }

    async fn start_with(idle: Duration, change: impl FnOnce(&mut Config)) -> Self {
        let (folder, mut app) = shop().await;
        let mut config = (*app.state.config).clone();
        change(&mut config);
        app.state = app.state.with(|shared| shared.config = config.into());
        let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (at, end) = (Arc::clone(&reached), Arc::clone(&go));
        let slow = move || {
            let (at, end) = (Arc::clone(&at), Arc::clone(&end));
            async move {
                at.notify_one();
                end.notified().await;
                "slow and whole"
            }
        };
        let departure = app.state.departure.clone();
        let (routes, kinds) = routes(&app.state);
        let routes = Router::new().route("/slow", get(slow)).merge(routes);
        let router = surround(routes, kinds, app.state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = http::ConnectionLimits {
            header_timeout: Duration::from_secs(1),
            idle_timeout: idle,
            ..http::ConnectionLimits::default()
        };
        let end = departure.clone();
        let serving = tokio::spawn(http::serve(listener, router, limits, true, end));
        Self {
            address,
            departure,
            reached,
            go,
            serving,
            _folder: folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A client to choose a protocol for. It brings what it needs: a test may be the first of its process.
fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

fn first() -> reqwest::Client {
    client().http1_only().build().unwrap()
}

fn second() -> reqwest::Client {
    client().http2_prior_knowledge().build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_are_spoken_on_one_port() {
    let server = Server::start(Duration::from_secs(60)).await;
    for (client, version) in [
        (first(), reqwest::Version::HTTP_11),
        (second(), reqwest::Version::HTTP_2),
    ] {
        let answer = client.get(server.url("/api/catalog/categories")).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.version(), version);
        assert_eq!(answer.status(), 200);
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["success"], true);
        let refused = client.post(server.url("/api/auth/login")).body("x").send();
        assert_eq!(refused.await.unwrap().status(), 415, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_share_a_connection_of_http_2() {
    let server = Server::start(Duration::from_secs(60)).await;
    let client = second();
    let slow = tokio::spawn(client.get(server.url("/slow")).send());
    server.reached.notified().await;
    for _ in 0..20 {
        let quick = client.get(server.url("/healthz")).send().await.unwrap();
        assert_eq!(quick.status(), 200);
    }
    server.go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}

/// A head over HTTP/2 that is too large is answered with the reason, and the connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_head_over_http_2_is_answered() {
    let server = Server::start(Duration::from_secs(60)).await;
    let client = second();
    for (bytes, status) in [(40 * 1024, 200), (70 * 1024, 431), (1, 200)] {
        let request = client.get(server.url("/api/catalog/categories"));
        let answer = request.header("x-long", "a".repeat(bytes)).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), status, "{bytes}");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        if status == 431 {
            assert_eq!(body["error"]["code"], "HEAD_TOO_LARGE");
        }
    }
}

/// Requests under way are answered in full; new connections are refused, and idle ones are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_finishes_what_was_asked() {
    for client in [first(), second()] {
        let server = Server::start(Duration::from_secs(60)).await;
        let mut idle = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        idle.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        idle.read_exact(&mut answer).await.unwrap();
        let slow = tokio::spawn(client.get(server.url("/slow")).send());
        server.reached.notified().await;
        server.departure.close();
        let mut rest = String::new();
        let closed = timeout(Duration::from_secs(5), idle.read_to_string(&mut rest));
        closed.await.expect("an idle connection is closed").unwrap();
        assert!(
            tokio::net::TcpStream::connect(server.address)
                .await
                .is_err()
        );
        assert!(!server.serving.is_finished(), "a request is under way");
        server.go.notify_one();
        let answer = slow.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), "slow and whole");
        drop(client);
        let ended = timeout(Duration::from_secs(5), server.serving).await;
        ended
            .expect("the server ends after its last answer")
            .unwrap();
    }
}

/// A server that is about to end says so and answers all the same; clients of HTTP/1.1 keep no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_leaves_answers_until_its_door_is_closed() {
    let server = Server::start(Duration::from_secs(60)).await;
    let (first, second) = (first(), second());
    let ready = first.get(server.url("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert!(ready.headers().get("connection").is_none());
    server.departure.leave();
    for client in [&first, &second] {
        let ready = client.get(server.url("/readyz")).send().await.unwrap();
        assert_eq!(ready.status(), 503);
        let answer: Value = serde_json::from_str(&ready.text().await.unwrap()).unwrap();
        assert_eq!(answer["checks"][4]["name"], "server", "{answer}");
        let alive = client.get(server.url("/healthz")).send().await.unwrap();
        assert_eq!(alive.status(), 200);
    }
    let last = first.get(server.url("/healthz")).send().await.unwrap();
    assert_eq!(last.headers()["connection"], "close");
    server.departure.close();
    drop((first, second));
    let ended = timeout(Duration::from_secs(5), server.serving).await;
    ended.expect("nothing is under way").unwrap();
}

/// The guards of HTTP/1.1 hold for HTTP/2: a head that does not come, and a connection without requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_http_2_are_closed() {
    let server = Server::start(Duration::from_secs(1)).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for begun in [&preface[..10], &preface[..]] {
        let mut silent = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        silent.write_all(begun).await.unwrap();
        let mut said = Vec::new();
        let closed = timeout(Duration::from_secs(5), silent.read_to_end(&mut said));
        let _ = closed.await.expect("closed after the time for a head");
    }
    // One request, and then none; its answer has the status 200 as index 8 of the static table.
    let mut idle = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    idle.write_all(preface).await.unwrap();
    // HEADERS of stream 1, ended: GET, http, /, and an authority.
    let head = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    idle.write_all(head).await.unwrap();
    let mut said = Vec::new();
    let closed = timeout(Duration::from_secs(6), idle.read_to_end(&mut said));
    let _ = closed.await.expect("closed after its idle time");
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("ROUTE_NOT_FOUND"), "{text}");
}

/// A client of HTTP/2 that takes no part of an answer does not hold its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_taken_is_given_up() {
    let server = Server::start(Duration::from_secs(1)).await;
    let mut greedy = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    // SETTINGS with an initial window of nothing.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    greedy.write_all(preface).await.unwrap();
    let head = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    greedy.write_all(head).await.unwrap();
    let mut said = Vec::new();
    let closed = timeout(Duration::from_secs(6), greedy.read_to_end(&mut said));
    let _ = closed.await.expect("closed, though its client is there");
}

/// Sends bytes and returns the head of the answer, when it comes within a time that is shorter than any wait for a
/// body.
async fn head_of_answer(address: SocketAddr, sent: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            let byte = stream.read_u8().await.unwrap();
            answer.push(byte);
        }
    };
    let ended = timeout(Duration::from_secs(3), read).await;
    ended.expect("an answer comes at once");
    String::from_utf8(answer).unwrap()
}

/// Sends bytes, closes nothing, and returns what is said until the other side closes.
async fn said(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(3), stream.read_to_end(&mut answer));
    read.await.expect("the connection ends at once").unwrap();
    String::from_utf8(answer).unwrap()
}
