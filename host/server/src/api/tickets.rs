//! `/tickets`: questions to the shop, and mails that answer.

use axum::{
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, header},
    response::Response,
};
use dermaga_shop::{
    Code, Error, Result,
    db::{MOST_COUNTED, Walked},
    ids::{AttachmentId, InstanceId, TicketId, UserId},
    text::counted,
    tickets::{
        KeptFile, MOST_FILE_BYTES, MOST_FILES, MOST_MAIL_BYTES, MailOutcome, MailUse, NewTicket,
        SentFile, Signed, TicketCounts, TicketDetail, TicketStatus, TicketView, Tickets,
        attachments::too_many,
    },
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{IntoParams, PartialSchema, ToSchema, openapi::schema::AnyOfBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{
        Attachment, Cursor, Envelope, FORM_OVERHEAD, Form, Id, PageQuery, Paged, Refusal, Reply,
        Segment, Success,
        announced::Raw,
        failure_responses,
        form::{Optional, Part, once, once_if_any, or_empty},
        lists, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Opening: NotFound, TooManyFiles, ImageRefused, UnsupportedMediaType, TooManyRequests, Conflict);
failure_responses!(Writing: NotFound, InvalidState, TooManyFiles, ImageRefused, UnsupportedMediaType, TooManyRequests, Conflict);
failure_responses!(Closing: NotFound, InvalidState);
failure_responses!(Receiving: NotFound, InvalidState, AccountDisabled, TooManyRequests);
failure_responses!(ReceivingSigned: NotFound, InvalidState, AccountDisabled, TooManyRequests, SignatureInvalid);

/// Bytes of a text of a form; a character has four at most.
pub(super) const TEXT_BYTES: usize = 16 * 1024;
/// Bytes of a form with as many files as it may have.
pub(super) const FORM_BYTES: usize = MOST_FILES * MOST_FILE_BYTES + FORM_OVERHEAD;

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    let forms = OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(reply))
        .layer(DefaultBodyLimit::max(FORM_BYTES));
    let mails = OpenApiRouter::new()
        .routes(routes!(receive))
        .routes(routes!(receive_at))
        .layer(DefaultBodyLimit::max(MOST_MAIL_BYTES));
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(stats))
        .routes(routes!(get))
        .routes(routes!(close))
        .routes(routes!(attachment))
        .merge(forms)
        .merge(mails)
}

fn instance_or_none() -> AnyOfBuilder {
    or_empty(InstanceId::schema()).description(Some(
        "Instance of yours that it is about; an empty part is as none.",
    ))
}

/// A ticket to open.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
struct TicketForm {
    /// One line.
    #[schema(min_length = 5, max_length = 200)]
    subject: String,
    #[schema(min_length = 10, max_length = 2000)]
    description: String,
    #[schema(schema_with = instance_or_none)]
    instance_id: Option<InstanceId>,
    /// Pictures (PNG, JPEG, GIF, WebP) of 5 MB each.
    #[schema(value_type = Vec<String>, format = Binary, max_items = 5, required = false)]
    attachments: Vec<Vec<u8>>,
}

/// A message to add.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
struct MessageForm {
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
    /// Pictures (PNG, JPEG, GIF, WebP) of 5 MB each.
    #[schema(value_type = Vec<String>, format = Binary, max_items = 5, required = false)]
    attachments: Vec<Vec<u8>>,
}

/// Bytes of a mail, as RFC 5322 has it.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
struct RawMail(Vec<u8>);

/// Bytes of a picture.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes the answer in the OpenAPI document")]
pub(super) struct PictureFile(Vec<u8>);

/// Filter of a list of tickets.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TicketQuery {
    #[garde(skip)]
    #[param(inline)]
    status: Option<TicketStatus>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::OwnTickets>>,
}

/// Reads the files of a form as they come, and keeps each before the next one is read.
pub(super) struct Files<'a> {
    tickets: &'a Tickets,
    user_id: UserId,
    kept: Vec<KeptFile>,
}

impl<'a> Files<'a> {
    pub(super) const fn new(tickets: &'a Tickets, user_id: UserId) -> Self {
        Self {
            tickets,
            user_id,
            kept: Vec::new(),
        }
    }

    pub(super) async fn read(&mut self, part: Part<'_>) -> Result<()> {
        let name = part.file_name().to_owned();
        if self.kept.len() >= MOST_FILES {
            // A file input that was left alone is no file, also behind the last one.
            if part.was_left_out().await? {
                return Ok(());
            }
            return Err(too_many());
        }
        let Optional::Filled(bytes) = part.optional_bytes(MOST_FILE_BYTES).await? else {
            return Ok(());
        };
        let kept = self.tickets.take_in(self.user_id, &name, bytes).await;
        let kept = kept.map_err(|refusal| match refusal.code {
            Code::ImageRefused | Code::UnsupportedMediaType => {
                let place = format!("attachments[{}]", self.kept.len());
                let message = refusal.message.clone();
                refusal.with(place, message)
            }
            _ => refusal,
        })?;
        self.kept.push(kept);
        Ok(())
    }

    pub(super) fn into_kept(self) -> Vec<KeptFile> {
        self.kept
    }
}

/// Reads the parts of a [`MessageForm`].
async fn read_message(
    mut form: Form,
    tickets: &Tickets,
    user_id: UserId,
) -> Result<(String, Vec<KeptFile>)> {
    let (mut message, mut files) = (None, Files::new(tickets, user_id));
    while let Some(part) = form.next().await? {
        match part.name() {
            "message" => once(&mut message, "message", part.text(TEXT_BYTES).await?)?,
            "attachments" => files.read(part).await?,
            _ => return Err(part.unknown(&["message", "attachments"])),
        }
    }
    let message = message.ok_or_else(|| Error::invalid("message", "is missing"))?;
    Ok((message, files.into_kept()))
}

/// Opens a ticket, with pictures if there is something to show.
///
/// Each picture is decoded and written again, so that nothing of the file is kept but what it shows. A
/// ticket that names an instance shows administrators what was known of it at this moment.
#[utoipa::path(post, path = "/tickets", tag = "tickets", security(("bearer" = [])),
    request_body(content = TicketForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "The ticket", body = Envelope<TicketDetail>), Opening))]
async fn open(
    State(state): State<AppState>,
    customer: Customer,
    mut form: Form,
) -> Reply<TicketDetail> {
    let user_id = customer.user_id;
    state.tickets.admit(user_id)?;
    let (mut subject, mut description, mut instance_id) = (None, None, Optional::Absent);
    let mut files = Files::new(&state.tickets, user_id);
    while let Some(part) = form.next().await? {
        match part.name() {
            "subject" => once(&mut subject, "subject", part.text(TEXT_BYTES).await?)?,
            "description" => once(
                &mut description,
                "description",
                part.text(TEXT_BYTES).await?,
            )?,
            "instanceId" => {
                let id = part.optional_text(TEXT_BYTES).await?;
                let id = id.read(|id| read_id(&id))?;
                once_if_any(&mut instance_id, "instanceId", id)?;
            }
            "attachments" => files.read(part).await?,
            _ => {
                return Err(part
                    .unknown(&["subject", "description", "instanceId", "attachments"])
                    .into());
            }
        }
    }
    let given = |name, value: &Option<String>| match value {
        Some(_) => Ok(()),
        None => Err(Error::invalid(name, "is missing")),
    };
    Error::join([
        given("subject", &subject),
        given("description", &description),
    ])?;
    let new = NewTicket {
        subject: &subject.unwrap_or_default(),
        description: &description.unwrap_or_default(),
        instance_id: instance_id.filled(),
        files: files.into_kept(),
    };
    let detail = state.tickets.open(user_id, new).await?;
    let message = format!("Your ticket is {}.", detail.ticket.number);
    Ok(Success::created(message, detail))
}

fn read_id(text: &str) -> Result<InstanceId> {
    text.trim().parse().map_err(|_| {
        Error::invalid(
            "instanceId",
            "must be the id of an instance, which is a UUID",
        )
    })
}

/// Tells how many tickets a list has; their number is counted for pages alone.
pub(super) fn number_of<T>(found: &Walked<T>) -> String {
    match found.total {
        Some(total) => format!("{}.", counted(total.min(MOST_COUNTED), "ticket")),
        None => "Earlier tickets.".to_owned(),
    }
}

/// Lists this customer's tickets, newest first.
#[utoipa::path(get, path = "/tickets", tag = "tickets", params(PageQuery, TicketQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of tickets", body = Envelope<Vec<TicketView>>)))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<TicketQuery>,
) -> Reply<Vec<TicketView>> {
    let (span, tickets) = (page.span(query.cursor)?, &state.tickets);
    let found = tickets.list(customer.user_id, query.status, span).await?;
    let message = number_of(&found);
    Ok(Success::walk::<lists::OwnTickets>(
        message,
        page,
        found,
        TicketView::place,
    ))
}

/// Counts this customer's tickets by status.
#[utoipa::path(get, path = "/tickets/stats", tag = "tickets", security(("bearer" = [])),
    responses((status = 200, description = "The numbers", body = Envelope<TicketCounts>)))]
async fn stats(State(state): State<AppState>, customer: Customer) -> Reply<TicketCounts> {
    let counts = state.tickets.counts(customer.user_id).await?;
    Ok(Success::ok("Your tickets by status.", counts))
}

/// Returns a ticket with its messages, the oldest first.
#[utoipa::path(get, path = "/tickets/{id}", tag = "tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The ticket", body = Envelope<TicketDetail>), Missing))]
async fn get(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<TicketId>,
) -> Reply<TicketDetail> {
    let detail = state.tickets.get(customer.user_id, id).await?;
    Ok(Success::ok("The ticket.", detail))
}

/// Adds a message to a ticket that is not closed.
#[utoipa::path(post, path = "/tickets/{id}/messages", tag = "tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body(content = MessageForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "The ticket with the message", body = Envelope<TicketDetail>), Writing))]
async fn reply(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<TicketId>,
    form: Form,
) -> Reply<TicketDetail> {
    let (tickets, user_id) = (&state.tickets, customer.user_id);
    tickets.admit(user_id)?;
    // Before any file of it is read.
    tickets.check_writable(user_id, id).await?;
    let (message, files) = read_message(form, tickets, user_id).await?;
    let detail = tickets.reply(user_id, id, &message, files).await?;
    Ok(Success::created("Your message was added.", detail))
}

/// Closes a ticket. Only an administrator can open it again.
#[utoipa::path(put, path = "/tickets/{id}/close", tag = "tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The closed ticket", body = Envelope<TicketDetail>), Closing))]
async fn close(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<TicketId>,
) -> Reply<TicketDetail> {
    let detail = state.tickets.close(customer.user_id, id).await?;
    Ok(Success::ok("The ticket is closed.", detail))
}

/// Returns a picture of a ticket.
#[utoipa::path(get, path = "/tickets/attachments/{id}", tag = "tickets", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The picture, to be saved", content(
        (PictureFile = "image/png"), (PictureFile = "image/jpeg"), (PictureFile = "image/gif"))), Missing))]
async fn attachment(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<AttachmentId>,
) -> Result<Response, Refusal> {
    saved(state.tickets.attachment(customer.user_id, id).await?)
}

/// Sends a picture under a name that says nothing.
pub(super) fn saved(file: SentFile) -> Result<Response, Refusal> {
    let attachment = Attachment {
        name: format!("{}.{}", file.id, file.media_type.extension()),
        media_type: file.media_type.as_str(),
        content: file.content.into(),
    };
    attachment.answer()
}

/// Takes a mail that arrived at the address of a ticket (`TICKETS_REPLY_ADDRESS`), signed with
/// `TICKETS_MAIL_SECRET` by the Standard Webhooks specification. Its text becomes a message, without what
/// it quotes; one of more than 2,000 characters is cut, and says so.
#[utoipa::path(post, path = "/tickets/mail", tag = "tickets",
    params(("webhook-id" = String, Header), ("webhook-timestamp" = String, Header), ("webhook-signature" = String, Header)),
    request_body(content = RawMail, content_type = "message/rfc822", description = "The whole mail"),
    responses((status = 200, description = "Taken", body = Envelope<MailOutcome>), ReceivingSigned))]
async fn receive(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Raw, Refusal>,
) -> Reply<MailOutcome> {
    let Raw(body) = mail_of(&headers, body)?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (id, timestamp, signature) = (
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
    );
    let signed = match (id, timestamp, signature) {
        (Some(id), Some(timestamp), Some(signature)) => Some(Signed {
            id,
            timestamp,
            signature,
        }),
        _ => None,
    };
    state.tickets.check_signed(signed, &body)?;
    received(&state, &body).await
}

/// Takes a mail as `POST /tickets/mail` does, at a path that ends with `TICKETS_MAIL_PATH` in place of a
/// signature, for mail services that sign nothing.
#[utoipa::path(post, path = "/tickets/mail/{secret}", tag = "tickets",
    params(("secret" = String, Path, description = "The secret part of the path")),
    request_body(content = RawMail, content_type = "message/rfc822", description = "The whole mail"),
    responses((status = 200, description = "Taken", body = Envelope<MailOutcome>), Receiving))]
async fn receive_at(
    State(state): State<AppState>,
    Segment(secret): Segment<String>,
    headers: HeaderMap,
    body: Result<Raw, Refusal>,
) -> Reply<MailOutcome> {
    state.tickets.check_path(&secret)?;
    let Raw(body) = mail_of(&headers, body)?;
    received(&state, &body).await
}

fn mail_of(headers: &HeaderMap, body: Result<Raw, Refusal>) -> Result<Raw> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = declared
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("message/rfc822") {
        let message = "Send the whole mail, with the header `Content-Type: message/rfc822`.";
        return Err(Error::new(Code::UnsupportedMediaType, message));
    }
    body.map_err(|Refusal(error)| error)
}

async fn received(state: &AppState, body: &[u8]) -> Reply<MailOutcome> {
    let outcome = state.tickets.receive(body).await?;
    let message = match outcome.result {
        MailUse::Added => "The mail was added to its ticket.",
        MailUse::Known => "The mail is in its ticket already.",
        MailUse::Automatic => "No person wrote the mail; it was not added.",
    };
    Ok(Success::ok(message, outcome))
}
