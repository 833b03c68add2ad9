//! A service whose answers a test decides, in the place of a plugin.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use dermaga_runtime::contract::{self, Answer, Health, HealthState, Observation};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Services;
use crate::{
    Code, Error, Result,
    db::{Clock, new_id},
    ids::UserId,
    plugins::{Decided, Decision},
};

/// A service whose answers a test decides.
#[derive(Debug, Clone, Default)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
pub(super) struct Script {
    /// Objects of an instance, where they are others than usual.
    pub(super) render: Option<fn(&contract::Instance) -> Vec<Value>>,
    /// Calls of `manifests` by instance.
    pub(super) calls: HashMap<String, usize>,
    /// Instances being rendered now.
    busy: Vec<String>,
    /// Instances that were being rendered twice at once.
    pub(super) doubled: Vec<String>,
    pub(super) delay: Duration,
    pub(super) problem: Option<String>,
    /// Calls of `health` fail.
    pub(super) judges_nothing: bool,
}

impl Scripted {
    pub(super) fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn enter(&self, name: &str) -> Duration {
        let mut script = self.script();
        *script.calls.entry(name.to_owned()).or_default() += 1;
        if script.busy.iter().any(|busy| busy == name) {
            script.doubled.push(name.to_owned());
        }
        script.busy.push(name.to_owned());
        script.delay
    }

    fn leave(&self, name: &str) -> Option<String> {
        let mut script = self.script();
        script.busy.retain(|busy| busy != name);
        script.problem.clone()
    }
}

impl Services for Scripted {
    async fn manifests(
        &self,
        digest: &str,
        input: contract::Instance,
        user_id: UserId,
    ) -> Result<Decided<Answer<Vec<Value>>>> {
        let delay = self.enter(&input.name);
        sleep(delay).await;
        let value = match self.leave(&input.name) {
            Some(message) => Answer::Problems(vec![contract::Problem {
                field: String::new(),
                message,
            }]),
            None => Answer::Ok(self.script().render.unwrap_or(objects)(&input)),
        };
        let clock = Clock::system();
        let decision = Decision {
            id: new_id(&clock),
            digest: digest.to_owned(),
            plugin_id: "service-test".to_owned(),
            plugin_version: "1.0.0".to_owned(),
            contract: contract::CONTRACT,
            function: "manifests",
            subject: user_id.into(),
            input: dermaga_runtime::canonical_json(&serde_json::to_value(&input).unwrap()),
            output: Some(dermaga_runtime::canonical_json(
                &serde_json::to_value(&value).unwrap(),
            )),
            failure: None,
            logs: "[]".to_owned(),
            fuel: 1,
            duration_us: 1,
            at: clock.now(),
        };
        Ok(Decided { value, decision })
    }

    async fn health(&self, _digest: &str, input: Observation, _user_id: UserId) -> Result<Health> {
        if self.script().judges_nothing {
            return Err(Error::new(Code::PluginFailed, "The plugin failed."));
        }
        let ready = |object: &Value| {
            object
                .pointer("/status/readyReplicas")
                .and_then(Value::as_u64)
                .is_some_and(|ready| ready > 0)
        };
        let has_secret = input
            .observed
            .iter()
            .any(|object| object["kind"] == "Secret");
        assert!(!has_secret, "a plugin saw a Secret object");
        let (state, message) = if input.observed.iter().any(ready) {
            (HealthState::Ready, "Ready.")
        } else {
            (HealthState::Starting, "Waiting for it to start.")
        };
        Ok(Health {
            state,
            message: message.to_owned(),
        })
    }
}

pub(super) fn objects(instance: &contract::Instance) -> Vec<Value> {
    let name = &instance.name;
    let labels = json!({"app.kubernetes.io/name": name});
    let size = json!({"cpu": "100m", "memory": "64Mi"});
    let container = json!({
        "name": "app",
        "image": instance.images[0].reference,
        "resources": {"requests": size, "limits": size},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": instance.secret_object, "key": "password"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"greeting": "hello"}}),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": format!("{name}-data")},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        "volumes": [
                            {"name": "data", "persistentVolumeClaim": {"claimName": format!("{name}-data")}},
                        ],
                    },
                },
            },
        }),
    ]
}
