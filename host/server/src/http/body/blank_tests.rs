//! Tests of blank texts: none where a text is wanted, and refused in the place of anything else.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Memo {
    #[garde(skip)]
    text: Option<String>,
    #[garde(skip)]
    id: Option<uuid::Uuid>,
    #[garde(skip)]
    plan: Option<dermaga_shop::ids::PlanId>,
    #[garde(skip)]
    #[serde(default)]
    list: Option<Vec<dermaga_shop::ids::PlanId>>,
    #[garde(skip)]
    #[serde(default)]
    word: Option<dermaga_shop::language::Language>,
    #[garde(skip)]
    #[serde(default)]
    count: Option<i64>,
    #[garde(inner(custom(of_form)))]
    #[serde(default)]
    #[schema(pattern = "^x+$")]
    formed: Option<String>,
    #[garde(inner(length(chars, min = 2)))]
    #[serde(default)]
    #[schema(min_length = 2)]
    longer: Option<String>,
}

fn of_form(text: &str, (): &()) -> garde::Result {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'x') {
        return Ok(());
    }
    Err(garde::Error::new("must be of x"))
}

async fn memo(body: String) -> Result<Memo, Error> {
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    let read = <Body<Memo> as FromRequest<()>>::from_request(request, &()).await;
    read.map(|Body(memo)| memo).map_err(|Refusal(error)| error)
}

const NOTHING: [&str; 3] = ["\"\"", "\" \"", "\"\u{200b}\""];

#[tokio::test]
async fn an_optional_field_that_holds_nothing_is_absent() {
    for text in NOTHING.into_iter().chain(["null"]) {
        let read = memo(format!(r#"{{"text": {text}}}"#)).await.unwrap();
        assert_eq!(read.text, None, "{text}");
    }
    let read = memo(r#"{"id": null, "plan": null}"#.to_owned()).await;
    let read = read.unwrap();
    assert_eq!((read.id, read.plan), (None, None));
    assert_eq!((read.list, read.word), (None, None));
    assert_eq!((read.count, read.formed), (None, None));
}

/// A text that the document forbids is refused, whatever it would mean.
#[tokio::test]
async fn a_blank_that_is_shorter_than_the_document_allows_is_refused() {
    for nothing in NOTHING {
        let refused = memo(format!(r#"{{"longer": {nothing}}}"#)).await;
        let details = refused.unwrap_err().details;
        let told: Vec<&str> = details.iter().map(|one| &*one.field).collect();
        assert_eq!(told, ["longer"], "{nothing}");
    }
    let read = memo(r#"{"longer": "  "}"#.to_owned()).await.unwrap();
    assert_eq!(read.longer, None);
    let read = memo(r#"{"longer": "ab"}"#.to_owned()).await.unwrap();
    assert_eq!(read.longer.as_deref(), Some("ab"));
}

/// It would mean all, or the usual value, where the sender has lost one.
#[tokio::test]
async fn what_is_no_text_cannot_be_blank() {
    for nothing in NOTHING {
        for (field, expected) in [
            ("list", "must be a list"),
            ("word", "must be one of: "),
            ("count", "must be a whole number"),
            ("formed", ""),
        ] {
            let refused = memo(format!(r#"{{"{field}": {nothing}}}"#)).await;
            let details = refused.unwrap_err().details;
            let told: Vec<&str> = details.iter().map(|one| &*one.field).collect();
            assert_eq!(told, [field], "{nothing}");
            let message = &details[0].message;
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

#[tokio::test]
async fn an_id_that_holds_nothing_is_refused() {
    for nothing in NOTHING {
        for field in ["id", "plan"] {
            let body = format!(r#"{{"text": "", "{field}": {nothing}}}"#);
            let refused = memo(body).await.unwrap_err();
            let told: Vec<&str> = refused.details.iter().map(|one| &*one.field).collect();
            assert_eq!(told, [field], "{nothing}");
            let message = &refused.details[0].message;
            assert!(message.starts_with("must be a UUID"), "{message}");
        }
    }
}
