//! Steps around all routes.
//!
//! They are two services, and each calls its steps one after the other. A layer for each step would box the future of
//! each request, and a copy of every service below it.

use std::{
    convert::Infallible, panic::AssertUnwindSafe, pin::pin, sync::Arc, task, time::Duration,
};

use axum::{
    Router,
    body::HttpBody as _,
    extract::{DefaultBodyLimit, Request},
    response::Response,
};
use futures::{FutureExt as _, future::BoxFuture};
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, util::MapResponseLayer};

use crate::{
    api::{self, AppState, Observer, RouteKinds},
    http::{self, AnswerHeaders},
};

/// Wraps the router in the steps around answers, then those around routes.
pub(super) fn surround(
    routes: Router<AppState>,
    kinds: Arc<RouteKinds>,
    state: AppState,
) -> Router {
    let cors = http::cors(&state.config.http.origins);
    let hide: fn(Response) -> Response = http::hide_from_others;
    let cors = cors.map(|cors| (MapResponseLayer::new(hide), cors));
    let around_answers = AroundAnswers(Arc::new(AnswerSteps {
        observer: Observer::new(state.clone()),
        headers: AnswerHeaders::of(state.config.notifications.shop_url.as_deref()),
    }));
    let around_routes = AroundRoutes(Arc::new(RouteSteps {
        state: state.clone(),
        kinds,
    }));
    let around = ServiceBuilder::new()
        .layer(around_answers)
        .layer(http::Share)
        .option_layer(cors)
        .layer(around_routes)
        .layer(http::Share);
    routes
        .fallback(http::route_not_found)
        .method_not_allowed_fallback(http::method_not_allowed)
        .layer(around)
        .with_state(state)
}

/// Layer of the steps through which every answer goes, refusals and those to pages of other sites among them.
#[derive(Clone)]
struct AroundAnswers(Arc<AnswerSteps>);

struct AnswerSteps {
    observer: Observer,
    headers: AnswerHeaders,
}

impl AnswerSteps {
    /// Answers a request. The steps before are in the order of the code, those after in the opposite one.
    async fn answer<S>(&self, request: Request, inner: S) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send,
        S::Future: Send,
    {
        let request = http::accept_plain(request);
        let taken = http::taken_codings(&request);
        let headers = self.headers.for_request(&request);
        let seen = self.observer.see(&request);
        let answering = async move {
            let early = http::answer_early(&request);
            match early {
                Some(answer) => answer,
                None => asked(inner, request).await,
            }
        };
        let mut response = seen.answered(answering).await;
        http::set_headers(headers, &mut response);
        match taken {
            Some(taken) => http::compress(taken, response).await,
            None => response,
        }
    }
}

/// Layer of the steps that a route, or the answer for an unknown one, is behind.
#[derive(Clone)]
struct AroundRoutes(Arc<RouteSteps>);

struct RouteSteps {
    state: AppState,
    kinds: Arc<RouteKinds>,
}

impl RouteSteps {
    /// Answers a request in time, even if its handler panics.
    async fn answer<S>(&self, request: Request, route: S) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send,
        S::Future: Send,
    {
        let limit = self.state.config.http.request_timeout;
        caught(limit, move || self.answer_in_turn(request, route)).await
    }

    /// Answers a request. The steps before are in the order of the code, those after in the opposite one.
    async fn answer_in_turn<S>(&self, mut request: Request, route: S) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send,
        S::Future: Send,
    {
        let known = http::known_tags(&request);
        let quota = api::admit(&self.state, &self.kinds, &mut request).await;
        let refused = quota
            .and_then(api::refuse_excess)
            .or_else(|| http::refuse_encoded(&request));
        let mut response = match refused {
            Some(refusal) => refusal,
            None => {
                if !request.body().is_end_stream() {
                    DefaultBodyLimit::max(http::BODY_LIMIT_BYTES).apply(&mut request);
                }
                asked(route, request).await
            }
        };
        if let Some(quota) = quota {
            api::describe_quota(quota, response.headers_mut());
        }
        match known {
            Some(known) => http::answer_conditionally(&known, response).await,
            None => response,
        }
    }
}

/// Answers in time, even if what answers panics, or what is given up does so when it is dropped.
async fn caught<F>(limit: Duration, answer: impl FnOnce() -> F + Send) -> Response
where
    F: Future<Output = Response> + Send,
{
    let answering = pin!(async move {
        // In one place, within the net: the time limit does not move it.
        let answering = pin!(answer());
        api::in_time(limit, answering).await
    });
    match AssertUnwindSafe(answering).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => api::catch_panics(panic),
    }
}

/// Asks a service that cannot fail.
async fn asked<S>(service: S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let Ok(response) = service.oneshot(request).await;
    response
}

/// Makes the layer of steps, and the service of these steps around another one.
macro_rules! around {
    ($layer:ident, $steps:ident, $service:ident) => {
        impl<S> Layer<S> for $layer {
            type Service = $service<S>;

            fn layer(&self, inner: S) -> $service<S> {
                let steps = Arc::clone(&self.0);
                $service { steps, inner }
            }
        }

        #[derive(Clone)]
        struct $service<S> {
            steps: Arc<$steps>,
            inner: S,
        }

        impl<S> Service<Request> for $service<S>
        where
            S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
            S::Future: Send,
        {
            type Response = Response;
            type Error = Infallible;
            type Future = BoxFuture<'static, Result<Response, Infallible>>;

            fn poll_ready(
                &mut self,
                _: &mut task::Context<'_>,
            ) -> task::Poll<Result<(), Infallible>> {
                // The clone that is called is waited for by its future.
                task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request) -> Self::Future {
                let (steps, inner) = (Arc::clone(&self.steps), self.inner.clone());
                Box::pin(async move { Ok(steps.answer(request, inner).await) })
            }
        }
    };
}

around!(AroundAnswers, AnswerSteps, WithAnswerSteps);
around!(AroundRoutes, RouteSteps, WithRouteSteps);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::http::StatusCode;

    use super::*;

    /// Panics when it is dropped.
    struct Unwilling;

    impl Drop for Unwilling {
        fn drop(&mut self) {
            panic!("given up");
        }
    }

    #[tokio::test]
    async fn a_panic_of_what_is_given_up_is_caught() {
        let answer = || async {
            let _unwilling = Unwilling;
            pending::<Response>().await
        };
        let answered = caught(Duration::from_millis(1), answer).await;
        assert_eq!(answered.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
