//! TXT records: of the name servers of the system, of the one that the operator names, or of a test.

use std::{
    fmt::{self, Display},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{Name, RData},
};

/// Longest wait for an answer to one question.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Texts of the records of a name, as they are being looked up.
pub type RecordTexts = Pin<Box<dyn Future<Output = io::Result<Vec<String>>> + Send>>;

/// Source of TXT records.
#[derive(Clone)]
pub struct Records(Arc<dyn Fn(&str) -> RecordTexts + Send + Sync>);

impl Records {
    /// Returns a source that asks a function.
    pub fn new(lookup: impl Fn(&str) -> RecordTexts + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// Returns a source that asks a name server, or those of the system.
    pub(super) fn of_server(server: Option<SocketAddr>) -> Self {
        Self::new(move |name| {
            let name = name.to_owned();
            Box::pin(async move { ask(server, &name).await })
        })
    }

    /// Returns the texts of the records of a name; none where there are no records.
    ///
    /// # Errors
    /// Of the kind `NotFound` when there is no such name at all; of another kind when no name server answers.
    pub(super) async fn of(&self, name: &str) -> io::Result<Vec<String>> {
        (self.0)(name).await
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

async fn ask(server: Option<SocketAddr>, name: &str) -> io::Result<Vec<String>> {
    let resolver = resolver(server)?;
    // With a dot at its end it is looked for as it is, and not below the domains of this machine.
    let name = Name::from_ascii(format!("{name}.")).map_err(|error| failed(&error))?;
    let found = match resolver.txt_lookup(name).await {
        Ok(found) => found,
        Err(error) if error.is_nx_domain() => return Err(io::ErrorKind::NotFound.into()),
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut texts = Vec::new();
    for record in found.answers() {
        if let RData::TXT(text) = &record.data {
            let parts = text.txt_data.iter();
            let bytes: Vec<u8> = parts.flat_map(|part| part.iter().copied()).collect();
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(texts)
}

/// Returns a resolver for one question: it remembers nothing, so that a record is found as soon as it is there,
/// and reads the settings of the system as they are now.
fn resolver(server: Option<SocketAddr>) -> io::Result<TokioResolver> {
    let mut builder = match server {
        Some(address) => {
            let mut named = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut named.connections {
                connection.port = address.port();
            }
            let config = ResolverConfig::from_name_servers(vec![named]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => TokioResolver::builder_tokio().map_err(|error| failed(&error))?,
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|error| failed(&error))
}

fn failed(error: &dyn Display) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// Answers questions for TXT records as a name server does, with the texts that it has for a name; returns
    /// its address.
    async fn name_server(
        records: &'static [(&'static str, &'static [&'static str])],
    ) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut question).await.unwrap();
                let answer = answer(&question[..length], records);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        address
    }

    fn answer(question: &[u8], records: &[(&str, &[&str])]) -> Vec<u8> {
        let (mut name, mut at) = (String::new(), 12);
        while question[at] > 0 {
            let end = at + 1 + usize::from(question[at]);
            name.push_str(&String::from_utf8_lossy(&question[at + 1..end]));
            name.push('.');
            at = end;
        }
        // The name's end, type and class.
        let end = at + 5;
        let known = records
            .iter()
            .find(|(known, _)| format!("{known}.") == name);
        let texts = known.map_or(&[][..], |(_, texts)| *texts);
        let count = u8::try_from(texts.len()).unwrap();
        // A response to a standard query, recursion available; an unknown name is code 3.
        let code = if known.is_some() { 0x80 } else { 0x83 };
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, code, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        for text in texts {
            let length = u8::try_from(text.len()).unwrap();
            // The name of the question, TXT, IN, no time to live.
            answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, length + 1, length]);
            answer.extend(text.as_bytes());
        }
        answer
    }

    #[tokio::test]
    async fn a_name_server_is_asked_for_the_texts_of_a_name() {
        const RECORDS: &[(&str, &[&str])] = &[
            ("_dermaga.toko.example.com", &["dermaga-verify=a", "other"]),
            ("_dermaga.lain.example.com", &[]),
        ];
        let records = Records::of_server(Some(name_server(RECORDS).await));
        let mut found = records.of("_dermaga.toko.example.com").await.unwrap();
        found.sort_unstable();
        assert_eq!(found, ["dermaga-verify=a", "other"]);
        let found = records.of("_dermaga.lain.example.com").await.unwrap();
        assert!(found.is_empty(), "{found:?}");
        let unknown = records.of("_dermaga.unknown.example.com").await;
        assert_eq!(unknown.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_name_server_that_is_away_is_a_failure() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = socket.local_addr().unwrap();
        drop(socket);
        let records = Records::of_server(Some(closed));
        let away = records.of("_dermaga.toko.example.com").await.unwrap_err();
        assert_ne!(away.kind(), io::ErrorKind::NotFound);
    }
}
