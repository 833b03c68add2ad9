//! Decides which services can be sold: each by its file, else as last loaded, else not at all.

use std::{collections::BTreeSet, path::Path};

use dermaga_toolkit::template::{Folder, Spot, Template, TemplateError};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Tier, load_templates,
    store::{self, KnownPlan, LoadedFrom},
};
use crate::{
    Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn},
    plugins::{Registry, Remedy, TemplateChecks, Verdict},
};

const REFUSED: &str = "A service template is refused.";

/// Way to have a refused template loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// The file is wrong.
    Correct,
    /// No version of its plugin is active, and the plugin was not retired.
    Install(Remedy),
    /// No version of its plugin is active since an administrator retired it.
    Activate(Remedy),
    /// The active version of its plugin does not load on this server.
    Load,
}

impl Cure {
    /// Returns the advice of the alert about such a template, if it has one.
    const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Correct => {
                "Fix the file and reload the templates (POST /api/admin/catalog/reload)."
            }
            Self::Install(remedy) | Self::Activate(remedy) => match remedy {
                Remedy::Activate => {
                    "Activate a version of the plugin and reload the templates (POST /api/admin/catalog/reload), or remove the file."
                }
                Remedy::UploadHigher => {
                    "Upload the plugin with a higher version number, activate it and reload the templates (POST /api/admin/catalog/reload), or remove the file."
                }
                Remedy::Upload => {
                    "Upload the plugin, activate it and reload the templates (POST /api/admin/catalog/reload), or remove the file."
                }
            },
            // An alert about the version says so on every server where it does not load, and ends when it does.
            Self::Load => return None,
        })
    }
}

/// One problem of a template.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateProblem {
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column from 1, in characters; 0 when the file as a whole is meant.
    pub column: usize,
    /// Key in the file, for example `plans[1].resources.cpu_millis`.
    pub key: String,
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
}

/// A template that is not loaded.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedTemplate {
    /// Name of its file.
    pub file: String,
    /// Slug of its service, as far as that is known.
    pub service: Option<String>,
    /// True when the service is still sold as it was last loaded.
    pub sold_as_before: bool,
    /// At least one problem.
    pub problems: Vec<TemplateProblem>,
    #[serde(skip)]
    pub cure: Cure,
}

/// Outcome of loading, service by service.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// Templates sold as their files say.
    pub(super) fresh: Vec<Template>,
    /// Templates sold as they were last loaded.
    pub(super) kept: Vec<Template>,
    /// Templates of services on sale that stay as they are, since their plugin does not load here.
    pub(super) undecided: Vec<Template>,
    /// Services loaded before and not sold, with the reason.
    pub(super) off: Vec<(String, String)>,
    /// Templates of the folder that wait for a version of their plugin.
    pub(super) waiting: Vec<Template>,
    pub(super) refused: Vec<RefusedTemplate>,
}

/// State of a service by the template that it was loaded from last.
enum Before {
    /// It can be sold.
    Sold(Box<Template>),
    /// Its template is not known, or its plugin does not load here: it stays as it is.
    Unknown(Option<Box<Template>>),
    /// It cannot be sold, for these faults.
    Faulty(Vec<TemplateError>),
    /// It cannot be sold, since no version of its plugin is active, as this sentence says.
    Inactive(String),
}

/// Name of a template's file, without its folder.
pub(super) fn file_name(template: &Template) -> &str {
    let file = &template.source().file;
    let name = Path::new(file).file_name().and_then(|name| name.to_str());
    name.unwrap_or(file)
}

/// Returns every template that a plugin may have to make: those of the folder, and the last loaded
/// ones of services whose file is wrong or gone.
pub(super) fn on_offer(folder: &Folder, loaded: &[LoadedFrom]) -> Vec<Template> {
    let mut offered = folder.templates.clone();
    for before in loaded {
        if offered.iter().all(|template| template.slug != before.slug) {
            offered.extend(before.parse());
        }
    }
    offered
}

impl Loading {
    /// Checks every template with its plugin, and with the plans that are there.
    pub(super) async fn judge(
        registry: &Registry,
        folder: Folder,
        (loaded, known): (&[LoadedFrom], &[KnownPlan]),
    ) -> Result<Self> {
        let (mut loading, mut checks) = (Self::default(), TemplateChecks::new(registry));
        let mut seen = BTreeSet::new();
        for template in folder.templates {
            seen.insert(template.slug.clone());
            let before = loaded.iter().find(|before| before.slug == template.slug);
            loading.take(&mut checks, template, (before, known)).await?;
        }
        for file in folder.refused {
            let before = loaded
                .iter()
                .find(|before| before.template_file.as_ref() == Some(&file.file))
                .filter(|before| !seen.contains(&before.slug));
            let slug = before.map(|before| before.slug.clone());
            seen.extend(slug.clone());
            let refused = refusal(file.file, slug, &file.errors);
            loading.fall_back(&mut checks, before, refused).await?;
        }
        for before in loaded.iter().filter(|before| !seen.contains(&before.slug)) {
            loading.without_file(&mut checks, before).await?;
        }
        Ok(loading)
    }

    /// Handles a template of the folder, whose service may be there already.
    async fn take(
        &mut self,
        checks: &mut TemplateChecks<'_>,
        template: Template,
        (before, known): (Option<&LoadedFrom>, &[KnownPlan]),
    ) -> Result<()> {
        let file = file_name(&template).to_owned();
        let service = Some(template.slug.clone());
        let refused = match checks.verdict(&template).await? {
            Verdict::Checked(mut faults) => {
                faults.extend(doubled_tiers(&template, known));
                if faults.is_empty() {
                    self.fresh.push(template);
                    return Ok(());
                }
                refusal(file, service, &faults)
            }
            Verdict::Inactive(inactive) => {
                let cure = match inactive.was_retired {
                    true => Cure::Activate(inactive.remedy),
                    false => Cure::Install(inactive.remedy),
                };
                self.waiting.push(template);
                RefusedTemplate::for_plugin(file, service, inactive.why, cure)
            }
            Verdict::NotLoaded(why) => {
                self.waiting.push(template);
                RefusedTemplate::for_plugin(file, service, why, Cure::Load)
            }
        };
        self.fall_back(checks, before, refused).await
    }

    /// Handles a service whose file is refused.
    async fn fall_back(
        &mut self,
        checks: &mut TemplateChecks<'_>,
        before: Option<&LoadedFrom>,
        mut refused: RefusedTemplate,
    ) -> Result<()> {
        if let Some(before) = before {
            let why = match as_before(checks, before).await? {
                Before::Sold(template) => {
                    refused.sold_as_before = true;
                    self.kept.push(*template);
                    None
                }
                Before::Unknown(template) => {
                    refused.sold_as_before = !before.is_refused;
                    self.leave(before, template);
                    None
                }
                Before::Faulty(_) => Some(refused.first()),
                // Also beside a wrong file: a version of the plugin brings back what was loaded last.
                Before::Inactive(why) => Some(why),
            };
            self.off.extend(why.map(|why| (before.slug.clone(), why)));
        }
        self.refused.push(refused);
        Ok(())
    }

    /// Handles a service that no file names any more.
    async fn without_file(
        &mut self,
        checks: &mut TemplateChecks<'_>,
        before: &LoadedFrom,
    ) -> Result<()> {
        let slug = before.slug.clone();
        match as_before(checks, before).await? {
            Before::Sold(template) => self.kept.push(*template),
            Before::Unknown(template) => self.leave(before, template),
            Before::Faulty(faults) => {
                let file = before.template_file.clone().unwrap_or_default();
                let refused = refusal(file, Some(slug.clone()), &faults);
                self.off.push((slug, refused.first()));
                self.refused.push(refused);
            }
            // There is no file that could be wrong.
            Before::Inactive(why) => self.off.push((slug, why)),
        }
        Ok(())
    }

    /// Leaves a service as it is.
    fn leave(&mut self, before: &LoadedFrom, template: Option<Box<Template>>) {
        if !before.is_refused {
            self.undecided.extend(template.map(|template| *template));
        }
    }

    /// Returns the services that can be sold.
    pub(super) fn sold(&self) -> impl Iterator<Item = &Template> {
        let loaded = self.fresh.iter().chain(&self.kept);
        loaded.chain(&self.undecided)
    }

    /// Writes all of it into the catalogue.
    pub(super) async fn write(&self, conn: &mut Conn, clock: &Clock) -> Result<()> {
        let now = clock.now();
        load_templates(conn, clock, &self.fresh).await?;
        for template in &self.kept {
            store::set_refused(conn, &template.slug, None, now).await?;
        }
        for (slug, why) in &self.off {
            store::set_refused(conn, slug, Some(why), now).await?;
        }
        Ok(())
    }

    /// Raises alerts for refused templates, and resolves those of accepted ones.
    pub(super) async fn tell(&self, conn: &mut Conn, clock: &Clock) -> Result<()> {
        let kind = AlertKind::TemplateRefused;
        for one in &self.refused {
            if let Some(sentence) = one.sentence() {
                alerts::raise(conn, clock, kind, &one.file, &sentence).await?;
            } else {
                tracing::warn!(file = one.file, reason = one.first(), "catalog.not_judged");
            }
        }
        // Of a file that cannot be judged here, the alert stays as it is.
        for subject in alerts::open_subjects(conn, kind).await? {
            if self.refused.iter().all(|one| one.file != subject) {
                alerts::resolve(conn, clock, kind, &subject).await?;
            }
        }
        self.log_unfiled();
        Ok(())
    }

    /// Brings the alerts about templates of services that are sold up to date: their plugin may have had no version that
    /// was active when they were raised.
    pub(super) async fn tell_of_sold(
        &self,
        conn: &mut Conn,
        clock: &Clock,
        services: &[LoadedFrom],
    ) -> Result<()> {
        let kind = AlertKind::TemplateRefused;
        let sold = services.iter().filter(|service| !service.is_refused);
        for file in sold.filter_map(|service| service.template_file.as_ref()) {
            let refused = self.refused.iter().find(|one| &one.file == file);
            match refused.map(RefusedTemplate::sentence) {
                None => drop(alerts::resolve(conn, clock, kind, file).await?),
                Some(Some(sentence)) => alerts::raise(conn, clock, kind, file, &sentence).await?,
                // The file cannot be judged here.
                Some(None) => {}
            }
        }
        Ok(())
    }

    /// Logs the services that are off sale without a file that an alert could be about.
    fn log_unfiled(&self) {
        for (slug, reason) in &self.off {
            let is_its = |one: &RefusedTemplate| one.service.as_ref() == Some(slug);
            if !self.refused.iter().any(is_its) {
                tracing::warn!(service = slug, reason, "catalog.off_sale");
            }
        }
    }
}

impl LoadedFrom {
    /// Reads the text again.
    pub(super) fn read(&self) -> Result<Template, Vec<TemplateError>> {
        let file = self.template_file.as_deref().unwrap_or_default();
        Template::parse(file, self.template.as_deref().unwrap_or_default())
    }

    fn parse(&self) -> Option<Template> {
        self.template.as_ref()?;
        self.read().ok()
    }
}

/// Returns the state of a service by the template that it was loaded from last.
async fn as_before(checks: &mut TemplateChecks<'_>, before: &LoadedFrom) -> Result<Before> {
    if before.template.is_none() {
        let inactive = checks.inactivity(&before.plugin_id).await?;
        return Ok(inactive.map_or(Before::Unknown(None), |inactive| {
            Before::Inactive(inactive.why)
        }));
    }
    let template = match before.read() {
        Ok(template) => template,
        Err(errors) => return Ok(Before::Faulty(errors)),
    };
    Ok(match checks.verdict(&template).await? {
        Verdict::Checked(faults) if faults.is_empty() => Before::Sold(Box::new(template)),
        Verdict::Checked(faults) => Before::Faulty(faults),
        Verdict::Inactive(inactive) => Before::Inactive(inactive.why),
        Verdict::NotLoaded(_) => Before::Unknown(Some(Box::new(template))),
    })
}

/// Returns a problem for each plan that would be beside one of its tier that the file does not name: plans
/// without a template stay until they are retired.
fn doubled_tiers(template: &Template, known: &[KnownPlan]) -> Vec<TemplateError> {
    let of_service = known.iter().filter(|plan| plan.service == template.slug);
    let of_service: Vec<&KnownPlan> = of_service.collect();
    let is_named = |plan: &KnownPlan| template.plans.iter().any(|named| named.slug == plan.slug);
    let mut problems = Vec::new();
    for plan in &template.plans {
        let tier = Tier::from(plan.tier);
        let is_retired = |other: &KnownPlan| other.slug == plan.slug && other.is_retired;
        let is_beside =
            |other: &&KnownPlan| other.tier == tier && !other.is_retired && !is_named(other);
        if of_service.iter().copied().any(is_retired) {
            continue;
        }
        if let Some(other) = of_service.iter().copied().find(is_beside) {
            let message = format!(
                "the plan {} has the tier {tier} too and is not retired; keep its slug, or retire it first",
                other.slug
            );
            problems.push(template.problem_at(&Spot::Plan(plan.slug.clone()), &message));
        }
    }
    problems
}

fn refusal(file: String, service: Option<String>, errors: &[TemplateError]) -> RefusedTemplate {
    let problem = |error: &TemplateError| TemplateProblem {
        line: error.line,
        column: error.column,
        key: error.key.clone(),
        message: error.message.clone(),
    };
    RefusedTemplate {
        file,
        service,
        sold_as_before: false,
        problems: errors.iter().map(problem).collect(),
        cure: Cure::Correct,
    }
}

impl RefusedTemplate {
    /// Returns the refusal of a template for want of a version of its plugin.
    fn for_plugin(file: String, service: Option<String>, why: String, cure: Cure) -> Self {
        let problem = TemplateProblem {
            line: 0,
            column: 0,
            key: "plugin".to_owned(),
            message: why,
        };
        Self {
            file,
            service,
            sold_as_before: false,
            problems: vec![problem],
            cure,
        }
    }

    /// Returns the first problem with its place, and the number of the others, in sentences.
    fn first(&self) -> String {
        let Some(first) = self.problems.first() else {
            return format!("The problem is in the file {}.", self.file);
        };
        // It is not at a place in the file: its plugin has no version that can be asked.
        if first.line == 0 {
            return first.message.clone();
        }
        let place = format!("{}:{}:{}", self.file, first.line, first.column);
        let message = first.message.trim_end_matches('.');
        let said = match first.key.as_str() {
            "" => format!("The problem is in the file {place}: {message}."),
            key => format!("The problem is in {place}: {key}: {message}."),
        };
        let more = match self.problems.len() {
            0 | 1 => return said,
            2 => "There is 1 more problem.".to_owned(),
            all => format!("There are {} more problems.", all - 1),
        };
        format!("{said} {more}")
    }

    /// Returns the sentence of its alert, if it has one.
    fn sentence(&self) -> Option<String> {
        let advice = self.cure.advice()?;
        let state = match (&self.service, self.sold_as_before) {
            (Some(slug), true) => format!("Its service {slug} is sold as it was loaded last."),
            (Some(slug), false) => format!("Its service {slug} is not sold."),
            (None, _) => "Its service is not sold.".to_owned(),
        };
        Some(format!("{REFUSED} {} {state} {advice}", self.first()))
    }
}

#[cfg(test)]
mod tests;
