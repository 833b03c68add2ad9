//! Fields that the restricted profile of Pod Security requires; the shapes of [`super::pod_shape`]
//! hold those that it forbids.

use super::{
    node::{Node, Report},
    policy::{Exception, Policy},
    rule::Rule,
    workload::Workload,
};

pub(super) fn check(workload: &Workload<'_>, policy: &Policy, report: &mut Report) {
    let may_be_root = policy.exceptions.contains(&Exception::RunAsRoot);
    let pod = Demands::of(&workload.pod);
    if pod.is_root && !may_be_root {
        report.refuse(&workload.pod, Rule::RunAsRoot);
    }
    for container in workload.containers() {
        let own = Demands::of(&container);
        let non_root = own.non_root.or(pod.non_root) == Some(true) && !own.is_root;
        if !non_root && !may_be_root {
            report.refuse(&container, Rule::RunAsRoot);
        }
        if !own.has_seccomp && !pod.has_seccomp {
            report.refuse(&container, Rule::SeccompProfile);
        }
        if container.flag_at(&["securityContext", "allowPrivilegeEscalation"]) != Some(false) {
            report.refuse(&container, Rule::PrivilegeEscalation);
        }
        if !drops_all(&container) {
            report.refuse(&container, Rule::CapabilitiesNotDropped);
        }
    }
}

/// Security context of a pod or a container.
struct Demands {
    non_root: Option<bool>,
    is_root: bool,
    has_seccomp: bool,
}

impl Demands {
    fn of(node: &Node<'_>) -> Self {
        let user = node.at(&["securityContext", "runAsUser"]);
        Self {
            non_root: node.flag_at(&["securityContext", "runAsNonRoot"]),
            is_root: user.is_some_and(|user| user.value().as_u64() == Some(0)),
            has_seccomp: node
                .at(&["securityContext", "seccompProfile", "type"])
                .is_some(),
        }
    }
}

fn drops_all(container: &Node<'_>) -> bool {
    let dropped = container.elements_at(&["securityContext", "capabilities", "drop"]);
    dropped
        .iter()
        .any(|capability| capability.text() == Some("ALL"))
}
