//! Logs of the pods of one instance.

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{
    AsyncBufRead, AsyncBufReadExt as _, Stream, StreamExt as _,
    future::try_join_all,
    stream::{self, BoxStream},
};
use kube::{
    api::LogParams,
    core::{Request, Status},
};

use super::{
    Cluster, ClusterError,
    inventory::of_instance,
    reading::{Scope, all, promptly, text},
};
use crate::Result;

/// Containers whose logs are read at once.
const MOST_CONTAINERS: usize = 10;
/// Bytes of a line that are kept: an application may write without ever ending a line.
const LINE_BYTES: usize = 16 * 1024;
/// Bytes that are read of one container for one answer.
const ANSWER_BYTES: i64 = 1024 * 1024;

/// A line that an application wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Option<DateTime<Utc>>,
    pub pod: String,
    pub container: String,
    pub text: String,
    /// The rest of a long line is missing.
    pub is_cut: bool,
}

impl LogLine {
    fn of(line: &str, is_cut: bool, container: &Container) -> Self {
        let (moment, text) = line.split_once(' ').unwrap_or((line, ""));
        let (at, text) = match moment.parse() {
            Ok(at) => (Some(at), text),
            Err(_) => (None, line),
        };
        Self {
            at,
            pod: container.pod.clone(),
            container: container.name.clone(),
            text: text.trim_end_matches(['\r', '\n']).to_owned(),
            is_cut,
        }
    }
}

#[derive(Debug, Clone)]
struct Container {
    pod: String,
    name: String,
}

/// Lines to follow.
#[derive(Debug, Clone, Copy)]
pub struct Following {
    /// Older lines to begin with, where none was seen before.
    pub lines: u32,
    /// Time of the last line that was seen before.
    pub since: Option<DateTime<Utc>>,
}

impl Cluster {
    /// Returns the newest lines of an instance's pods, oldest first.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn logs(&self, namespace: &str, instance: &str, lines: u32) -> Result<Vec<LogLine>> {
        promptly(async {
            let params = LogParams {
                limit_bytes: Some(ANSWER_BYTES),
                ..params(lines, None)
            };
            let containers = self.containers(namespace, instance).await?;
            let logs = containers
                .iter()
                .map(|container| self.log(namespace, container, &params));
            let mut found: Vec<_> = try_join_all(logs).await?.into_iter().flatten().collect();
            found.sort_by_key(|line| line.at);
            let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
            Ok(found.split_off(found.len().saturating_sub(wanted)))
        })
        .await
    }

    /// Follows the lines of an instance's pods, as long as those pods last.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn follow_logs(
        &self,
        namespace: &str,
        instance: &str,
        following: Following,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>> {
        let Following { lines, since } = following;
        promptly(async {
            let params = LogParams {
                follow: true,
                ..params(lines, since)
            };
            let containers = self.containers(namespace, instance).await?;
            let logs = containers
                .into_iter()
                .map(|container| self.open_log(namespace, container, &params));
            let logs: Vec<_> = try_join_all(logs).await?.into_iter().flatten().collect();
            let is_new = move |line: &LogLine| since.is_none() || line.at > since;
            Ok(stream::select_all(logs).filter(move |line| std::future::ready(is_new(line))))
        })
        .await
    }

    async fn containers(
        &self,
        namespace: &str,
        instance: &str,
    ) -> Result<Vec<Container>, ClusterError> {
        let path = Scope::of_namespace(namespace).path("/api/v1", "pods");
        let pods = self.known(&path, &of_instance(instance)).await?;
        let containers = pods.iter().flat_map(|pod| {
            let name = text(pod, "/metadata/name").unwrap_or_default();
            all(pod, "/spec/containers").filter_map(move |container| {
                Some(Container {
                    pod: name.clone(),
                    name: text(container, "/name")?,
                })
            })
        });
        Ok(containers.take(MOST_CONTAINERS).collect())
    }

    async fn log(
        &self,
        namespace: &str,
        container: &Container,
        params: &LogParams,
    ) -> Result<Vec<LogLine>, ClusterError> {
        // As a stream, since an application may write anything, and not only UTF-8.
        let log = self.open_log(namespace, container.clone(), params).await?;
        Ok(match log {
            Some(lines) => lines.collect().await,
            None => Vec::new(),
        })
    }

    /// Opens a container's log; `None` when it has none yet.
    async fn open_log(
        &self,
        namespace: &str,
        container: Container,
        params: &LogParams,
    ) -> Result<Option<BoxStream<'static, LogLine>>, ClusterError> {
        let request = request(namespace, &container, params)?;
        match self.client.request_stream(request).await {
            Ok(log) => Ok(Some(lines(log, container).boxed())),
            Err(kube::Error::Api(status)) if has_not_begun(&status) => Ok(None),
            Err(error) => Err(ClusterError::of(error, "a log")),
        }
    }
}

fn params(lines: u32, since: Option<DateTime<Utc>>) -> LogParams {
    let since = since.map(|at| at.to_rfc3339_opts(SecondsFormat::Nanos, true));
    LogParams {
        timestamps: true,
        // Of the lines since that moment, a number of the newest would leave the others out.
        tail_lines: if since.is_some() {
            None
        } else {
            Some(lines.into())
        },
        since_time: since.and_then(|at| at.parse().ok()),
        ..LogParams::default()
    }
}

fn request(
    namespace: &str,
    container: &Container,
    params: &LogParams,
) -> Result<http::Request<Vec<u8>>, ClusterError> {
    let path = Scope::of_namespace(namespace).path("/api/v1", "pods");
    let params = LogParams {
        container: Some(container.name.clone()),
        ..params.clone()
    };
    let request = Request::new(path).logs(&container.pod, &params);
    request.map_err(|error| ClusterError::of(kube::Error::BuildRequest(error), "a log"))
}

/// A container that waits to start, and a pod that is gone by now, have no log.
fn has_not_begun(status: &Status) -> bool {
    matches!(status.code, 400 | 404)
}

fn lines(
    log: impl AsyncBufRead + Send + 'static,
    container: Container,
) -> impl Stream<Item = LogLine> + Send {
    let start = (Box::pin(log), container);
    stream::unfold(start, async |(mut log, container)| {
        let (line, is_cut) = next_line(&mut log).await?;
        let line = LogLine::of(&line, is_cut, &container);
        Some((line, (log, container)))
    })
}

/// Reads a line, of which only the first [`LINE_BYTES`] are kept, with true when that is not all of
/// it; `None` at the end, and when the cluster goes away.
async fn next_line(log: &mut (impl AsyncBufRead + Unpin)) -> Option<(String, bool)> {
    let (mut line, mut is_cut) = (Vec::new(), false);
    loop {
        let bytes = log.fill_buf().await.ok()?;
        if bytes.is_empty() && line.is_empty() {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let read = end.map_or(bytes.len(), |end| end.saturating_add(1));
        let is_last = end.is_some() || bytes.is_empty();
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend(bytes.iter().take(read.min(room)));
        is_cut |= read > room;
        log.consume_unpin(read);
        if is_last {
            return Some((String::from_utf8_lossy(&line).into_owned(), is_cut));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        Container {
            pod: "a-0".to_owned(),
            name: "app".to_owned(),
        }
    }

    #[test]
    fn a_client_that_comes_back_asks_for_all_that_it_missed() {
        let since = "2026-01-01T00:00:00.5Z".parse().ok();
        assert_eq!(params(2, None).tail_lines, Some(2));
        assert_eq!(params(2, since).tail_lines, None);
        assert!(params(2, since).since_time.is_some());
    }

    #[tokio::test]
    async fn lines_have_their_times_and_a_bound() {
        let long = "x".repeat(LINE_BYTES * 3);
        let mut log =
            format!("2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:01Z {long}\nno time\n\nlast")
                .into_bytes();
        log.extend(b"\ncaf\xe9");
        let log = futures::io::BufReader::new(futures::io::Cursor::new(log));
        let found: Vec<_> = lines(log, container()).collect().await;
        let texts: Vec<_> = found.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[0], "one");
        assert_eq!(texts[1].len(), LINE_BYTES - "2026-01-01T00:00:01Z ".len());
        assert_eq!(texts[2..], ["no time", "", "last", "caf\u{fffd}"]);
        let cut: Vec<_> = found.iter().map(|line| line.is_cut).collect();
        assert_eq!(cut, [false, true, false, false, false, false]);
        assert_eq!(found[0].at, "2026-01-01T00:00:00.5Z".parse().ok());
        assert_eq!(found[2].at, None);
    }
}
