//! Rows of the audit trail, of notifications, tickets, sessions, alerts and webhooks.

use super::{
    super::{
        Kind,
        words::{Rows, id, run},
    },
    Filling,
};

/// Names the administrator that a start has made.
const ADMINISTRATOR: &str = "(SELECT id FROM users WHERE role = 'ADMINISTRATOR' LIMIT 1)";

impl Filling<'_> {
    pub(super) async fn audit(&self) {
        let number = self.size.subscriptions;
        let act = "CASE n % 4 WHEN 0 THEN 'coupon.created' WHEN 1 THEN 'category.changed' \
                   WHEN 2 THEN 'coupon.switched' ELSE 'catalog.reloaded' END";
        Rows::of(self.db, "audit_events", number)
            .id("id", Kind::Audit, "n")
            .with("actor_id", ADMINISTRATOR)
            .with("act", act)
            .with("subject", "'coupon:' || (n % 1000)")
            .with("details", r#"'{"code":"LAMA"}'"#)
            .with("reason", "CASE WHEN n % 2 = 0 THEN 'Ticket ' || n END")
            .at(&["created_at"], &self.spread(number))
            .insert()
            .await;
    }

    /// Notifications by mail and in the inbox; one of ten is the biggest customer's.
    pub(super) async fn notifications(&self) {
        let number = 3 * self.size.subscriptions;
        let made = self.spread(number);
        let (biggest, other) = (id(self.db, Kind::User, "1"), self.customer());
        let payload = r#"'{"subscriptionId":"00000003-0000-0000-0000-000000000001","service":"n8n","plan":"Basic",
                           "period":2,"paid":30000,"periodEnd":"2026-09-01T00:00:00Z"}'"#;
        Rows::of(self.db, "notifications", number)
            .id("id", Kind::Notification, "n")
            .id("message_id", Kind::Message, "n")
            .with(
                "user_id",
                &format!("CASE WHEN n % 10 = 0 THEN {biggest} ELSE {other} END"),
            )
            .with("kind", "'RENEWAL_SUCCESS'")
            .with("payload", payload)
            .with("in_inbox", "TRUE")
            .at(&["created_at"], &made)
            .at_if("read_at", "n % 3 = 0", &made)
            .insert()
            .await;
        Rows::of(self.db, "notification_deliveries", number)
            .id("id", Kind::Delivery, "n")
            .id("notification_id", Kind::Notification, "n")
            .with("channel", "'EMAIL'")
            .with("address", "'pelanggan@example.com'")
            .with(
                "state",
                "CASE WHEN n % 1000 = 1 THEN 'DEAD' ELSE 'SENT' END",
            )
            .with("attempts", "1")
            .at(
                &["next_try_at", "retry_until", "created_at", "updated_at"],
                &made,
            )
            .at_if("sent_at", "n % 1000 <> 1", &made)
            .insert()
            .await;
    }

    pub(super) async fn tickets(&self) {
        let number = self.size.subscriptions / 5;
        let made = self.spread(number);
        let priority = "CASE n % 4 WHEN 0 THEN 'HIGH' WHEN 1 THEN 'LOW' ELSE 'NORMAL' END";
        Rows::of(self.db, "tickets", number)
            .id("id", Kind::Ticket, "n")
            .with("number", "(SELECT last FROM ticket_numbers) + n")
            .with("user_id", &self.customer())
            .with("subject", "'Pertanyaan ' || n")
            .with(
                "status",
                "CASE WHEN n % 20 = 0 THEN 'OPEN' ELSE 'CLOSED' END",
            )
            .with("priority", priority)
            .with("closed_by", "CASE WHEN n % 20 <> 0 THEN 'CUSTOMER' END")
            .at(&["created_at", "updated_at", "touched_at"], &made)
            .at_if("closed_at", "n % 20 <> 0", &made)
            .insert()
            .await;
        Rows::of(self.db, "ticket_messages", number)
            .id("id", Kind::Message, "n")
            .id("ticket_id", Kind::Ticket, "n")
            .with("author_id", &self.customer())
            .with("author", "'CUSTOMER'")
            .with("internal", "FALSE")
            .with("channel", "'API'")
            .with("body", "'Bagaimana cara memindahkan data? ' || n")
            .at(&["created_at"], &made)
            .insert()
            .await;
        run(
            self.db,
            format!("UPDATE ticket_numbers SET last = last + {number}"),
        )
        .await;
    }

    pub(super) async fn sessions_and_alerts(&self) {
        let number = self.size.subscriptions;
        Rows::of(self.db, "sessions", number)
            .id("id", Kind::Session, "n")
            .with("user_id", &self.customer())
            .with("device", "'Firefox, Linux'")
            .at(&["created_at", "last_used_at"], &self.spread(number))
            .at(&["expires_at"], &self.in_days(30))
            .insert()
            .await;
        let number = number / 50;
        let raised = self.spread(number);
        Rows::of(self.db, "alerts", number)
            .id("id", Kind::Alert, "n")
            .with("kind", "'CUSTOMER_DEBT'")
            .with("subject", "'customer ' || n")
            .with("message", "'A customer owes Rp10.000.'")
            .with("occurrences", "1")
            .at(&["raised_at", "last_raised_at", "resolved_at"], &raised)
            .insert()
            .await;
    }

    /// A webhook of the biggest customer that is switched off, with what was sent to it.
    pub(super) async fn webhooks(&self) {
        let now = self.in_days(0);
        Rows::of(self.db, "webhook_owners", 1)
            .id("owner_id", Kind::User, "n")
            .at(&["updated_at"], &now)
            .insert()
            .await;
        Rows::of(self.db, "webhook_endpoints", 1)
            .id("id", Kind::Webhook, "n")
            .id("owner_id", Kind::User, "n")
            .with("url", "'https://example.com/hook'")
            .with("description", "'Lama'")
            .with("events", "'[]'")
            .with("disabled_because", "'OWNER'")
            .at(&["created_at", "updated_at", "disabled_at"], &now)
            .insert()
            .await;
        let number = self.size.subscriptions / 5;
        let made = self.spread(number);
        Rows::of(self.db, "webhook_deliveries", number)
            .id("id", Kind::WebhookDelivery, "n")
            .id("webhook_id", Kind::Webhook, "1")
            .id("event_id", Kind::WebhookEvent, "n")
            .with("type", "'RENEWAL_SUCCESS'")
            .with("body", r#"'{"type":"RENEWAL_SUCCESS"}'"#)
            .with("state", "'DELIVERED'")
            .with("attempts", "1")
            .at(
                &["next_try_at", "created_at", "updated_at", "delivered_at"],
                &made,
            )
            .insert()
            .await;
    }
}
