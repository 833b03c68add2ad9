//! Export of an account: everything that the shop holds about a person, in one archive.
//!
//! Each file holds what its owner sees over HTTP, so that no secret is in it that was not shown before.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    sync::Arc,
};

use chrono::TimeDelta;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    Code, Error, Result,
    accounts::{Accounts, Identity, Profile},
    audit::{self, AuditEvent, AuditFilter},
    catalog::{Catalog, waitlist},
    coupons,
    db::{Page, Part, Place, Span, Walked},
    ids::UserId,
    language::{self, Language},
    notifications::{InboxFilter, NotificationView, Notifications},
    payments::{self, DebtFilter, PaymentFilter, PaymentView},
    provisioning::{self, Instances, domains::Domains},
    subscriptions,
    throttle::Throttle,
    tickets::{TicketDetail, Tickets},
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
        let (entries, taken) = mpsc::channel(1);
        let writing = tokio::task::spawn_blocking(move || write(taken));
        let archive = Archive(entries);
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

struct Archive(mpsc::Sender<Piece>);

impl Archive {
    async fn send(&self, piece: Piece) -> Result<()> {
        let sent = self.0.send(piece).await;
        sent.map_err(|_| Error::internal("the archive is not written"))
    }

    async fn put(&self, name: String, content: Vec<u8>) -> Result<()> {
        self.send(Piece::File(name)).await?;
        self.send(Piece::Content(content)).await
    }

    /// Writes a whole list that grows at its beginning, each row once whatever comes meanwhile, and holds a part of
    /// it at a time.
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
        let mut span = Span::Page(Part {
            offset: 0,
            limit: ROWS,
        });
        loop {
            let found = read(span).await?;
            let last = found.items.last().map(&place);
            let last = last.filter(|_| found.has_more);
            let content = array.part(found.items.into_iter().map(&view))?;
            self.send(Piece::Content(content)).await?;
            match last {
                Some(last) => span = Span::After(last, ROWS),
                None => return self.end(&array).await,
            }
        }
    }

    /// Writes a whole list, and holds a page of it at a time.
    async fn pages<T, V: Serialize, F>(
        &self,
        name: &str,
        read: impl Fn(Part) -> F,
        view: impl Fn(T) -> V,
    ) -> Result<()>
    where
        F: Future<Output = Result<Page<T>>>,
    {
        let mut array = self.begin(name).await?;
        let mut offset = 0;
        loop {
            let found = read(Part {
                offset,
                limit: ROWS,
            })
            .await?;
            let is_last = is_last(&found);
            let content = array.part(found.items.into_iter().map(&view))?;
            self.send(Piece::Content(content)).await?;
            if is_last {
                return self.end(&array).await;
            }
            offset += ROWS;
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
        let read = |part| payments::list(db, filter, part);
        self.pages("payments", read, PaymentView::from).await?;
        let filter = DebtFilter {
            user_id: Some(id),
            ..DebtFilter::default()
        };
        let read = |part| payments::debts(db, filter, part);
        self.pages("debts", read, |debt| debt).await?;
        let read = |part| coupons::redemptions_by(db, id, part);
        self.pages("coupons", read, |redemption| redemption).await
    }

    async fn services(&self, sources: Sources<'_>, id: UserId) -> Result<()> {
        let Sources {
            catalog,
            domains,
            instances,
            ..
        } = sources;
        let db = &instances.db;
        let listed = all(|part| subscriptions::list(db, id, None, part)).await?;
        let mut subscriptions = Vec::with_capacity(listed.len());
        for found in listed {
            let mut conn = db.read().await?;
            subscriptions.push(subscriptions::detail(&mut conn, id, found.id).await?);
        }
        self.json("subscriptions", &subscriptions).await?;
        let listed = all(|part| provisioning::list(db, id, None, part)).await?;
        let mut details = Vec::with_capacity(listed.len());
        for found in listed {
            details.push(provisioning::detail(instances, id, found.id).await?);
        }
        self.json("instances", &details).await?;
        let domains = domains.of_customer(id).await?;
        self.json("domains", &domains).await?;
        let waits = all(|part| waitlist::waits(catalog, id, part)).await?;
        self.json("waitlist", &waits).await
    }

    async fn messages(&self, sources: Sources<'_>, id: UserId) -> Result<()> {
        let Sources {
            notifications,
            webhooks,
            ..
        } = sources;
        let every = InboxFilter::default();
        let read = |span| async move {
            let (walked, _unread) = notifications.inbox(id, every, span).await?;
            Ok::<_, Error>(walked)
        };
        self.walk("notifications", read, NotificationView::place, |told| told)
            .await?;
        let preferences = notifications.preferences(id).await?;
        self.json("notification-preferences", &preferences).await?;
        let endpoints = webhooks.list(Owner::Customer(id)).await?;
        self.json("webhooks", &endpoints).await
    }

    async fn tickets(&self, tickets: &Tickets, id: UserId) -> Result<()> {
        let listed = all(|part| tickets.list(id, None, part)).await?;
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

/// Reads a list to its end.
async fn all<T, F>(page: impl Fn(Part) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<Page<T>>>,
{
    let mut rows = Vec::new();
    let mut offset = 0;
    loop {
        let part = Part {
            offset,
            limit: ROWS,
        };
        let found = page(part).await?;
        let is_last = is_last(&found);
        rows.extend(found.items);
        if is_last {
            return Ok(rows);
        }
        offset += ROWS;
    }
}

/// Returns true for a page after which none follows; long lists are not counted to their end.
fn is_last<T>(page: &Page<T>) -> bool {
    i64::try_from(page.items.len()).is_ok_and(|found| found < ROWS)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
