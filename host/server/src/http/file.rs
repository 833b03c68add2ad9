//! Answers that are files to keep, not JSON.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use dermaga_shop::{Error, Result};

use crate::http::{Refusal, context};

/// A file that browsers save under its name: letters, digits, `-`, `_` and `.` only.
#[derive(Debug)]
pub struct Attachment {
    pub name: String,
    pub media_type: &'static str,
    pub content: Body,
}

impl Attachment {
    /// # Errors
    /// When the name cannot stand in a header, which would be a fault of ours.
    pub fn answer(self) -> Result<Response, Refusal> {
        let disposition = format!("attachment; filename=\"{}\"", self.name);
        let disposition = HeaderValue::from_str(&disposition).map_err(Error::internal)?;
        let mut response = self.content.into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.media_type),
        );
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        Ok(response)
    }

    /// Answers with a file that has sentences in the current language.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn answer_in_words(self) -> Result<Response, Refusal> {
        let mut response = self.answer()?;
        context::note_language(response.headers_mut());
        Ok(response)
    }
}
