//! Requests to the API server, counted and timed.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, Request, Response};
use kube::client::Body;
use tower::Service;
use tracing::Instrument as _;

use crate::traces::TARGET;

/// A client's service whose requests are measured.
#[derive(Debug, Clone)]
pub(super) struct Measured<S>(S);

impl<S> Measured<S> {
    pub(super) const fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut call = Call::of(&request);
        let span = tracing::info_span!(
            target: TARGET,
            "kubernetes",
            otel.name = format!("{} {}", call.verb, call.kind),
            otel.kind = "client",
        );
        let answer = self.0.call(request);
        let measured = async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                call.status = response.status().as_u16().to_string();
            }
            drop(call);
            answer
        };
        measured.instrument(span).boxed()
    }
}

/// A request under way. One that is given up is counted, too.
#[derive(Debug)]
struct Call {
    verb: &'static str,
    kind: String,
    status: String,
    started: Instant,
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        let (kind, is_named) = resource(request.uri().path());
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        Self {
            verb: verb(request.method(), is_named, is_watch),
            kind: kind.to_owned(),
            status: "none".to_owned(),
            started: Instant::now(),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let labels = [
            ("verb", self.verb.to_owned()),
            ("kind", std::mem::take(&mut self.kind)),
        ];
        metrics::histogram!("dermaga_cluster_call_seconds", &labels).record(self.started.elapsed());
        let [verb, kind] = labels;
        let labels = [verb, kind, ("status", std::mem::take(&mut self.status))];
        metrics::counter!("dermaga_cluster_calls_total", &labels).increment(1);
    }
}

/// Returns the verb by which Kubernetes knows a request.
fn verb(method: &Method, is_named: bool, is_watch: bool) -> &'static str {
    match (method, is_named) {
        (&Method::GET, _) if is_watch => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => "other",
    }
}

/// Returns the resource that a path is about, such as `deployments`, and true when it names one of
/// them. What belongs to none, such as the version, is `server`.
fn resource(path: &str) -> (&str, bool) {
    let mut parts = path.trim_matches('/').split('/');
    let of_group = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return ("server", false),
    };
    let parts: Vec<&str> = parts.skip(of_group).collect();
    match parts.as_slice() {
        ["namespaces", _, resource, name @ ..] | [resource, name @ ..] => {
            (*resource, !name.is_empty())
        }
        [] => ("server", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(method: Method, uri: &str) -> (&'static str, String) {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let call = Call::of(&request);
        (call.verb, call.kind.clone())
    }

    #[test]
    fn a_request_is_known_by_verb_and_resource() {
        let pods = "/api/v1/namespaces/user-1/pods";
        let deployment = "/apis/apps/v1/namespaces/user-1/deployments/n8n-x?fieldManager=dermaga";
        for (method, uri, verb, kind) in [
            (Method::GET, pods, "list", "pods"),
            (Method::DELETE, pods, "deletecollection", "pods"),
            (
                Method::GET,
                "/api/v1/pods?limit=5&watch=true",
                "watch",
                "pods",
            ),
            (Method::PATCH, deployment, "patch", "deployments"),
            (
                Method::GET,
                "/api/v1/namespaces/user-1",
                "get",
                "namespaces",
            ),
            (Method::GET, "/api/v1/namespaces", "list", "namespaces"),
            (Method::GET, "/version", "list", "server"),
            (Method::GET, "/apis/apps/v1", "list", "server"),
        ] {
            assert_eq!(seen(method, uri), (verb, kind.to_owned()), "{uri}");
        }
    }
}
