//! The accept loop: HTTP/1.1 and HTTP/2 on a listener, with bounds on what a stranger's connection may hold.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{
        HeaderValue, Request, StatusCode, Version,
        header::{CONNECTION, TRANSFER_ENCODING},
    },
    response::Response,
};
use dermaga_shop::{Code, Error};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    ConnectionLimits, Departure,
    body_rest::BodyRest,
    exchanges::Exchanges,
    failure::failure_text,
    head::{HEAD_BYTES, MOST_READ, Oversized, is_oversized},
    host::{Unaddressed, is_unaddressed},
    open_connections::{Exceeded, OpenConnections, Place},
    watched::{Phase, Watched},
};

/// Requests of one connection that HTTP/2 may answer at the same time.
const STREAMS: u32 = 100;
/// Files that the process needs besides connections: databases, logs, the cluster, the gateway.
const OTHER_FILES: u64 = 256;
/// Refusals that are written at the same time; further connections are closed without a word.
const REFUSALS: usize = 64;
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Pause after a failed accept, so that a lack of files does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the door is closed, then lets the requests under way end.
///
/// `counts_addresses` is false behind proxies, which hold the connections of all clients.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    counts_addresses: bool,
    departure: Departure,
) {
    let most = limits.most.min(files_for_connections());
    let per_address = counts_addresses.then_some(limits.most_per_address);
    let open = OpenConnections::new(most, per_address);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let connections = TaskTracker::new();
    // Connections end after the door is closed: who is sent away reaches another server or none.
    let closed = CancellationToken::new();
    while let Some(accepted) = departure
        .door()
        .run_until_cancelled(listener.accept())
        .await
    {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "http.accept_failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match open.enter(peer.ip()) {
            Ok(place) => {
                let connection = Connection {
                    router: router.clone(),
                    peer,
                    limits,
                    place,
                    departure: departure.clone(),
                };
                connections.spawn(connection.run(stream, closed.clone()));
            }
            Err(exceeded) => {
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _turn = turn;
                        refuse(stream, exceeded).await;
                    });
                }
            }
        }
    }
    drop(listener);
    closed.cancel();
    connections.close();
    connections.wait().await;
}

/// An accepted connection.
struct Connection {
    router: Router,
    peer: SocketAddr,
    limits: ConnectionLimits,
    place: Place,
    departure: Departure,
}

impl Connection {
    async fn run(self, stream: TcpStream, closed: CancellationToken) {
        let Self {
            router,
            peer,
            limits,
            place: _place,
            departure,
        } = self;
        let departure = Arc::new(departure);
        // Answers are written whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let (phase, exchanges) = (Phase::new(), Exchanges::new());
        let (head, idle) = (limits.header_timeout, limits.idle_timeout);
        let io = TokioIo::new(Watched::new(stream, phase.clone(), head, idle));
        let watched = exchanges.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let is_multiplexed = request.version() == Version::HTTP_2;
            let exchange = is_multiplexed.then(|| watched.begin());
            if is_multiplexed {
                phase.multiplexed();
            } else {
                phase.answering();
            }
            mark(&mut request, peer);
            // hyper drops a length beside it without a word. By one who went by that length, the next bytes are of this
            // body, and so must be of no request (RFC 9112, section 6.1).
            let is_in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
            let (request, rest) = BodyRest::split(request.map(Body::new));
            let (answer, phase) = (router.clone().call(request), phase.clone());
            let departure = Arc::clone(&departure);
            async move {
                let answer = answer.await?;
                let answer = match exchange {
                    Some(exchange) => answer.map(|body| exchange.send(body)),
                    None => {
                        if is_in_chunks {
                            // Bytes behind the body are no request, and its client must see this answer.
                            phase.leave_unread();
                        }
                        let is_last = is_in_chunks || departure.is_leaving();
                        complete(answer, rest, &phase, is_last).await
                    }
                };
                phase.answered();
                Ok::<_, Infallible>(answer)
            }
        });
        let builder = builder(idle);
        let connection = builder.serve_connection(io, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = closed.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = exchanges.stall(idle) => {
                connection.as_mut().graceful_shutdown();
                // The client may not read that it is over.
                timeout(head, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "http.connection_ended");
        }
    }
}

/// Marks a request with its peer, and with faults that are answered behind the layers.
fn mark(request: &mut Request<Incoming>, peer: SocketAddr) {
    request.extensions_mut().insert(ConnectInfo(peer));
    if is_unaddressed(request) {
        request.extensions_mut().insert(Unaddressed);
    }
    if is_oversized(request) {
        request.extensions_mut().insert(Oversized);
    }
}

/// Returns true for an answer that ends its connection, even if all of the request has come.
fn ends_exchange(answer: &Response) -> bool {
    matches!(
        answer.status(),
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
    )
}

/// Completes an answer of HTTP/1.1, whose connection may end with it.
async fn complete(
    mut answer: Response,
    rest: Option<BodyRest>,
    phase: &Phase,
    is_last: bool,
) -> Response {
    let ends = ends_exchange(&answer);
    let has_unread = match rest {
        Some(rest) => ends || !rest.arrives().await,
        None => false,
    };
    if has_unread {
        phase.leave_unread();
    }
    if ends || has_unread || is_last {
        // A client that keeps the connection would meet its end with a request under way.
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}

/// Bounds of both protocols. HTTP/2 is known by its first bytes ("prior knowledge"), as proxies send it.
fn builder(idle: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MOST_READ)
        .max_concurrent_streams(STREAMS);
    builder
}

/// Answers with the reason why there is no place, and closes.
async fn refuse(mut stream: TcpStream, exceeded: Exceeded) {
    let error = match exceeded {
        Exceeded::InAll => {
            let message = "The server has as many connections as it can hold. Try again shortly.";
            Error::new(Code::Unavailable, message)
        }
        Exceeded::PerAddress => {
            let message = "Your address has too many connections open. Close some, then try again.";
            Error::new(Code::TooManyRequests, message)
        }
    };
    let code = error.code;
    metrics::counter!("http_connections_refused_total", "code" => code.as_str()).increment(1);
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = failure_text(error);
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Language: en\r\nContent-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let say = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread data would reset the connection and lose the sentence.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(REFUSAL_TIME, say).await;
}

/// Raises the process's limit of open files as far as it goes; returns how many of them connections
/// may take.
fn files_for_connections() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES).max(16)).unwrap_or(usize::MAX)
}
