//! Watch for changes of managed objects, and which watches are relied on.

use std::time::Duration;

use dermaga_runtime::gate::INSTANCE_LABEL;
use futures::{Stream, StreamExt, stream};
use kube::{
    Api,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::Instant;

use super::{
    Cluster, ClusterError,
    known::{Known, watched_kinds},
};

/// Time for which a watch may fail to start and is relied on: it reads on where it ended.
const LASTING: Duration = Duration::from_secs(120);
/// Longest time from one try to the next: that of the try, and the rest before it.
const BETWEEN: Duration = Duration::from_secs(180);

/// An event of a watch, or its fault.
pub(super) type WatchEvent = Result<Event<DynamicObject>, watcher::Error>;

/// Tries to start a watch that have failed, since one succeeded: the moments of the first and of the last.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Failures(Option<(Instant, Instant)>);

impl Failures {
    /// Notes an event of the watch; returns true when it is not relied on from here on.
    pub(super) fn see(&mut self, event: &WatchEvent, now: Instant) -> bool {
        let was_lasting = self.are_lasting(now);
        match event {
            // It says that a list is asked for.
            Ok(Event::Init) => {}
            Err(
                watcher::Error::InitialListFailed(_)
                | watcher::Error::WatchStartFailed(_)
                | watcher::Error::NoResourceVersion,
            ) => {
                let continues =
                    |(_, last): &(Instant, Instant)| now.saturating_duration_since(*last) < BETWEEN;
                let first = self.0.filter(continues).map_or(now, |(first, _)| first);
                self.0 = Some((first, now));
            }
            // A watch that broke off had been started.
            Ok(_) | Err(_) => self.0 = None,
        }
        !was_lasting && self.are_lasting(now)
    }

    /// Returns true while a watch fails to start for so long that changes are missed.
    pub(super) fn are_lasting(&self, now: Instant) -> bool {
        self.0.is_some_and(|(first, last)| {
            last.saturating_duration_since(first) >= LASTING
                && now.saturating_duration_since(last) < BETWEEN
        })
    }
}

impl Cluster {
    /// Streams the names of instances with an object that appeared, changed or went away, other than
    /// by an apply of this server. Starts with every instance that has any; reconnects by itself after
    /// the API server was away.
    ///
    /// # Errors
    /// When the cluster cannot say what it serves.
    pub async fn changes(
        &self,
    ) -> Result<impl Stream<Item = String> + Send + Unpin + use<>, ClusterError> {
        let served = self.served().await?;
        let kinds: Vec<_> = watched_kinds()
            .filter_map(|(api_version, kind)| {
                let resource = served.resource(api_version, kind)?;
                Some(((api_version, kind), resource))
            })
            .collect();
        self.known.begin(kinds.iter().map(|((_, kind), _)| *kind));
        let watches = kinds.into_iter().map(|(kind, resource)| {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
            // List, then watch: streamed lists came with 1.27 and answer 422 before.
            let config = watcher::Config::default().labels(INSTANCE_LABEL);
            let known = self.known.clone();
            watcher(api, config)
                .default_backoff()
                .map(move |event| stream::iter(changed(&known, kind, event)))
                .flatten()
                .boxed()
        });
        Ok(stream::select_all(watches.collect::<Vec<_>>()))
    }
}

/// Notes an event, and returns the instances that it concerns.
fn changed(known: &Known, kind: (&'static str, &'static str), event: WatchEvent) -> Vec<String> {
    if known.hears(kind.1, &event, Instant::now()) {
        tell_failing(kind.1, &event);
    }
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => {
            known.seen(kind, object).into_iter().collect()
        }
        Ok(Event::Delete(object)) => known.gone(kind, &object).into_iter().collect(),
        Ok(Event::Init) => {
            known.list_begins(kind.1);
            Vec::new()
        }
        Ok(Event::InitDone) => known.list_ends(kind.1),
        Err(error) => {
            tracing::debug!(%error, "cluster.watch_interrupted");
            Vec::new()
        }
    }
}

/// Tells that a watch cannot be started for long.
pub(super) fn tell_failing(kind: &str, event: &WatchEvent) {
    if let Err(error) = event {
        tracing::warn!(kind, %error, "cluster.watch_fails");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_cannot_be_started_for_long_is_not_relied_on() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let failed: WatchEvent = Err(watcher::Error::NoResourceVersion);
        assert!(!failures.see(&failed, after(0)));
        assert!(!failures.see(&failed, after(60)));
        assert!(!failures.are_lasting(after(90)));
        assert!(failures.see(&failed, after(120)));
        assert!(!failures.see(&failed, after(150)), "told already");
        // Its next try begins with this one.
        assert!(!failures.see(&Ok(Event::Init), after(160)));
        assert!(failures.are_lasting(after(160)));
        failures.see(&Ok(Event::InitDone), after(170));
        assert!(!failures.are_lasting(after(170)));
    }

    #[test]
    fn a_watch_that_breaks_off_and_reads_on_is_relied_on() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let failed: WatchEvent = Err(watcher::Error::NoResourceVersion);
        let gone = || watcher::Error::WatchError(Box::default());
        for minute in 0..10 {
            let now = start + Duration::from_secs(60 * minute);
            assert!(!failures.see(&failed, now));
            assert!(!failures.see(&Err(gone()), now));
        }
        // No event says that a quiet watch was started: the tries that failed are too long ago.
        for minute in 10..13 {
            let now = start + Duration::from_secs(60 * minute);
            failures.see(&failed, now);
        }
        let last = start + Duration::from_secs(60 * 12);
        assert!(failures.are_lasting(last));
        assert!(!failures.are_lasting(last + BETWEEN));
        assert!(!failures.see(&failed, last + BETWEEN), "the first again");
    }
}
