//! Rules of what is sent in, the same for bodies, queries, addresses and the command line.

mod rewording;
mod storable;

pub use rewording::{TWICE, malformed, not_json, of_rule, of_serde};
pub use storable::{NO_NUL, date, last_moment, moment, nullable, nuls, optional_moment};

/// The body without the byte order mark that some editors and shells put before a text.
pub fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}
