//! Mails: how one is written, and how it is handed to the SMTP server.

use std::{fmt, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        PoolConfig,
        client::{Certificate, Tls, TlsParameters},
        response::{Category, Response},
    },
};

use super::model::Rendered;
use crate::{
    crypto::{Authorities, Secret},
    error::with_causes,
    ids::DeliveryId,
    text,
};

/// Longest time for one command of a conversation.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time for handing over one mail, with connecting and signing in.
pub(super) const LONGEST: Duration = Duration::from_secs(20);
/// Scheme that asks for STARTTLS, and the one for TLS from the first byte.
const SCHEMES: [&str; 2] = ["smtp", "smtps"];
/// Longest answer that is kept.
const LONGEST_ANSWER: usize = 500;

/// Address of an SMTP server, checked: `smtp://user:password@host:587` asks for STARTTLS,
/// `smtps://` for TLS from the first byte, and `smtp://host?tls=none` for neither.
#[derive(Debug, Clone)]
pub struct SmtpUrl {
    address: Secret,
    host: String,
    encryption: Encryption,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    None,
    StartTls,
    Tls,
}

impl SmtpUrl {
    /// # Errors
    /// A sentence that completes "SMTP_URL ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "must be an address such as smtp://user:password@mail.example.com:587".to_owned();
        let url = reqwest::Url::parse(text).map_err(|_| wrong())?;
        if !text::is_escaped(text) {
            return Err("must have two hexadecimal digits behind each `%`; within a password, write a `%` as %25".to_owned());
        }
        if !SCHEMES.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let mut known = url.clone();
        let encryption = match (url.scheme(), url.query()) {
            ("smtp", None) => Encryption::StartTls,
            ("smtp", Some("tls=none")) => Encryption::None,
            ("smtps", None) => Encryption::Tls,
            _ => return Err("must have no `?`, or `?tls=none` with smtp://".to_owned()),
        };
        if url.fragment().is_some() {
            return Err("must have no `#`; within a password, write it as %23".to_owned());
        }
        // One of them alone is not used to sign in.
        if url.username().is_empty() != url.password().is_none() {
            return Err("must have a user and a password, or neither of them".to_owned());
        }
        known.set_query((encryption == Encryption::StartTls).then_some("tls=required"));
        let known = Self {
            address: Secret::new(known.as_str()),
            host: url.host_str().unwrap_or_default().to_owned(),
            encryption,
        };
        known.builder(None).map_err(|_| wrong())?;
        Ok(known)
    }

    /// Name of the server, without user and password.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns true unless the address asks for connections without TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encryption != Encryption::None
    }

    fn builder(
        &self,
        authorities: Option<&Authorities>,
    ) -> Result<lettre::transport::smtp::AsyncSmtpTransportBuilder, lettre::transport::smtp::Error>
    {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(self.address.reveal())?;
        let Some(authorities) = authorities else {
            return Ok(builder);
        };
        let mut parameters = TlsParameters::builder(self.host.clone());
        for certificate in authorities.certificates() {
            let certificate = Certificate::from_der(certificate.to_vec())?;
            parameters = parameters.add_root_certificate(certificate);
        }
        let parameters = parameters.build_rustls()?;
        Ok(match self.encryption {
            Encryption::None => builder,
            Encryption::StartTls => builder.tls(Tls::Required(parameters)),
            Encryption::Tls => builder.tls(Tls::Wrapper(parameters)),
        })
    }
}

/// Sender of the shop's mails.
#[derive(Debug, Clone)]
pub struct Sender(Mailbox);

impl Sender {
    /// # Errors
    /// A sentence that completes "MAIL_FROM ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be an address such as Toko <toko@example.com>".to_owned();
        let mailbox: Mailbox = text.parse().map_err(|_| wrong())?;
        // Receivers ask the DNS of its domain who may send for it.
        if text::is_address(mailbox.email.domain()) {
            return Err("must have a domain name behind the `@`, not an IP address".to_owned());
        }
        Ok(Self(mailbox))
    }
}

/// Way of mails out of the shop.
#[derive(Clone)]
pub(super) enum Mailer {
    Smtp {
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        from: Mailbox,
    },
    /// Into the log, for developers.
    Log,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp { .. } => "Smtp",
            Self::Log => "Log",
        })
    }
}

/// A mail to send.
#[derive(Debug)]
pub(super) struct Mail<'a> {
    pub(super) id: DeliveryId,
    pub(super) name: &'a str,
    pub(super) address: &'a str,
    pub(super) content: &'a Rendered,
    /// Address that answers go to, when it is another than the sender's.
    pub(super) reply_to: Option<&'a str>,
    /// Address that ends further mails of the kind.
    pub(super) unsubscribe: Option<&'a str>,
}

/// Result of an attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// The server has taken it.
    Taken(String),
    /// The server refuses it for ever, or it cannot be written.
    Refused(String),
    /// The server refuses it for now.
    NotNow(String),
    /// The server does not answer.
    Away(String),
}

impl Mailer {
    /// # Errors
    /// When the address cannot be used, which was checked before.
    pub(super) fn smtp(
        (url, authorities): (&SmtpUrl, Option<&Authorities>),
        from: &Sender,
        connections: u32,
    ) -> Result<Self, lettre::transport::smtp::Error> {
        let pool = PoolConfig::new().max_size(connections);
        let transport = url
            .builder(authorities)?
            .timeout(Some(TIMEOUT))
            .pool_config(pool);
        Ok(Self::Smtp {
            transport: Box::new(transport.build()),
            from: from.0.clone(),
        })
    }

    pub(super) async fn send(&self, mail: &Mail<'_>) -> Sent {
        let Self::Smtp { transport, from } = self else {
            let Mail { id, content, .. } = mail;
            tracing::info!(delivery.id = %id, mail.subject = content.subject, mail.text = content.text, "mail.logged");
            return Sent::Taken("written into the log".to_owned());
        };
        let message = match write(mail, from) {
            Ok(message) => message,
            Err(error) => return Sent::Refused(format!("it cannot be written: {error}")),
        };
        match tokio::time::timeout(LONGEST, transport.send(message)).await {
            Ok(Ok(response)) => Sent::Taken(answer(&response)),
            // The mail is as good as before: the shop's own account there is wrong.
            Ok(Err(error)) if is_about_the_account(&error) => Sent::Away(told(&error)),
            Ok(Err(error)) if error.is_permanent() => Sent::Refused(told(&error)),
            Ok(Err(error)) if error.is_transient() => Sent::NotNow(told(&error)),
            Ok(Err(error)) => Sent::Away(told(&error)),
            Err(_) => Sent::Away("the mail was not taken in time".to_owned()),
        }
    }
}

/// Connects to the mail server, greets it, asks for TLS and signs in, as for a mail; sends none.
///
/// # Errors
/// Its answer, or the reason why there is none.
pub(super) async fn probe(url: &SmtpUrl, authorities: Option<&Authorities>) -> Result<(), String> {
    let builder = url.builder(authorities).map_err(|error| told(&error))?;
    let builder = builder.timeout(Some(TIMEOUT));
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.build();
    match tokio::time::timeout(LONGEST, transport.test_connection()).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("the connection broke".to_owned()),
        Ok(Err(error)) => Err(told(&error)),
        Err(_) => Err(format!("it was silent for {} s", LONGEST.as_secs())),
    }
}

/// Returns true when the server refuses the shop, by 530 to 538, and not a mail.
fn is_about_the_account(error: &lettre::transport::smtp::Error) -> bool {
    let code = error.status();
    error.is_permanent() && code.is_some_and(|code| code.category == Category::Unspecified3)
}

fn answer(response: &Response) -> String {
    let lines: Vec<&str> = response.message().collect();
    cut(&format!("{} {}", response.code(), lines.join(" ")))
}

/// Returns an error with its causes.
fn told(error: &lettre::transport::smtp::Error) -> String {
    cut(&with_causes(error))
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(LONGEST_ANSWER)
        .collect()
}

/// A mail that could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("{0}")]
    Address(#[from] lettre::address::AddressError),
    #[error("{0}")]
    Message(#[from] lettre::error::Error),
}

fn write(mail: &Mail<'_>, from: &Mailbox) -> Result<Message, WriteError> {
    let to = Mailbox::new(Some(on_one_line(mail.name)), mail.address.parse()?);
    let Rendered {
        subject,
        text,
        html,
    } = mail.content;
    // The same in every attempt, so that a server or reader knows a mail that comes twice.
    let message_id = format!("<{}@{}>", mail.id, from.email.domain());
    let mut message = Message::builder()
        .from(from.clone())
        .to(to)
        .subject(on_one_line(subject))
        .message_id(Some(message_id))
        .raw_header(header("Auto-Submitted", "auto-generated"));
    if let Some(address) = mail.reply_to {
        message = message.reply_to(address.parse()?);
    }
    if let Some(address) = mail.unsubscribe {
        message = message
            .raw_header(header("List-Unsubscribe", &format!("<{address}>")))
            .raw_header(header(
                "List-Unsubscribe-Post",
                "List-Unsubscribe=One-Click",
            ));
    }
    let parts = MultiPart::alternative_plain_html(text.clone(), html.clone());
    Ok(message.multipart(parts)?)
}

/// Leaves out what ends a header, which lettre does not write.
fn on_one_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_checked() {
        for good in [
            "smtp://mail.example.com",
            "smtp://user:p%40ss@mail.example.com:2525",
            "smtps://user:word@mail.example.com",
            "smtp://127.0.0.1:2525?tls=none",
        ] {
            SmtpUrl::parse(good).unwrap();
        }
        for wrong in [
            "",
            "mail.example.com",
            "https://mail.example.com",
            "smtp://",
            "smtp://mail.example.com?tls=opportunistic",
            "smtps://mail.example.com?tls=none",
            "smtp://mail.example.com?tls=none&tls=none",
            "smtp://user:1#word@mail.example.com",
            "smtp://mail.example.com#tls",
            "smtp://user@mail.example.com",
            "smtp://:word@mail.example.com",
            "smtp://user:word%zz@mail.example.com",
            "smtp://user:word%4@mail.example.com",
        ] {
            let said = SmtpUrl::parse(wrong).unwrap_err();
            assert!(said.starts_with("must "), "{wrong}: {said}");
            assert!(!said.contains("word%"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_sender_is_in_a_domain() {
        for good in ["toko@example.com", "Toko <toko@1.example>"] {
            Sender::parse(good).unwrap();
        }
        for wrong in ["toko", "toko@192.0.2.1", "Toko <toko@[192.0.2.1]>"] {
            assert!(
                Sender::parse(wrong).unwrap_err().starts_with("must "),
                "{wrong}"
            );
        }
    }

    #[test]
    fn passwords_of_servers_are_not_shown() {
        let url = SmtpUrl::parse("smtp://user:rahasia@mail.example.com").unwrap();
        assert!(!format!("{url:?}").contains("rahasia"));
    }

    #[test]
    fn a_mail_has_both_texts_and_cannot_be_given_headers() {
        let from = Sender::parse("Toko <toko@example.com>").unwrap().0;
        let content = Rendered {
            subject: "Halo\r\nBcc: lain@example.com".to_owned(),
            text: "Isi".to_owned(),
            html: "<p>Isi</p>".to_owned(),
        };
        let mut mail = Mail {
            id: DeliveryId::from_u128(7),
            name: "Sari\r\nBcc: lain@example.com",
            address: "sari@example.com",
            content: &content,
            reply_to: Some("tiket+7-0a@example.com"),
            unsubscribe: Some("https://toko.example.com/u/1"),
        };
        let text = String::from_utf8(write(&mail, &from).unwrap().formatted()).unwrap();
        let head = text.split_once("\r\n\r\n").unwrap().0;
        assert!(!head.lines().any(|line| line.starts_with("Bcc:")), "{head}");
        for expected in [
            "Reply-To: tiket+7-0a@example.com",
            "List-Unsubscribe: <https://toko.example.com/u/1>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "Message-ID: <00000000-0000-0000-0000-000000000007@example.com>",
        ] {
            assert!(head.contains(expected), "{head}");
        }
        assert!(
            text.contains("text/plain") && text.contains("text/html"),
            "{text}"
        );
        mail.address = "no address";
        write(&mail, &from).unwrap_err();
    }
}
