//! Tests of answers that no gateway sends.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers one request with JSON that is followed by blanks, in chunks, until its client ends the connection;
/// returns the address.
async fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(read > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n";
        let mut sent = stream.write_all(head.as_bytes()).await;
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        while sent.is_ok() {
            sent = stream.write_all(chunk.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn an_answer_in_chunks_is_read_up_to_a_bound() {
    let settings = GatewaySettings {
        server_key: Secret::new("SB-Mid-server-test"),
        addresses: Some(Addresses::one(&endless().await)),
        notify: None,
        callbacks: Callbacks::default(),
        timeout: TIMEOUT,
    };
    let gateway = Gateway::new(settings, Clock::movable()).unwrap();
    let unusable = gateway.status("TXMP-1").await.unwrap_err();
    assert!(matches!(unusable, GatewayError::Garbage(_)), "{unusable}");
}
