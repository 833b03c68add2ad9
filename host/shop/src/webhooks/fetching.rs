//! Files on servers of strangers, read as webhooks are sent: from public addresses that are checked for each
//! connection, without redirects. Names are looked up as they are, and not below the domains of this machine.

use std::time::Duration;

use reqwest::Url;

use super::{
    Settings,
    address::{Checking, Refused},
    sending::{beginning, cause, client, innermost},
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

/// Reason why a file was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Its name is not known, or has no address.
    NoAddress,
    /// Its name leads to an address that is not public.
    NotPublic,
    /// No answer came in time.
    TooSlow,
    /// Its server takes no connection.
    NotConnected,
    /// Its server sent no answer of HTTP, or ended before one.
    NotHttp,
}

impl Unread {
    fn of(error: &reqwest::Error) -> Self {
        tracing::debug!(error = cause(error), "file.not_read");
        if error.is_timeout() {
            return Self::TooSlow;
        }
        match innermost(error).downcast_ref::<Refused>() {
            Some(Refused::NoAddress) => Self::NoAddress,
            Some(Refused::Private | Refused::NotPublic(_)) => Self::NotPublic,
            None if error.is_connect() => Self::NotConnected,
            None => Self::NotHttp,
        }
    }
}

impl Fetcher {
    /// Prepares the client, with the rules about addresses that webhooks have.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Self> {
        let checking = Checking::new(settings).absolute();
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
    pub async fn fetch(&self, url: &str) -> Result<Fetched, Unread> {
        // The client's own limit does not count while a body is read that never ends.
        let fetched = tokio::time::timeout(self.timeout, self.exchange(url)).await;
        fetched.unwrap_or(Err(Unread::TooSlow))
    }

    async fn exchange(&self, url: &str) -> Result<Fetched, Unread> {
        let url = Url::parse(url).map_err(|_| Unread::NoAddress)?;
        let checked = self.checking.check_literal(&url);
        checked.map_err(|_| Unread::NotPublic)?;
        let response = self.http.get(url).send().await;
        let response = response.map_err(|error| Unread::of(&error))?;
        Ok(Fetched {
            status: response.status().as_u16(),
            text: beginning(response).await,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{io, net::IpAddr};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::webhooks::Lookup;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn fetcher(permit_loopback: bool) -> Fetcher {
        let lookup = Lookup::new(|name| {
            // With a dot at its end a name is not looked for below the domains of a machine.
            let found: io::Result<Vec<IpAddr>> = match name {
                "file.example." => Ok(vec![[127, 0, 0, 1].into()]),
                "empty.example." => Ok(Vec::new()),
                "both.example." => Ok(vec![[8, 8, 8, 8].into(), [10, 0, 0, 1].into()]),
                _ => Err(io::ErrorKind::NotFound.into()),
            };
            Box::pin(async move { found })
        });
        let settings = Settings {
            permit_loopback,
            lookup,
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
            assert_eq!(refused, Err(Unread::NotPublic), "{host}");
        }
        let fetcher = self::fetcher(true);
        for (host, reason) in [
            ("both.example", Unread::NotPublic),
            ("empty.example", Unread::NoAddress),
            ("unknown.example", Unread::NoAddress),
        ] {
            let refused = fetcher.fetch(&format!("http://{host}:{port}/a")).await;
            assert_eq!(refused, Err(reason), "{host}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_of_http_has_a_reason_of_its_own() {
        const BANNER: &str = "SSH-2.0-OpenSSH_9.9\r\n\r\n";
        let port = answering([BANNER, ""]).await;
        let url = format!("http://file.example:{port}/a");
        let fetcher = fetcher(true);
        // The second one ends the connection without a word.
        for _ in 0..2 {
            assert_eq!(fetcher.fetch(&url).await, Err(Unread::NotHttp));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = format!("http://file.example:{port}/a");
        assert_eq!(fetcher.fetch(&url).await, Err(Unread::NotConnected));
    }

    #[tokio::test]
    async fn a_server_that_is_silent_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = Settings {
            permit_loopback: true,
            ..Settings::default()
        };
        let fetcher = Fetcher::new(&settings, Duration::from_millis(50)).unwrap();
        let silent = fetcher.fetch(&format!("http://127.0.0.1:{port}/a")).await;
        assert_eq!(silent, Err(Unread::TooSlow));
    }
}
