//! Closing of tickets whose customers have not written for days.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{TicketAct, TicketClosedBy, Tickets, store};
use crate::{
    Result,
    audit::{self, AuditAct, Event, Subject},
    calendar::json_text,
    ids::TicketId,
};

/// Tickets that one look finds.
const AT_ONCE: i64 = 100;

impl Tickets {
    /// Closes answered tickets without a word of their customers for as long as the setting says;
    /// returns how many.
    ///
    /// # Errors
    /// When the database refuses; what was closed until then is.
    pub async fn close_silent(&self) -> Result<u64> {
        let Some(silence) = self.settings.silence else {
            return Ok(0);
        };
        let since = self.clock.now() - silence;
        let mut closed = 0;
        loop {
            let found = store::silent(&mut self.db.read().await?, since, AT_ONCE).await?;
            if found.is_empty() {
                return Ok(closed);
            }
            for id in found {
                if self.close_if_silent(id, since).await? {
                    closed += 1;
                }
            }
        }
    }

    /// Closes a ticket unless its customer has written meanwhile.
    async fn close_if_silent(&self, id: TicketId, since: DateTime<Utc>) -> Result<bool> {
        let mut conn = self.db.begin().await?;
        let Some(mut ticket) = store::lock(&mut conn, id).await? else {
            return Ok(false);
        };
        let Some(answered_at) = ticket.awaits_customer_since else {
            return Ok(false);
        };
        if answered_at > since || ticket.status.after(TicketAct::Close).is_none() {
            return Ok(false);
        }
        let from = ticket.status;
        ticket.close(TicketClosedBy::Silence, self.clock.now());
        store::update(&mut conn, &ticket).await?;
        let answered_at = json_text(answered_at);
        let details = json!({
            "number": ticket.number.to_string(), "from": from, "by": TicketClosedBy::Silence, "answeredAt": answered_at,
        });
        let event = Event::new(AuditAct::TicketClosed, Subject::Ticket(id), details);
        audit::record_of_shop(&mut conn, &self.clock, event).await?;
        conn.commit().await?;
        Ok(true)
    }
}
