//! Lines of the log about requests.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::subscriber::{DefaultGuard, set_default};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Log that is kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).unwrap()
    }
}

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Keeps the log of this thread.
fn keep() -> (Kept, DefaultGuard) {
    let kept = Kept::default();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(kept.clone())
        .finish();
    (kept, set_default(log))
}

#[tokio::test]
async fn a_probe_that_is_refused_has_a_line_with_its_id() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let (kept, _log) = keep();
    let request = Request::post("/healthz")
        .header("x-request-id", "wrong-method")
        .body(Body::empty());
    assert_eq!(send(&router, request.unwrap()).await.0, 405);
    let text = kept.text();
    let line = text.lines().find(|line| line.contains("/healthz"));
    assert!(line.unwrap().contains("wrong-method"), "{text}");
}

#[tokio::test]
async fn a_probe_that_succeeds_has_no_line_of_its_own() {
    let (_folder, app) = shop().await;
    let router = router(app.state);
    let (kept, _log) = keep();
    for path in ["/healthz", "/readyz", "/api/catalog/services"] {
        assert_eq!(ask(&router, Method::GET, path, None, None).await.0, 200);
    }
    let text = kept.text();
    assert!(text.contains("/api/catalog/services"), "{text}");
    assert!(
        !text.contains("healthz") && !text.contains("readyz"),
        "{text}"
    );
}
