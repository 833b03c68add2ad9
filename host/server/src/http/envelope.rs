//! The shape of every successful answer.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use dermaga_shop::{
    db::{Page, Place, Walked},
    language,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Cursor, PageQuery, Pagination, context, lists::Listed};
use crate::http::Refusal;

/// Result of a handler.
pub type Reply<T> = Result<Success<T>, Refusal>;

/// A successful answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// Always true.
    pub success: bool,
    /// A sentence for people.
    pub message: String,
    pub data: T,
    /// Place in a list; absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    pub timestamp: DateTime<Utc>,
}

/// The data of an answer that has none: an empty object.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Nothing {}

/// Data on its way out, with its status.
#[derive(Debug)]
pub struct Success<T> {
    status: StatusCode,
    message: String,
    data: T,
    pagination: Option<Pagination>,
}

impl<T: Serialize> Success<T> {
    /// 200.
    pub fn ok(message: impl Into<String>, data: T) -> Self {
        Self {
            status: StatusCode::OK,
            message: message.into(),
            data,
            pagination: None,
        }
    }

    /// 201: the request made something.
    pub fn created(message: impl Into<String>, data: T) -> Self {
        Self {
            status: StatusCode::CREATED,
            ..Self::ok(message, data)
        }
    }

    /// 202: the work continues in the background.
    pub fn accepted(message: impl Into<String>, data: T) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            ..Self::ok(message, data)
        }
    }
}

impl<T> Success<T> {
    /// Converts the data, and keeps its place in a list.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Success<U> {
        Success {
            status: self.status,
            message: self.message,
            data: convert(self.data),
            pagination: self.pagination,
        }
    }
}

impl<T: Serialize> Success<Vec<T>> {
    /// 200 with one page of a list, the one that `query` asked for.
    pub fn page(message: impl Into<String>, query: PageQuery, page: Page<T>) -> Self {
        Self {
            pagination: Some(query.pagination(page.total)),
            ..Self::ok(message, page.items)
        }
    }
}

impl<T> Success<Vec<T>> {
    /// 200 with a part of a list that grows, and the place after its last item.
    pub fn walk<L: Listed>(
        message: impl Into<String>,
        query: PageQuery,
        walked: Walked<T>,
        place: impl FnOnce(&T) -> Place<L::Key, L::Rank>,
    ) -> Self {
        let last = walked.items.last().filter(|_| walked.has_more);
        let next = last.map(|last| Cursor::<L>(place(last)).to_string());
        Self {
            status: StatusCode::OK,
            message: message.into(),
            pagination: Some(query.walk(&walked, next)),
            data: walked.items,
        }
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        let Self {
            status,
            message,
            data,
            pagination,
        } = self;
        let timestamp = context::now();
        let message = language::spoken(&message).into_owned();
        let mut response = (
            status,
            Json(Envelope {
                success: true,
                message,
                data,
                pagination,
                timestamp,
            }),
        )
            .into_response();
        context::note_language(response.headers_mut());
        response
    }
}
