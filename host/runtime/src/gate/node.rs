//! A place in an object, and the report that violations go into.

use serde_json::Value;

use super::rule::{Rule, Violation};

/// A value inside an object and its path. A `null` counts as absent, as in the Kubernetes API.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    object: &'a str,
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    /// Starts at the root of an object; `object` is `Kind/name`, for messages.
    pub(super) const fn root(object: &'a str, value: &'a Value) -> Self {
        Self {
            object,
            path: String::new(),
            value,
        }
    }

    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(self.child(key, value))
    }

    /// Returns the value at the end of these keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter()
            .try_fold(self.clone(), |node, key| node.get(key))
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(super) fn text_at(&self, keys: &[&str]) -> Option<&'a str> {
        self.at(keys)?.text()
    }

    pub(super) fn flag_at(&self, keys: &[&str]) -> Option<bool> {
        self.at(keys)?.value.as_bool()
    }

    /// Returns the elements of this list; none when it is no list.
    pub(super) fn elements(&self) -> Vec<Self> {
        let elements = self.value.as_array().map_or(&[][..], Vec::as_slice);
        elements
            .iter()
            .enumerate()
            .map(|(at, value)| self.child(&at.to_string(), value))
            .collect()
    }

    /// Returns the elements of the list at the end of these keys.
    pub(super) fn elements_at(&self, keys: &[&str]) -> Vec<Self> {
        self.at(keys)
            .map(|list| list.elements())
            .unwrap_or_default()
    }

    /// Returns the members of this object; none when it is no object.
    pub(super) fn members(&self) -> Vec<(&'a str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.as_str(), self.child(key, value)))
            .collect()
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        Self {
            object: self.object,
            path: format!("{}/{key}", self.path),
            value,
        }
    }
}

/// All violations of a set of objects.
#[derive(Debug, Default)]
pub(super) struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// Adds a violation at this place, with the rule's own sentence.
    pub(super) fn refuse(&mut self, at: &Node<'_>, rule: Rule) {
        self.refuse_because(at, rule, rule.message());
    }

    pub(super) fn refuse_because(&mut self, at: &Node<'_>, rule: Rule, message: impl Into<String>) {
        self.violations.push(Violation {
            object: at.object.to_owned(),
            path: at.path.clone(),
            rule,
            message: message.into(),
            fix: rule.fix(),
        });
    }

    /// Adds a violation by all objects together.
    pub(super) fn refuse_all(&mut self, rule: Rule, message: String) {
        let object = "all objects".to_owned();
        self.violations.push(Violation {
            object,
            path: String::new(),
            rule,
            message,
            fix: rule.fix(),
        });
    }

    /// Returns the violations, or this value when there are none.
    pub(super) fn or<T>(self, value: impl FnOnce() -> T) -> Result<T, Vec<Violation>> {
        if self.violations.is_empty() {
            Ok(value())
        } else {
            Err(self.violations)
        }
    }
}
