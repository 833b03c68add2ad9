//! Runs a compilation and follows cargo's JSON messages.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use serde::Deserialize;

use super::{
    error::BuildError,
    process::excerpt,
    progress::{Event, Progress},
    sources::PluginSource,
};

/// One line of cargo's messages.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Runs the compilation, reports progress, and returns the paths of the modules by manifest.
pub(super) fn compile(
    mut command: Command,
    crates: &[&PluginSource],
    progress: &dyn Progress,
) -> Result<BTreeMap<PathBuf, PathBuf>, BuildError> {
    let start = |error| BuildError::Start {
        command: "cargo".into(),
        error,
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let errors = child
        .stderr
        .take()
        .map(|stderr| thread::spawn(move || read(stderr)));
    let mut modules = BTreeMap::new();
    let mut done = 0;
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
        .map_while(Result::ok)
    {
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        let (Some(manifest), Some(target)) = (message.manifest_path, message.target) else {
            continue;
        };
        if message.reason != "compiler-artifact" {
            continue;
        }
        // Build scripts all have the same name, which tells a reader nothing.
        if target.kind.iter().any(|kind| kind == "custom-build") {
            continue;
        }
        done += 1;
        progress.report(&Event::Crate {
            name: &target.name,
            done,
        });
        let is_wasm = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        };
        if let Some(module) = message
            .filenames
            .into_iter()
            .find(is_wasm)
            .filter(|_| target.kind.iter().any(|kind| kind == "cdylib"))
        {
            modules.insert(manifest, module);
        }
    }
    let status = child.wait().map_err(start)?;
    let said = errors
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    if status.success() {
        return Ok(modules);
    }
    let names: Vec<_> = crates.iter().map(|one| one.name.as_str()).collect();
    Err(BuildError::Compile {
        plugins: names.join(", "),
        output: excerpt(&said),
    })
}

fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // After a broken pipe, the bytes read until then are still worth showing.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
