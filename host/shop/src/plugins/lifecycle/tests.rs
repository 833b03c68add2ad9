//! Tests of the steps in the life of a version.

use super::*;

/// An instance is named before decisions that can be replayed, and these before coupons.
#[test]
fn a_version_in_use_is_kept_for_its_strongest_use() {
    for (decided, instances, coupons, told) in [
        (
            true,
            2,
            3,
            Some("Instances were made with this version: 2."),
        ),
        (true, 0, 3, Some("This version has made decisions,")),
        (false, 0, 3, Some("This is the last version of the plugin,")),
        (false, 0, 0, None),
    ] {
        let uses = Uses {
            decided,
            instances,
            coupons,
        };
        let refused = refuse_used(&uses).err().map(|error| error.message);
        assert_eq!(refused.is_some(), told.is_some());
        assert!(refused.unwrap_or_default().starts_with(told.unwrap_or("")));
    }
}

/// Every step that a state allows, and no other.
#[test]
fn every_step_from_every_state() {
    use VersionState::{Active, Retired, Staged, Superseded};
    let legal = [
        (Staged, Step::Activate, Next::State(Active)),
        (Superseded, Step::Activate, Next::State(Active)),
        (Active, Step::Supersede, Next::State(Superseded)),
        (Staged, Step::Retire, Next::State(Retired)),
        (Active, Step::Retire, Next::State(Retired)),
        (Superseded, Step::Retire, Next::State(Retired)),
        (Staged, Step::Delete, Next::Gone),
        (Retired, Step::Delete, Next::Gone),
    ];
    for state in VersionState::ALL {
        for step in [Step::Activate, Step::Supersede, Step::Retire, Step::Delete] {
            let expected = legal
                .iter()
                .find(|(from, by, _)| from == state && *by == step)
                .map(|(_, _, next)| *next);
            assert_eq!(state.after(step), expected, "{state} {step:?}");
        }
    }
}
