//! Results of checks of plugins, kept for as long as the process lives.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

/// Reports of passed checks, by everything that decides how a check ends. Servers of one process
/// may share them, as tests do, and then check the same component once.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<HashMap<String, Value>>>);

impl Findings {
    pub(super) fn report(&self, key: &str) -> Option<Value> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned()
    }

    pub(super) fn note(&self, key: String, report: Value) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, report);
    }
}
