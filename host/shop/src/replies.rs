//! Addresses that answers by e-mail come back to: one for each ticket, with a token that only the
//! shop can make.

use std::sync::Arc;

use crate::{Result, crypto::Vault};

const PURPOSE: &str = "ticket-reply";
/// Longest part before the `@` that a mail server has to take (RFC 5321).
const LONGEST_LOCAL: usize = 64;
/// `+`, a number of up to 10 digits, `-` and the token.
const ADDED: usize = 1 + 10 + 1 + 32;

/// Address that mails to the shop's tickets arrive at, such as `tickets@reply.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyAddress {
    local: String,
    domain: String,
}

impl ReplyAddress {
    /// # Errors
    /// A sentence that completes the setting's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let email = crate::text::email(text)?;
        let (local, domain) = email.split_once('@').unwrap_or_default();
        if local.contains('+') || local.len().saturating_add(ADDED) > LONGEST_LOCAL {
            let most = LONGEST_LOCAL - ADDED;
            return Err(format!(
                "must have at most {most} characters and no `+` before the `@`"
            ));
        }
        if crate::text::is_address(domain) {
            return Err("must have a domain name behind the `@`, not an IP address".to_owned());
        }
        Ok(Self {
            local: local.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

/// Makes and reads the addresses of tickets.
#[derive(Debug, Clone)]
pub struct Replies {
    address: ReplyAddress,
    vault: Arc<Vault>,
}

impl Replies {
    pub const fn new(address: ReplyAddress, vault: Arc<Vault>) -> Self {
        Self { address, vault }
    }

    /// Returns the address for answers to the ticket with a number.
    ///
    /// # Errors
    /// When the vault has no key.
    pub fn address_of(&self, number: i64) -> Result<String> {
        let ReplyAddress { local, domain } = &self.address;
        let token = self.vault.tag(PURPOSE, &number.to_string())?;
        Ok(format!("{local}+{number}-{token}@{domain}"))
    }

    /// Returns the number of the ticket whose address this is, unless its token is wrong.
    pub fn number_of(&self, address: &str) -> Option<i64> {
        let address = address.trim().to_ascii_lowercase();
        let (local, domain) = address.rsplit_once('@')?;
        let (name, rest) = local.split_once('+')?;
        let (number, token) = rest.split_once('-')?;
        let number: i64 = number.parse().ok().filter(|number| *number > 0)?;
        let is_ours = name == self.address.local && domain == self.address.domain;
        let is_known = self.vault.has_tagged(PURPOSE, &number.to_string(), token);
        (is_ours && is_known).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::MasterKey;

    fn replies() -> Replies {
        let vault = Arc::new(Vault::new(&[MasterKey::generate()]));
        Replies::new(
            ReplyAddress::parse("Tiket@reply.example.com").unwrap(),
            vault,
        )
    }

    #[test]
    fn an_address_leads_to_its_ticket_alone() {
        let (replies, others) = (replies(), replies());
        let address = replies.address_of(7).unwrap();
        assert_eq!(replies.number_of(&address), Some(7));
        assert_eq!(replies.number_of(&address.to_uppercase()), Some(7));
        for wrong in [
            address.replace("+7-", "+8-"),
            address.replace("tiket", "lain"),
            address.replace("reply.", ""),
            address.replace("+7-", "+07"),
            others.address_of(7).unwrap(),
            "tiket@reply.example.com".to_owned(),
            "tiket+7@reply.example.com".to_owned(),
            "tiket+7-@reply.example.com".to_owned(),
            String::new(),
        ] {
            assert_eq!(replies.number_of(&wrong), None, "{wrong}");
        }
        let longest = replies.address_of(9_999_999_999).unwrap();
        assert!(longest.find('@').unwrap() <= LONGEST_LOCAL);
    }

    #[test]
    fn an_address_must_leave_room_for_its_token() {
        for wrong in [
            "tiket",
            "a+b@example.com",
            "nama-yang-sangat-panjang@example.com",
        ] {
            assert!(ReplyAddress::parse(wrong).unwrap_err().starts_with("must "));
        }
    }

    #[test]
    fn an_address_is_in_a_domain() {
        for wrong in ["tiket@192.0.2.1", "tiket@[192.0.2.1]", "tiket@toko.0x10"] {
            assert!(ReplyAddress::parse(wrong).is_err(), "{wrong}");
        }
    }
}
