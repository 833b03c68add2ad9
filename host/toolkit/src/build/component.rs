//! Turns a core module into a component.

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// Wraps a module into the component that its bindings' custom section describes, and validates it.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    if !has_world(module) {
        return Err(
            "it exports no plugin: implement a trait of dermaga-plugin-sdk and export it"
                .to_owned(),
        );
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

/// Checks for the custom section in which wit-bindgen records the world of its bindings.
fn has_world(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_world_is_refused_with_what_to_do() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(
            component(empty)
                .unwrap_err()
                .starts_with("it exports no plugin")
        );
        assert!(
            component(b"junk")
                .unwrap_err()
                .starts_with("it exports no plugin")
        );
    }
}
