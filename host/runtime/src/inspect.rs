//! The world that a component claims to implement, read before the compiler sees it.

use wasmparser::{Encoding, Parser, Payload};

use crate::{
    contract::{Kind, Version},
    error::LoadError,
};

/// Beginning of every interface name of the contract.
const PACKAGE: &str = "dermaga:plugin/";

/// The world a component implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) version: Version,
}

/// Finds the world of a component by its outermost imports and exports.
pub(crate) fn world(bytes: &[u8]) -> Result<World, LoadError> {
    let Surface { imports, exports } = surface(bytes)?;
    let version = version(imports.iter().chain(&exports))?;
    let full = |interface: &str| format!("{PACKAGE}{interface}@{version}");
    // `types` holds no functions: importing it only describes types, and reaches nothing.
    let allowed = [full("log"), full("types")];
    if let Some(name) = imports.iter().find(|name| !allowed.contains(name)) {
        return Err(LoadError::ForbiddenImport(name.clone()));
    }
    let has = |interface: &str| exports.contains(&full(interface));
    if !has("metadata") {
        return Err(LoadError::WrongWorld(format!(
            "it does not export `{}`",
            full("metadata")
        )));
    }
    let kind = match (has("service"), has("coupon")) {
        (true, false) => Kind::Service,
        (false, true) => Kind::Coupon,
        (true, true) => {
            return Err(LoadError::WrongWorld(
                "it exports both a service and a coupon".into(),
            ));
        }
        (false, false) => {
            return Err(LoadError::WrongWorld(
                "it exports neither a service nor a coupon".into(),
            ));
        }
    };
    Ok(World { kind, version })
}

/// Finds the single contract version of all the contract's interfaces; the newest when there is no
/// such interface, which is then reported as missing.
fn version<'n>(names: impl Iterator<Item = &'n String>) -> Result<Version, LoadError> {
    let mut found = None;
    for interface in names.filter_map(|name| name.strip_prefix(PACKAGE)) {
        let text = interface.split_once('@').map(|(_, version)| version);
        let spoken = Version::ALL
            .into_iter()
            .find(|version| Some(version.as_str()) == text);
        let Some(version) = spoken else {
            return Err(LoadError::WrongContract {
                found: text.unwrap_or("an unknown version").to_owned(),
            });
        };
        match found.replace(version) {
            Some(other) if other != version => {
                return Err(LoadError::WrongWorld(format!(
                    "it mixes the contract versions {other} and {version}"
                )));
            }
            _ => {}
        }
    }
    Ok(found.unwrap_or(Version::NEWEST))
}

#[derive(Debug, Default)]
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

/// Collects the names at depth 0 only; inner modules and components need no check.
fn surface(bytes: &[u8]) -> Result<Surface, LoadError> {
    let malformed = |error: wasmparser::BinaryReaderError| LoadError::malformed(error.to_string());
    let mut surface = Surface::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(LoadError::CoreModule);
            }
            // The parser walks into nested parts, each of which has an end of its own.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    surface
                        .imports
                        .push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    surface
                        .exports
                        .push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(names: &[&str]) -> Result<Version, LoadError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        version(names.iter())
    }

    #[test]
    fn a_component_speaks_one_version_of_the_contract() {
        let old = ["dermaga:plugin/log@0.1.0", "dermaga:plugin/service@0.1.0"];
        assert_eq!(spoken(&old).unwrap(), Version::V0_1);
        assert_eq!(
            spoken(&["dermaga:plugin/log@0.2.0"]).unwrap(),
            Version::V0_2
        );
        let mixed = ["dermaga:plugin/log@0.1.0", "dermaga:plugin/service@0.2.0"];
        assert!(matches!(spoken(&mixed), Err(LoadError::WrongWorld(_))));
    }

    /// The refusal then names the interfaces of the newest contract that are missing.
    #[test]
    fn a_component_without_the_contract_is_of_the_newest() {
        for names in [&[][..], &["wasi:io/streams@0.2.0"], &["run"]] {
            assert_eq!(spoken(names).unwrap(), Version::NEWEST, "{names:?}");
        }
    }

    #[test]
    fn a_version_that_is_not_known_is_named() {
        for (name, told) in [
            ("dermaga:plugin/log@9.0.0", "9.0.0"),
            ("dermaga:plugin/log@0.2", "0.2"),
            ("dermaga:plugin/log", "an unknown version"),
        ] {
            let Err(LoadError::WrongContract { found }) = spoken(&[name]) else {
                panic!("{name}");
            };
            assert_eq!(found, told);
        }
    }
}
