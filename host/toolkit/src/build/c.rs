//! Plugins in C: clang compiles them with the bindings of the contract and a small SDK, without a C
//! library and without WASI.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use dermaga_runtime::contract::Kind;
use wit_bindgen_core::{
    Files,
    wit_parser::{Resolve, WorldId, WorldKey},
};

use super::{
    apt,
    contract::{self, put},
    error::BuildError,
    process::{command, print, run},
    progress::Progress,
    sources::PluginSource,
};

macro_rules! sdk {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../plugins/sdk-c/", $name)))),*]
    };
}

const SDK: &[(&str, &str)] = sdk!(
    "dermaga.c",
    "include/dermaga.h",
    "include/stdlib.h",
    "include/string.h",
);
const PACKAGES: [&str; 2] = ["clang", "lld"];
const ELSEWHERE: &str = "install clang and lld 14 or newer";
/// Folder of the generated bindings, relative to the plugin's folder: clang runs there, so that no
/// path of the machine is compiled in.
const BINDINGS: &str = "target/bindings";

const FLAGS: [&str; 14] = [
    "--target=wasm32-unknown-unknown",
    "-std=c17",
    "-Os",
    "-ffreestanding",
    // Without it, the loop in memcpy would be compiled to a call of memcpy.
    "-fno-builtin",
    "-fvisibility=hidden",
    "-nostdlib",
    "-Wall",
    "-Wextra",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,-z,stack-size=65536",
    // A stack that overflows then traps instead of running into the data.
    "-Wl,--stack-first",
    "-fcolor-diagnostics",
];

/// Makes sure that clang and its linker are there; returns clang's version line, for display.
pub(super) fn toolchain(progress: &dyn Progress) -> Result<String, BuildError> {
    apt::require(&["clang", "wasm-ld"], &PACKAGES, ELSEWHERE, progress)?;
    let version = print(Path::new("/"), "clang", &["--version"]).unwrap_or_default();
    Ok(version.lines().next().unwrap_or("clang").to_owned())
}

/// Compiles one plugin and returns the bytes of its core module.
pub(super) fn build(one: &PluginSource, kind: Kind) -> Result<Vec<u8>, BuildError> {
    let bindings = one.folder.join(BINDINGS);
    put(&bindings.join("include"), &[])?;
    put(&bindings, SDK)?;
    generate(kind, &bindings)?;
    let module = one.folder.join("target").join(&one.name);
    let mut clang = command("clang");
    clang
        .current_dir(&one.folder)
        .args(FLAGS)
        .args(["-isystem", "target/bindings/include", "-isystem", BINDINGS])
        .args(sources(&one.folder, "c")?)
        .args(
            ["dermaga.c", "plugin.c", "plugin_component_type.o"]
                .map(|file| format!("{BINDINGS}/{file}")),
        )
        .arg("-o")
        .arg(&module);
    run(&mut clang).map_err(|error| match error {
        BuildError::Command { output, .. } => BuildError::Compile {
            plugins: one.name.clone(),
            output,
        },
        other => other,
    })?;
    fs::read(&module).map_err(BuildError::reading(&module))
}

/// Files of the plugin that its component is made of: the manifest and every `*.c` and `*.h`.
pub(super) fn files(one: &PluginSource) -> Result<BTreeSet<PathBuf>, BuildError> {
    let mut files = BTreeSet::from([one.manifest()]);
    for extension in ["c", "h"] {
        files.extend(
            sources(&one.folder, extension)?
                .into_iter()
                .map(|name| one.folder.join(name)),
        );
    }
    Ok(files)
}

/// Text of everything else that goes into a component: SDK, contract and compiler flags.
pub(super) fn embedded() -> String {
    let sdk = SDK.iter().map(|(_, text)| *text);
    sdk.chain([contract::text().as_str(), FLAGS.concat().as_str()])
        .collect()
}

/// Returns the names of the files with this extension directly in a folder, sorted.
fn sources(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, BuildError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(BuildError::reading(folder))? {
        let entry = entry.map_err(BuildError::reading(folder))?;
        let name = PathBuf::from(entry.file_name());
        if name.extension().is_some_and(|found| found == extension) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Writes `plugin.h`, `plugin.c` and the object that describes the world.
fn generate(kind: Kind, into: &Path) -> Result<(), BuildError> {
    let failed = |error: &dyn std::fmt::Display| BuildError::Command {
        command: "generating bindings for C".to_owned(),
        output: error.to_string(),
    };
    let wit = into.join("contract");
    contract::write(&wit)?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(&wit).map_err(|error| failed(&error))?;
    let world = resolve
        .select_world(&[package], Some(contract::world(kind)))
        .map_err(|error| failed(&error))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts {
        rename: short_names(&resolve, world),
        rename_world: Some("plugin".to_owned()),
        ..wit_bindgen_c::Opts::default()
    }
    .build()
    .generate(&mut resolve, world, &mut files)
    .map_err(|error| failed(&error))?;
    for (name, bytes) in files.iter() {
        let path = into.join(name);
        fs::write(&path, bytes).map_err(BuildError::writing(&path))?;
    }
    Ok(())
}

/// Renames that drop the package's name and version from C names, as in `coupon_evaluation_t`.
fn short_names(resolve: &Resolve, world: WorldId) -> Vec<(String, String)> {
    let Some(world) = resolve.worlds.get(world) else {
        return Vec::new();
    };
    let used = world.imports.keys().chain(world.exports.keys());
    used.filter_map(|key| match key {
        WorldKey::Interface(id) => Some((
            resolve.id_of(*id)?,
            resolve.interfaces.get(*id)?.name.clone()?,
        )),
        WorldKey::Name(_) => None,
    })
    .collect()
}
