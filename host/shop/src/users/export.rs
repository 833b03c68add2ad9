//! Export of an account: what the shop holds about a person, in one archive, whose README names what it leaves out.
//!
//! Each file holds what its owner sees over HTTP, or would if it had not ended, so that no secret is in it that was not
//! shown before. Each table about a person has its place in `held`.

mod contents;
pub mod held;
mod model;
mod store;

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
    accounts::{Accounts, Identity},
    catalog::Catalog,
    db::{Part, Place, Span, Walked},
    ids::UserId,
    notifications::Notifications,
    provisioning::{Instances, domains::Domains},
    throttle::Throttle,
    tickets::Tickets,
    wallet::Wallets,
    webhooks::Webhooks,
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
        self.append(&mut array, read, place, view).await?;
        self.end(&array).await
    }

    /// Adds a whole list to a file that has begun, as [`walk`](Self::walk) does.
    async fn append<T, V: Serialize, K, F>(
        &self,
        array: &mut Array,
        read: impl Fn(Span<K>) -> F,
        place: impl Fn(&T) -> Place<K>,
        view: impl Fn(T) -> V,
    ) -> Result<()>
    where
        F: Future<Output = Result<Walked<T>>>,
    {
        let mut span = first(self.rows);
        loop {
            let found = read(span).await?;
            let next = after(&found, &place, self.rows);
            let content = array.part(found.items.into_iter().map(&view))?;
            self.send(Piece::Content(content)).await?;
            match next {
                Some(next) => span = next,
                None => return Ok(()),
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
        subscriptions::{self, SubscriptionView},
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
            let found = subscriptions::list(db, id, None, span).await;
            newer(database, plan).await;
            found
        };
        let at = SubscriptionView::place;
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
