//! A name server that answers for TXT records.

use std::net::SocketAddr;

use tokio::{net::UdpSocket, task::JoinHandle};

/// Length of the header of a message.
const HEADER: usize = 12;

/// A name server at work until it is dropped.
#[derive(Debug)]
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl NameServer {
    /// Starts a server that answers for each name with the one text that a function has for it.
    pub(crate) async fn start(text: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut question).await.unwrap();
                let answer = answer(&question[..length], &text);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, serving }
    }
}

/// Answers a question with the record of its name, or that there is no such name.
fn answer(question: &[u8], text: &impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let (mut name, mut at) = (Vec::new(), HEADER);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    let found = text(&name.join("."));
    // The end of the name, its type and its class.
    let end = at + 5;
    let (code, count) = if found.is_some() {
        (0x80, 1)
    } else {
        (0x83, 0)
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&question[HEADER..end]);
    if let Some(text) = found {
        let length = u8::try_from(text.len()).unwrap();
        // The name of the question, TXT, of the internet, for no time.
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, length + 1, length]);
        answer.extend(text.as_bytes());
    }
    answer
}
