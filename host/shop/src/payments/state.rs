//! State machine of a payment: one total function, so that nothing ever goes backwards.

use super::PaymentState;
use crate::money::Rupiah;

/// Statement of the gateway about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The payer, or a person who checks a suspicious card payment, has yet to act.
    Waiting,
    /// A card was charged and its payment accepted.
    Captured,
    Settled,
    Denied,
    Cancelled,
    Expired,
    Failed,
    /// Taken back: `total` rupiah so far.
    Reversed {
        cause: Cause,
        total: Rupiah,
    },
}

impl Claim {
    /// True when it says that money came or went.
    pub(super) const fn moves_money(self) -> bool {
        matches!(self, Self::Captured | Self::Settled | Self::Reversed { .. })
    }
}

/// An answer of the gateway about a payment, in terms of the shop.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) claim: Claim,
    /// Rupiah that the payer paid on top; `None` where no amount matters.
    pub(super) fee: Option<Rupiah>,
    /// The way it is paid, in the gateway's words.
    pub(super) payment_type: Option<String>,
}

impl From<Claim> for Heard {
    /// A claim that the shop comes to by itself, such as that a page's time is over.
    fn from(claim: Claim) -> Self {
        Self {
            claim,
            fee: None,
            payment_type: None,
        }
    }
}

/// Party that took a payment back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The shop, through the gateway.
    Refund,
    /// The payer's bank.
    Chargeback,
}

/// Step that follows from a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// No news.
    Stay,
    /// No money moves.
    Move(PaymentState),
    /// The wallet gains the amount.
    Credit(PaymentState),
    /// The wallet loses what was taken back since the last time.
    TakeBack { cause: Cause, total: Rupiah },
    /// Both: the payment had not been heard of before.
    CreditAndTakeBack { cause: Cause, total: Rupiah },
    /// A payment that was credited has come to nothing: all of it is taken back.
    Void,
}

/// The one step from `state` that a claim of the gateway leads to.
///
/// The gateway's own documentation has these changes after a payment: a capture settles or is
/// cancelled, a settlement is refunded, charged back or (rarely) denied by the bank. Everything
/// else that comes after a payment is old news.
pub(super) const fn step(state: PaymentState, claim: Claim) -> Step {
    use PaymentState as S;
    match (state, claim) {
        (S::Starting, Claim::Waiting) => Step::Move(S::Pending),
        (S::Starting | S::Pending, Claim::Denied) => Step::Move(S::Denied),
        (S::Starting | S::Pending, Claim::Cancelled) => Step::Move(S::Cancelled),
        (S::Starting | S::Pending, Claim::Expired) => Step::Move(S::Expired),
        (S::Starting | S::Pending, Claim::Failed) => Step::Move(S::Failed),

        // Money that comes is credited, whatever was believed before.
        (
            S::Starting | S::Pending | S::Denied | S::Cancelled | S::Expired | S::Failed,
            Claim::Captured,
        ) => Step::Credit(S::Captured),
        (
            S::Starting | S::Pending | S::Denied | S::Cancelled | S::Expired | S::Failed,
            Claim::Settled,
        ) => Step::Credit(S::Settled),
        (
            S::Starting | S::Pending | S::Denied | S::Cancelled | S::Expired | S::Failed,
            Claim::Reversed { cause, total },
        ) => Step::CreditAndTakeBack { cause, total },

        (S::Captured, Claim::Settled) => Step::Move(S::Settled),
        (S::Captured, Claim::Cancelled) | (S::Captured | S::Settled, Claim::Denied) => Step::Void,
        (S::Captured | S::Settled | S::PartlyReversed, Claim::Reversed { cause, total }) => {
            Step::TakeBack { cause, total }
        }

        (S::Pending, Claim::Waiting)
        | (
            S::Denied | S::Cancelled | S::Expired | S::Failed,
            Claim::Waiting | Claim::Denied | Claim::Cancelled | Claim::Expired | Claim::Failed,
        )
        | (S::Captured, Claim::Waiting | Claim::Captured | Claim::Expired | Claim::Failed)
        | (
            S::Settled,
            Claim::Waiting
            | Claim::Captured
            | Claim::Settled
            | Claim::Cancelled
            | Claim::Expired
            | Claim::Failed,
        )
        | (
            S::PartlyReversed,
            Claim::Waiting
            | Claim::Captured
            | Claim::Settled
            | Claim::Denied
            | Claim::Cancelled
            | Claim::Expired
            | Claim::Failed,
        )
        | (S::Reversed, _) => Step::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Rupiah = Rupiah::new(10_000);
    const CLAIMS: [Claim; 9] = [
        Claim::Waiting,
        Claim::Captured,
        Claim::Settled,
        Claim::Denied,
        Claim::Cancelled,
        Claim::Expired,
        Claim::Failed,
        Claim::Reversed {
            cause: Cause::Refund,
            total: TOTAL,
        },
        Claim::Reversed {
            cause: Cause::Chargeback,
            total: TOTAL,
        },
    ];

    /// Progress of a payment; nothing may lead to a smaller number.
    const fn rank(state: PaymentState) -> u8 {
        match state {
            PaymentState::Starting => 0,
            PaymentState::Pending => 1,
            PaymentState::Denied
            | PaymentState::Cancelled
            | PaymentState::Expired
            | PaymentState::Failed => 2,
            PaymentState::Captured => 3,
            PaymentState::Settled => 4,
            PaymentState::PartlyReversed => 5,
            PaymentState::Reversed => 6,
        }
    }

    const fn is_credited(state: PaymentState) -> bool {
        rank(state) >= 3
    }

    /// Every pair of state and claim: nothing goes backwards, nothing is credited twice or taken
    /// back uncredited, and hearing the same again changes nothing.
    #[test]
    fn no_pair_goes_backwards_or_moves_money_twice() {
        for &state in PaymentState::ALL {
            for claim in CLAIMS {
                let taken = step(state, claim);
                match taken {
                    Step::Stay => {}
                    Step::Move(to) => {
                        assert!(rank(to) > rank(state), "{state} {claim:?}");
                        assert_eq!(is_credited(to), is_credited(state), "{state} {claim:?}");
                        assert_eq!(step(to, claim), Step::Stay, "{state} {claim:?}");
                    }
                    Step::Credit(to) => {
                        assert!(!is_credited(state) && is_credited(to), "{state} {claim:?}");
                        assert_eq!(step(to, claim), Step::Stay, "{state} {claim:?}");
                    }
                    Step::CreditAndTakeBack { .. } => assert!(!is_credited(state)),
                    Step::TakeBack { .. } | Step::Void => {
                        assert!(is_credited(state), "{state} {claim:?}");
                        assert_eq!(step(PaymentState::Reversed, claim), Step::Stay);
                    }
                }
                let is_money = matches!(claim, Claim::Captured | Claim::Settled);
                if is_money && !is_credited(state) {
                    assert!(matches!(taken, Step::Credit(_)), "{state} {claim:?}");
                }
            }
        }
    }

    #[test]
    fn late_news_of_a_paid_order_changes_nothing() {
        for claim in [
            Claim::Waiting,
            Claim::Captured,
            Claim::Cancelled,
            Claim::Expired,
            Claim::Failed,
        ] {
            assert_eq!(step(PaymentState::Settled, claim), Step::Stay, "{claim:?}");
        }
    }
}
