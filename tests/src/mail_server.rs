//! Small SMTP server for tests, which keeps what it takes and can be made to refuse.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use dermaga::config::Config;
use dermaga_shop::notifications::{Sender, SmtpUrl};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::JoinHandle,
};

/// A mail that was taken.
#[derive(Debug, Clone)]
pub struct Received {
    pub to: String,
    /// Head and body as they were sent.
    pub data: String,
}

impl Received {
    /// Returns the text with its long lines whole.
    pub fn unfolded(&self) -> String {
        // Quoted-printable: soft line breaks, and the sign that they begin with.
        let text = self.data.replace("=\r\n", "").replace("=\n", "");
        text.replace("=3D", "=")
    }

    /// Returns the value of a header of one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.data.split("\r\n\r\n").next()?;
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

#[derive(Debug, Default)]
struct Memory {
    received: Mutex<Vec<Received>>,
    taken: AtomicUsize,
    forgets: AtomicBool,
    /// Addresses that are refused, with the answer.
    refused: Mutex<Vec<(String, &'static str)>>,
    /// User and password of each sign-in.
    sign_ins: Mutex<HashSet<String>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    pause: Mutex<Duration>,
}

/// A server at work until it is stopped or dropped.
#[derive(Debug)]
pub struct MailServer {
    pub address: SocketAddr,
    memory: Arc<Memory>,
    serving: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl MailServer {
    /// Lets a shop with this configuration send its mails here.
    pub fn receive_from(&self, config: &mut Config) {
        let sender = Sender::parse("Toko <toko@example.com>").expect("it is an address");
        let url = SmtpUrl::parse(&self.url()).expect("it is a URL");
        config.notifications.smtp = Some(url);
        config.notifications.from = Some(sender);
        config.notifications.shop_url = Some("https://toko.example.com".to_owned());
    }

    /// Starts a server on a free port.
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts a server at an address.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let memory = Arc::new(Memory::default());
        let shared = Arc::clone(&memory);
        let serving = tokio::spawn(async move {
            let mut conversations = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let memory = Arc::clone(&shared);
                conversations.spawn(async move {
                    let open = memory.open.fetch_add(1, Ordering::SeqCst) + 1;
                    memory.most_open.fetch_max(open, Ordering::SeqCst);
                    converse(stream, &memory).await;
                    memory.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            memory,
            serving,
        }
    }

    /// Returns the setting for a shop that sends to this server.
    pub fn url(&self) -> String {
        format!("smtp://{}?tls=none", self.address)
    }

    /// Lets mails to an address be answered so, for example `550 no such person`.
    pub fn refuse(&self, address: &str, answer: &'static str) {
        let mut refused = self.memory.refused.lock().expect("no panic");
        refused.push((address.to_owned(), answer));
    }

    /// Takes mails to all addresses again.
    pub fn refuse_nothing(&self) {
        self.memory.refused.lock().expect("no panic").clear();
    }

    /// Waits so long before each mail is taken.
    pub fn pause(&self, pause: Duration) {
        *self.memory.pause.lock().expect("no panic") = pause;
    }

    /// Keeps the number of mails alone, for measuring.
    pub fn keep_nothing(&self) {
        self.memory.forgets.store(true, Ordering::SeqCst);
    }

    /// Returns the number of mails that were taken.
    pub fn taken(&self) -> usize {
        self.memory.taken.load(Ordering::SeqCst)
    }

    /// Returns the mails that were taken.
    pub fn received(&self) -> Vec<Received> {
        self.memory.received.lock().expect("no panic").clone()
    }

    /// Returns the mails once there are so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        for _ in 0..600 {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "{} of {count} mails came: {:#?}",
            self.received().len(),
            self.received()
        );
    }

    /// Returns each user with its password, as `user:password`.
    pub fn sign_ins(&self) -> HashSet<String> {
        self.memory.sign_ins.lock().expect("no panic").clone()
    }

    /// Returns the most connections that were open at the same time.
    pub fn most_connections(&self) -> usize {
        self.memory.most_open.load(Ordering::SeqCst)
    }
}

async fn line(reader: &mut BufReader<OwnedReadHalf>) -> Option<String> {
    let mut line = String::new();
    match reader.read_line(&mut line).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

async fn converse(stream: TcpStream, memory: &Memory) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut to = String::new();
    let mut answer = "220 test".to_owned();
    loop {
        if writer
            .write_all(format!("{answer}\r\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
        let Some(command) = line(&mut reader).await else {
            return;
        };
        let upper = command.trim().to_ascii_uppercase();
        answer = if upper.starts_with("EHLO") {
            "250-test\r\n250-AUTH PLAIN\r\n250 8BITMIME".to_owned()
        } else if let Some(secret) = command.trim().strip_prefix("AUTH PLAIN ") {
            let plain = BASE64_STANDARD.decode(secret).unwrap_or_default();
            let plain = String::from_utf8_lossy(&plain).replace('\0', ":");
            let mut sign_ins = memory.sign_ins.lock().expect("no panic");
            sign_ins.insert(plain.trim_start_matches(':').to_owned());
            "235 signed in".to_owned()
        } else if upper.starts_with("RCPT TO:") {
            let address = command.trim()[8..].trim().trim_matches(['<', '>']);
            to = address.to_owned();
            let refused = memory.refused.lock().expect("no panic");
            let found = refused.iter().find(|(other, _)| *other == to);
            found.map_or("250 ok", |(_, answer)| answer).to_owned()
        } else if upper == "DATA" {
            if writer.write_all(b"354 go on\r\n").await.is_err() {
                return;
            }
            let mut data = String::new();
            loop {
                let Some(next) = line(&mut reader).await else {
                    return;
                };
                if next == ".\r\n" {
                    break;
                }
                data.push_str(&next);
            }
            let pause = *memory.pause.lock().expect("no panic");
            tokio::time::sleep(pause).await;
            if !memory.forgets.load(Ordering::SeqCst) {
                let to = to.clone();
                let mut received = memory.received.lock().expect("no panic");
                received.push(Received { to, data });
            }
            memory.taken.fetch_add(1, Ordering::SeqCst);
            "250 taken".to_owned()
        } else if upper == "QUIT" {
            let _ = writer.write_all(b"221 bye\r\n").await;
            return;
        } else {
            "250 ok".to_owned()
        };
    }
}
