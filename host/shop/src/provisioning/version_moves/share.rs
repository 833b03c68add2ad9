//! Share of the instances that a move reaches: some first, the others once those run well.

use dermaga_runtime::Digest;
use uuid::Uuid;

use super::{Order, Target};
use crate::ids::InstanceId;

/// Returns those instances that are in the share of an order, in the order they came.
pub(super) fn chosen(found: Vec<InstanceId>, order: &Order) -> Vec<InstanceId> {
    let Some(share) = order.share else {
        return found;
    };
    // Another target chooses others, so that the same customers are not always the first.
    let salt = match &order.target {
        Target::Version { to, .. } => to,
        Target::Settings { service } => service,
    };
    let is_chosen = |id: &InstanceId| place(salt, *id) < share;
    found.into_iter().filter(is_chosen).collect()
}

/// Returns the place of an instance among a hundred; the same one for the same target.
fn place(salt: &str, id: InstanceId) -> u8 {
    let digest = Digest::of(format!("{salt} {}", Uuid::from(id)).as_bytes()).to_string();
    let number = digest
        .get(..8)
        .and_then(|head| u32::from_str_radix(head, 16).ok());
    u8::try_from(number.unwrap_or_default() % 100).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(share: Option<u8>, service: &str) -> Order {
        Order {
            target: Target::Settings {
                service: service.to_owned(),
            },
            instances: None,
            after: None,
            limit: 100,
            share,
            dry_run: true,
            despite_failures: false,
        }
    }

    #[test]
    fn a_larger_share_contains_a_smaller_one() {
        let all: Vec<_> = (0..1000).map(InstanceId::from_u128).collect();
        let of = |share, service: &str| chosen(all.clone(), &order(share, service));
        let (some, more) = (of(Some(10), "n8n"), of(Some(40), "n8n"));
        assert!((60..140).contains(&some.len()), "{}", some.len());
        assert!((330..470).contains(&more.len()), "{}", more.len());
        assert!(some.iter().all(|id| more.contains(id)));
        assert_ne!(some, of(Some(10), "ghost"));
        assert_eq!(of(Some(100), "n8n"), all);
        assert_eq!(of(None, "n8n"), all);
    }
}
