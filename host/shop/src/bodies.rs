//! Bodies of answers to requests of this program, read up to a bound.

use reqwest::Response;

/// First bytes of a body.
#[derive(Debug)]
pub(crate) struct FirstBytes {
    pub(crate) bytes: Vec<u8>,
    /// Failure that ended the reading early.
    pub(crate) failure: Option<reqwest::Error>,
}

/// Reads the first bytes of a body, at most so many; the rest stays unread.
pub(crate) async fn first_bytes(mut response: Response, most: usize) -> FirstBytes {
    let (mut bytes, mut failure) = (Vec::new(), None);
    while bytes.len() < most {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    bytes.truncate(most);
    FirstBytes { bytes, failure }
}

/// Reads a whole body; `None` for a longer one, whose rest stays unread.
///
/// # Errors
/// When the connection ends before the body.
pub(crate) async fn whole(response: Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let announced = response.content_length().unwrap_or_default();
    if announced > u64::try_from(most).unwrap_or(u64::MAX) {
        return Ok(None);
    }
    // A body in chunks announces no length: one byte more shows that it is longer.
    let read = first_bytes(response, most.saturating_add(1)).await;
    match read.failure {
        Some(failure) => Err(failure),
        None => Ok(Some(read.bytes).filter(|bytes| bytes.len() <= most)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const CHUNKS: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde";
    const CUT_OFF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc";

    /// Returns the answer that these bytes are.
    async fn answer(bytes: &'static str) -> Response {
        // One TLS provider for the process; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read > 0);
            stream.write_all(bytes.as_bytes()).await.unwrap();
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.get(url).send().await.unwrap()
    }

    #[tokio::test]
    async fn a_whole_body_is_no_longer_than_its_bound() {
        for answered in [CHUNKS, LENGTH] {
            for (most, expected) in [(4, None), (5, Some("abcde")), (6, Some("abcde"))] {
                let read = whole(answer(answered).await, most).await.unwrap();
                let read = read.map(|bytes| String::from_utf8(bytes).unwrap());
                assert_eq!(read.as_deref(), expected, "{most} of {answered:?}");
            }
        }
        assert!(whole(answer(CUT_OFF).await, 5).await.is_err());
    }

    #[tokio::test]
    async fn the_first_bytes_are_those_that_came() {
        for (answered, most, expected) in [
            (CHUNKS, 4, "abcd"),
            (LENGTH, 4, "abcd"),
            (CHUNKS, 9, "abcde"),
            (CUT_OFF, 9, "abc"),
        ] {
            let read = first_bytes(answer(answered).await, most).await;
            assert_eq!(String::from_utf8(read.bytes).unwrap(), expected);
            assert_eq!(read.failure.is_some(), answered == CUT_OFF);
        }
    }
}
