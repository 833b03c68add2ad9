//! `/admin/tickets`: tickets of all customers.

use axum::{
    extract::{DefaultBodyLimit, State},
    response::Response,
};
use dermaga_shop::{
    Error, Result,
    audit::GivenReason,
    ids::{AttachmentId, CannedAnswerId, TicketId, UserId},
    text::counted,
    tickets::{
        BulkClosed, CannedAnswer, KeptFile, ManagedTicket, ManagedTicketDetail, NewCannedAnswer,
        TicketFilter, TicketPriority, TicketStatistics, TicketStatus, Tickets,
    },
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::reasons::{self, RequiredReason},
        tickets::{FORM_BYTES, Files, PictureFile, TEXT_BYTES, number_of, saved},
    },
    http::{
        Body, Cursor, Envelope, Form, Id, Nothing, PageQuery, Paged, Refusal, Reply, Success, When,
        failure_responses,
        form::{Optional, once, once_if_any},
        lists, range, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Answering: NotFound, InvalidState, TooManyFiles, ImageRefused, UnsupportedMediaType, Conflict);
failure_responses!(Moving: NotFound, InvalidState);
failure_responses!(Naming: Conflict);
failure_responses!(Renaming: NotFound, Conflict);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    let forms = OpenApiRouter::new()
        .routes(routes!(answer))
        .layer(DefaultBodyLimit::max(FORM_BYTES));
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(statistics))
        .routes(routes!(close_many))
        .routes(routes!(canned_answers, create_canned))
        .routes(routes!(change_canned, delete_canned))
        .routes(routes!(attachment))
        .routes(routes!(of_customer))
        .routes(routes!(get))
        .routes(routes!(note))
        .routes(routes!(close))
        .routes(routes!(reopen))
        .routes(routes!(assign))
        .routes(routes!(set_priority))
        .merge(forms)
}

/// Filter of a list of tickets.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AdminTicketQuery {
    #[garde(skip)]
    #[param(inline)]
    status: Option<TicketStatus>,
    #[garde(skip)]
    #[param(inline)]
    priority: Option<TicketPriority>,
    #[garde(skip)]
    user_id: Option<UserId>,
    /// Administrator who takes care of it.
    #[garde(skip)]
    assignee_id: Option<UserId>,
    /// True for those that no administrator takes care of, false for the others.
    #[garde(skip)]
    unassigned: Option<bool>,
    /// Text within the subject or the customer's e-mail address, or a number such as `#042`.
    #[garde(inner(length(chars, max = 100)))]
    #[param(max_length = 100)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    /// Opened at or after this moment, or on this date or later where the shop is.
    #[garde(skip)]
    #[param(inline)]
    from: Option<When>,
    /// Opened before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    to: Option<When>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Tickets>>,
}

/// Lists tickets of all customers, newest first.
#[utoipa::path(get, path = "/admin/tickets", tag = "admin: tickets", params(PageQuery, AdminTicketQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of tickets", body = Envelope<Vec<ManagedTicket>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<AdminTicketQuery>,
) -> Reply<Vec<ManagedTicket>> {
    let (from, until) = range(("from", query.from), ("to", query.to), state.clock.zone())?;
    let filter = TicketFilter {
        status: query.status,
        priority: query.priority,
        user_id: query.user_id,
        assignee_id: query.assignee_id,
        unassigned: query.unassigned,
        words: query.q.as_deref(),
        from,
        until,
    };
    let found = state
        .tickets
        .list_all(&filter, page.span(query.cursor)?)
        .await?;
    let (message, place) = (number_of(&found), ManagedTicket::place);
    Ok(Success::walk::<lists::Tickets>(message, page, found, place))
}

/// Counts tickets by status and priority, and those that wait.
#[utoipa::path(get, path = "/admin/tickets/stats", tag = "admin: tickets", security(("bearer" = [])),
    responses((status = 200, description = "The figures", body = Envelope<TicketStatistics>)))]
async fn statistics(State(state): State<AppState>, _admin: Admin) -> Reply<TicketStatistics> {
    let statistics = state.tickets.statistics().await?;
    Ok(Success::ok("All tickets.", statistics))
}

/// Place in a list of a customer's tickets.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CustomerTicketQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::TicketsOfCustomer>>,
}

/// Lists the tickets of a customer, newest first.
#[utoipa::path(get, path = "/admin/tickets/user/{id}", tag = "admin: tickets", params(("id" = Uuid, Path), PageQuery, CustomerTicketQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of tickets", body = Envelope<Vec<ManagedTicket>>), Missing))]
async fn of_customer(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<UserId>,
    Paged(page, query): Paged<CustomerTicketQuery>,
) -> Reply<Vec<ManagedTicket>> {
    let span = page.span(query.cursor)?;
    let found = state.tickets.of_customer(id, span).await?;
    let (message, place) = (number_of(&found), ManagedTicket::place);
    Ok(Success::walk::<lists::TicketsOfCustomer>(
        message, page, found, place,
    ))
}

/// Returns a ticket with its messages and notes, and with the evidence of the instance that it names.
#[utoipa::path(get, path = "/admin/tickets/{id}", tag = "admin: tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The ticket", body = Envelope<ManagedTicketDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<TicketId>,
) -> Reply<ManagedTicketDetail> {
    let detail = state.tickets.get_any(id).await?;
    Ok(Success::ok("The ticket.", detail))
}

/// An answer to add.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
struct AnswerForm {
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
    /// Pictures (PNG, JPEG, GIF, WebP) of 5 MB each.
    #[schema(value_type = Vec<String>, format = Binary, max_items = 5, required = false)]
    attachments: Vec<Vec<u8>>,
    #[schema(schema_with = reasons::part_schema)]
    reason: Option<GivenReason>,
}

/// Parts of an [`AnswerForm`].
struct AnswerParts {
    message: String,
    files: Vec<KeptFile>,
    reason: Option<GivenReason>,
}

impl AnswerParts {
    async fn read(mut form: Form, tickets: &Tickets, user_id: UserId) -> Result<Self> {
        let (mut message, mut reason) = (None, Optional::Absent);
        let mut files = Files::new(tickets, user_id);
        while let Some(part) = form.next().await? {
            match part.name() {
                "message" => once(&mut message, "message", part.text(TEXT_BYTES).await?)?,
                "attachments" => files.read(part).await?,
                "reason" => once_if_any(&mut reason, "reason", reasons::of_part(part).await?)?,
                _ => return Err(part.unknown(&["message", "attachments", "reason"])),
            }
        }
        Ok(Self {
            message: message.ok_or_else(|| Error::invalid("message", "is missing"))?,
            files: files.into_kept(),
            reason: reason.filled(),
        })
    }
}

/// Answers a ticket, which is in progress then; its customer is notified.
#[utoipa::path(post, path = "/admin/tickets/{id}/messages", tag = "admin: tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body(content = AnswerForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "The ticket with the answer", body = Envelope<ManagedTicketDetail>), Answering))]
async fn answer(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<TicketId>,
    form: Form,
) -> Reply<ManagedTicketDetail> {
    state.tickets.check_answerable(id).await?;
    let answer = AnswerParts::read(form, &state.tickets, admin.user_id).await?;
    let by = admin.by(answer.reason.as_ref());
    let detail = state
        .tickets
        .answer(by, id, &answer.message, answer.files)
        .await?;
    Ok(Success::created("The answer was added.", detail))
}

/// A note to add.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NoteRequest {
    #[serde(deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(length(chars, min = 1, max = 2000), custom(dermaga_shop::text::label))]
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Adds a note that customers never see, to a ticket of any status.
#[utoipa::path(post, path = "/admin/tickets/{id}/notes", tag = "admin: tickets", params(("id" = Uuid, Path)), request_body = NoteRequest,
    security(("bearer" = [])),
    responses((status = 201, description = "The ticket with the note", body = Envelope<ManagedTicketDetail>), Moving))]
async fn note(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<TicketId>,
    Body(request): Body<NoteRequest>,
) -> Reply<ManagedTicketDetail> {
    let by = admin.by(request.reason.as_ref());
    let detail = state.tickets.note(by, id, &request.message).await?;
    Ok(Success::created("The note was added.", detail))
}

/// Closes a ticket.
#[utoipa::path(put, path = "/admin/tickets/{id}/close", tag = "admin: tickets", params(("id" = Uuid, Path)), request_body = RequiredReason,
    security(("bearer" = [])),
    responses((status = 200, description = "The closed ticket", body = Envelope<ManagedTicketDetail>), Moving))]
async fn close(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<TicketId>,
    Body(request): Body<RequiredReason>,
) -> Reply<ManagedTicketDetail> {
    let detail = state
        .tickets
        .close_any(admin.user_id, id, request.reason.as_str())
        .await?;
    Ok(Success::ok("The ticket is closed.", detail))
}

/// Opens a closed ticket again.
#[utoipa::path(put, path = "/admin/tickets/{id}/reopen", tag = "admin: tickets", params(("id" = Uuid, Path)), request_body = RequiredReason,
    security(("bearer" = [])),
    responses((status = 200, description = "The open ticket", body = Envelope<ManagedTicketDetail>), Moving))]
async fn reopen(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<TicketId>,
    Body(request): Body<RequiredReason>,
) -> Reply<ManagedTicketDetail> {
    let detail = state
        .tickets
        .reopen(admin.user_id, id, request.reason.as_str())
        .await?;
    Ok(Success::ok("The ticket is open again.", detail))
}

/// Tickets to close.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BulkCloseRequest {
    #[garde(length(min = 1, max = 100))]
    #[schema(min_items = 1, max_items = 100)]
    ids: Vec<TicketId>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Closes up to 100 tickets: all of them, or none when one does not exist. Those that are closed stay so.
#[utoipa::path(put, path = "/admin/tickets/bulk/close", tag = "admin: tickets", request_body = BulkCloseRequest, security(("bearer" = [])),
    responses((status = 200, description = "The tickets that were closed now, and those that were closed before", body = Envelope<BulkClosed>), Missing))]
async fn close_many(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<BulkCloseRequest>,
) -> Reply<BulkClosed> {
    let BulkCloseRequest { ids, reason } = request;
    let closed = state
        .tickets
        .close_many(admin.user_id, ids, reason.as_str())
        .await?;
    let message = match closed.closed.len() {
        1 => "1 ticket closed.".to_owned(),
        many => format!("{many} tickets closed."),
    };
    Ok(Success::ok(message, closed))
}

/// Administrator who is to take care of a ticket.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssignRequest {
    /// Account of an administrator; none is to take care of it when it is absent.
    #[garde(skip)]
    assignee_id: Option<UserId>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Makes an administrator take care of a ticket, or none.
#[utoipa::path(put, path = "/admin/tickets/{id}/assign", tag = "admin: tickets", params(("id" = Uuid, Path)), request_body = AssignRequest,
    security(("bearer" = [])),
    responses((status = 200, description = "The ticket", body = Envelope<ManagedTicketDetail>), Missing))]
async fn assign(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<TicketId>,
    Body(request): Body<AssignRequest>,
) -> Reply<ManagedTicketDetail> {
    let AssignRequest {
        assignee_id,
        reason,
    } = request;
    let detail = state
        .tickets
        .assign(admin.user_id, id, assignee_id, reason.as_str())
        .await?;
    let message = match assignee_id {
        Some(_) => "The ticket is assigned.",
        None => "The ticket is assigned to no administrator.",
    };
    Ok(Success::ok(message, detail))
}

/// Priority that a ticket is to have.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PriorityRequest {
    #[garde(skip)]
    priority: TicketPriority,
    #[garde(dive)]
    reason: GivenReason,
}

/// Sets the priority of a ticket, which its customer does not see.
#[utoipa::path(put, path = "/admin/tickets/{id}/priority", tag = "admin: tickets", params(("id" = Uuid, Path)), request_body = PriorityRequest,
    security(("bearer" = [])),
    responses((status = 200, description = "The ticket", body = Envelope<ManagedTicketDetail>), Missing))]
async fn set_priority(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<TicketId>,
    Body(request): Body<PriorityRequest>,
) -> Reply<ManagedTicketDetail> {
    let PriorityRequest { priority, reason } = request;
    let detail = state
        .tickets
        .set_priority(admin.user_id, id, priority, reason.as_str())
        .await?;
    Ok(Success::ok(format!("The priority is {priority}."), detail))
}

/// Returns a picture of any ticket.
#[utoipa::path(get, path = "/admin/tickets/attachments/{id}", tag = "admin: tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The picture, to be saved", content(
        (PictureFile = "image/png"), (PictureFile = "image/jpeg"), (PictureFile = "image/gif"))), Missing))]
async fn attachment(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<AttachmentId>,
) -> Result<Response, Refusal> {
    saved(state.tickets.any_attachment(id).await?)
}

/// Content of a canned answer.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CannedAnswerRequest {
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 100), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 100)]
    title: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(length(chars, min = 1, max = 2000), custom(dermaga_shop::text::label))]
    #[schema(min_length = 1, max_length = 2000)]
    body: String,
    #[garde(dive)]
    reason: GivenReason,
}

impl CannedAnswerRequest {
    fn content(&self) -> NewCannedAnswer<'_> {
        NewCannedAnswer {
            title: &self.title,
            body: &self.body,
            reason: self.reason.as_str(),
        }
    }
}

/// Lists the canned answers by their titles; there are 500 at most.
#[utoipa::path(get, path = "/admin/tickets/canned-answers", tag = "admin: tickets", security(("bearer" = [])),
    responses((status = 200, description = "The canned answers", body = Envelope<Vec<CannedAnswer>>)))]
async fn canned_answers(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<CannedAnswer>> {
    let found = state.tickets.canned_answers().await?;
    let message = format!("{}.", counted(found.len(), "canned answer"));
    Ok(Success::ok(message, found))
}

/// Makes a canned answer.
#[utoipa::path(post, path = "/admin/tickets/canned-answers", tag = "admin: tickets", request_body = CannedAnswerRequest, security(("bearer" = [])),
    responses((status = 201, description = "The canned answer", body = Envelope<CannedAnswer>), Naming))]
async fn create_canned(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<CannedAnswerRequest>,
) -> Reply<CannedAnswer> {
    let made = state
        .tickets
        .create_canned(admin.user_id, request.content())
        .await?;
    Ok(Success::created("The canned answer is kept.", made))
}

/// Replaces the content of a canned answer.
#[utoipa::path(put, path = "/admin/tickets/canned-answers/{id}", tag = "admin: tickets", params(("id" = Uuid, Path)),
    request_body = CannedAnswerRequest, security(("bearer" = [])),
    responses((status = 200, description = "The canned answer", body = Envelope<CannedAnswer>), Renaming))]
async fn change_canned(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CannedAnswerId>,
    Body(request): Body<CannedAnswerRequest>,
) -> Reply<CannedAnswer> {
    let changed = state
        .tickets
        .change_canned(admin.user_id, id, request.content())
        .await?;
    Ok(Success::ok("The canned answer is changed.", changed))
}

/// Deletes a canned answer. Answers that were written with it stay.
#[utoipa::path(delete, path = "/admin/tickets/canned-answers/{id}", tag = "admin: tickets", params(("id" = Uuid, Path)),
    request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "Deleted", body = Envelope<Nothing>), Missing))]
async fn delete_canned(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CannedAnswerId>,
    Body(request): Body<RequiredReason>,
) -> Reply<Nothing> {
    state
        .tickets
        .delete_canned(admin.user_id, id, request.reason.as_str())
        .await?;
    Ok(Success::ok("The canned answer is deleted.", Nothing {}))
}
