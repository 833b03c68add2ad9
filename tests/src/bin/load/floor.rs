//! The floor of a route: a bare axum server that reads a request and answers with the very bytes that the shop
//! answered once. It is a process of its own, as the shop is.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use dermaga_tests::wire::{Request, Wire};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{Outcome, process::Process, turn::Record};

/// A request of the shop and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: &'static str,
    pub(crate) sent: Option<String>,
    pub(crate) status: u16,
    pub(crate) answer: String,
}

/// Starts the floor that answers these exchanges.
pub(crate) fn start(folder: &Path, exchanges: &[Exchange]) -> Outcome<Process> {
    let list: Vec<Value> = exchanges
        .iter()
        .map(|exchange| json!([exchange.status, exchange.answer]))
        .collect();
    let file = folder.join("answers.json");
    fs::write(&file, serde_json::to_vec(&list)?)?;
    let mut command = Command::new(std::env::current_exe()?);
    // Its input ends with this process, and then it ends as well.
    command.arg("floor").arg(&file).stdin(Stdio::piped());
    Process::start(&mut command)
}

type Answers = Arc<Vec<(StatusCode, Bytes)>>;

/// Serves the answers in a file until the input ends.
pub(crate) async fn serve(file: &Path) -> Outcome<()> {
    let list: Vec<(u16, String)> = serde_json::from_slice(&fs::read(file)?)?;
    let mut answers = Vec::with_capacity(list.len());
    for (status, body) in list {
        answers.push((StatusCode::from_u16(status)?, Bytes::from(body)));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("The floor is ready at http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/answers/{number}", any(answer))
        .with_state(Arc::new(answers));
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served?,
        ended = tokio::task::spawn_blocking(input_ends) => ended?,
    }
    Ok(())
}

async fn answer(
    extract::State(answers): extract::State<Answers>,
    extract::Path(number): extract::Path<usize>,
    _sent: Bytes,
) -> Response {
    match answers.get(number) {
        Some((status, body)) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (*status, kind, body.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Returns when there is nothing more to read; an input that cannot be read has ended.
fn input_ends() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A client that sends the requests of a case to the floor.
#[derive(Debug)]
pub(crate) struct Replayer {
    wire: Wire,
    requests: Vec<(String, u16)>,
}

impl Replayer {
    pub(crate) async fn connect(address: &str, exchanges: &[Exchange]) -> Outcome<Self> {
        let written = exchanges.iter().enumerate().map(|(number, exchange)| {
            let path = format!("/answers/{number}");
            let request = Request {
                method: exchange.method,
                path: &path,
                body: exchange.sent.as_deref(),
                ..Request::default()
            };
            (request.to_text(address), exchange.status)
        });
        Ok(Self {
            requests: written.collect(),
            wire: Wire::connect(address).await?,
        })
    }

    pub(crate) async fn act(&mut self, record: &mut Record) -> Outcome<()> {
        let started = Instant::now();
        for (request, status) in &self.requests {
            let answered = self.wire.ask(request).await?;
            if answered.status != *status {
                return Err(format!("the floor answered {}", answered.status).into());
            }
        }
        record.take(0, started);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_floor_repeats_status_and_bytes() {
        let answers: Answers = Arc::new(vec![(StatusCode::CREATED, Bytes::from_static(b"{}"))]);
        let ask = async |number: usize| {
            let (state, path) = (extract::State(Arc::clone(&answers)), extract::Path(number));
            answer(state, path, Bytes::new()).await
        };
        let known = ask(0).await;
        assert_eq!(known.status(), StatusCode::CREATED);
        let body = axum::body::to_bytes(known.into_body(), 10).await.unwrap();
        assert_eq!(body, "{}");
        assert_eq!(ask(1).await.status(), StatusCode::NOT_FOUND);
    }
}
