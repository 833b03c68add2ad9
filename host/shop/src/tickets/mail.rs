//! Answers that come by e-mail: a mail server hands over what arrives at the address of a ticket.

use mail_parser::{Message, MessageParser, PartType};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::{TicketAuthor, TicketChannel, Tickets, Writing, lock, quoted, store, texts};
use crate::{
    Code, Error, Result, accounts, crypto,
    language::{self, Language},
    owners,
    replies::Replies,
    text, text_enum, webhooks,
};

/// Bytes of a mail, with everything that is attached to it.
pub const MOST_MAIL_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of a `Message-ID` that is kept as it is; of a longer one, its digest.
const LONGEST_MAIL_ID: usize = 200;
/// Characters of the address of a sender that are kept.
const LONGEST_SENDER: usize = 320;
/// Fields with addresses that a mail was delivered to, beside To and Cc.
const DELIVERED_TO: [&str; 3] = ["Delivered-To", "X-Original-To", "Envelope-To"];

text_enum! {
    /// Use that was made of a received mail.
    pub enum MailUse {
        /// It is a message of its ticket now.
        Added = "ADDED",
        /// It was one before: mail servers may deliver twice.
        Known = "KNOWN",
        /// A program sent it, such as a note of absence.
        Automatic = "AUTOMATIC",
    }
}

/// Result of a received mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailOutcome {
    pub result: MailUse,
    /// Number of its ticket, as `#001`.
    pub number: String,
}

/// Signature of a received mail by the Standard Webhooks specification.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
}

impl Tickets {
    /// Checks the signature of a received mail.
    ///
    /// # Errors
    /// `NOT_FOUND` where mails are not received so; `SIGNATURE_INVALID`.
    pub fn check_signed(&self, signed: Option<Signed<'_>>, body: &[u8]) -> Result<()> {
        // The same for every shop, whether it has a secret or not.
        let Signed {
            id,
            timestamp,
            signature,
        } = signed.ok_or_else(not_signed)?;
        let secret = self
            .settings
            .mail_secret
            .as_ref()
            .ok_or_else(not_received)?;
        let now = self.clock.now().timestamp();
        if webhooks::is_signed(secret, (id, timestamp, signature), body, now) {
            Ok(())
        } else {
            Err(not_signed())
        }
    }

    /// Checks the last part of the path that a received mail was sent to.
    ///
    /// # Errors
    /// `NOT_FOUND` when it is another one, or mails are not received so.
    pub fn check_path(&self, given: &str) -> Result<()> {
        let wanted = self.settings.mail_path.as_ref().ok_or_else(not_received)?;
        let is_it: bool = wanted.reveal().as_bytes().ct_eq(given.as_bytes()).into();
        if is_it { Ok(()) } else { Err(not_received()) }
    }

    /// Adds a mail to the ticket that it is addressed to.
    ///
    /// # Errors
    /// `MALFORMED_REQUEST` for what is no mail; `NOT_FOUND` when it is addressed to no ticket;
    /// `VALIDATION_FAILED` when no text was written; `ACCOUNT_DISABLED` when its customer may not write;
    /// `INVALID_STATE` when the ticket is closed; `TOO_MANY_REQUESTS`.
    pub async fn receive(&self, raw: &[u8]) -> Result<MailOutcome> {
        let replies = self.replies.as_ref().ok_or_else(not_received)?;
        let mail = MessageParser::default().parse(raw);
        let mail = mail
            .filter(|mail| !mail.headers().is_empty())
            .ok_or_else(|| {
                Error::new(
                    Code::MalformedRequest,
                    "The body is not a mail, as RFC 5322 has it.",
                )
            })?;
        let number = number_of(&mail, replies).ok_or_else(|| Error::not_found("ticket"))?;
        let is_automatic = is_automatic(&mail);
        let (mail_id, body) = (id_of(&mail, raw), body_of(&mail));
        let sender = sender_of(&mail);
        // Not held across what waits.
        drop(mail);
        let mut conn = self.db.read().await?;
        let found = store::by_number(&mut conn, number).await?;
        let (id, user_id, language) = found.ok_or_else(|| Error::not_found("ticket"))?;
        let is_known = store::messages::has_mail(&mut conn, id, &mail_id).await?;
        drop(conn);
        let outcome = |result| MailOutcome {
            result,
            number: super::TicketNumber(number).to_string(),
        };
        if is_known {
            return Ok(outcome(MailUse::Known));
        }
        if is_automatic {
            return Ok(outcome(MailUse::Automatic));
        }
        let body = texts::message(&fitted(body?, language))?;
        self.admit(user_id)?;
        let mut conn = self.db.begin().await?;
        match owners::keep(&mut conn, user_id).await? {
            Some(true) => {}
            Some(false) => return Err(accounts::disabled()),
            None => return Err(Error::not_found("ticket")),
        }
        let mut ticket = lock(&mut conn, id).await?;
        if store::messages::has_mail(&mut conn, id, &mail_id).await? {
            return Ok(outcome(MailUse::Known));
        }
        let message = Writing {
            author: TicketAuthor::Customer,
            channel: TicketChannel::Email,
            mail_id: Some(&mail_id),
            mail_from: Some(&sender),
            ..Writing::of(user_id, &body)
        };
        self.add_of_customer(&mut conn, &mut ticket, &message, &[])
            .await?;
        conn.commit().await?;
        Ok(outcome(MailUse::Added))
    }
}

fn not_received() -> Error {
    Error::not_found("address for mails")
}

fn not_signed() -> Error {
    let message =
        "The mail is not signed with the shop's secret, or was signed more than five minutes ago.";
    Error::new(Code::SignatureInvalid, message)
}

/// Returns the number of the ticket that a mail is addressed to.
fn number_of(mail: &Message<'_>, replies: &Replies) -> Option<i64> {
    let named = mail.to().into_iter().chain(mail.cc());
    let named = named
        .flat_map(|address| address.iter())
        .filter_map(|one| one.address.as_deref());
    let delivered = DELIVERED_TO
        .iter()
        .filter_map(|field| mail.header_raw(*field));
    let delivered = delivered.map(|value| value.trim().trim_matches(['<', '>']));
    named
        .chain(delivered)
        .find_map(|address| replies.number_of(address))
}

/// Returns true for a mail that no person wrote (RFC 3834, and what came before it).
fn is_automatic(mail: &Message<'_>) -> bool {
    let has = |field: &'static str, words: &[&str]| {
        let value = mail
            .header_raw(field)
            .map(|value| value.trim().to_ascii_lowercase());
        value.is_some_and(|value| words.iter().any(|word| value.starts_with(word)))
    };
    let is_answered = mail.header_raw("Auto-Submitted");
    let is_answered = is_answered.is_some_and(|value| !value.trim().eq_ignore_ascii_case("no"));
    let is_bounce = mail
        .header_raw("Return-Path")
        .is_some_and(|value| value.trim() == "<>");
    is_answered || is_bounce || has("Precedence", &["bulk", "junk", "auto_reply", "list"])
}

/// Returns the id of a mail, or the digest of one that has none.
fn id_of(mail: &Message<'_>, raw: &[u8]) -> String {
    match mail.message_id() {
        Some(id) if id.len() <= LONGEST_MAIL_ID && !id.contains('\0') => id.to_owned(),
        // Its digest can be stored, and knows the same mail when it comes again.
        Some(id) => crypto::sha256_hex(id),
        None => crypto::sha256_hex(raw),
    }
}

/// Returns the address that a mail says it comes from, as addresses of accounts are kept; `unknown` when it
/// names none.
fn sender_of(mail: &Message<'_>) -> String {
    let named = mail.from().into_iter().flat_map(|address| address.iter());
    let mut named = named.filter_map(|one| one.address.as_deref());
    let first = named.next().map(str::trim);
    let first = first.filter(|address| !address.is_empty());
    let first = first.unwrap_or("unknown");
    let plain = first.chars().filter(|letter| !letter.is_control());
    plain
        .take(LONGEST_SENDER)
        .collect::<String>()
        .to_lowercase()
}

/// Returns the text of a mail without what it quotes.
fn body_of(mail: &Message<'_>) -> Result<String> {
    let texts = mail.text_bodies().filter_map(|part| match &part.body {
        PartType::Text(text) => Some(text.as_ref()),
        _ => None,
    });
    let whole = texts.collect::<Vec<_>>().join("\n");
    let written = quoted::without(&texts::lines(&whole));
    let is_odd = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    let plain: String = written.chars().filter(|letter| !is_odd(*letter)).collect();
    if text::is_unseen(&plain) {
        let message = "has no text that was written for this answer: send text, not HTML alone";
        return Err(Error::invalid("body", message));
    }
    Ok(plain)
}

/// Returns a text as long as a message may be; one that is longer says where it is cut, in the customer's
/// language, since nothing keeps the rest but the mail itself.
fn fitted(whole: String, language: Language) -> String {
    let (_, most) = texts::MESSAGE;
    if whole.chars().count() <= most {
        return whole;
    }
    let note = format!(
        "The mail is longer than the {most} characters of a message. The rest is only in the mail that was sent: send it as another answer."
    );
    let note = format!("\n\n[{}]", language::translated(&note, language));
    let left = most.saturating_sub(note.chars().count());
    let cut: String = whole.chars().take(left).collect();
    cut.trim_end().to_owned() + &note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &str) -> Message<'_> {
        MessageParser::default().parse(raw.as_bytes()).unwrap()
    }

    #[test]
    fn only_text_that_was_written_is_taken() {
        let plain =
            "Subject: Re: x\r\n\r\nIt works.\r\n\r\nOn 1 Feb 2027 Toko wrote:\r\n> Try again.\r\n";
        assert_eq!(body_of(&parsed(plain)).unwrap(), "It works.");
        let both = "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nCaf=E9\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>Other</b>\r\n--b--\r\n";
        assert_eq!(body_of(&parsed(both)).unwrap(), "Café");
        let html = "Content-Type: text/html\r\n\r\n<b>Only</b>\r\n";
        assert_eq!(body_of(&parsed(html)).unwrap_err().details[0].field, "body");
        let long = format!("Subject: x\r\n\r\n{}\r\n", "é".repeat(3000));
        assert_eq!(body_of(&parsed(&long)).unwrap().chars().count(), 3000);
    }

    #[test]
    fn a_long_mail_says_where_it_is_cut() {
        for (language, said) in [
            (Language::English, "send it as another answer.]"),
            (Language::Indonesian, "kirimkan sebagai jawaban lain.]"),
        ] {
            let cut = fitted("é".repeat(3000), language);
            assert_eq!(cut.chars().count(), 2000);
            assert!(cut.starts_with("éé") && cut.ends_with(said), "{cut}");
            assert_eq!(texts::message(&cut).unwrap(), cut);
            let whole = "é".repeat(2000);
            assert_eq!(fitted(whole.clone(), language), whole);
        }
    }

    #[test]
    fn a_sender_is_read_as_an_address_of_an_account() {
        for (head, sender) in [
            ("From: Sari <Sari@Example.com>", "sari@example.com"),
            ("From: sari@example.com, b@example.com", "sari@example.com"),
            ("Subject: x", "unknown"),
        ] {
            let raw = format!("{head}\r\nTo: a@example.com\r\n\r\nIt works.\r\n");
            assert_eq!(sender_of(&parsed(&raw)), sender, "{head}");
        }
    }

    #[test]
    fn what_programs_send_is_no_answer() {
        for (head, is_one) in [
            ("Auto-Submitted: auto-replied", true),
            ("Auto-Submitted: no", false),
            ("Precedence: bulk", true),
            ("Return-Path: <>", true),
            ("Return-Path: <a@example.com>", false),
            ("Subject: Auto-Submitted: yes", false),
        ] {
            let raw = format!("{head}\r\nTo: a@example.com\r\n\r\nAway.\r\n");
            assert_eq!(is_automatic(&parsed(&raw)), is_one, "{head}");
        }
    }
}
