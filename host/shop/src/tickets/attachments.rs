//! Pictures of messages: written again, kept, and removed unless a message takes them.
//!
//! The row of a file is written before it and removed after it. A file that no message takes is
//! removed by the task that kept it, or, when its server died, by the sweeper.

use chrono::TimeDelta;
use tokio::sync::oneshot;

use super::{Tickets, model::Attachment, store::attachments, texts};
use crate::{
    Code, Error, Result,
    db::{Conn, new_id},
    ids::{AttachmentId, TicketMessageId, UserId},
    owners,
    pictures::{MediaType, Picture},
};

/// Files of one message.
pub const MOST_FILES: usize = 5;
/// Bytes of one file.
pub const MOST_FILE_BYTES: usize = 5 * 1024 * 1024;
/// Age after which a file without a message belongs to no request under way.
const ORPHANED: TimeDelta = TimeDelta::hours(1);
/// Files that one look of the sweeper finds.
const SWEPT_AT_ONCE: i64 = 100;
/// Files that are named at a time for a backup.
const NAMED_AT_ONCE: i64 = 1_000;

/// A file that is kept until this is dropped, or for good when its message is committed.
#[derive(Debug)]
pub struct KeptFile {
    id: AttachmentId,
    verdict: oneshot::Sender<()>,
}

/// A picture to send.
#[derive(Debug, Clone)]
pub struct SentFile {
    pub id: AttachmentId,
    pub media_type: MediaType,
    pub content: Vec<u8>,
}

impl Tickets {
    /// Takes a file in for a message that is to follow: decodes it, writes it again, and keeps it as
    /// long as the returned value lives.
    ///
    /// # Errors
    /// `UNSUPPORTED_MEDIA_TYPE`, `IMAGE_REFUSED`; `TOO_MANY_REQUESTS` when many pictures of the account
    /// wait; `UNAVAILABLE` when the place of files is away.
    pub async fn take_in(&self, user_id: UserId, name: &str, sent: Vec<u8>) -> Result<KeptFile> {
        let picture = self.pictures.rewrite(user_id, sent).await?;
        let row = Attachment {
            id: new_id(&self.clock),
            message_id: None,
            name: texts::file_name(name),
            media_type: picture.media_type,
            size_bytes: i64::try_from(picture.content.len()).unwrap_or(i64::MAX),
        };
        let id = row.id;
        let (kept, is_kept) = oneshot::channel();
        let (verdict, is_wanted) = oneshot::channel();
        let tickets = self.clone();
        // A task of its own, which ends its work when the request is gone.
        tokio::spawn(async move {
            let result = tickets.keep(user_id, &row, picture).await;
            let is_good = result.is_ok();
            let is_awaited = kept.send(result).is_ok();
            if is_good && is_awaited && is_wanted.await.is_ok() {
                return;
            }
            if let Err(error) = tickets.discard(id).await {
                tracing::warn!(attachment.id = %id, %error, "attachment.not_removed");
            }
        });
        is_kept.await.map_err(Error::internal)??;
        Ok(KeptFile { id, verdict })
    }

    async fn keep(&self, user_id: UserId, row: &Attachment, picture: Picture) -> Result<()> {
        let mut conn = self.db.begin().await?;
        owners::hold(&mut conn, user_id).await?;
        attachments::insert(&mut conn, row, user_id, self.clock.now()).await?;
        conn.commit().await?;
        self.files.put(&path(row.id), picture.content).await
    }

    /// Removes a file and then its row, unless it has a message.
    async fn discard(&self, id: AttachmentId) -> Result<()> {
        let mut conn = self.db.begin().await?;
        if !attachments::discard(&mut conn, id, self.clock.now()).await? {
            return Ok(());
        }
        conn.commit().await?;
        self.files.delete(&path(id)).await?;
        let mut conn = self.db.begin().await?;
        attachments::delete(&mut conn, id).await?;
        Ok(conn.commit().await?)
    }

    /// Reads the picture of a row.
    pub(super) async fn sent_file(&self, found: Option<Attachment>) -> Result<SentFile> {
        let found = found.ok_or_else(|| Error::not_found("attachment"))?;
        let content = self.files.get(&path(found.id)).await?;
        Ok(SentFile {
            id: found.id,
            media_type: found.media_type,
            content,
        })
    }

    /// Returns a picture of a customer's ticket.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none or it is another customer's.
    pub async fn attachment(&self, user_id: UserId, id: AttachmentId) -> Result<SentFile> {
        let found = attachments::owned(&mut self.db.read().await?, user_id, id).await?;
        self.sent_file(found).await
    }

    /// Returns a picture of any ticket.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none.
    pub async fn any_attachment(&self, id: AttachmentId) -> Result<SentFile> {
        let found = attachments::any(&mut self.db.read().await?, id).await?;
        self.sent_file(found).await
    }

    /// Removes files that no message has taken within an hour; returns how many there were, and a
    /// sentence for each that could not be removed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep(&self) -> Result<(u64, Vec<String>)> {
        let before = self.clock.now() - ORPHANED;
        let (mut removed, mut failed, mut after) = (0, Vec::new(), AttachmentId::MIN);
        loop {
            let mut conn = self.db.read().await?;
            let found = attachments::orphans(&mut conn, before, after, SWEPT_AT_ONCE).await?;
            drop(conn);
            let Some(last) = found.last() else {
                return Ok((removed, failed));
            };
            after = *last;
            for id in found {
                match self.discard(id).await {
                    Ok(()) => removed += 1,
                    Err(error) => failed.push(format!("Picture {id}: {}", error.message)),
                }
            }
        }
    }
}

/// Makes files those of a message, in its transaction.
pub(super) async fn attach(
    conn: &mut Conn,
    message_id: TicketMessageId,
    files: &[KeptFile],
) -> Result<()> {
    if files.len() > MOST_FILES {
        return Err(too_many());
    }
    for file in files {
        if !attachments::attach(conn, file.id, message_id).await? {
            let message = "The upload took too long. Send the pictures again.";
            return Err(Error::new(Code::Conflict, message));
        }
    }
    Ok(())
}

/// Keeps files for good, after the commit that gave them to a message.
pub(super) fn settle(files: Vec<KeptFile>) {
    for file in files {
        // Without its receiver the row has its message all the same.
        let _ = file.verdict.send(());
    }
}

/// A file as the place of files knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    pub id: AttachmentId,
    pub name: String,
    /// False for one that is being kept or removed, and may not be there.
    pub is_attached: bool,
}

/// Returns the next files behind one, in the order of their ids; none after the last.
///
/// # Errors
/// When the database does not answer.
pub async fn files_after(conn: &mut Conn, id: AttachmentId) -> Result<Vec<NamedFile>> {
    let rows = attachments::after(conn, id, NAMED_AT_ONCE).await?;
    let named = rows.into_iter().map(|(id, is_attached)| NamedFile {
        id,
        name: path(id),
        is_attached,
    });
    Ok(named.collect())
}

/// Refusal of more files than a message may have.
pub fn too_many() -> Error {
    let message = format!("A message may have at most {MOST_FILES} pictures.");
    Error::new(Code::TooManyFiles, message)
}

fn path(id: AttachmentId) -> String {
    format!("tickets/{id}")
}
