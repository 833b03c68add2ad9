//! Settings of notifications.

use std::path::PathBuf;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::{
    mail::{self, Sender, SmtpUrl},
    templates::Templates,
};
use crate::{Code, Error, Result, crypto::Authorities, replies::Replies};

/// Settings of notifications.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Name of the shop, under its texts.
    pub shop_name: String,
    /// Folder of templates that replace the included ones.
    pub templates: Option<PathBuf>,
    /// Server that takes the shop's mails. Without one there are inboxes only.
    pub smtp: Option<SmtpUrl>,
    /// Authorities of the mail server's certificate, beside those of the system.
    pub authorities: Option<Authorities>,
    /// Sender of the mails, which `smtp` needs.
    pub from: Option<Sender>,
    /// Connections to the mail server at the same time.
    pub connections: u32,
    /// Time for which a mail that is not taken is tried again.
    pub retry: TimeDelta,
    /// Address of the shop for customers, for links in mails.
    pub shop_url: Option<String>,
    /// Time for which the token of a new password is good.
    pub password_reset: TimeDelta,
    /// Addresses for answers by e-mail; without them, there are none.
    pub replies: Option<Replies>,
    /// Without a mail server, write mails into the log.
    pub log_mails: bool,
}

impl Settings {
    /// Tries the operator's templates, as [`Notifications::new`](super::Notifications::new) does.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` with the file and line of a template that does not work.
    pub fn try_templates(&self, zone: Tz) -> Result<()> {
        self.load_templates(zone).map(drop)
    }

    /// Loads the templates.
    pub(super) fn load_templates(&self, zone: Tz) -> Result<Templates> {
        let folder = self.templates.as_deref();
        if let Some(named) = folder.filter(|named| !named.is_dir()) {
            let message = format!(
                "DERMAGA_NOTIFICATION_TEMPLATES_DIR names {}, which is not a folder.",
                named.display()
            );
            return Err(Error::new(Code::ValidationFailed, message));
        }
        Templates::load(folder, zone, &self.shop_name)
    }

    /// Tries the mail server without sending a mail; `None` where none is set.
    ///
    /// # Errors
    /// Its answer, or the reason why there is none.
    pub async fn probe(&self) -> Option<Result<(), String>> {
        let url = self.smtp.as_ref()?;
        Some(mail::probe(url, self.authorities.as_ref()).await)
    }

    /// Returns the address of a page of the shop that takes a token.
    pub(super) fn page(&self, name: &str, token: &str) -> Option<String> {
        let shop = self.shop_url.as_ref()?.trim_end_matches('/');
        Some(format!("{shop}/{name}?token={token}"))
    }

    /// Returns the address that ends further mails of a kind.
    pub(super) fn unsubscribe_address(&self, token: &str) -> Option<String> {
        let shop = self.shop_url.as_ref()?.trim_end_matches('/');
        Some(format!("{shop}/api/notifications/unsubscribe/{token}"))
    }
}
