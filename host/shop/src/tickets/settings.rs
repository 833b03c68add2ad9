//! Settings of tickets.

use chrono::TimeDelta;

use crate::{crypto::Secret, replies::ReplyAddress};

/// Settings of tickets.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Time without a word of the customer after which an answered ticket is closed; `None` never.
    pub silence: Option<TimeDelta>,
    /// Address for answers by e-mail; without one there are none.
    pub reply_address: Option<ReplyAddress>,
    /// Signs received mails by the Standard Webhooks specification.
    pub mail_secret: Option<Secret>,
    /// Last part of the path that received mails are sent to without a signature.
    pub mail_path: Option<Secret>,
}
