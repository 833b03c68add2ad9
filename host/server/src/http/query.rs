//! Query strings, with the same refusals as bodies.

use std::{borrow::Cow, marker::PhantomData};

use axum::{extract::FromRequestParts, http::request::Parts};
use dermaga_shop::{Error, error::Detail, input, text};
use garde::Validate;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    PageQuery,
    faults::{self, Shape},
};
use crate::http::Refusal;

/// Types that a query can be.
pub trait Query: DeserializeOwned + Validate<Context = ()> + IntoParams + 'static {}

impl<T: DeserializeOwned + Validate<Context = ()> + IntoParams + 'static> Query for T {}

/// A query string that fits its type and the type's rules.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: Query, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // Nothing of a query that is absent needs a look at its shape, but what must be there.
        if parts.uri.query().is_none()
            && let Ok(value) = read("")
        {
            return Ok(Self(value));
        }
        let shape = Shape::of_query::<T>();
        let query = given(parts, &shape, |_| true);
        let refused = |others| refusal(&shape, &query, others);
        Ok(read(&query).map(Self).map_err(refused)?)
    }
}

/// `page` and `limit`, and the list's own filters.
#[derive(Debug)]
pub struct Paged<F>(pub PageQuery, pub F);

impl<F: Query, S: Send + Sync> FromRequestParts<S> for Paged<F> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let is_page = |name: &str| matches!(name, "page" | "limit");
        let shape = Shape::of_query::<WithPage<F>>();
        let page = read(&given(parts, &shape, is_page));
        let filter = read(&given(parts, &shape, |name| !is_page(name)));
        match (page, filter) {
            (Ok(page), Ok(filter)) => Ok(Self(page, filter)),
            (page, filter) => {
                let faults = [page.err(), filter.err()].into_iter().flatten();
                let faults = faults.flatten().collect();
                Err(refusal(&shape, &given(parts, &shape, |_| true), faults).into())
            }
        }
    }
}

/// The parameters of a list: its page and its filters.
struct WithPage<F>(PhantomData<F>);

impl<F: IntoParams> IntoParams for WithPage<F> {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = PageQuery::into_params(&place);
        parameters.extend(F::into_params(place));
        parameters
    }
}

/// The parameters that hold something, of those that `is_wanted`: an empty text is absent. An empty number,
/// id, date or word stays, to be refused.
fn given(parts: &Parts, shape: &Shape, is_wanted: impl Fn(&str) -> bool) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let holds = |name: &str, value: &str| !text::is_blank(value) || shape.judges_blank(name, value);
    let wanted = pairs.filter(|(name, value)| is_wanted(name) && holds(name, value));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(wanted)
        .finish()
}

/// Reads a query, or finds what stops its reading; [`refusal`] adds the faults against its shape.
fn read<T: Query>(query: &str) -> Result<T, Vec<Detail>> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    match serde_path_to_error::deserialize(pairs) {
        Ok(value) => {
            let broken = faults::merged(nuls(query), faults::broken_rules(&value));
            if broken.is_empty() {
                Ok(value)
            } else {
                Err(broken)
            }
        }
        Err(error) => {
            let (path, text) = (error.path().to_string(), error.inner().to_string());
            Err(vec![input::of_serde(&path, &text, "query")])
        }
    }
}

/// The parameters that hold the character U+0000.
fn nuls(query: &str) -> Vec<Detail> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let with_nul = pairs.filter(|(_, value)| value.contains('\0'));
    let details = with_nul.map(|(name, _)| Detail {
        field: name.into_owned(),
        message: input::NO_NUL.into(),
    });
    details.collect()
}

fn refusal(shape: &Shape, query: &str, others: Vec<Detail>) -> Error {
    let mut details = shape.faults(&as_object(&shape.schema, query), "query");
    for detail in &mut details {
        // Everything in a query is a text.
        detail.message = detail.message.replace(", not the text ", ", not ");
    }
    let details = faults::merged(details, others);
    faults::refusal(faults::merged(nuls(query), details))
}

/// The query as the object that its schema describes, numbers and truth values where it wants such.
fn as_object(schema: &Value, query: &str) -> Value {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let field = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
        let kind = schema.pointer(&format!("/properties/{name}/type"));
        let is = |wanted: &str| kind.is_some_and(|kind| kind == wanted);
        let read = if is("integer") {
            value.parse::<i64>().ok().map(Value::from)
        } else if is("boolean") {
            value.parse::<bool>().ok().map(Value::from)
        } else {
            None
        };
        let text = || Value::String(value.clone().into_owned());
        (name.into_owned(), read.unwrap_or_else(text))
    };
    Value::Object(pairs.map(field).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Validate, IntoParams)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        #[garde(skip)]
        slug: Option<String>,
    }

    async fn read(query: &str) -> Result<Paged<Filter>, Error> {
        let (mut parts, ()) = axum::http::Request::get(format!("/?{query}"))
            .body(())
            .unwrap()
            .into_parts();
        let read = Paged::from_request_parts(&mut parts, &()).await;
        read.map_err(|Refusal(error)| error)
    }

    #[tokio::test]
    async fn splits_pages_from_filters() {
        let Paged(page, filter) = read("slug=n8n&limit=5").await.unwrap();
        assert_eq!(
            (page.page, page.limit, filter.slug.as_deref()),
            (1, 5, Some("n8n"))
        );
        assert_eq!(read("").await.unwrap().0, PageQuery::default());
    }

    #[tokio::test]
    async fn an_empty_text_is_absent_and_an_empty_number_is_none() {
        for query in ["slug=", "slug=%20", "slug", "slug=&unheard="] {
            let Paged(page, filter) = read(query).await.unwrap();
            assert_eq!(page, PageQuery::default(), "{query}");
            assert_eq!(filter.slug, None, "{query}");
        }
        for (query, field) in [
            ("limit=", "limit"),
            ("page=&limit=5", "page"),
            ("limit=%20", "limit"),
            ("limit", "limit"),
            ("slug=&limit=", "limit"),
        ] {
            let error = read(query).await.unwrap_err();
            let told: Vec<_> = error.details.iter().map(|one| &*one.field).collect();
            assert_eq!(told, [field], "{query}");
            let message = &error.details[0].message;
            assert!(message.starts_with("must be a whole number"), "{message}");
        }
    }

    #[tokio::test]
    async fn names_the_parameter() {
        for (query, field) in [
            ("limit=101", "limit"),
            ("page=0", "page"),
            ("page=x", "page"),
            ("slog=n8n", "slog"),
        ] {
            let error = read(query).await.unwrap_err();
            assert_eq!(
                error.details[0].field, field,
                "{query}: {}",
                error.details[0].message
            );
        }
    }
}
