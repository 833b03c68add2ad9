//! Names of instances and of their customers' namespaces.

use uuid::Uuid;

use crate::{crypto, ids::UserId};

/// Longest part of a name from the service's slug, so that plugins may add a suffix of their own.
const NAME_STEM: usize = 24;
/// The 32 letters and digits that are not easily mixed up: five bits each.
const NAME_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Returns a DNS label such as `n8n-k3v9x2ab`; 40 random bits, and the database keeps it unique.
pub(super) fn instance_name(service: &str) -> String {
    let stem: String = service.chars().take(NAME_STEM).collect();
    let tail = crypto::random_bytes::<8>().into_iter();
    let tail = tail.filter_map(|byte| NAME_ALPHABET.get(usize::from(byte % 32)));
    let tail: String = tail.map(|letter| char::from(*letter)).collect();
    format!("{}-{tail}", stem.trim_end_matches('-'))
}

/// Returns `user-` and the last 48 bits of the customer's id, which are random. If two customers
/// ever share them, the owner label makes the second one's instances fail instead of mixing.
pub(super) fn namespace_of(user_id: UserId) -> String {
    let id = Uuid::from(user_id).simple().to_string();
    format!("user-{}", id.get(20..).unwrap_or(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_with_room_for_a_suffix() {
        for service in ["n8n", "postgresql", "a-very-long-name-of-a-service-type"] {
            let name = instance_name(service);
            assert!(name.len() <= 40, "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(
                !name.contains("--") && name.starts_with(&service[..3]),
                "{name}"
            );
        }
        assert_ne!(instance_name("n8n"), instance_name("n8n"));
    }

    #[test]
    fn a_namespace_comes_from_the_random_end_of_the_id() {
        let id = UserId::from_u128(0x0199_aaaa_bbbb_7ccc_8ddd_1234_5678_9abc);
        assert_eq!(namespace_of(id), "user-123456789abc");
    }
}
