//! A customer who redeems over HTTP, again and again on one connection.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::is_whole;

#[derive(Debug)]
pub(crate) struct Caller {
    connection: TcpStream,
    head: String,
    body: String,
    sent: u64,
}

impl Caller {
    pub(crate) async fn connect(host: &str, token: &str, code: &str) -> Self {
        let body = json!({ "couponCode": code }).to_string();
        let head = format!(
            "POST /api/wallet/redeem-coupon HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nIdempotency-Key: {code}-",
            body.len()
        );
        Self {
            connection: TcpStream::connect(host).await.unwrap(),
            head,
            body,
            sent: 0,
        }
    }

    pub(crate) async fn redeem(&mut self) {
        self.sent += 1;
        let request = format!("{}{}\r\n\r\n{}", self.head, self.sent, self.body);
        self.connection.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut filled) = (vec![0; 16 << 10], 0);
        while !is_whole(&answer[..filled]) {
            let read = self.connection.read(&mut answer[filled..]).await.unwrap();
            assert!(read > 0, "the server hung up");
            filled += read;
        }
        let text = String::from_utf8_lossy(&answer[..filled]);
        assert!(text.starts_with("HTTP/1.1 201 "), "{text}");
    }
}
