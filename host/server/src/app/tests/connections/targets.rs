//! Hosts and methods of requests, in both protocols.

use super::*;

/// Frames of a request of HTTP/2 without a body: the preface, SETTINGS, and HEADERS of stream 1, ended.
fn second_frames(head: &[u8]) -> Vec<u8> {
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend([0, 0, u8::try_from(head.len()).unwrap()]);
    sent.extend(b"\x01\x05\0\0\0\x01");
    sent.extend(head);
    sent
}

/// Time after which a server closes a connection of HTTP/2 that asks nothing more.
const IDLE: Duration = Duration::from_millis(300);

/// Sends a request of HTTP/2 and returns what comes back until its connection is closed.
async fn said_by_second(server: &Server, head: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    stream.write_all(&second_frames(head)).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(6), stream.read_to_end(&mut answer));
    let _ = read.await.expect("closed after its idle time");
    answer
}

async fn text_by_second(server: &Server, head: &[u8]) -> String {
    String::from_utf8_lossy(&said_by_second(server, head).await).into_owned()
}

/// RFC 9112, section 3.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_its_host_once() {
    let server = Server::start(Duration::from_secs(60)).await;
    for (sent, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\n\r\n", "400"),
        ("GET /api/nowhere HTTP/1.1\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a:3000\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a:99999\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a:x\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
        ("GET http://a/healthz HTTP/1.1\r\nHost: b\r\n\r\n", "200"),
        ("GET http://u@a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (
            "GET http://a:99999/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
            "400",
        ),
        (
            "POST /api/auth/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            "400",
        ),
    ] {
        let head = head_of_answer(server.address, sent).await;
        let first = head.lines().next().unwrap();
        assert!(first.contains(&format!(" {status} ")), "{sent}: {head}");
        if status == "400" {
            assert!(head.contains("content-type: application/json"), "{head}");
            assert!(head.contains("connection: close"), "{head}");
            assert!(head.contains("x-request-id: "), "{head}");
        }
    }
    // HTTP/2 has the host within the request line.
    let answer = second().get(server.url("/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// RFC 9113, section 8.3.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_http_2_names_one_host() {
    let server = Server::start(IDLE).await;
    // GET, http, /, and then an authority, a header `host`, or both.
    for (head, is_refused) in [
        (&b"\x82\x86\x84\x41\x01a"[..], false),
        (b"\x82\x86\x84\x41\x04a:80", false),
        (b"\x82\x86\x84\x66\x01a", false),
        (b"\x82\x86\x84", true),
        (b"\x82\x86\x84\x41\x07a:99999", true),
        (b"\x82\x86\x84\x41\x03a:x", true),
        (b"\x82\x86\x84\x41\x03u@a", true),
        (b"\x82\x86\x84\x41\x01a\x66\x01b", true),
        (b"\x82\x86\x84\x66\x00", true),
    ] {
        let text = text_by_second(&server, head).await;
        let code = match is_refused {
            true => "MALFORMED_REQUEST",
            false => "ROUTE_NOT_FOUND",
        };
        assert!(text.contains(code), "{head:?}: {text}");
    }
    // An authority that cannot be read at all ends its stream.
    for head in [&b"\x82\x86\x84\x41\x03a b"[..], b"\x82\x86\x84\x41\x00"] {
        let text = text_by_second(&server, head).await;
        assert!(!text.contains("success"), "{head:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_no_address_has_are_answered() {
    let plain = Server::start(IDLE).await;
    let with_pages = Server::start_with(IDLE, |config| {
        config.http.origins = "https://toko.example.com".parse().unwrap();
    })
    .await;
    for server in [&plain, &with_pages] {
        let about = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
        let head = head_of_answer(server.address, about).await;
        assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
        assert!(head.contains("allow: GET, HEAD, POST,"), "{head}");
        for sent in [
            "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE /api/nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            "TRACE /api/catalog/categories HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        ] {
            let head = head_of_answer(server.address, sent).await;
            assert!(head.starts_with("HTTP/1.1 405 "), "{sent}: {head}");
            assert!(head.contains("allow: GET"), "{sent}: {head}");
            let kind = "content-type: application/json";
            assert!(head.contains(kind), "{sent}: {head}");
        }
        let unaddressed = "OPTIONS * HTTP/1.1\r\n\r\n";
        let head = head_of_answer(server.address, unaddressed).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        for head in [
            // TRACE and its address; CONNECT, which has a host alone.
            &b"\x42\x05TRACE\x86\x84\x41\x01a"[..],
            b"\x42\x07CONNECT\x41\x04a:80",
        ] {
            let text = text_by_second(server, head).await;
            assert!(text.contains("METHOD_NOT_ALLOWED"), "{head:?}: {text}");
        }
        // OPTIONS and `*`. Its answer begins with the stream, and 204 as index 9 of the static table.
        let head = b"\x42\x07OPTIONS\x86\x44\x01*\x41\x01a";
        let answer = said_by_second(server, head).await;
        let begins = b"\0\0\0\x01\x89";
        assert!(answer.windows(5).any(|bytes| bytes == begins), "{answer:?}");
    }
}

/// The description of the interface and hyper agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_answered_as_documented() {
    const LARGEST: usize = 64 * 1024;
    let server = Server::start(Duration::from_secs(60)).await;
    let filled = |begin: &str| format!("{begin}{}", "a".repeat(LARGEST - begin.len()));
    let with_headers = |count: usize| {
        let others = "X: 1\r\n".repeat(count - 1);
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{others}\r\n")
    };
    for (sent, status) in [
        (filled("GET /api/catalog/services?q="), "431"),
        (filled("GET /healthz HTTP/1.1\r\nHost: a\r\nX: "), "431"),
        (with_headers(100), "200"),
        (with_headers(101), "431"),
    ] {
        let head = head_of_answer(server.address, &sent).await;
        let first = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&first), "{sent:.80}: {head}");
    }
    let many = (0..101).fold(second().get(server.url("/healthz")), |request, _| {
        request.header("x", "1")
    });
    assert_eq!(many.send().await.unwrap().status(), 200);
    let documented = include_str!("../../../api/openapi/first_steps.md");
    assert!(documented.contains("431 for a head of more than 64 KiB"));
    assert!(documented.contains("than 100 headers (HTTP/1.1)"));
    assert!(!documented.contains("414"));
}
