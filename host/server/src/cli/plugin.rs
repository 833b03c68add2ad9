//! `plugin ...`: the toolkit for people who write plugins.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dermaga_runtime::{Runtime, RuntimeConfig, SizeClass, contract::Kind};
use dermaga_toolkit::{
    build::{self, BuildReport, PluginSource},
    case::{self, Case},
    check::{self, Report},
    colour::Coloured,
    new::{self, Language, Scaffold},
    open::{self, Opened},
    render::{self, Rendering},
    run::{self, Account, Guide},
    template::Template,
    test,
};

use super::{
    CliError, print,
    push::{self, PushArgs},
    signing::{self, KeygenArgs, SignArgs, VerifyArgs},
};
use crate::terminal::BuildProgress;

const SERVICE_TEMPLATES: &str = "service-templates";

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Make the folder of a new plugin, with golden cases, ready to build.
    New(NewArgs),
    /// Build plugins to components, whatever language they are in.
    ///
    /// Rust (a crate): uses the installed wasm32-unknown-unknown target, or builds the standard
    /// library from source when the target is not there. JavaScript (`package.json`): node and npm.
    /// C (`plugin.toml`): clang and lld. On Debian, as root, what is missing is installed.
    Build(BuildArgs),
    /// Call one function on one input and show the answer and what the call used.
    ///
    /// The answer goes to stdout as JSON; log lines and shares of the limits go to stderr. Without
    /// a function it lists those there are and where sample inputs are. Exits with 1 when the call
    /// fails.
    Run(RunArgs),
    /// Call a plugin with its golden cases and show the first difference of each.
    ///
    /// Exits with 1 when a case does not answer as it was blessed.
    Test(TestArgs),
    /// Print the manifests of every plan as YAML, and what the gate says.
    ///
    /// The instance is a sample and nothing reaches a cluster. Exits with 1 when the gate refuses a
    /// plan.
    Render(RenderArgs),
    /// Check a component as the server does when it is uploaded; exits with 1 when it fails.
    ///
    /// Exports and imports, describe, golden cases, determinism by two runs, the manifest gate on
    /// every plan, and how near the calls come to the limits.
    Check(CheckArgs),
    /// Upload a plugin to a running server and activate it, without a restart.
    ///
    /// Needs an administrator's API token (POST /api/user/api-tokens, scope PLUGINS). The golden
    /// cases of a folder are called first, and one that answers otherwise stops the push. The
    /// server checks the component as `plugin check` does, and refuses one that does not pass, or
    /// whose version it has with other bytes; the version that is active meanwhile serves on.
    Push(PushArgs),
    /// Make the pair of keys of a publisher: NAME.key to sign with, NAME.pub to verify with.
    ///
    /// The private key is readable by its owner only and is never printed. The line in NAME.pub
    /// goes into DERMAGA_PLUGIN_TRUSTED_KEYS of the servers that are to trust it.
    Keygen(KeygenArgs),
    /// Sign components: writes NAME.wasm.sig beside each NAME.wasm.
    Sign(SignArgs),
    /// Verify the signatures beside components; exits with 1 when one is missing or not good.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    #[command(flatten)]
    kind: NewKind,
    /// `rust`, or for a coupon `javascript` or `c`.
    #[arg(long, value_name = "LANGUAGE", default_value_t)]
    language: Language,
    /// Folder of the plugin, new or empty [default: the plugin's id, in the current folder]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct NewKind {
    /// A service of this name, for example `uptime-kuma`; its id is then `service-uptime-kuma`.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// A coupon rule of this name, for example `first-purchase`.
    #[arg(long, value_name = "NAME")]
    coupon: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Plugins, or folders of them [default: the current folder, or `plugins` in it]
    #[arg(value_name = "FOLDER")]
    crates: Vec<PathBuf>,
    /// Folder for the components, each as NAME.wasm.
    #[arg(long, value_name = "FOLDER", default_value = "target/components")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// The plugin that a command is about.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// A component (`*.wasm`), or the folder of a plugin, which is built first.
    #[arg(value_name = "PLUGIN")]
    pub(super) target: PathBuf,
    /// Folder for the component that is built.
    #[arg(long, value_name = "FOLDER", default_value = "target/components")]
    pub(super) out: PathBuf,
    /// The class of size and memory whose limits hold: `standard`, or `large` for a plugin that an
    /// administrator grants it [default: `large` for a folder in JavaScript]
    #[arg(long, value_name = "CLASS")]
    pub(super) class: Option<SizeClass>,
}

/// Templates to try a service on.
#[derive(Debug, Args)]
struct Templates {
    /// Folder of service templates; a service is tried on the plans of those that sell it
    /// [default: `service-templates` in the crate, or in the current folder]
    #[arg(long, value_name = "FOLDER")]
    templates: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    plugin: Target,
    /// Function, for example `evaluate`.
    function: Option<String>,
    /// A JSON file, a golden case, or - for stdin [default: null, which is what `describe` takes]
    #[arg(value_name = "INPUT")]
    input: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    plugin: Target,
    /// Folder of golden cases [default: `cases` in the crate]
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,
    /// Write what the plugin answers now into the cases, then test.
    #[arg(long)]
    bless: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    plugin: Target,
    #[command(flatten)]
    templates: Templates,
    /// Slug of the only plan to try.
    #[arg(long, value_name = "SLUG")]
    plan: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    plugin: Target,
    #[command(flatten)]
    templates: Templates,
    /// Folder of golden cases [default: `cases` in the crate]
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,
    /// Write what the plugin answers now into the cases, then check.
    #[arg(long)]
    bless: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: PluginCommand) -> Result<(), CliError> {
    let work: Box<dyn FnOnce() -> Result<(), CliError> + Send> = match command {
        PluginCommand::New(args) => Box::new(|| scaffold(args)),
        PluginCommand::Build(args) => Box::new(move || build(&args)),
        PluginCommand::Run(args) => Box::new(move || call(&args)),
        PluginCommand::Test(args) => Box::new(|| golden(args)),
        PluginCommand::Render(args) => Box::new(move || render(&args)),
        PluginCommand::Check(args) => Box::new(|| check(args)),
        PluginCommand::Push(args) => return push::push(args).await,
        PluginCommand::Keygen(args) => Box::new(move || signing::keygen(&args)),
        PluginCommand::Sign(args) => Box::new(move || signing::sign(&args)),
        PluginCommand::Verify(args) => Box::new(move || signing::verify(&args)),
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))?
}

fn scaffold(args: NewArgs) -> Result<(), CliError> {
    let NewArgs {
        kind,
        language,
        path,
    } = args;
    let (kind, name) = match (kind.service, kind.coupon) {
        (Some(name), _) => (Kind::Service, name),
        (None, name) => (Kind::Coupon, name.unwrap_or_default()),
    };
    let made: Scaffold = new::scaffold(&new::Options {
        kind,
        language,
        name,
        path,
    })
    .map_err(|error| match error {
        new::NewError::Name { .. } | new::NewError::Language(_) => {
            CliError::Usage(error.to_string())
        }
        other => CliError::Failed(other.to_string()),
    })?;
    print(&format!("{made}\n"))
}

fn build(args: &BuildArgs) -> Result<(), CliError> {
    let crates = build::find(&args.crates).map_err(failed)?;
    let options = build::Options {
        out: args.out.clone(),
        target: None,
    };
    let report: BuildReport = {
        let progress = BuildProgress::new(show);
        build::build(&crates, &options, &progress).map_err(failed)?
    };
    answer(&report, args.json)
}

fn call(args: &RunArgs) -> Result<(), CliError> {
    let Opened { plugin, source, .. } = args.plugin.open()?;
    let Some(function) = &args.function else {
        let cases = cases(source.as_ref())?;
        let guide = Guide {
            plugin: &plugin,
            cases: &cases,
        };
        return print(&format!("{guide}\n"));
    };
    let input = match &args.input {
        Some(from) => run::read_input(from).map_err(failed)?,
        None => serde_json::Value::Null,
    };
    let outcome = plugin.call_json(function, &input);
    eprint!("{}", Account::of(&outcome));
    match &outcome {
        Ok(called) => answer_json(&called.value),
        Err(error) => Err(CliError::Check(format!("{error} ({})", error.code()))),
    }
}

fn golden(args: TestArgs) -> Result<(), CliError> {
    let Opened { plugin, source, .. } = args.plugin.open()?;
    let folder = args
        .cases
        .or_else(|| source.as_ref().map(PluginSource::cases));
    let Some(folder) = folder else {
        return Err(CliError::Usage(
            "a component has no cases beside it: name their folder with --cases".to_owned(),
        ));
    };
    if args.bless {
        let changed = case::bless(&folder, &plugin).map_err(failed)?;
        show(&case::blessed(&changed));
    }
    let cases = Case::load_dir(&folder).map_err(failed)?;
    if cases.is_empty() {
        return Err(CliError::Failed(format!(
            "there are no golden cases in {}: write {{\"description\", \"function\", \"input\"}} into a file there and bless it",
            folder.display()
        )));
    }
    let report = test::test(&plugin, &cases);
    answer_coloured(&report, args.json)?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(CliError::Check(format!(
            "golden cases that answer otherwise: {failed}; if the new answers are right, --bless writes them"
        ))),
    }
}

fn render(args: &RenderArgs) -> Result<(), CliError> {
    let templates = match args.templates.folder(&args.plugin.target) {
        Some(folder) => Template::load_dir(&folder)
            .map_err(|errors| CliError::Failed(check::CheckError::Templates(errors).to_string()))?,
        None => Vec::new(),
    };
    let Opened { plugin, source, .. } = args.plugin.open()?;
    let cases = cases(source.as_ref())?;
    let renderings: Vec<Rendering> =
        render::render(&plugin, &templates, &cases, args.plan.as_deref()).map_err(failed)?;
    for rendering in &renderings {
        print(&format!("---\n{rendering}"))?;
    }
    let refused: Vec<_> = renderings
        .iter()
        .filter(|rendering| !rendering.is_admitted())
        .map(|rendering| rendering.plan.as_str())
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(CliError::Check(format!(
        "not admitted: {}; the comments above each plan say why and what to do",
        refused.join(", ")
    )))
}

fn check(args: CheckArgs) -> Result<(), CliError> {
    let options = check::Options {
        templates: args.templates.folder(&args.plugin.target),
        target: args.plugin.target,
        class: args.plugin.class,
        cases: args.cases,
        out: args.plugin.out,
        bless: args.bless,
    };
    let report: Report = {
        let progress = BuildProgress::new(show);
        check::check(&runtime()?, &options, &progress).map_err(failed)?
    };
    answer_coloured(&report, args.json)?;
    match report.first_failure() {
        None => Ok(()),
        Some(first) => Err(CliError::Check(format!(
            "the plugin does not pass `{}`",
            first.name
        ))),
    }
}

impl Target {
    fn open(&self) -> Result<Opened, CliError> {
        let progress = BuildProgress::new(show);
        open::open(&runtime()?, self.class, &self.target, &self.out, &progress).map_err(failed)
    }
}

impl Templates {
    fn folder(&self, target: &Path) -> Option<PathBuf> {
        let places = [target.join(SERVICE_TEMPLATES), SERVICE_TEMPLATES.into()];
        let found = || places.into_iter().find(|folder| folder.is_dir());
        self.templates.clone().or_else(found)
    }
}

pub(super) fn runtime() -> Result<Runtime, CliError> {
    let config = RuntimeConfig {
        compiler: super::compiler(),
        ..RuntimeConfig::default()
    };
    Runtime::new(config).map_err(failed)
}

/// The golden cases of the crate, when it is one.
fn cases(source: Option<&PluginSource>) -> Result<Vec<Case>, CliError> {
    source.map_or_else(
        || Ok(Vec::new()),
        |source| Case::load_dir(&source.cases()).map_err(failed),
    )
}

pub(super) fn failed(error: impl std::error::Error) -> CliError {
    CliError::Failed(error.to_string())
}

/// Progress goes to stderr, so that stdout is the report alone.
pub(super) fn show(line: &str) {
    eprintln!("{line}");
}

fn answer<T: serde::Serialize + std::fmt::Display>(report: &T, json: bool) -> Result<(), CliError> {
    if json {
        return answer_json(report);
    }
    print(&format!("{report}\n"))
}

/// Prints the answer, in colours when stdout is a terminal that wants them (`NO_COLOR`, `TERM`).
fn answer_coloured<T>(report: &T, json: bool) -> Result<(), CliError>
where
    T: serde::Serialize + std::fmt::Display + Coloured,
{
    let choice = anstream::AutoStream::choice(&std::io::stdout());
    if json || choice == anstream::ColorChoice::Never {
        return answer(report, json);
    }
    print(&format!("{}\n", report.coloured()))
}

pub(super) fn answer_json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(dermaga_shop::Error::from)?;
    print(&format!("{text}\n"))
}
