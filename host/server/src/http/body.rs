//! JSON bodies: read whole, checked, and refused with the field that is wrong.

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{FromRequest, OptionalFromRequest, Request},
    http::{HeaderMap, header},
};
use dermaga_shop::{Code, Error, error::Detail, input};
use garde::Validate;
use serde::de::DeserializeOwned;
use serde_json::{Value, error::Category};
use utoipa::ToSchema;

use super::{
    announced,
    faults::{self, Shape},
};
use crate::http::Refusal;

/// A JSON body that fits its type and the type's rules.
///
/// Nothing at all is an object without fields, of whatever content type: fields that must be there are named as
/// missing. Refusals: 415 for another content type, 413 when too large, `MALFORMED_REQUEST` with line and
/// column for what is not JSON, `VALIDATION_FAILED` with every fault for the rest. Types carry
/// `#[serde(deny_unknown_fields)]`, so that a misspelt field is named and not ignored.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: Input,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (value, _) = read(request, state).await?;
        Ok(Self(value))
    }
}

/// Types that a body can be.
pub trait Input: DeserializeOwned + Validate<Context = ()> + ToSchema + 'static {}

impl<T: DeserializeOwned + Validate<Context = ()> + ToSchema + 'static> Input for T {}

/// Reads a body as [`Body`] does; with the bytes it was read from.
pub(crate) async fn read<T, S>(request: Request, state: &S) -> Result<(T, Bytes), Error>
where
    T: Input,
    S: Send + Sync,
{
    if request.body().is_end_stream() {
        return nothing();
    }
    let bytes = bytes_of(request, state).await?;
    if bytes.is_empty() {
        return nothing();
    }
    let value = parse::<T>(&bytes)?;
    Ok((value, bytes))
}

/// Returns the value of a body that was not sent.
fn nothing<T: Input>() -> Result<(T, Bytes), Error> {
    let bytes = Bytes::from_static(b"{}");
    let value = parse::<T>(&bytes)?;
    Ok((value, bytes))
}

async fn bytes_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    if !is_json(request.headers()) {
        let message = "Send the body as JSON, with the header `Content-Type: application/json`.";
        return Err(Error::new(Code::UnsupportedMediaType, message));
    }
    if !is_utf8(request.headers()) {
        let message = "Send the body in UTF-8; no other charset is read.";
        return Err(Error::new(Code::UnsupportedMediaType, message));
    }
    let bytes = announced::whole(request, state).await?;
    Ok(bytes.slice_ref(input::without_bom(&bytes)))
}

/// A body that may be left out: absent when nothing or `null` was sent.
impl<T, S> OptionalFromRequest<S> for Body<T>
where
    T: Input,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Refusal> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        let bytes = bytes_of(request, state).await?;
        if bytes.trim_ascii() == b"null" {
            return Ok(None);
        }
        Ok(Some(Self(parse::<T>(&bytes)?)))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Names of the charsets that bodies are read in: UTF-8, and what is a part of it.
const READ_CHARSETS: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

/// Returns false when a charset is named that the body would not be read in.
fn is_utf8(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let parameters = declared.split(';').skip(1);
    let mut named = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    named.all(|(_, charset)| {
        let charset = charset.trim().trim_matches('"');
        READ_CHARSETS
            .iter()
            .any(|read| charset.eq_ignore_ascii_case(read))
    })
}

fn parse<T: Input>(bytes: &[u8]) -> Result<T, Error> {
    let meant = meant::<T>(bytes);
    let (nuls, repeats) = (faults::nuls(bytes, "body"), faults::repeats(bytes, "body"));
    let others = match deserialize::<T>(bytes, meant.as_ref())? {
        Ok(value) => {
            let mut broken = faults::broken_rules(&value);
            broken.extend(lists::<T>(bytes));
            if broken.is_empty() && nuls.is_empty() && repeats.is_empty() {
                return Ok(value);
            }
            broken
        }
        Err(fault) => vec![fault],
    };
    let sent = match meant {
        Some(value) => value,
        None => serde_json::from_slice(bytes).map_err(|error| input::malformed(&error))?,
    };
    let shape = Shape::of_body::<T>();
    let details = faults::merged(shape.faults(&sent, "body"), others);
    let mut details = faults::merged(nuls, details);
    details.extend(repeats);
    Err(faults::refusal(details))
}

/// Returns the value, or the fault that stopped its reading; fails for what is not JSON.
fn deserialize<T: Input>(bytes: &[u8], meant: Option<&Value>) -> Result<Result<T, Detail>, Error> {
    let fault = |error: serde_path_to_error::Error<serde_json::Error>| {
        let (path, text) = (error.path().to_string(), error.inner().to_string());
        input::of_serde(&path, &text, "body")
    };
    if let Some(value) = meant {
        return Ok(serde_path_to_error::deserialize(value).map_err(fault));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize(&mut json) {
        Ok(value) => {
            json.end().map_err(|error| input::malformed(&error))?;
            Ok(Ok(value))
        }
        Err(error) if error.inner().classify() != Category::Data => {
            // A value of another kind than an enum's is a fault of syntax to serde_json.
            let value: Value =
                serde_json::from_slice(bytes).map_err(|error| input::malformed(&error))?;
            let told = serde_path_to_error::deserialize::<_, T>(&value).err();
            Ok(Err(fault(told.unwrap_or(error))))
        }
        Err(error) => Ok(Err(fault(error))),
    }
}

/// Returns the lists in a body where its type has objects.
fn lists<T: Input>(bytes: &[u8]) -> Vec<Detail> {
    if !bytes.contains(&b'[') {
        return Vec::new();
    }
    let sent: Option<Value> = serde_json::from_slice(bytes).ok();
    let shape = Shape::of_body::<T>();
    sent.map(|sent| shape.lists(&sent, "body"))
        .unwrap_or_default()
}

/// The body without optional fields that hold nothing, when there are such.
fn meant<T: Input>(bytes: &[u8]) -> Option<Value> {
    // Most bodies hold no blank text, and are read without this detour. Between two quotes is a
    // text or what separates texts, and the latter is never blank.
    let may_be_blank = |piece: &[u8]| {
        piece.first() == Some(&b'\\') || piece.iter().all(|byte| *byte == b' ' || !byte.is_ascii())
    };
    let mut pieces = bytes.split(|byte| *byte == b'"').skip(1);
    if !pieces.any(may_be_blank) {
        return None;
    }
    let mut value = serde_json::from_slice(bytes).ok()?;
    faults::prune(&Shape::of_body::<T>(), &mut value).then_some(value)
}

#[cfg(test)]
mod blank_tests;
#[cfg(test)]
mod unreadable_tests;
#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Validate, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        #[garde(skip)]
        #[expect(dead_code, reason = "only its type matters here")]
        name: String,
    }

    #[derive(Debug, Deserialize, Validate, ToSchema)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Order {
        #[garde(length(chars, min = 3))]
        #[schema(min_length = 3)]
        plan_name: String,
        #[garde(skip)]
        #[expect(dead_code, reason = "only its type matters here")]
        amount: i64,
        #[garde(skip)]
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters here")]
        note: Option<uuid::Uuid>,
        #[garde(dive)]
        #[serde(default)]
        limits: Option<Limits>,
        #[garde(skip)]
        #[serde(default)]
        #[schema(value_type = Object)]
        #[expect(dead_code, reason = "only what is in it matters here")]
        free: Value,
    }

    async fn send(content_type: &str, body: &str) -> Error {
        let request = Request::post("/")
            .header("content-type", content_type)
            .body(body.to_owned().into())
            .unwrap();
        <Body<Order> as FromRequest<()>>::from_request(request, &())
            .await
            .unwrap_err()
            .0
    }

    #[tokio::test]
    async fn an_optional_body_is_absent_when_nothing_or_null_is_sent() {
        let optional = async |body: &str| {
            let request = Request::post("/")
                .header("content-type", "application/json")
                .body(body.to_owned().into())
                .unwrap();
            <Body<Order> as OptionalFromRequest<()>>::from_request(request, &()).await
        };
        for absent in ["", "null", " null\n"] {
            assert!(optional(absent).await.unwrap().is_none(), "{absent:?}");
        }
        for wrong in ["nul", "[]", "{}", "false"] {
            assert!(optional(wrong).await.is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn only_utf_8_is_read() {
        for (content_type, is_read) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("application/json;Charset=\"UTF-8\"; x=y", true),
            ("application/json; charset=UTF8", true),
            ("application/json; charset=\"us-ascii\"", true),
            ("application/json; charset=US-ASCII", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset=iso-8859-1", false),
            ("application/json; charset=utf-8; charset=utf-16", false),
        ] {
            let request = Request::post("/")
                .header("content-type", content_type)
                .body("{\"planName\": \"basic\", \"amount\": 1}".into())
                .unwrap();
            let found = bytes_of(request, &()).await;
            assert_eq!(found.is_ok(), is_read, "{content_type}");
            if let Err(error) = found {
                assert_eq!(error.code, Code::UnsupportedMediaType);
            }
        }
    }

    #[tokio::test]
    async fn names_everything_that_is_wrong() {
        let json = "application/json; charset=utf-8";
        let number = "must be a whole number, not the text \"x\"";
        for (body, faults) in [
            (
                r#"{"planName": "basic", "amount": "x"}"#,
                &[("amount", number)][..],
            ),
            (
                r#"{"planName": "basic", "amount": 1.5}"#,
                &[("amount", "must be a whole number, not a fraction")],
            ),
            (
                r#"{"planName": "basic", "amount": 1, "extra": 2}"#,
                &[(
                    "extra",
                    "is not known here; there are: amount, free, limits, note, planName",
                )],
            ),
            (
                r#"{"planName": "ab", "amount": 1}"#,
                &[("planName", "must be at least 3 characters, not 2")],
            ),
            (r#"{"planName": "basic"}"#, &[("amount", "is missing")]),
            ("[]", &[("body", "must be an object, not a list")]),
            // As many values as there are fields, in their order.
            (
                r#"["basic", 1, null, null, {}]"#,
                &[("body", "must be an object, not a list")],
            ),
            (
                r#"{"planName": "basic", "amount": 1, "limits": ["x"]}"#,
                &[("limits", "must be an object, not a list")],
            ),
            (
                r#"{"planName": "ab", "amount": "x", "note": 5, "b": 1}"#,
                &[
                    ("amount", number),
                    (
                        "b",
                        "is not known here; there are: amount, free, limits, note, planName",
                    ),
                    ("note", "must be a text, not a number"),
                    ("planName", "must be at least 3 characters, not 2"),
                ],
            ),
            (
                r#"{"planName": "", "note": "x"}"#,
                &[
                    ("amount", "is missing"),
                    (
                        "note",
                        "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057",
                    ),
                    ("planName", "must not be empty"),
                ],
            ),
            (
                r#"{"planName": "basic", "amount": 1, "amount": 2}"#,
                &[("amount", "is given twice")],
            ),
            (
                r#"{"planName": "basic", "amount": 1, "amount": "x", "note": ""}"#,
                &[
                    ("amount", "is given twice"),
                    ("amount", number),
                    (
                        "note",
                        "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057",
                    ),
                ],
            ),
            (
                r#"{"planName": "basic", "amount": 1, "free": {"a": [{"b": 1, "b": 1}]}}"#,
                &[("free.a[0].b", "is given twice")],
            ),
        ] {
            let error = send(json, body).await;
            assert_eq!(error.code, Code::ValidationFailed, "{body}");
            let told: Vec<(&str, &str)> = error
                .details
                .iter()
                .map(|detail| (&*detail.field, &*detail.message))
                .collect();
            assert_eq!(told, faults, "{body}");
        }
    }

    #[tokio::test]
    async fn says_where_the_json_breaks() {
        let error = send("application/json", "{\"planName\": \n oops}").await;
        assert_eq!(error.code, Code::MalformedRequest);
        assert_eq!(
            error.message,
            "The body is not JSON: it cannot be read from line 2, column 2 on."
        );
        let error = send(
            "application/json",
            "{\"planName\": \"basic\", \"amount\": 1} x",
        )
        .await;
        assert_eq!(
            error.message,
            "The body is not JSON: it cannot be read from line 1, column 36 on."
        );
    }

    #[derive(Debug, Deserialize, Validate, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Choice {
        #[garde(skip)]
        most: Option<i64>,
    }

    #[tokio::test]
    async fn an_absent_body_has_no_fields_where_none_must_be_there() {
        let read = async |kind: Option<&str>, body: &'static str| {
            let builder = Request::post("/");
            let builder = match kind {
                Some(kind) => builder.header("content-type", kind),
                None => builder,
            };
            let request = builder.body(body.into()).unwrap();
            <Body<Choice> as FromRequest<()>>::from_request(request, &()).await
        };
        for kind in [None, Some("application/json"), Some("text/plain")] {
            assert_eq!(read(kind, "").await.unwrap().0.most, None, "{kind:?}");
        }
        for kind in [None, Some("text/plain")] {
            let refused = read(kind, "{}").await.unwrap_err().0;
            assert_eq!(refused.code, Code::UnsupportedMediaType, "{kind:?}");
        }
        for broken in [" ", "x"] {
            let refused = read(Some("application/json"), broken).await.unwrap_err().0;
            assert_eq!(refused.code, Code::MalformedRequest, "{broken:?}");
        }
    }

    #[tokio::test]
    async fn an_absent_body_lacks_the_fields_that_must_be_there() {
        for kind in ["", "application/json", "text/plain"] {
            let refused = send(kind, "").await;
            assert_eq!(refused.code, Code::ValidationFailed, "{kind:?}");
            let told: Vec<(&str, &str)> = refused
                .details
                .iter()
                .map(|detail| (&*detail.field, &*detail.message))
                .collect();
            let missing = [("amount", "is missing"), ("planName", "is missing")];
            assert_eq!(told, missing, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn takes_nothing_but_json() {
        assert_eq!(
            send("text/plain", "{}").await.code,
            Code::UnsupportedMediaType
        );
    }
}
