//! Forms of parts (multipart/form-data): read one part after the other, each within its limit, so that
//! no more of a form is in memory than the part that is being read.

use axum::{
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::StatusCode,
};
use dermaga_shop::{Code, Error, Result, input};
use utoipa::openapi::{
    RefOr,
    schema::{AnyOfBuilder, ObjectBuilder, Schema, Type},
};

use super::announced::within_limit;
use crate::http::Refusal;

/// Parts of a form.
const MOST_PARTS: usize = 32;
/// Bytes of a form beside the contents of its files: texts, heads and boundaries.
pub const FORM_OVERHEAD: usize = 64 * 1024;

/// Returns the schema of a part that may be left out, and is as none when it is empty.
pub(crate) fn or_empty(schema: impl Into<RefOr<Schema>>) -> AnyOfBuilder {
    let empty = ObjectBuilder::new().schema_type(Type::String);
    AnyOfBuilder::new()
        .item(schema)
        .item(empty.max_length(Some(0)))
}

/// Content of a part that a form may have once, or leave out.
#[derive(Debug, PartialEq, Eq)]
pub enum Optional<T> {
    /// No part, or the input of a browser for a file that was not chosen.
    Absent,
    /// A part without a byte, which is as none and was given all the same.
    Empty,
    Filled(T),
}

impl<T> Optional<T> {
    /// Reads what a filled part holds.
    ///
    /// # Errors
    /// Those of the reading.
    pub fn read<U>(self, read: impl FnOnce(T) -> Result<U>) -> Result<Optional<U>> {
        Ok(match self {
            Self::Absent => Optional::Absent,
            Self::Empty => Optional::Empty,
            Self::Filled(content) => Optional::Filled(read(content)?),
        })
    }

    /// Returns what a filled part holds; `None` for every other one.
    pub fn filled(self) -> Option<T> {
        match self {
            Self::Filled(content) => Some(content),
            Self::Absent | Self::Empty => None,
        }
    }
}

/// A form whose parts are still to be read.
#[derive(Debug)]
pub struct Form {
    parts: Multipart,
    seen: usize,
}

/// A part of a form. Its declared type is ignored: the bytes decide.
#[derive(Debug)]
pub struct Part<'a> {
    name: String,
    field: Field<'a>,
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let request = within_limit(request).ok_or_else(too_large)?;
        let parts = Multipart::from_request(request, state).await;
        let parts = parts.map_err(|rejection| {
            let message = "Send a form, with the header `Content-Type: multipart/form-data` and its boundary.";
            Error::new(Code::UnsupportedMediaType, message).caused_by(rejection)
        })?;
        Ok(Self { parts, seen: 0 })
    }
}

impl Form {
    /// Returns the next part; `None` at the end of the form.
    ///
    /// # Errors
    /// `MALFORMED_REQUEST` for a form that ends early or has too many parts, `PAYLOAD_TOO_LARGE` for one that
    /// is larger than its route accepts.
    pub async fn next(&mut self) -> Result<Option<Part<'_>>> {
        let field = self.parts.next_field().await.map_err(unreadable)?;
        let Some(field) = field else {
            return Ok(None);
        };
        self.seen += 1;
        if self.seen > MOST_PARTS {
            let message = format!("The form has more than {MOST_PARTS} parts.");
            return Err(Error::new(Code::MalformedRequest, message));
        }
        let name = field.name().unwrap_or_default().to_owned();
        Ok(Some(Part { name, field }))
    }
}

impl Part<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name that a file has where it comes from; empty for what is no file.
    pub fn file_name(&self) -> &str {
        self.field.file_name().unwrap_or_default()
    }

    /// Reads the part, of at most so many bytes.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE` with the part's name; as [`Form::next`].
    pub async fn bytes(mut self, most: usize) -> Result<Vec<u8>> {
        let mut read = Vec::new();
        while let Some(chunk) = self.field.chunk().await.map_err(unreadable)? {
            if read.len().saturating_add(chunk.len()) > most {
                let message = format!("{} is larger than {}.", self.what(), in_words(most));
                let detail = format!("must be at most {most} bytes");
                let refusal = Error::new(Code::PayloadTooLarge, message);
                return Err(refusal.with(self.name, detail));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read)
    }

    /// Reads the part as text, of at most so many bytes.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for what is no text; as [`bytes`](Self::bytes).
    pub async fn text(self, most: usize) -> Result<String> {
        let name = self.name.clone();
        text_of(name, self.bytes(most).await?)
    }

    /// Reads a part that may be left out, of at most so many bytes.
    ///
    /// Browsers send an empty part for a field that was left alone, and for a file that was not chosen. A file
    /// with a name was chosen, and is read although it is empty.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn optional_bytes(self, most: usize) -> Result<Optional<Vec<u8>>> {
        let file_name = self.field.file_name().map(str::to_owned);
        let bytes = self.bytes(most).await?;
        Ok(match file_name.as_deref() {
            Some("") if bytes.is_empty() => Optional::Absent,
            None if bytes.is_empty() => Optional::Empty,
            _ => Optional::Filled(bytes),
        })
    }

    /// Returns true for a part that [`optional_bytes`](Self::optional_bytes) has as absent or empty. No more than the
    /// beginning of any other is read.
    ///
    /// # Errors
    /// `MALFORMED_REQUEST` for a form that ends early, `PAYLOAD_TOO_LARGE` for one that is larger than its route
    /// accepts.
    pub async fn was_left_out(mut self) -> Result<bool> {
        if !self.file_name().is_empty() {
            return Ok(false);
        }
        while let Some(chunk) = self.field.chunk().await.map_err(unreadable)? {
            if !chunk.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a text that may be left out, as [`optional_bytes`](Self::optional_bytes).
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub async fn optional_text(self, most: usize) -> Result<Optional<String>> {
        let name = self.name.clone();
        let bytes = self.optional_bytes(most).await?;
        bytes.read(|bytes| text_of(name, bytes))
    }

    /// Returns the refusal of a part that its form does not have.
    pub fn unknown(self, known: &[&str]) -> Error {
        let known = known.join("`, `");
        let message = format!("is not a part of this form, which has `{known}`");
        Error::invalid(self.name, message)
    }

    fn what(&self) -> String {
        let shown: String = self
            .name
            .chars()
            .filter(|letter| !letter.is_control())
            .take(50)
            .collect();
        format!("The part `{shown}`")
    }
}

fn text_of(name: String, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::invalid(name.clone(), "must be text in UTF-8"))?;
    if text.contains('\0') {
        return Err(Error::invalid(name, input::NO_NUL));
    }
    Ok(text)
}

/// Keeps the value of a part that a form may have once.
///
/// # Errors
/// `VALIDATION_FAILED` for the second one.
pub(crate) fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<()> {
    if place.replace(value).is_some() {
        return Err(given_twice(name));
    }
    Ok(())
}

/// Keeps the value of a part that a form may have once, or leave out. An empty part counts as a filled one does; the
/// input for a file that was not chosen may stand beside either.
///
/// # Errors
/// As [`once`].
pub(crate) fn once_if_any<T>(
    place: &mut Optional<T>,
    name: &str,
    value: Optional<T>,
) -> Result<()> {
    if matches!(value, Optional::Absent) {
        return Ok(());
    }
    if !matches!(*place, Optional::Absent) {
        return Err(given_twice(name));
    }
    *place = value;
    Ok(())
}

fn given_twice(name: &str) -> Error {
    Error::invalid(name, input::TWICE)
}

fn in_words(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{} MB", bytes / MIB),
        _ => format!("{bytes} bytes"),
    }
}

fn too_large() -> Error {
    let message = "The form is larger than this route accepts.";
    Error::new(Code::PayloadTooLarge, message)
}

fn unreadable(error: MultipartError) -> Error {
    let refusal = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Error::new(
            Code::MalformedRequest,
            "The form ended before it was complete, or its parts are not separated by its boundary.",
        ),
    };
    refusal.caused_by(error)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn form(body: impl Into<Body>) -> Form {
        let request = Request::post("/")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body.into())
            .unwrap();
        Form::from_request(request, &()).await.unwrap()
    }

    fn part(name: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    }

    #[tokio::test]
    async fn a_part_is_read_up_to_its_limit() {
        let body = part("a", "12345") + &part("b", "123456") + "--b--\r\n";
        let mut form = form(body).await;
        let first = form.next().await.unwrap().unwrap();
        assert_eq!((first.name(), first.file_name()), ("a", ""));
        assert_eq!(first.text(5).await.unwrap(), "12345");
        let error = form
            .next()
            .await
            .unwrap()
            .unwrap()
            .bytes(5)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.details[0].field.as_str()),
            (Code::PayloadTooLarge, "b")
        );
        assert_eq!(error.message, "The part `b` is larger than 5 bytes.");
    }

    /// An empty part is none where a form may do without it, unless it is a file that was chosen.
    #[tokio::test]
    async fn an_optional_part_that_is_empty_is_none() {
        let chosen = part("d", "").replace("\"d\"", "\"d\"; filename=\"a.sig\"");
        let not_chosen = part("e", "").replace("\"e\"", "\"e\"; filename=\"\"");
        let body = [
            part("a", ""),
            part("b", " "),
            part("c", ""),
            chosen,
            not_chosen,
        ]
        .concat();
        let mut form = form(body + "--b--\r\n").await;
        let read = form.next().await.unwrap().unwrap();
        assert_eq!(read.optional_text(9).await.unwrap(), Optional::Empty);
        let read = form.next().await.unwrap().unwrap();
        let blank = Optional::Filled(" ".to_owned());
        assert_eq!(read.optional_text(9).await.unwrap(), blank);
        let required = form.next().await.unwrap().unwrap();
        assert_eq!(required.text(9).await.unwrap(), "");
        let read = form.next().await.unwrap().unwrap();
        let chosen = Optional::Filled(Vec::new());
        assert_eq!(read.optional_bytes(9).await.unwrap(), chosen);
        let read = form.next().await.unwrap().unwrap();
        assert_eq!(read.optional_bytes(9).await.unwrap(), Optional::Absent);
    }

    /// A part is refused the second time, filled or empty; the input for a file that was not chosen never is.
    #[test]
    fn an_optional_part_is_given_once_also_when_it_is_empty() {
        use Optional::{Absent, Empty, Filled};
        for (first, second) in [
            (Empty, Empty),
            (Empty, Filled(2)),
            (Filled(1), Empty),
            (Filled(1), Filled(2)),
        ] {
            let mut place = Absent;
            once_if_any(&mut place, "a", first).unwrap();
            let refused = once_if_any(&mut place, "a", second).unwrap_err();
            assert_eq!(refused.details[0].message, "is given twice");
        }
        for (given, expected) in [(Absent, None), (Empty, None), (Filled(1), Some(1))] {
            let mut place = Absent;
            for value in [Absent, given, Absent] {
                once_if_any(&mut place, "a", value).unwrap();
            }
            assert_eq!(place.filled(), expected);
        }
    }

    #[tokio::test]
    async fn a_part_with_a_name_or_a_byte_was_not_left_out() {
        let named = |name: &str| format!("\"a\"; filename=\"{name}\"");
        let unnamed = part("a", "").replace("\"a\"", &named(""));
        let chosen = part("a", "").replace("\"a\"", &named("a.png"));
        let filled = part("a", "x").replace("\"a\"", &named(""));
        let body = [unnamed, chosen, filled, part("a", "")].concat();
        let mut form = form(body + "--b--\r\n").await;
        for expected in [true, false, false, true] {
            let part = form.next().await.unwrap().unwrap();
            assert_eq!(part.was_left_out().await.unwrap(), expected);
        }
        assert!(form.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_form_that_ends_early_is_malformed() {
        let mut form = form(part("a", "123")).await;
        let part = form.next().await.unwrap().unwrap();
        let error = part.bytes(100).await.unwrap_err();
        assert_eq!(error.code, Code::MalformedRequest);
    }

    #[tokio::test]
    async fn a_form_has_a_number_of_parts_and_texts_are_texts() {
        let body = part("a", "x").repeat(MOST_PARTS + 1) + "--b--\r\n";
        let mut many = form(body).await;
        for _ in 0..MOST_PARTS {
            many.next().await.unwrap().unwrap().bytes(1).await.unwrap();
        }
        assert_eq!(many.next().await.unwrap_err().code, Code::MalformedRequest);
        let mut bytes = part("a", "x").into_bytes();
        let at = bytes.len() - 3;
        bytes[at] = 0xff;
        bytes.extend_from_slice(b"--b--\r\n");
        let mut odd = form(bytes).await;
        let error = odd
            .next()
            .await
            .unwrap()
            .unwrap()
            .text(9)
            .await
            .unwrap_err();
        assert_eq!(error.details[0].message, "must be text in UTF-8");
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        let request = Request::post("/").body(Body::empty()).unwrap();
        let Refusal(error) = Form::from_request(request, &()).await.unwrap_err();
        assert_eq!(error.code, Code::UnsupportedMediaType);
        let mut value = None;
        once(&mut value, "a", 1).unwrap();
        assert_eq!(
            once(&mut value, "a", 2).unwrap_err().details[0].message,
            "is given twice"
        );
    }
}
