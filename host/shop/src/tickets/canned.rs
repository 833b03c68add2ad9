//! Canned answers: texts that administrators answer with again and again.

use serde_json::json;

use super::{CannedAnswer, Tickets, store, texts};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, broken_unique, new_id},
    ids::{CannedAnswerId, UserId},
};

/// Canned answers that the shop may have.
const MOST_ANSWERS: i64 = 500;

/// Content of a canned answer.
#[derive(Debug)]
pub struct NewCannedAnswer<'a> {
    pub title: &'a str,
    pub body: &'a str,
    /// Reason that is kept with the audit.
    pub reason: &'a str,
}

impl Tickets {
    /// Returns the canned answers by their titles.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn canned_answers(&self) -> Result<Vec<CannedAnswer>> {
        Ok(store::canned_answers(&mut self.db.read().await?).await?)
    }

    /// Makes a canned answer.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`; `CONFLICT` for a title that there is, and when there are too many.
    pub async fn create_canned(
        &self,
        admin_id: UserId,
        new: NewCannedAnswer<'_>,
    ) -> Result<CannedAnswer> {
        let now = self.clock.now();
        let made = CannedAnswer {
            id: new_id(&self.clock),
            title: new.title.trim().to_owned(),
            body: texts::message(new.body)?,
            created_at: now,
            updated_at: now,
        };
        let mut conn = self.db.begin().await?;
        if store::count_canned(&mut conn).await? >= MOST_ANSWERS {
            let message =
                format!("There are {MOST_ANSWERS} canned answers already. Delete one first.");
            return Err(Error::new(Code::Conflict, message));
        }
        store::insert_canned(&mut conn, &made)
            .await
            .map_err(titled)?;
        let act = AuditAct::CannedAnswerCreated;
        self.note_canned(&mut conn, admin_id, act, &made, new.reason)
            .await?;
        conn.commit().await?;
        Ok(made)
    }

    /// Replaces the content of a canned answer.
    ///
    /// # Errors
    /// `NOT_FOUND`, `VALIDATION_FAILED`; `CONFLICT` for the title of another one.
    pub async fn change_canned(
        &self,
        admin_id: UserId,
        id: CannedAnswerId,
        new: NewCannedAnswer<'_>,
    ) -> Result<CannedAnswer> {
        let body = texts::message(new.body)?;
        let mut conn = self.db.begin().await?;
        let mut changed = find(&mut conn, id).await?;
        changed.title = new.title.trim().to_owned();
        changed.body = body;
        changed.updated_at = self.clock.now();
        store::update_canned(&mut conn, &changed)
            .await
            .map_err(titled)?;
        let act = AuditAct::CannedAnswerChanged;
        self.note_canned(&mut conn, admin_id, act, &changed, new.reason)
            .await?;
        conn.commit().await?;
        Ok(changed)
    }

    /// Removes a canned answer. Messages that were written with it stay.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete_canned(
        &self,
        admin_id: UserId,
        id: CannedAnswerId,
        reason: &str,
    ) -> Result<()> {
        let mut conn = self.db.begin().await?;
        let removed = find(&mut conn, id).await?;
        store::delete_canned(&mut conn, id).await?;
        let act = AuditAct::CannedAnswerDeleted;
        self.note_canned(&mut conn, admin_id, act, &removed, reason)
            .await?;
        Ok(conn.commit().await?)
    }

    async fn note_canned(
        &self,
        conn: &mut Conn,
        admin_id: UserId,
        act: AuditAct,
        answer: &CannedAnswer,
        reason: &str,
    ) -> Result<()> {
        let details = json!({ "title": answer.title, "body": answer.body });
        let event = Event::new(act, Subject::CannedAnswer(answer.id), details).because(reason);
        audit::record(conn, &self.clock, admin_id, event).await
    }
}

async fn find(conn: &mut Conn, id: CannedAnswerId) -> Result<CannedAnswer> {
    let found = store::canned_answer(conn, id).await?;
    found.ok_or_else(|| Error::not_found("canned answer"))
}

fn titled(error: sqlx::Error) -> Error {
    if broken_unique(&error).as_deref() == Some("canned_answers_title_key") {
        return Error::new(Code::Conflict, "Another canned answer has this title.");
    }
    error.into()
}
