//! Bodies that are not read to their end.

use super::*;

/// Nothing of the body is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_announces_too_much_is_not_waited_for() {
    let server = Server::start(Duration::from_secs(60)).await;
    for (path, kind, length) in [
        ("/api/auth/login", "application/json", 2_000_000),
        (
            "/api/wallet/webhook/midtrans",
            "application/json",
            2_000_000,
        ),
        ("/api/tickets/mail", "message/rfc822", 20_000_000),
    ] {
        let sent = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        let head = head_of_answer(server.address, &sent).await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{path}: {head}");
        assert!(head.contains("connection: close"), "{path}: {head}");
    }
}

/// Requests that are refused by their heads, with a body of which a part is sent.
const REFUSED_BY_HEAD: [(&str, &str, &str); 5] = [
    ("POST /api/nowhere", "", "404"),
    ("DELETE /api/auth/login", "", "405"),
    (
        "POST /api/wallet/topup",
        "Content-Type: application/json\r\n",
        "401",
    ),
    (
        "POST /api/auth/login",
        "Content-Type: text/plain\r\n",
        "415",
    ),
    (
        "POST /api/auth/login",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "415",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_does_not_wait_for_a_body() {
    let server = Server::start(Duration::from_secs(60)).await;
    for (line, more, status) in REFUSED_BY_HEAD {
        for body in [
            "Content-Length: 500\r\n\r\n",
            "Content-Length: 500\r\n\r\n{\"email\":",
            "Content-Length: 2000000000\r\n\r\n{",
            "Transfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ema",
        ] {
            let sent = format!("{line} HTTP/1.1\r\nHost: a\r\n{more}{body}");
            let began = std::time::Instant::now();
            let answer = said(server.address, sent.as_bytes()).await;
            let first = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&first), "{sent}: {answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(answer.ends_with('}'), "{sent}: {answer}");
            assert!(began.elapsed() < Duration::from_secs(2), "{sent}");
        }
    }
    // HTTP/2 ends the stream, and not the connection.
    let client = second();
    for _ in 0..3 {
        let silent = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let request = client
            .post(server.url("/api/nowhere"))
            .body(reqwest::Body::wrap_stream(silent));
        let answer = timeout(Duration::from_secs(3), request.send()).await;
        let answer = answer.expect("an answer comes at once").unwrap();
        assert_eq!(answer.status(), 404);
    }
}

/// A client that is still sending reads its answer, whatever it sends; the connection is not offered again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_refused_body_is_read() {
    let server = Server::start(Duration::from_secs(60)).await;
    // More than the sockets of both sides hold.
    let spaces = vec![b' '; 20_000_000];
    let length = spaces.len();
    let chunk = [
        format!("{length:x}\r\n").as_bytes(),
        &spaces,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let json = "Host: a\r\nContent-Type: application/json\r\n";
    for (head, body, status) in [
        (
            format!("POST /api/nowhere HTTP/1.1\r\n{json}Content-Length: {length}\r\n\r\n"),
            &spaces,
            "404",
        ),
        (
            format!("POST /api/auth/login HTTP/1.1\r\n{json}Content-Length: {length}\r\n\r\n"),
            &spaces,
            "413",
        ),
        (
            format!("POST /api/auth/login HTTP/1.1\r\n{json}Transfer-Encoding: chunked\r\n\r\n"),
            &chunk,
            "413",
        ),
    ] {
        let sent = [head.as_bytes(), body].concat();
        let answer = said(server.address, &sent).await;
        let first = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&first), "{head}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

/// A small body that was refused costs its client no connection, also when it comes after its head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_body_that_has_come_keeps_its_connection() {
    let server = Server::start(Duration::from_secs(60)).await;
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    for (line, more, status) in REFUSED_BY_HEAD {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: 2\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"{}").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"Z\"}") {
            let byte = timeout(Duration::from_secs(3), stream.read_u8()).await;
            answer.push(byte.expect("the answer is whole").unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        let first = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&first), "{line}: {answer}");
        assert!(!answer.contains("connection: close"), "{line}: {answer}");
    }
}

/// RFC 9110, section 15.5.9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_given_up_ends_its_connection() {
    let server = Server::start_with(Duration::from_secs(60), |config| {
        config.http.request_timeout = Duration::from_millis(300);
    })
    .await;
    let json = "Content-Type: application/json\r\nContent-Length: 500";
    for sent in [
        format!("POST /api/auth/login HTTP/1.1\r\nHost: a\r\n{json}\r\n\r\n{{"),
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        let answer = said(server.address, sent.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{sent}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

/// An answer that did not need all of the body says that no request may follow, also when it is a good one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_body_ends_its_connection() {
    let server = Server::start(Duration::from_secs(60)).await;
    let sent = "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{";
    let answer = said(server.address, sent.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

/// RFC 9112, section 6.1: who counts the bytes of a body by its length, and not by its chunks, finds no request of its own
/// making behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_behind_a_body_in_chunks_are_no_request() {
    let server = Server::start(Duration::from_secs(60)).await;
    let json = "Host: a\r\nContent-Type: application/json\r\n";
    let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for lengths in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let body = "2\r\n{}\r\n0\r\n\r\n";
        let sent = format!("POST /api/auth/login HTTP/1.1\r\n{json}{lengths}\r\n{body}{next}");
        let answer = said(server.address, sent.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{sent}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

/// A client that has sent further requests behind it sees its answer, and not a connection that was reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_behind_a_body_in_chunks_is_read() {
    let server = Server::start(Duration::from_secs(60)).await;
    let head = "POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    // More than the sockets of both sides hold.
    let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(600_000);
    let sent = format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{next}");
    let answer = said(server.address, sent.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}
