//! Budgets for disruptions: one that allows none keeps the operator from draining a node.

use super::{
    kinds::Kind,
    node::{Node, Report},
    policy::{INSTANCE_LABEL, Policy},
    rule::Rule,
    workload::Workload,
};

/// A number of pods in a budget.
#[derive(Debug, Clone, Copy)]
enum Amount {
    Pods(u64),
    /// Percentage of the selected pods, rounded up, as the cluster rounds.
    Percent(u64),
}

pub(super) fn check(objects: &[(&Kind, Node<'_>)], policy: &Policy, report: &mut Report) {
    for (kind, budget) in objects {
        if kind.name == "PodDisruptionBudget" {
            check_budget(budget, objects, policy, report);
        }
    }
}

fn check_budget(
    budget: &Node<'_>,
    objects: &[(&Kind, Node<'_>)],
    policy: &Policy,
    report: &mut Report,
) {
    let amount = |field| budget.at(&["spec", field]);
    let blocks = match (amount("minAvailable"), amount("maxUnavailable")) {
        (Some(least), None) => Amount::read(&least, report).is_some_and(|least| {
            let pods = selected(budget, objects, policy);
            pods > 0 && least.of(pods) >= pods
        }),
        (None, Some(most)) => Amount::read(&most, report).is_some_and(|most| most.of(1) == 0),
        // Without either the cluster allows no disruption; with both it refuses the object.
        _ => true,
    };
    if blocks {
        report.refuse(budget, Rule::DrainBlocked);
    }
}

impl Amount {
    fn read(node: &Node<'_>, report: &mut Report) -> Option<Self> {
        let percent = |text: &str| {
            let digits = text.strip_suffix('%')?;
            let is_short = digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let percent = digits.parse().ok().filter(|_| is_short)?;
            (percent <= 100).then_some(Self::Percent(percent))
        };
        let amount = match node.text() {
            Some(text) => percent(text),
            None => node.value().as_u64().map(Self::Pods),
        };
        if amount.is_none() {
            let message = "it must be a whole number from 0, or a percentage such as \"50%\"";
            report.refuse_because(node, Rule::MalformedObject, message);
        }
        amount
    }

    const fn of(self, pods: u64) -> u64 {
        match self {
            Self::Pods(amount) => amount,
            Self::Percent(percent) => pods.saturating_mul(percent).div_ceil(100),
        }
    }
}

/// Counts the pods that a budget selects: those that always run, or else those of Jobs.
fn selected(budget: &Node<'_>, objects: &[(&Kind, Node<'_>)], policy: &Policy) -> u64 {
    let (mut steady, mut passing) = (0_u64, 0_u64);
    for (kind, object) in objects {
        let Some(workload) = Workload::of(kind, object).filter(|it| selects(budget, it, policy))
        else {
            continue;
        };
        let pods = if matches!(kind.name, "Deployment" | "StatefulSet") {
            &mut steady
        } else {
            &mut passing
        };
        *pods = pods.saturating_add(workload.copies);
    }
    if steady > 0 { steady } else { passing }
}

/// Reports that a selector matches these labels; the host's own always match, as it forces them on
/// the selector too.
fn selects(budget: &Node<'_>, workload: &Workload<'_>, policy: &Policy) -> bool {
    let wanted = budget.at(&["spec", "selector", "matchLabels"]);
    let wanted = wanted.map(|labels| labels.members()).unwrap_or_default();
    wanted.iter().all(|(key, value)| {
        let label = workload.template.at(&["metadata", "labels", key]);
        // The host puts its own on pods and selectors alike, after this check.
        *key == INSTANCE_LABEL
            || policy.labels.contains_key(*key)
            || label.is_some_and(|label| label.value() == value.value())
    })
}
