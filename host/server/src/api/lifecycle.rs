//! Answers to stop, start and restart, which an instance's id and its subscription's reach alike.

use dermaga_shop::subscriptions::cancellation::Cancelled;
use serde::Serialize;

use crate::http::Success;

/// Messages of an act: when it changed something, and when nothing had to change.
pub(super) type Messages = [&'static str; 2];

pub(super) const STOP: Messages = [
    "It is being stopped. Its data is kept, and its price stays as it is.",
    "It is stopped already.",
];
pub(super) const START: Messages = ["It is being started.", "It was not stopped."];
pub(super) const RESTART: Messages = ["It is being restarted.", "It is being restarted already."];

/// Answers 202 while a change is carried out, 200 when there was none to make.
pub(super) fn answer<T: Serialize>(
    [changed, unchanged]: Messages,
    is_changed: bool,
    detail: T,
) -> Success<T> {
    if is_changed {
        Success::accepted(changed, detail)
    } else {
        Success::ok(unchanged, detail)
    }
}

/// Says to its customer what became of a subscription that ended now, and of its money.
pub(super) const fn removed(cancelled: Cancelled) -> &'static str {
    match cancelled {
        Cancelled::Paid => "The subscription has ended; its resources are being removed.",
        Cancelled::Undone => {
            "The subscription has ended before it was set up; everything paid for it is back in your wallet."
        }
    }
}
