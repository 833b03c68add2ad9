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
    let modules = child
        .stdout
        .take()
        .map(|stdout| follow(stdout, progress))
        .unwrap_or_default();
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

/// Reads the messages to their end, reports each crate, and returns the paths of the modules by manifest.
fn follow(from: impl Read, progress: &dyn Progress) -> BTreeMap<PathBuf, PathBuf> {
    let mut modules = BTreeMap::new();
    let mut done = 0;
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let Some(artifact) = Artifact::read(&line) else {
            continue;
        };
        done += 1;
        progress.report(&Event::Crate {
            name: &artifact.target.name,
            done,
        });
        if let Some(module) = artifact.module {
            modules.insert(artifact.manifest, module);
        }
    }
    modules
}

/// A crate that was compiled.
struct Artifact {
    manifest: PathBuf,
    target: Target,
    /// The WebAssembly module, of a library that is one.
    module: Option<PathBuf>,
}

impl Artifact {
    /// Reads a message; `None` for one about something else, and for build scripts, which all have the same name.
    fn read(line: &str) -> Option<Self> {
        let message = serde_json::from_str::<Message>(line).ok()?;
        let (manifest, target) = (message.manifest_path?, message.target?);
        let is = |wanted: &str| target.kind.iter().any(|kind| kind == wanted);
        if message.reason != "compiler-artifact" || is("custom-build") {
            return None;
        }
        let is_wasm = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        };
        let is_library = is("cdylib");
        let module = message.filenames.into_iter().find(is_wasm);
        Some(Self {
            manifest,
            module: module.filter(|_| is_library),
            target,
        })
    }
}

fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // After a broken pipe, the bytes read until then are still worth showing.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::build::Silent;

    fn artifact(name: &str, kind: &str, files: &[&str]) -> Value {
        json!({
            "reason": "compiler-artifact", "manifest_path": format!("/{name}/Cargo.toml"),
            "target": { "name": name, "kind": [kind] }, "filenames": files,
        })
    }

    fn followed(messages: &[Value]) -> BTreeMap<PathBuf, PathBuf> {
        let lines = messages.iter().map(|message| format!("{message}\n"));
        follow(lines.collect::<String>().as_bytes(), &Silent)
    }

    #[test]
    fn the_module_of_a_plugin_is_that_of_its_library() {
        let modules = followed(&[
            artifact("serde", "lib", &["/target/libserde.rlib"]),
            artifact(
                "coupon",
                "cdylib",
                &["/target/coupon.d", "/target/coupon.wasm"],
            ),
            artifact("tool", "bin", &["/target/tool.wasm"]),
        ]);
        let expected = ["/coupon/Cargo.toml", "/target/coupon.wasm"].map(PathBuf::from);
        assert_eq!(modules, BTreeMap::from([expected.into()]));
    }

    /// Build scripts share their manifest with the library, and would take its place.
    #[test]
    fn other_messages_are_no_crates() {
        let script = artifact("coupon", "custom-build", &["/target/script.wasm"]).to_string();
        let other = r#"{"reason":"build-finished","success":true}"#;
        for line in ["", "warning: unused", "{}", "[]", other, &script] {
            assert!(Artifact::read(line).is_none(), "{line}");
        }
        let read = Artifact::read(&artifact("coupon", "cdylib", &[]).to_string()).unwrap();
        assert_eq!((read.target.name.as_str(), read.module), ("coupon", None));
    }
}
