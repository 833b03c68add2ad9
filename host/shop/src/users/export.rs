//! Export of an account: what the shop holds about a person, in one archive, whose README names what it leaves out.
//!
//! Each file holds what its owner sees over HTTP, so that no secret is in it that was not shown before.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    Code, Error, Result,
    accounts::{Accounts, Identity, Profile},
    audit::{self, AuditEvent, AuditFilter},
    catalog::{
        Catalog,
        waitlist::{self, WaitView},
    },
    coupons::{self, RedemptionView},
    db::{Part, Place, Span, Walked},
    ids::UserId,
    language::{self, Language},
    notifications::{NotificationView, Notifications},
    payments::{self, DebtFilter, DebtView, Payment, PaymentFilter, PaymentView},
    provisioning::{self, Instances, domains::Domains, view::InstanceView},
    subscriptions::{self, SubscriptionView},
    throttle::Throttle,
    tickets::{TicketDetail, TicketView, Tickets},
    wallet::{self, Transaction, TransactionFilter, TransactionView, Wallets},
    webhooks::{Owner, Webhooks},
};

/// Archives that an account may ask for within an hour, on one server.
const MOST_AN_HOUR: u32 = 5;
/// Archives that are made at the same time, on one server.
const MOST_AT_ONCE: usize = 2;
/// Rows that are read at a time.
const ROWS: i64 = 500;
/// Bytes of pictures in an archive; the others are named in it, and can be fetched one by one.
const MOST_PICTURE_BYTES: i64 = 256 * 1024 * 1024;
/// Name of the file that says what the others hold.
const README: &str = "README.txt";
const ENGLISH: &str = include_str!("export/README.en.txt");
const INDONESIAN: &str = include_str!("export/README.id.txt");

/// Limits of exports. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exports {
    asked: Arc<Throttle<UserId>>,
    turns: Arc<Semaphore>,
}

impl Default for Exports {
    fn default() -> Self {
        let hour = TimeDelta::hours(1);
        Self {
            asked: Arc::new(Throttle::new(MOST_AN_HOUR, hour, "exports")),
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }
    }
}

/// Domains that an archive is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    pub accounts: &'a Accounts,
    pub catalog: &'a Catalog,
    pub domains: &'a Domains,
    pub instances: &'a Instances,
    pub notifications: &'a Notifications,
    pub tickets: &'a Tickets,
    pub wallets: &'a Wallets,
    pub webhooks: &'a Webhooks,
}

impl Exports {
    /// Writes the archive of an account into a file without a name, which is gone when it is closed;
    /// returns it at its beginning.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` after 5 in an hour; `UNAVAILABLE` when two others are being made.
    pub async fn archive(&self, sources: Sources<'_>, identity: Identity) -> Result<File> {
        let _turn = self.turns.try_acquire().map_err(|_| {
            let message = "Other archives are being made. Try again in a minute.";
            Error::new(Code::Unavailable, message)
        })?;
        let now = sources.accounts.clock().now();
        self.asked.admit(identity.user_id, now)?;
        let (pieces, taken) = mpsc::channel(1);
        let writing = tokio::task::spawn_blocking(move || write(taken));
        let archive = Archive { pieces, rows: ROWS };
        // A writer that has failed takes no more; its own error is the one to tell.
        let filled = archive.fill(sources, identity).await;
        drop(archive);
        let file = writing.await.map_err(Error::internal)?;
        let file = file.map_err(Error::internal)?;
        filled.map(|()| file)
    }
}

/// Piece of the archive.
enum Piece {
    /// A file with this name begins.
    File(String),
    /// More of the file that began last.
    Content(Vec<u8>),
}

fn write(mut pieces: mpsc::Receiver<Piece>) -> io::Result<File> {
    let mut archive = ZipWriter::new(tempfile::tempfile()?);
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::File(name) => archive.start_file(name, SimpleFileOptions::default())?,
            Piece::Content(content) => archive.write_all(&content)?,
        }
    }
    let mut file = archive.finish()?;
    file.rewind()?;
    Ok(file)
}

/// JSON array that is written a part at a time, as [`serde_json::to_vec_pretty`] writes a whole one.
#[derive(Default)]
struct Array {
    has_items: bool,
}

impl Array {
    fn part<T: Serialize>(&mut self, items: impl Iterator<Item = T>) -> Result<Vec<u8>> {
        let mut text = String::new();
        for item in items {
            text.push_str(if self.has_items { ",\n  " } else { "\n  " });
            self.has_items = true;
            let item = serde_json::to_string_pretty(&item).map_err(Error::internal)?;
            text.push_str(&item.replace('\n', "\n  "));
        }
        Ok(text.into_bytes())
    }

    const fn end(&self) -> &'static str {
        if self.has_items { "\n]" } else { "]" }
    }
}

struct Archive {
    pieces: mpsc::Sender<Piece>,
    /// Rows that are read at a time.
    rows: i64,
}

impl Archive {
    async fn send(&self, piece: Piece) -> Result<()> {
        let sent = self.pieces.send(piece).await;
        sent.map_err(|_| Error::internal("the archive is not written"))
    }

    async fn put(&self, name: String, content: Vec<u8>) -> Result<()> {
        self.send(Piece::File(name)).await?;
        self.send(Piece::Content(content)).await
    }

    /// Writes a whole list, each row once whatever comes meanwhile, and holds a part of it at a time.
    async fn walk<T, V: Serialize, K, F>(
        &self,
        name: &str,
        read: impl Fn(Span<K>) -> F,
        place: impl Fn(&T) -> Place<K>,
        view: impl Fn(T) -> V,
    ) -> Result<()>
    where
        F: Future<Output = Result<Walked<T>>>,
    {
        let mut array = self.begin(name).await?;
        let mut span = first(self.rows);
        loop {
            let found = read(span).await?;
            let next = after(&found, &place, self.rows);
            let content = array.part(found.items.into_iter().map(&view))?;
            self.send(Piece::Content(content)).await?;
            match next {
                Some(next) => span = next,
                None => return self.end(&array).await,
            }
        }
    }

    /// Reads a whole list, each row once whatever comes meanwhile.
    async fn all<T, K, F>(
        &self,
        read: impl Fn(Span<K>) -> F,
        place: impl Fn(&T) -> Place<K>,
    ) -> Result<Vec<T>>
    where
        F: Future<Output = Result<Walked<T>>>,
    {
        let mut rows = Vec::new();
        let mut span = first(self.rows);
        loop {
            let found = read(span).await?;
            let next = after(&found, &place, self.rows);
            rows.extend(found.items);
            match next {
                Some(next) => span = next,
                None => return Ok(rows),
            }
        }
    }

    async fn begin(&self, name: &str) -> Result<Array> {
        self.put(format!("{name}.json"), b"[".to_vec()).await?;
        Ok(Array::default())
    }

    async fn end(&self, array: &Array) -> Result<()> {
        self.send(Piece::Content(array.end().into())).await
    }

    async fn json<T: Serialize + Sync>(&self, name: &str, value: &T) -> Result<()> {
        let content = serde_json::to_vec_pretty(value).map_err(Error::internal)?;
        self.put(format!("{name}.json"), content).await
    }

    async fn fill(&self, sources: Sources<'_>, identity: Identity) -> Result<()> {
        let explanation = match language::current() {
            Language::English => ENGLISH,
            Language::Indonesian => INDONESIAN,
        };
        self.put(README.to_owned(), explanation.into()).await?;
        self.account(sources, identity).await?;
        self.money(sources, identity.user_id).await?;
        self.services(sources, identity.user_id).await?;
        self.messages(sources, identity.user_id).await?;
        self.tickets(sources.tickets, identity.user_id).await
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
        let subject = format!("user:{id}");
        let filter = AuditFilter {
            subject: Some(&subject),
            ..AuditFilter::default()
        };
        let filter = &filter;
        let db = &sources.instances.db;
        let read = |span| audit::list(db, filter, span);
        self.walk("acts", read, AuditEvent::place, |act| act).await
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
        let read = |span| payments::walk(db, filter, span);
        let at = |payment: &Payment| place(payment.created_at, payment.id);
        self.walk("payments", read, at, PaymentView::from).await?;
        let filter = DebtFilter {
            user_id: Some(id),
            ..DebtFilter::default()
        };
        let read = |span| payments::walk_debts(db, filter, span);
        let at = |debt: &DebtView| place(debt.created_at, debt.id);
        self.walk("debts", read, at, |debt| debt).await?;
        let read = |span| coupons::walk_redemptions(db, id, span);
        let at = |used: &RedemptionView| place(used.created_at, used.id);
        self.walk("coupons", read, at, |used| used).await
    }

    async fn services(&self, sources: Sources<'_>, id: UserId) -> Result<()> {
        let Sources {
            catalog,
            domains,
            instances,
            ..
        } = sources;
        let db = &instances.db;
        let read = |span| subscriptions::walk(db, id, span);
        let at = |found: &SubscriptionView| place(found.created_at, found.id);
        let listed = self.all(read, at).await?;
        let mut subscriptions = Vec::with_capacity(listed.len());
        for found in listed {
            let mut conn = db.read().await?;
            subscriptions.push(subscriptions::detail(&mut conn, id, found.id).await?);
        }
        self.json("subscriptions", &subscriptions).await?;
        let read = |span| provisioning::walk(db, id, span);
        let at = |found: &InstanceView| place(found.created_at, found.id);
        let listed = self.all(read, at).await?;
        let mut details = Vec::with_capacity(listed.len());
        for found in listed {
            details.push(provisioning::detail(instances, id, found.id).await?);
        }
        self.json("instances", &details).await?;
        let domains = domains.of_customer(id).await?;
        self.json("domains", &domains).await?;
        let read = |span| waitlist::walk(catalog, id, span);
        let at = |wait: &WaitView| place(wait.created_at, wait.id);
        let waits = self.all(read, at).await?;
        self.json("waitlist", &waits).await
    }

    async fn messages(&self, sources: Sources<'_>, id: UserId) -> Result<()> {
        let Sources {
            notifications,
            webhooks,
            ..
        } = sources;
        let read = |span| notifications.walk(id, span);
        let at = |told: &NotificationView| place(told.created_at, told.id);
        self.walk("notifications", read, at, |told| told).await?;
        let preferences = notifications.preferences(id).await?;
        self.json("notification-preferences", &preferences).await?;
        let endpoints = webhooks.list(Owner::Customer(id)).await?;
        self.json("webhooks", &endpoints).await
    }

    async fn tickets(&self, tickets: &Tickets, id: UserId) -> Result<()> {
        let read = |span| tickets.walk(id, span);
        let at = |ticket: &TicketView| place(ticket.created_at, ticket.id);
        let listed = self.all(read, at).await?;
        let mut left = MOST_PICTURE_BYTES;
        let mut details = Vec::with_capacity(listed.len());
        for found in listed {
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

/// Returns the place of a row in its list.
const fn place<K>(at: DateTime<Utc>, tie: K) -> Place<K> {
    Place { at, tie }
}

/// Returns the first part of a list.
const fn first<K>(limit: i64) -> Span<K> {
    Span::Page(Part { offset: 0, limit })
}

/// Returns the part after one that was read, if more follows.
fn after<T, K>(read: &Walked<T>, place: impl Fn(&T) -> Place<K>, limit: i64) -> Option<Span<K>> {
    let last = read.items.last().filter(|_| read.has_more)?;
    Some(Span::After(place(last), limit))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        ids::{PlanId, SubscriptionId},
        test_database::TestDatabase,
    };

    /// Adds a subscription that is newer than all others.
    async fn newer(database: &TestDatabase, plan: PlanId) -> SubscriptionId {
        database.clock.advance(TimeDelta::seconds(1));
        let end = database.clock.now() + TimeDelta::days(30);
        database.subscribe(plan, "ACTIVE", end).await
    }

    #[tokio::test]
    async fn a_row_is_in_a_list_once_while_newer_ones_come() {
        let database = &TestDatabase::open().await;
        let plan = database.sell("service-test", "image").await;
        let mut bought = Vec::new();
        for _ in 0..3 {
            bought.insert(0, newer(database, plan).await);
        }
        let (pieces, mut taken) = mpsc::channel(16);
        let archive = Archive { pieces, rows: 1 };
        let (db, id) = (&database.db, database.user_id);
        let read = |span: Span<SubscriptionId>| async move {
            let found = subscriptions::walk(db, id, span).await;
            newer(database, plan).await;
            found
        };
        let at = |found: &SubscriptionView| place(found.created_at, found.id);
        let view = |found: SubscriptionView| found.id;
        archive.walk("list", read, at, view).await.unwrap();
        let listed = archive.all(read, at).await.unwrap();
        drop(archive);

        let mut text = Vec::new();
        while let Some(piece) = taken.recv().await {
            if let Piece::Content(content) = piece {
                text.extend(content);
            }
        }
        let written: Vec<SubscriptionId> = serde_json::from_slice(&text).unwrap();
        assert_eq!(written, bought);
        // Three came while the list was written.
        let listed: Vec<SubscriptionId> = listed.into_iter().map(view).collect();
        assert_eq!(listed.len(), 6);
        assert_eq!(listed[3..], bought);
    }

    #[test]
    fn an_array_in_parts_is_the_array() {
        let items = [json!({ "a": [1, 2], "b": "x\ny" }), json!([]), json!(null)];
        for parts in [[0, 0], [0, 1], [1, 1], [1, 3], [2, 2]] {
            let [first, all] = parts;
            let mut array = Array::default();
            let mut text = String::from("[");
            for part in [&items[..first], &items[first..all]] {
                let part = array.part(part.iter()).unwrap();
                text.push_str(std::str::from_utf8(&part).unwrap());
            }
            text.push_str(array.end());
            let whole: Vec<&Value> = items[..all].iter().collect();
            assert_eq!(text, serde_json::to_string_pretty(&whole).unwrap());
        }
    }
}
