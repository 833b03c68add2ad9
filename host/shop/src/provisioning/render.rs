//! From an instance's desired state to objects that may be applied: pinned plugin, then gate.

use dermaga_runtime::{
    Digest, canonical_json,
    contract::{self, Answer, Image},
    gate::{self, Policy, Violation},
};
use serde_json::{Value, json};

use super::{
    entry::{Entry, Hosts},
    lifecycle,
    marks::Origin,
    model::{Desired, Instance, Owned, Recorded, Terms},
    plugin_calls::Services,
    pods::Pods,
    secrets::{self, Secrets},
};
use crate::{
    Error, Result,
    cluster::{masked, owner_labels},
    plugins::Decision,
};

/// Decisions of the cluster's administrator for every instance: classes, way in and pods.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    /// Forced on volume claims; `None` leaves the cluster's default.
    pub storage: Option<String>,
    /// Forced on ingresses; `None` leaves the cluster's default.
    pub ingress: Option<String>,
    pub entry: Entry,
    pub pods: Pods,
}

/// Objects that passed the gate, the host's Secret first.
#[derive(Debug)]
pub(super) struct Rendering {
    pub objects: Vec<Value>,
    /// Present only when it differs from the last one recorded.
    pub decision: Option<Decision>,
    /// Origin of the objects, which they are marked with when they are applied.
    pub origin: Origin,
    /// Instance that the plugin was asked about, for its `health`.
    pub subject: contract::Instance,
}

/// Everything that rendering depends on.
#[derive(Debug)]
pub(super) struct RenderInputs<'a> {
    pub instance: &'a Instance,
    pub terms: &'a Terms,
    pub secrets: &'a Secrets,
    pub classes: &'a Classes,
    /// Domains of the customer that lead to it.
    pub domains: &'a [String],
    pub recorded: Option<Recorded>,
}

/// Reason that there is nothing to apply.
#[derive(Debug)]
pub(super) enum RenderError {
    /// The plugin or the gate says no; `message` is for the customer, `detail` for administrators.
    Refused {
        message: String,
        detail: String,
        decision: Option<Box<Decision>>,
    },
    /// The plugin gave no answer, or the host failed.
    Host(Error),
}

impl<E: Into<Error>> From<E> for RenderError {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}

/// A plugin's answer, new or recorded.
struct Answered {
    /// Id and version of the plugin.
    plugin: String,
    answer: Answer<Vec<Value>>,
    decision: Option<Decision>,
    origin: Origin,
}

/// Returns the instance as its plugin sees it.
///
/// # Errors
/// When a size of the plan is beyond the contract's range.
pub fn subject(
    instance: &Instance,
    terms: &Terms,
    secrets: &Secrets,
) -> Result<contract::Instance> {
    let image = |(name, reference): (&String, &String)| Image {
        name: name.clone(),
        reference: reference.clone(),
    };
    Ok(contract::Instance {
        name: instance.name.clone(),
        settings: instance.settings.0.clone(),
        plan: terms.plan_for_plugins()?,
        config: instance.config.0.clone(),
        hostname: instance.hostname.clone(),
        secret_object: instance.secret_object(),
        secrets: secrets.keys().cloned().collect(),
        images: instance.images.iter().map(image).collect(),
    })
}

/// Returns the digest of a rendering's inputs: version and input.
///
/// # Errors
/// As [`subject`].
pub(super) fn fingerprint(instance: &Instance, terms: &Terms, secrets: &Secrets) -> Result<String> {
    let input = serde_json::to_value(subject(instance, terms, secrets)?)?;
    let text = format!("{} {}", instance.plugin_digest, canonical_json(&input));
    Ok(Digest::of(text.as_bytes()).to_string())
}

/// Renders an instance by its pinned plugin version and gates the result.
pub(super) async fn render<S: Services>(
    services: &S,
    inputs: RenderInputs<'_>,
) -> Result<Rendering, RenderError> {
    let RenderInputs {
        instance,
        terms,
        secrets,
        classes,
        domains,
        recorded,
    } = inputs;
    let subject = subject(instance, terms, secrets)?;
    let Answered {
        plugin,
        answer,
        decision,
        origin,
    } = ask(services, instance, &subject, recorded).await?;
    let rendered = match answer {
        Answer::Ok(rendered) => rendered,
        Answer::Problems(problems) => {
            let first = problems
                .into_iter()
                .next()
                .map(|problem| problem.message)
                .unwrap_or_default();
            let message = format!("The plugin {plugin} cannot make this service: {first}");
            return Err(refused(message.clone(), message, decision));
        }
    };
    match assemble(&rendered, instance, terms, secrets, classes, domains)? {
        Ok(objects) => Ok(Rendering {
            objects,
            decision,
            origin,
            subject,
        }),
        Err(violations) => {
            let first = violations
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            let message = format!("The plugin {plugin} asks for what is not allowed.");
            let detail = format!("The plugin {plugin} asks for what is not allowed: {first}");
            Err(refused(message, detail, decision))
        }
    }
}

fn refused(message: String, detail: String, decision: Option<Decision>) -> RenderError {
    RenderError::Refused {
        message,
        detail,
        decision: decision.map(Box::new),
    }
}

/// Gates the rendered objects, writes the operator's decisions and the customer's domains into them, adds the
/// host's Secret and the time of the last restart, and scales a stopped instance to zero.
fn assemble(
    rendered: &[Value],
    instance: &Instance,
    terms: &Terms,
    secrets: &Secrets,
    classes: &Classes,
    domains: &[String],
) -> Result<Result<Vec<Value>, Vec<Violation>>> {
    let admitted = match gate::admit(rendered, &policy(instance, terms, classes)?) {
        Ok(admitted) => admitted,
        Err(violations) => return Ok(Err(violations)),
    };
    let mut objects = vec![secrets::manifest(instance, secrets)];
    let hosts = Hosts {
        own: instance.hostname.as_deref(),
        domains,
    };
    objects.extend(classes.entry.lead_to(admitted.objects, hosts));
    for object in &mut objects {
        classes.pods.write_into(object);
    }
    if instance.desired == Desired::Stopped {
        objects.iter_mut().for_each(scale_to_zero);
    }
    if let Some(at) = instance.restarted_at {
        for object in &mut objects {
            lifecycle::mark_restart(object, at);
        }
    }
    Ok(Ok(objects))
}

/// Returns the objects of the rendering that was recorded last, with the values of secrets masked; nothing when
/// that rendering is refused. The operator's decisions and the customer's domains are written into them.
///
/// # Errors
/// When the recorded answer does not read.
pub fn recorded_objects(
    recorded: &Recorded,
    owned: &Owned,
    secrets: &Secrets,
    classes: &Classes,
    domains: &[String],
) -> Result<Vec<Value>> {
    let Answer::Ok(rendered) = serde_json::from_str::<Answer<Vec<Value>>>(&recorded.output)? else {
        return Ok(Vec::new());
    };
    let Owned { instance, terms } = owned;
    let objects = assemble(&rendered, instance, terms, secrets, classes, domains)?;
    Ok(objects
        .unwrap_or_default()
        .into_iter()
        .map(masked)
        .collect())
}

/// Asks the plugin, or reuses the recorded answer of the same version to the same input.
async fn ask<S: Services>(
    services: &S,
    instance: &Instance,
    subject: &contract::Instance,
    recorded: Option<Recorded>,
) -> Result<Answered> {
    let input = canonical_json(&serde_json::to_value(subject)?);
    if let Some(recorded) =
        recorded.filter(|old| old.digest == instance.plugin_digest && old.input == input)
    {
        let answer = serde_json::from_str(&recorded.output)?;
        let plugin = format!("{} {}", recorded.plugin_id, recorded.plugin_version);
        return Ok(Answered {
            plugin,
            answer,
            decision: None,
            origin: Origin::recorded(&recorded, instance.manifests_decision_id),
        });
    }
    let decided = services
        .manifests(&instance.plugin_digest, subject.clone(), instance.user_id)
        .await?;
    let plugin = format!(
        "{} {}",
        decided.decision.plugin_id, decided.decision.plugin_version
    );
    Ok(Answered {
        plugin,
        answer: decided.value,
        origin: Origin::of(&decided.decision),
        decision: Some(decided.decision),
    })
}

fn policy(instance: &Instance, terms: &Terms, classes: &Classes) -> Result<Policy> {
    Ok(Policy {
        namespace: instance.namespace.clone(),
        instance: instance.name.clone(),
        labels: owner_labels(instance.user_id),
        budget: terms.resources()?,
        images: instance.images.values().cloned().collect(),
        hosts: instance.hostname.iter().cloned().collect(),
        exceptions: terms.pod_security_exceptions.iter().copied().collect(),
        storage_class: classes.storage.clone(),
        ingress_class: classes.ingress.clone(),
        secret_object: instance.secret_object(),
    })
}

/// Sets the replicas of an object to zero and keeps everything else, volumes above all.
fn scale_to_zero(object: &mut Value) {
    let (field, value) = match object.get("kind").and_then(Value::as_str) {
        Some("Deployment" | "StatefulSet") => ("replicas", json!(0)),
        Some("Job" | "CronJob") => ("suspend", json!(true)),
        _ => return,
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_instance_runs_nothing_and_keeps_the_rest() {
        let mut objects = [
            json!({"kind": "StatefulSet", "spec": {"replicas": 3, "serviceName": "a"}}),
            json!({"kind": "CronJob", "spec": {"schedule": "* * * * *"}}),
            json!({"kind": "PersistentVolumeClaim", "spec": {}}),
            json!({"kind": "Job", "spec": {"backoffLimit": 2}}),
        ];
        objects.iter_mut().for_each(scale_to_zero);
        assert_eq!(
            objects[0],
            json!({"kind": "StatefulSet", "spec": {"replicas": 0, "serviceName": "a"}})
        );
        assert_eq!(objects[1]["spec"]["suspend"], json!(true));
        assert_eq!(
            objects[2],
            json!({"kind": "PersistentVolumeClaim", "spec": {}})
        );
        assert_eq!(
            objects[3],
            json!({"kind": "Job", "spec": {"backoffLimit": 2, "suspend": true}})
        );
    }
}
