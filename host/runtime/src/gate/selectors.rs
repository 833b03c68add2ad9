//! Selectors, which must find only this instance's pods. The host adds the instance's label to
//! every one of them afterwards; the checks here are that they select by labels that the pods have.

use super::{
    kinds::Kind,
    node::{Node, Report},
    object::check_label,
    policy::Policy,
    rule::Rule,
    workload::Workload,
};

pub(super) fn check(kind: &Kind, object: &Node<'_>, policy: &Policy, report: &mut Report) {
    match kind.name {
        "Deployment" | "StatefulSet" => {
            if let Some(workload) = Workload::of(kind, object) {
                selects_own(object, &workload, report);
            }
        }
        "Service" if selects_nothing(object) => {
            let message = "a Service selects pods by at least one label";
            report.refuse_because(object, Rule::SelectorForeign, message);
        }
        _ => {}
    }
    for selector in selectors(object) {
        for (key, label) in selector.members() {
            check_label(key, &label, policy, report);
        }
    }
}

/// Returns the selectors of an object; those of network peers are in [`super::network`].
fn selectors<'a>(object: &Node<'a>) -> Vec<Node<'a>> {
    const PLACES: &[&[&str]] = &[
        &["spec", "selector", "matchLabels"],
        &["spec", "podSelector", "matchLabels"],
    ];
    let mut found: Vec<_> = PLACES.iter().filter_map(|keys| object.at(keys)).collect();
    if object.text_at(&["kind"]) == Some("Service") {
        found.extend(object.at(&["spec", "selector"]));
    }
    found
}

fn selects_nothing(service: &Node<'_>) -> bool {
    service
        .at(&["spec", "selector"])
        .is_none_or(|labels| labels.members().is_empty())
}

fn selects_own(object: &Node<'_>, workload: &Workload<'_>, report: &mut Report) {
    let wanted = object.at(&["spec", "selector", "matchLabels"]);
    let wanted = wanted.map(|labels| labels.members()).unwrap_or_default();
    let matches = |(key, value): &(&str, Node<'_>)| {
        let label = workload.template.at(&["metadata", "labels", key]);
        label.is_some_and(|label| label.value() == value.value())
    };
    if wanted.is_empty() || !wanted.iter().all(matches) {
        report.refuse(object, Rule::SelectorForeign);
    }
}
