//! The acts of administrators, a table for each group. `every_act_fits_its_route` compares them with the
//! OpenAPI document.

mod billing;
mod coupons;
mod instances;
mod subscriptions;
mod tickets;
mod users;

#[cfg(test)]
mod tests;

use super::act::Group;

pub(super) const GROUPS: &[Group] = &[
    users::GROUP,
    coupons::GROUP,
    subscriptions::GROUP,
    instances::GROUP,
    billing::GROUP,
    tickets::GROUP,
];
