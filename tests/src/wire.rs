//! The smallest HTTP client: a connection that sends a request when the last one is answered. It costs little
//! beside a server with which it shares the processors.

use std::{io, ops::Range};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Room for an answer at first; a longer one doubles it.
const ROOM: usize = 64 << 10;
const MOST_ROOM: usize = 16 << 20;

/// A connection that stays open.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// An answer, until the next request.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// A request before it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub token: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    /// JSON, or a form of a page that reads no content type.
    pub body: Option<&'a str>,
}

impl Request<'_> {
    /// Writes the request as it is sent to this host.
    pub fn to_text(self, host: &str) -> String {
        let Self { method, path, .. } = self;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(token) = self.token {
            text.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if let Some(key) = self.idempotency_key {
            text.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        if let Some(body) = self.body {
            let length = body.len();
            text.push_str("Content-Type: application/json\r\n");
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(self.body.unwrap_or_default());
        text
    }
}

impl Wire {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When the server does not take the connection.
    pub async fn connect(address: &str) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::connect(address).await?,
            answer: vec![0; ROOM],
        })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// When the connection ends before, or the answer does not tell its length.
    pub async fn ask(&mut self, request: &str) -> io::Result<Answered<'_>> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        let head = loop {
            if filled == self.answer.len() {
                if filled >= MOST_ROOM {
                    return Err(io::Error::other("an answer without an end"));
                }
                self.answer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.answer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            match head(&self.answer[..filled])? {
                Some(head) if filled >= head.body.end => break head,
                _ => {}
            }
        };
        Ok(Answered {
            status: head.status,
            body: &self.answer[head.body],
        })
    }
}

/// Head of an answer whose body is at this place.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: Range<usize>,
}

/// Reads the head of an answer; `None` until the whole of it has arrived.
fn head(answer: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&answer[..end]).map_err(io::Error::other)?;
    let status: Option<u16> = text.get(9..12).and_then(|digits| digits.parse().ok());
    let length: Option<usize> = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|digits| digits.parse().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(io::Error::other("an answer without a status or a length"));
    };
    let start = end + 4;
    Ok(Some(Head {
        status,
        body: start..start + length,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
        for part in 0..answer.len() - 2 {
            assert_eq!(head(&answer[..part]).unwrap(), None);
        }
        let whole = head(answer).unwrap().unwrap();
        assert_eq!(whole.status, 201);
        assert_eq!(&answer[whole.body], b"{}");
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        for answer in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\n",
        ] {
            assert!(head(answer.as_bytes()).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_request_has_what_it_needs_and_no_more() {
        let read = Request {
            method: "GET",
            path: "/healthz",
            ..Request::default()
        };
        let text = read.to_text("127.0.0.1:1");
        assert_eq!(text, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n");
        let write = Request {
            method: "POST",
            path: "/a",
            token: Some("t"),
            idempotency_key: Some("k"),
            body: Some("{}"),
        };
        let text = write.to_text("h");
        assert_eq!(
            text,
            "POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\nIdempotency-Key: k\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }
}
