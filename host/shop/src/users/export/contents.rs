//! Files of an archive with what is in them; [`held`] says which tables they are from.

use std::collections::BTreeSet;

use super::{
    Archive, MOST_PICTURE_BYTES, README, Sources, held,
    model::{
        ChangeOfPlan, EndedSession, EndedToken, EndpointDelivery, GatewayRefund, InstanceEvent,
        KeptQuote, Mail, MoveOfPrice, RecordedAct,
    },
    place, store,
};
use crate::{
    Result,
    accounts::{Identity, Profile},
    audit::{self, AuditEvent, AuditFilter, Subject},
    catalog::waitlist::{self, WaitView},
    coupons::{self, RedemptionView},
    db::Db,
    ids::{InstanceId, UserId},
    language,
    notifications::NotificationView,
    payments::{self, DebtFilter, DebtView, Payment, PaymentFilter, PaymentView},
    plugins::{self, ExplainedDecision},
    provisioning::{
        self, Event,
        view::{EventView, InstanceView},
    },
    subscriptions::{self, SubscriptionView},
    tickets::{TicketDetail, TicketView, Tickets},
    wallet::{self, Transaction, TransactionFilter, TransactionView},
    webhooks::{Owner, Webhook, WebhookDelivery, Webhooks},
};

impl Archive {
    /// Writes everything, in the order in which people look for it.
    pub(super) async fn fill(&self, sources: Sources<'_>, identity: Identity) -> Result<()> {
        let explanation = held::explanation(language::current());
        self.put(README.to_owned(), explanation.into_bytes())
            .await?;
        let id = identity.user_id;
        let db = &sources.instances.db;
        let own = [Subject::User(id), Subject::Wallet(id)].map(|own| own.to_string());
        let mut own = BTreeSet::from(own);
        // Boxed, so that the request does not carry the largest of them all the time.
        Box::pin(self.account(sources, identity)).await?;
        Box::pin(self.money(sources, id)).await?;
        Box::pin(self.services(sources, id, &mut own)).await?;
        Box::pin(self.decisions(db, id)).await?;
        Box::pin(self.messages(sources, id)).await?;
        Box::pin(self.acts_upon(db, id, &own)).await?;
        Box::pin(self.tickets(sources.tickets, id, &mut own)).await?;
        Box::pin(self.acts_by(db, id, &own)).await
    }

    async fn account(&self, sources: Sources<'_>, identity: Identity) -> Result<()> {
        let Sources { accounts, .. } = sources;
        let id = identity.user_id;
        let profile = Profile::from(accounts.user(id).await?);
        self.json("profile", &profile).await?;
        let sessions = accounts.sessions(identity).await?;
        self.json("sessions", &sessions).await?;
        let tokens = accounts.api_tokens(id).await?;
        self.json("api-tokens", &tokens).await?;
        let two_factor = accounts.two_factor(identity).await?;
        self.json("two-factor", &two_factor).await?;
        let (db, now) = (&sources.instances.db, accounts.clock().now());
        let read = |span| store::ended_sessions(db, id, now, span);
        let at = |ended: &EndedSession| place(ended.created_at, ended.id);
        self.walk("ended-sessions", read, at, |ended| ended).await?;
        let read = |span| store::ended_tokens(db, id, now, span);
        let at = |ended: &EndedToken| place(ended.created_at, ended.id);
        self.walk("ended-api-tokens", read, at, |ended| ended).await
    }

    async fn money(&self, sources: Sources<'_>, id: UserId) -> Result<()> {
        let db = &sources.instances.db;
        let info = wallet::info(sources.wallets, id).await?;
        self.json("wallet", &info).await?;
        let every = TransactionFilter::default();
        let read = |span| wallet::transactions(db, id, every, span);
        self.walk(
            "transactions",
            read,
            Transaction::place,
            TransactionView::from,
        )
        .await?;
        let filter = PaymentFilter {
            user_id: Some(id),
            ..PaymentFilter::default()
        };
        let read = |span| payments::list(db, filter, span);
        self.walk("payments", read, Payment::place, PaymentView::from)
            .await?;
        let read = |span| store::refunds(db, id, span);
        let at = |refund: &GatewayRefund| place(refund.created_at, refund.id);
        self.walk("refunds", read, at, |refund| refund).await?;
        let filter = DebtFilter {
            user_id: Some(id),
            ..DebtFilter::default()
        };
        let read = |span| payments::debts(db, filter, span);
        let at = |debt: &DebtView| place(debt.created_at, debt.id);
        self.walk("debts", read, at, |debt| debt).await?;
        let read = |span| coupons::redemptions_by(db, id, span);
        let at = RedemptionView::place;
        self.walk("coupons", read, at, |used| used).await
    }

    async fn services(
        &self,
        sources: Sources<'_>,
        id: UserId,
        own: &mut BTreeSet<String>,
    ) -> Result<()> {
        let Sources {
            catalog,
            domains,
            instances,
            ..
        } = sources;
        let db = &instances.db;
        let read = |span| subscriptions::list(db, id, None, span);
        let listed = self.all(read, SubscriptionView::place).await?;
        let mut subscriptions = Vec::with_capacity(listed.len());
        for found in listed {
            own.insert(Subject::Subscription(found.id).to_string());
            let mut conn = db.read().await?;
            subscriptions.push(subscriptions::detail(&mut conn, id, found.id).await?);
        }
        self.json("subscriptions", &subscriptions).await?;
        self.changes(db, id).await?;
        let read = |span| provisioning::list(db, id, None, span);
        let at = |found: &InstanceView| place(found.created_at, found.id);
        let listed = self.all(read, at).await?;
        let mut details = Vec::with_capacity(listed.len());
        for found in &listed {
            own.insert(Subject::Instance(found.id).to_string());
            details.push(provisioning::detail(instances, id, found.id).await?);
        }
        self.json("instances", &details).await?;
        let listed: Vec<_> = listed.iter().map(|found| found.id).collect();
        self.instance_events(db, id, &listed).await?;
        let domains = domains.of_customer(id).await?;
        own.extend(
            domains
                .iter()
                .map(|own| Subject::Domain(own.id).to_string()),
        );
        self.json("domains", &domains).await?;
        let read = |span| waitlist::walk(catalog, id, span);
        let at = |wait: &WaitView| place(wait.created_at, wait.id);
        let waits = self.all(read, at).await?;
        self.json("waitlist", &waits).await
    }

    /// Writes the changes of plans and prices of subscriptions.
    async fn changes(&self, db: &Db, id: UserId) -> Result<()> {
        let read = |span| store::plan_changes(db, id, span);
        let at = |change: &ChangeOfPlan| place(change.created_at, change.id);
        self.walk("plan-changes", read, at, |change| change).await?;
        let read = |span| store::price_moves(db, id, span);
        let at = |moved: &MoveOfPrice| place(moved.created_at, moved.subscription_id);
        self.walk("price-moves", read, at, |moved| moved).await
    }

    async fn instance_events(&self, db: &Db, id: UserId, instances: &[InstanceId]) -> Result<()> {
        let mut array = self.begin("instance-events").await?;
        for &instance_id in instances {
            let read = |span| provisioning::walk_events(db, id, instance_id, span);
            let at = |event: &Event| place(event.created_at, event.id);
            let view = |event| InstanceEvent {
                instance_id,
                event: EventView::of(event),
            };
            self.append(&mut array, read, at, view).await?;
        }
        self.end(&array).await
    }

    async fn decisions(&self, db: &Db, id: UserId) -> Result<()> {
        let read = |span| plugins::walk_explained(db, id, span);
        let at = ExplainedDecision::place;
        self.walk("decisions", read, at, |decided| decided).await?;
        let read = |span| store::quotes(db, id, span);
        let at = |quote: &KeptQuote| place(quote.created_at, quote.id);
        self.walk("quotes", read, at, |quote| quote).await
    }

    async fn messages(&self, sources: Sources<'_>, id: UserId) -> Result<()> {
        let Sources {
            notifications,
            webhooks,
            ..
        } = sources;
        let read = |span| notifications.walk(id, span);
        let at = NotificationView::place;
        self.walk("notifications", read, at, |told| told).await?;
        let read = |span| notifications.walk_security(id, span);
        self.walk("security-events", read, at, |told| told).await?;
        let db = &sources.instances.db;
        let read = |span| store::mails(db, id, span);
        let mailed = |mail: &Mail| place(mail.created_at, mail.id);
        self.walk("mails", read, mailed, |mail| mail).await?;
        let preferences = notifications.preferences(id).await?;
        self.json("notification-preferences", &preferences).await?;
        let endpoints = webhooks.list(Owner::Customer(id)).await?;
        self.json("webhooks", &endpoints).await?;
        self.deliveries(webhooks, id, &endpoints).await
    }

    async fn deliveries(
        &self,
        webhooks: &Webhooks,
        id: UserId,
        endpoints: &[Webhook],
    ) -> Result<()> {
        let mut array = self.begin("webhook-deliveries").await?;
        for endpoint in endpoints {
            let (owner, webhook_id) = (Owner::Customer(id), endpoint.id);
            let read = |span| webhooks.deliveries(owner, webhook_id, None, span);
            let view = |delivery| EndpointDelivery {
                webhook_id,
                delivery,
            };
            self.append(&mut array, read, WebhookDelivery::place, view)
                .await?;
        }
        self.end(&array).await
    }

    async fn acts_upon(&self, db: &Db, id: UserId, own: &BTreeSet<String>) -> Result<()> {
        let mut array = self.begin("acts").await?;
        for subject in own {
            let filter = AuditFilter {
                subject: Some(subject),
                ..AuditFilter::default()
            };
            let filter = &filter;
            let read = |span| audit::list(db, filter, span);
            let view = |event| RecordedAct::upon(event, id);
            self.append(&mut array, read, AuditEvent::place, view)
                .await?;
        }
        self.end(&array).await
    }

    async fn acts_by(&self, db: &Db, id: UserId, own: &BTreeSet<String>) -> Result<()> {
        let filter = AuditFilter {
            actor_id: Some(id),
            ..AuditFilter::default()
        };
        let filter = &filter;
        let read = |span| audit::list(db, filter, span);
        let view = |event| RecordedAct::by(event, own);
        self.walk("acts-by-you", read, AuditEvent::place, view)
            .await
    }

    /// Writes the tickets. Acts upon them are not the customer's to read, and those of the customer are.
    async fn tickets(
        &self,
        tickets: &Tickets,
        id: UserId,
        own: &mut BTreeSet<String>,
    ) -> Result<()> {
        let read = |span| tickets.list(id, None, span);
        let at = TicketView::place;
        let listed = self.all(read, at).await?;
        let mut left = MOST_PICTURE_BYTES;
        let mut details = Vec::with_capacity(listed.len());
        for found in listed {
            own.insert(Subject::Ticket(found.id).to_string());
            let detail = tickets.get(id, found.id).await?;
            self.pictures(tickets, id, &detail, &mut left).await?;
            details.push(detail);
        }
        self.json("tickets", &details).await
    }

    async fn pictures(
        &self,
        tickets: &Tickets,
        id: UserId,
        ticket: &TicketDetail,
        left: &mut i64,
    ) -> Result<()> {
        let messages = ticket.messages.iter();
        for picture in messages.flat_map(|message| &message.attachments) {
            *left = left.saturating_sub(picture.size_bytes);
            if *left < 0 {
                return Ok(());
            }
            let file = tickets.attachment(id, picture.id).await?;
            let name = format!("attachments/{}.{}", file.id, file.media_type.extension());
            self.put(name, file.content).await?;
        }
        Ok(())
    }
}
