//! Results of checks of plugins, kept for as long as the process lives.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use serde_json::Value;

/// Most reports that are kept; the one that was not asked for longest goes first.
const MOST_REPORTS: usize = 1_000;

/// Reports of passed checks, by everything that decides how a check ends. Servers of one process
/// may share them, as tests do, and then check the same component once.
#[derive(Debug, Clone)]
pub struct Findings(Arc<Mutex<LruCache<String, Value>>>);

impl Default for Findings {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::unbounded())))
    }
}

impl Findings {
    pub(super) fn report(&self, key: &str) -> Option<Value> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned()
    }

    pub(super) fn note(&self, key: String, report: Value) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(key, report);
        while known.len() > MOST_REPORTS {
            known.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_reports_go_first() {
        let findings = Findings::default();
        for number in 0..MOST_REPORTS {
            findings.note(number.to_string(), json!(number));
        }
        assert_eq!(findings.report("0"), Some(json!(0)), "it is young again");
        findings.note("another".to_owned(), json!(true));
        findings.note("another".to_owned(), json!(false));
        assert_eq!(findings.report("1"), None);
        for (key, kept) in [("0", json!(0)), ("2", json!(2)), ("another", json!(false))] {
            assert_eq!(findings.report(key), Some(kept), "{key}");
        }
        assert_eq!(findings.0.lock().unwrap().len(), MOST_REPORTS);
    }
}
