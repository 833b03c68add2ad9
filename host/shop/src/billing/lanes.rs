//! Order of work that is done several at a time: in the order of the whole where one decides what is left for
//! another.
//!
//! Subscriptions of a customer share a wallet, and those of a coupon its budget: the first of them is served first,
//! as the forecast says. All others share nothing that their order could change.

use std::collections::{BTreeMap, HashMap};

use super::store::Due;
use crate::ids::{CouponId, SubscriptionId, UserId};

/// Splits subscriptions into lanes that share nothing, each in the order of the whole.
pub(super) fn of(due: &[Due]) -> Vec<Vec<SubscriptionId>> {
    let mut users: HashMap<UserId, usize> = HashMap::new();
    let mut coupons: HashMap<CouponId, usize> = HashMap::new();
    // The lane of each, named by the number of one that is in it.
    let mut names: Vec<usize> = Vec::with_capacity(due.len());
    for (number, one) in due.iter().enumerate() {
        let of_user = users.get(&one.user_id).copied();
        let of_coupon = one.coupon_id.and_then(|id| coupons.get(&id).copied());
        let name = of_user.or(of_coupon).unwrap_or(number);
        if let Some(other) = of_coupon.filter(|other| *other != name) {
            // The customer's lane and the coupon's become one.
            let known = names.iter_mut().chain(users.values_mut());
            for known in known.chain(coupons.values_mut()) {
                if *known == other {
                    *known = name;
                }
            }
        }
        names.push(name);
        users.insert(one.user_id, name);
        if let Some(id) = one.coupon_id {
            coupons.insert(id, name);
        }
    }
    let mut lanes: BTreeMap<usize, Vec<SubscriptionId>> = BTreeMap::new();
    for (name, one) in names.into_iter().zip(due) {
        lanes.entry(name).or_default().push(one.id);
    }
    lanes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(id: u128, user: u128, coupon: Option<u128>) -> Due {
        Due {
            id: SubscriptionId::from_u128(id),
            user_id: UserId::from_u128(user),
            coupon_id: coupon.map(CouponId::from_u128),
        }
    }

    fn lanes(due: &[Due]) -> Vec<Vec<u128>> {
        let number = |id: SubscriptionId| uuid::Uuid::from(id).as_u128();
        let lane = |lane: Vec<SubscriptionId>| lane.into_iter().map(number).collect();
        of(due).into_iter().map(lane).collect()
    }

    #[test]
    fn customers_who_share_nothing_have_lanes_of_their_own() {
        let all = [due(1, 7, None), due(2, 8, None), due(3, 7, None)];
        assert_eq!(lanes(&all), [vec![1, 3], vec![2]]);
        assert!(lanes(&[]).is_empty());
    }

    #[test]
    fn a_budget_is_used_in_the_order_of_the_whole() {
        let all = [
            due(1, 7, Some(5)),
            due(2, 8, None),
            due(3, 8, Some(5)),
            due(4, 9, Some(6)),
            due(5, 7, None),
            due(6, 8, None),
        ];
        assert_eq!(lanes(&all), [vec![1, 2, 3, 5, 6], vec![4]]);
    }
}
