//! Recognition of files that are no WebAssembly at all, by their bytes and not by their declared
//! type.

use crate::error::LoadError;

/// First bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";
/// Number of bytes that are examined to tell text from other files.
const GLANCE: usize = 512;

/// First bytes of common archive formats.
const ARCHIVES: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
];

/// Refuses files that people upload by mistake, each kind with an error of its own.
pub(crate) fn refuse(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.starts_with(MAGIC) {
        return Ok(());
    }
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    let archive = ARCHIVES.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, format)) = archive {
        return Err(LoadError::Compressed(format));
    }
    if is_text(bytes) {
        return Err(LoadError::Text);
    }
    Ok(())
}

/// Reports that the beginning is text; a character may be cut in half at its end.
fn is_text(bytes: &[u8]) -> bool {
    let glance = bytes.get(..GLANCE).unwrap_or(bytes);
    let text = match std::str::from_utf8(glance) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let whole = glance.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_printed = |character: char| !character.is_control() || character.is_whitespace();
    !text.is_empty() && text.chars().all(is_printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_a_name_and_bytes_that_are_none_go_on_to_the_parser() {
        let half_a_character = [&[b'x'; GLANCE - 1][..], "é".as_bytes()].concat();
        for (bytes, code) in [
            (&b""[..], Some("COMPONENT_EMPTY")),
            (b"\x1f\x8b\x08\0", Some("COMPONENT_COMPRESSED")),
            (b"PK\x03\x04", Some("COMPONENT_COMPRESSED")),
            (b"(component)", Some("COMPONENT_IS_TEXT")),
            (&half_a_character, Some("COMPONENT_IS_TEXT")),
            (b"\0asm", None),
            (b"\0\0\0", None),
            (b"\xff\xfe", None),
        ] {
            let refused = refuse(bytes).err().map(|error| error.code());
            assert_eq!(refused, code, "{bytes:?}");
        }
    }
}
