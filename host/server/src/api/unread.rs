//! Layer of the API's routes: refuses what is sent and not read.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse as _, Response},
};
use futures::future::{BoxFuture, Either};
use tower::{Layer, Service, ServiceExt as _};
use utoipa::openapi::OpenApi;

use super::{
    unread_body::{BodyReaders, refuse_body},
    unread_query::{QueryReaders, refuse_query},
};

/// Operations that read their query or their body.
#[derive(Debug, Clone)]
pub(super) struct RefuseUnread(Arc<Readers>);

#[derive(Debug)]
struct Readers {
    queries: QueryReaders,
    bodies: BodyReaders,
}

/// A route that is asked only what it reads. Requests of which all is read are passed on without a box.
#[derive(Debug, Clone)]
pub(super) struct Reading<S> {
    readers: Arc<Readers>,
    route: S,
}

impl RefuseUnread {
    pub(super) fn of(document: &OpenApi) -> Self {
        Self(Arc::new(Readers {
            queries: QueryReaders::of(document),
            bodies: BodyReaders::of(document),
        }))
    }
}

impl<S> Layer<S> for RefuseUnread {
    type Service = Reading<S>;

    fn layer(&self, route: S) -> Reading<S> {
        let readers = Arc::clone(&self.0);
        Reading { readers, route }
    }
}

impl<S> Service<Request> for Reading<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let unread = self.readers.unread(&request);
        if unread == Unread::default() {
            return Either::Left(self.route.call(request));
        }
        let route = self.route.clone();
        Either::Right(Box::pin(async move {
            match unread.refuse(request).await {
                Ok(request) => route.oneshot(request).await,
                Err(refusal) => Ok(*refusal),
            }
        }))
    }
}

/// Parts of a request that its operation does not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Unread {
    query: bool,
    body: bool,
}

impl Readers {
    fn unread(&self, request: &Request) -> Unread {
        let path = request.extensions().get::<MatchedPath>();
        let path = path.map_or("", MatchedPath::as_str);
        Unread {
            query: self.queries.is_unread(path, request),
            body: self.bodies.is_unread(path, request),
        }
    }
}

impl Unread {
    /// Returns a request whose unread parts say nothing.
    async fn refuse(self, mut request: Request) -> Result<Request, Box<Response>> {
        if self.query {
            request = refuse_query(request).await?;
        }
        if self.body {
            let read = refuse_body(&mut request).await;
            read.map_err(|refusal| Box::new(refusal.into_response()))?;
        }
        Ok(request)
    }
}
