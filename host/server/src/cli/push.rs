//! `plugin push`: a component into a running server.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use dermaga_runtime::{LoadError, Plugin, SizeClass};
use dermaga_toolkit::{build::PluginSource, case::Case, open, test};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{
    CliError,
    plugin::{Target, answer_json, failed, runtime, show},
    print,
    remote::Remote,
};
use crate::{
    client::{Api, refusal},
    terminal::{BuildProgress, Waiting},
};

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(flatten)]
    plugin: Target,
    #[command(flatten)]
    remote: Remote,
    /// The signature beside the component, made by `plugin sign`.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Upload and check only; activate it later.
    #[arg(long)]
    stage: bool,
    /// Reason, at least 10 characters; it stays in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print the version, and its activation, as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn push(args: PushArgs) -> Result<(), CliError> {
    let api = args.remote.api()?;
    let prepared = prepare(&args).await?;
    let cases = prepared.cases;
    let form = form(prepared, &args)?;
    let uploaded = api.upload("/api/admin/plugins", form).await;
    let version = staged(&api, uploaded?).await?;
    let (id, digest) = (text(&version, "pluginId")?, text(&version, "digest")?);
    let activation = if args.stage || text(&version, "state")? == "ACTIVE" {
        None
    } else {
        let path = format!("/api/admin/plugins/{id}/activate");
        Some(api.post(&path, &activation_of(digest, &args)).await?)
    };
    if args.json {
        let cases = json!({ "passed": cases });
        return answer_json(
            &json!({ "version": version, "activation": activation, "cases": cases }),
        );
    }
    print(&describe(&version, cases, activation.as_ref(), &args)?)
}

/// Body that activates a version, with the reason where one was given.
fn activation_of(digest: &str, args: &PushArgs) -> Value {
    match &args.reason {
        None => json!({ "digest": digest }),
        Some(reason) => json!({ "digest": digest, "reason": reason }),
    }
}

/// Waits until the server has compiled and checked an upload, and returns the version.
async fn staged(api: &Api, mut upload: Value) -> Result<Value, CliError> {
    if upload.get("state").and_then(Value::as_str) != Some("COMPILING") {
        return Ok(upload);
    }
    let waiting = Waiting::new("the server compiles and checks the component");
    let path = format!("/api/admin/plugins/uploads/{}", text(&upload, "id")?);
    while text(&upload, "state")? == "COMPILING" {
        tokio::time::sleep(LOOK_EVERY).await;
        upload = api.get(&path).await?;
    }
    drop(waiting);
    if let Some(failure) = upload.get("failure").filter(|failure| !failure.is_null()) {
        return Err(CliError::Failed(refusal(failure)));
    }
    let (id, digest) = (text(&upload, "pluginId")?, text(&upload, "digest")?);
    let path = format!("/api/admin/plugins/{id}/versions/{digest}");
    Ok(api.get(&path).await?)
}

/// Component to push, with its class.
struct Prepared {
    component: Vec<u8>,
    /// The class it is granted with the push.
    class: Option<SizeClass>,
    /// Golden cases that answered as blessed.
    cases: usize,
}

/// Builds a folder and calls it with its golden cases, which the server does not have.
async fn prepare(args: &PushArgs) -> Result<Prepared, CliError> {
    let (target, out, class) = (
        args.plugin.target.clone(),
        args.plugin.out.clone(),
        args.plugin.class,
    );
    let work = tokio::task::spawn_blocking(move || {
        let progress = BuildProgress::new(show);
        let (component, source) = open::component(&target, &out, &progress).map_err(failed)?;
        // A folder's language may need more than the standard class; pushing it grants that. Left
        // out, the server takes the class that the plugin has been granted already.
        let needed = source.as_ref().map(|source| source.language.class());
        let cases = source.map_or(Ok(0), |source| {
            golden(&component, class.or(needed).unwrap_or_default(), &source)
        })?;
        let class = class.or(needed.filter(|class| *class != SizeClass::Standard));
        Ok(Prepared {
            component,
            class,
            cases,
        })
    });
    work.await.map_err(failed)?
}

/// Returns the number of golden cases of the folder, all of which answer as blessed; one that does
/// not stops the push.
fn golden(component: &[u8], class: SizeClass, source: &PluginSource) -> Result<usize, CliError> {
    let cases = Case::load_dir(&source.cases()).map_err(failed)?;
    if cases.is_empty() {
        return Ok(0);
    }
    let report = test::test(&load(component, class)?, &cases);
    match report.failed() {
        0 => Ok(cases.len()),
        failed => {
            show(&report.to_string());
            Err(CliError::Check(format!(
                "nothing is pushed: golden cases that answer otherwise: {failed}; if the new answers are right, `dermaga plugin test --bless` writes them"
            )))
        }
    }
}

/// Loads with the limits of the class, or of the larger one that the server may have granted
/// before.
fn load(component: &[u8], class: SizeClass) -> Result<Plugin, CliError> {
    let runtime = runtime()?;
    match runtime.load_as(component, class) {
        Err(
            LoadError::AboveClass { sufficient, .. }
            | LoadError::MemoryAboveClass { sufficient, .. },
        ) => runtime.load_as(component, sufficient).map_err(failed),
        loaded => loaded.map_err(failed),
    }
}

/// The form that the server takes: the component, and what goes with it.
fn form(prepared: Prepared, args: &PushArgs) -> Result<Form, CliError> {
    let component = file(prepared.component, "component.wasm");
    let mut form = Form::new().part("component", component);
    if let Some(path) = &args.signature {
        let signature = std::fs::read(path)
            .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
        form = form.part("signature", file(signature, "component.wasm.sig"));
    }
    if let Some(granted) = prepared.class {
        form = form.text("class", granted.as_str());
    }
    if let Some(reason) = &args.reason {
        form = form.text("reason", reason.clone());
    }
    Ok(form)
}

fn file(bytes: Vec<u8>, name: &'static str) -> Part {
    Part::bytes(bytes).file_name(name)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, CliError> {
    let text = value.get(key).and_then(Value::as_str);
    text.ok_or_else(|| {
        CliError::Failed(format!(
            "the server's answer has no `{key}`; is this a Dermaga server of the same version?"
        ))
    })
}

fn describe(
    version: &Value,
    cases: usize,
    activation: Option<&Value>,
    args: &PushArgs,
) -> Result<String, CliError> {
    let name = format!(
        "{} {}",
        text(version, "pluginId")?,
        text(version, "version")?
    );
    let mut lines = format!("{name}\n  component {}\n", text(version, "digest")?);
    if cases > 0 {
        lines.push_str(&format!("  golden cases: {cases} passed\n"));
    }
    lines.push_str(&checks(version));
    lines.push_str(&match (activation, args.stage) {
        (Some(activation), _) => match activation.get("superseded").and_then(Value::as_str) {
            Some(before) => format!("  active at {}, in place of {before}\n", args.remote.server),
            None => format!("  active at {}\n", args.remote.server),
        },
        (None, true) => format!("  {} at {}\n", text(version, "state")?, args.remote.server),
        (None, false) => format!("  was active at {} already\n", args.remote.server),
    });
    Ok(lines)
}

/// Results of the server's checks. A skipped check did not pass.
fn checks(version: &Value) -> String {
    let checks = version.pointer("/report/checks").and_then(Value::as_array);
    let Some(checks) = checks else {
        return String::new();
    };
    let of = |outcome: &str| {
        let outcomes = checks.iter().filter_map(|check| check.get("outcome"));
        outcomes.filter(|found| *found == outcome).count()
    };
    match of("skip") {
        0 => format!("  checks: {} passed\n", of("pass")),
        skipped => format!("  checks: {} passed, {skipped} skipped\n", of("pass")),
    }
}
