//! What bytes claim to be, before the compiler sees them.

use wasmparser::{Encoding, Parser, Payload};

use crate::{
    contract::{CONTRACT, Kind},
    error::LoadError,
};

/// Every interface of the contract begins so.
const PACKAGE: &str = "dermaga:plugin/";

/// Reads the outermost imports and exports of a component and decides which world it implements.
pub(crate) fn world(bytes: &[u8]) -> Result<Kind, LoadError> {
    let Surface { imports, exports } = surface(bytes)?;
    for name in imports.iter().chain(&exports) {
        right_contract(name)?;
    }
    if let Some(name) = imports.iter().find(|name| !is_allowed_import(name)) {
        return Err(LoadError::ForbiddenImport(name.clone()));
    }
    let has = |interface: &str| exports.iter().any(|name| *name == current(interface));
    if !has("metadata") {
        return Err(LoadError::WrongWorld(format!(
            "it does not export `{}`",
            current("metadata")
        )));
    }
    match (has("service"), has("coupon")) {
        (true, false) => Ok(Kind::Service),
        (false, true) => Ok(Kind::Coupon),
        (true, true) => Err(LoadError::WrongWorld(
            "it exports both a service and a coupon".into(),
        )),
        (false, false) => Err(LoadError::WrongWorld(
            "it exports neither a service nor a coupon".into(),
        )),
    }
}

fn current(interface: &str) -> String {
    format!("{PACKAGE}{interface}@{CONTRACT}")
}

/// `types` holds no functions: a component names it only to say what its own types are.
fn is_allowed_import(name: &str) -> bool {
    name == current("log") || name == current("types")
}

fn right_contract(name: &str) -> Result<(), LoadError> {
    let Some(interface) = name.strip_prefix(PACKAGE) else {
        return Ok(());
    };
    match interface.split_once('@') {
        Some((_, version)) if version == CONTRACT => Ok(()),
        Some((_, version)) => Err(LoadError::WrongContract {
            found: version.to_owned(),
        }),
        None => Err(LoadError::WrongContract {
            found: "an unknown version".to_owned(),
        }),
    }
}

#[derive(Debug, Default)]
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

/// Names at depth 0 only; modules and components inside are the component's own affair.
fn surface(bytes: &[u8]) -> Result<Surface, LoadError> {
    let malformed = |error: wasmparser::BinaryReaderError| LoadError::Malformed(error.to_string());
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
