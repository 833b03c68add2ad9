//! Renders the objects of a service on each plan as YAML, with the gate's verdict.

use std::fmt;

use dermaga_runtime::{
    Plugin,
    contract::{Answer, Kind, Plan, Problem, Resources, service},
    gate::{self, Violation},
};
use serde_json::Value;

use crate::{
    case::Case,
    check::{
        offers::{Service, Services},
        sample,
    },
    template::Template,
};

/// A sample instance of one plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    /// Slug of the plan, for example `basic`.
    pub plan: String,
    /// Slug of the template that sells the plan; `None` when the plan is from a golden case.
    pub template: Option<String>,
    pub budget: Resources,
    pub verdict: Verdict,
}

/// Verdict of the gate.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The objects as they would be applied, and their total resources.
    Admitted {
        objects: Vec<Value>,
        totals: Resources,
    },
    /// The objects as the plugin rendered them, and every violation.
    Refused {
        objects: Vec<Value>,
        violations: Vec<Violation>,
    },
    /// The plugin rendered nothing; the text is the reason.
    Nothing(String),
}

/// Reason for which nothing can be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("{0} is a coupon plugin: it makes no Kubernetes objects")]
    NotAService(String),
    #[error(
        "no template sells {0} and none of its golden cases names a plan: name a folder of templates with --templates"
    )]
    NoPlans(String),
    #[error("{plugin} refuses the settings: {why}")]
    Settings { plugin: String, why: String },
    #[error("there is no plan `{wanted}`; there are: {known}")]
    UnknownPlan { wanted: String, known: String },
    #[error(
        "no sample can be made from the configuration schema: write `default`s or `examples` into it, or a golden case of `manifests`"
    )]
    NoConfiguration,
}

/// Renders a sample instance of every plan that the templates sell, or of the one plan named, and
/// runs the gate on it. Nothing reaches a cluster.
///
/// # Errors
/// When there is no plan or no configuration to render with.
pub fn render(
    plugin: &Plugin,
    templates: &[Template],
    cases: &[Case],
    plan: Option<&str>,
) -> Result<Vec<Rendering>, RenderError> {
    let id = &plugin.about().id;
    if plugin.kind() != Kind::Service {
        return Err(RenderError::NotAService(id.clone()));
    }
    let selling: Vec<&Template> = templates
        .iter()
        .filter(|template| template.plugin == *id)
        .collect();
    let Services { made, refused, .. } = Services::of(plugin, &selling, cases);
    if !refused.is_empty() {
        return Err(RenderError::Settings {
            plugin: id.clone(),
            why: refused.join("; "),
        });
    }
    let offers: Vec<(&Service<'_>, &Plan)> = made
        .iter()
        .flat_map(|service| service.plans.iter().map(move |plan| (service, plan)))
        .collect();
    if offers.is_empty() {
        return Err(RenderError::NoPlans(id.clone()));
    }
    let renderings = offers
        .iter()
        .filter(|(_, offered)| plan.is_none_or(|wanted| offered.slug == wanted))
        .map(|(service, plan)| {
            let config = service.configs.values.first();
            let config = config.ok_or(RenderError::NoConfiguration)?;
            Ok(one(plugin, service, plan, config))
        })
        .collect::<Result<Vec<_>, RenderError>>()?;
    if let (Some(wanted), true) = (plan, renderings.is_empty()) {
        let known: Vec<_> = offers.iter().map(|(_, plan)| plan.slug.as_str()).collect();
        return Err(RenderError::UnknownPlan {
            wanted: wanted.to_owned(),
            known: known.join(", "),
        });
    }
    Ok(renderings)
}

fn one(plugin: &Plugin, service: &Service<'_>, plan: &Plan, config: &Value) -> Rendering {
    let instance = sample::instance(service, plan, config);
    let verdict = match plugin.call::<service::Manifests>(&instance) {
        Err(error) => Verdict::Nothing(format!("{} ({})", error.failure, error.code())),
        Ok(called) => match called.value {
            Answer::Problems(problems) => Verdict::Nothing(said(&problems)),
            Answer::Ok(objects) => {
                match gate::admit(&objects, &sample::policy(&instance, service.template)) {
                    Ok(admitted) => Verdict::Admitted {
                        objects: admitted.objects,
                        totals: admitted.totals,
                    },
                    Err(violations) => Verdict::Refused {
                        objects,
                        violations,
                    },
                }
            }
        },
    };
    Rendering {
        plan: plan.slug.clone(),
        template: service.template.map(|template| template.slug.clone()),
        budget: plan.resources,
        verdict,
    }
}

fn said(problems: &[Problem]) -> String {
    let each: Vec<_> = problems
        .iter()
        .map(|Problem { field, message }| format!("{field} {message}").trim().to_owned())
        .collect();
    format!("the plugin refuses: {}", each.join("; "))
}

impl Rendering {
    pub const fn is_admitted(&self) -> bool {
        matches!(self.verdict, Verdict::Admitted { .. })
    }

    fn objects(&self) -> &[Value] {
        match &self.verdict {
            Verdict::Admitted { objects, .. } | Verdict::Refused { objects, .. } => objects,
            Verdict::Nothing(_) => &[],
        }
    }
}

/// Writes YAML documents; the verdict is in comments, so that the whole stays YAML.
impl fmt::Display for Rendering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# plan: {}", self.plan)?;
        match &self.template {
            Some(template) => writeln!(f, "# template: {template}")?,
            None => writeln!(f, "# template: none; the plan is one of a golden case")?,
        }
        self.comment(f)?;
        for object in self.objects() {
            let yaml = serde_norway::to_string(object).map_err(|_| fmt::Error)?;
            write!(f, "---\n{yaml}")?;
        }
        Ok(())
    }
}

impl Rendering {
    fn comment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Admitted { totals, .. } => {
                let bought = &self.budget;
                writeln!(
                    f,
                    "# gate: admitted; cpu {}m of {}m, memory {}Mi of {}Mi, storage {}Gi of {}Gi, pods {} of {}",
                    totals.cpu_millis,
                    bought.cpu_millis,
                    totals.memory_mib,
                    bought.memory_mib,
                    totals.storage_gib,
                    bought.storage_gib,
                    totals.replicas,
                    bought.replicas
                )
            }
            Verdict::Refused { violations, .. } => {
                writeln!(f, "# gate: REFUSED")?;
                for violation in violations {
                    let Violation {
                        object,
                        path,
                        rule,
                        message,
                        fix,
                    } = violation;
                    let place = format!("{object} {path}");
                    let what = one_line(&format!("{}: {message}", place.trim_end()));
                    writeln!(f, "#   {rule}: {what}")?;
                    writeln!(f, "#     fix: {fix}")?;
                }
                Ok(())
            }
            Verdict::Nothing(why) => writeln!(f, "# nothing rendered: {}", one_line(why)),
        }
    }
}

/// Joins a text to one line: names and messages come from plugins, and a comment ends with its
/// line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use dermaga_runtime::{
        Runtime, RuntimeConfig,
        fixtures::{CouponFixture, ServiceFixture},
    };
    use serde_json::json;

    use super::*;

    fn load(component: &[u8]) -> Plugin {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        runtime.load(component).unwrap()
    }

    fn naming_a_plan() -> Case {
        let resources = json!({"cpuMillis": 100, "memoryMib": 128, "storageGib": 1, "replicas": 1});
        let plan =
            json!({"slug": "basic", "tier": "BASIC", "monthlyPrice": 1, "resources": resources});
        Case {
            name: "check".to_owned(),
            description: "D.".to_owned(),
            function: "check".to_owned(),
            input: json!({"plan": plan, "config": {}}),
            output: None,
        }
    }

    #[test]
    fn what_the_gate_refuses_is_said_in_comments_that_end_with_their_line() {
        let object =
            json!({"apiVersion": "v1", "kind": "Node\nkind: Pod", "metadata": {"name": "x"}});
        let plugin = load(&ServiceFixture::rendering(vec![object]).component());
        let renderings = render(&plugin, &[], &[naming_a_plan()], None).unwrap();
        assert!(!renderings[0].is_admitted());
        let text = renderings[0].to_string();
        let comments = text.split("---\n").next().unwrap();
        assert!(comments.starts_with("# plan: basic\n"), "{text}");
        assert!(
            comments.contains("#   GATE_KIND_NOT_ALLOWED: Node kind: Pod/x"),
            "{text}"
        );
        assert!(comments.lines().all(|line| line.starts_with('#')), "{text}");
    }

    #[test]
    fn without_a_service_or_a_plan_there_is_nothing_to_render() {
        let service = load(&ServiceFixture::default().component());
        let none = render(&service, &[], &[], None);
        assert!(matches!(none, Err(RenderError::NoPlans(_))), "{none:?}");
        let unknown = render(&service, &[], &[naming_a_plan()], Some("pro"));
        assert!(
            matches!(unknown, Err(RenderError::UnknownPlan { .. })),
            "{unknown:?}"
        );
        let coupon = load(&CouponFixture::default().component());
        let wrong = render(&coupon, &[], &[], None);
        assert!(
            matches!(wrong, Err(RenderError::NotAService(_))),
            "{wrong:?}"
        );
    }
}
