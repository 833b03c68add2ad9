//! Files on servers of strangers, read as webhooks are sent: from public addresses that are checked for each
//! connection, without redirects.

use std::time::Duration;

use reqwest::Url;

use super::{
    Settings,
    address::Checking,
    sending::{beginning, cause, client},
};
use crate::{Error, Result};

/// Reader of small files at addresses that strangers name.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: reqwest::Client,
    checking: Checking,
    timeout: Duration,
}

/// Answer to a request for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub status: u16,
    /// First bytes of its body, as text.
    pub text: String,
}

impl Fetcher {
    /// Prepares the client, with the rules about addresses that webhooks have.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Self> {
        let checking = Checking::new(settings);
        let client = client(settings, &checking).map_err(Error::internal)?;
        let http = client
            .timeout(timeout)
            .user_agent(concat!("dermaga-domains/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::internal)?;
        Ok(Self {
            http,
            checking,
            timeout,
        })
    }

    /// Reads the first bytes of a file.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn fetch(&self, url: &str) -> Result<Fetched, String> {
        // The client's own limit does not count while a body is read that never ends.
        let fetched = tokio::time::timeout(self.timeout, self.exchange(url)).await;
        fetched.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn exchange(&self, url: &str) -> Result<Fetched, String> {
        let url = Url::parse(url).map_err(|_| "the address is none".to_owned())?;
        let checked = self.checking.check_literal(&url);
        checked.map_err(|refused| format!("the address {refused}"))?;
        let response = self.http.get(url).send().await;
        let response = response.map_err(|error| cause(&error))?;
        Ok(Fetched {
            status: response.status().as_u16(),
            text: beginning(response).await,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::webhooks::Lookup;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn fetcher(permit_loopback: bool) -> Fetcher {
        let settings = Settings {
            permit_loopback,
            lookup: Lookup::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })),
            ..Settings::default()
        };
        Fetcher::new(&settings, TIMEOUT).unwrap()
    }

    /// Answers each connection with one of these; returns the port.
    async fn answering(answers: [&'static str; 2]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(read > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn a_file_is_read_where_it_is_and_nowhere_else() {
        let port = answering([
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n",
            "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ])
        .await;
        let url = format!("http://file.example:{port}/a");
        let fetcher = fetcher(true);
        let found = fetcher.fetch(&url).await.unwrap();
        assert_eq!((found.status, found.text.as_str()), (200, "hello\n"));
        let redirected = fetcher.fetch(&url).await.unwrap();
        assert_eq!(redirected.status, 302, "not followed");
    }

    #[tokio::test]
    async fn a_private_address_is_not_asked() {
        let port = answering(["", ""]).await;
        let fetcher = fetcher(false);
        for host in ["file.example", "127.0.0.1", "10.0.0.1"] {
            let refused = fetcher.fetch(&format!("http://{host}:{port}/a")).await;
            let reason = refused.unwrap_err();
            assert!(reason.contains("public address"), "{host}: {reason}");
        }
    }
}
