//! Notices of the gateway: authentic, stored, confirmed, applied once.
//!
//! A notice's signature does not cover its status, so a notice is a reason to ask and never the
//! answer: what the status API says is applied. See `docs/decisions/0010-notices-are-questions.md`.

use super::{
    NoticeOutcome, Payment,
    gateway::Status,
    settlement,
    state::{Claim, Step, step},
    store::{self, NewNotice},
};
use crate::{Code, Error, Result, app::AppState, crypto, db::new_id};

/// Handles a notice as received; gives a sentence about what was done.
///
/// # Errors
/// `MALFORMED_REQUEST`, `SIGNATURE_INVALID`, `NOT_FOUND` for an unknown order, `NOTICE_MISMATCH`; 5xx
/// when it could not be confirmed or applied, so that it is sent again.
pub(super) async fn receive(state: &AppState, body: &[u8]) -> Result<String> {
    let gateway = state.payments.gateway()?;
    let (text, notice) = read(body)?;
    if !notice.is_signed_with(gateway.server_key()) {
        tracing::warn!("payment.notice_forged");
        let message = "The signature_key does not fit this notice and the server key.";
        return Err(Error::new(Code::SignatureInvalid, message));
    }
    let found = store::by_order(&mut state.db.read().await?, &notice.order_id).await?;
    let payment = found.ok_or_else(|| Error::not_found("order"))?;
    let (id, outcome) = keep(state, &payment, text, &notice).await?;
    if outcome == NoticeOutcome::Applied {
        return Ok("This notice has been applied before.".to_owned());
    }
    let read = notice.fits(&payment).and_then(|()| notice.claim());
    let claim = match read {
        Ok(claim) => claim,
        Err(fault) => {
            let mut conn = state.db.begin().await?;
            store::close_notice(&mut conn, id, NoticeOutcome::Refused, &fault, None).await?;
            conn.commit().await?;
            tracing::error!(payment.id = %payment.id, fault, "payment.notice_mismatch");
            return Err(Error::new(Code::NoticeMismatch, fault));
        }
    };
    let (truth, payment_type) = if step(payment.state, claim) == Step::Stay {
        (claim, None)
    } else {
        confirm(state, &payment, claim).await?
    };
    let (clock, mut conn) = (&state.clock, state.db.begin().await?);
    let settled = settlement::apply(&mut conn, clock, &payment, truth, payment_type).await?;
    let (applied, now) = (NoticeOutcome::Applied, clock.now());
    store::close_notice(&mut conn, id, applied, &settled.message, Some(now)).await?;
    conn.commit().await?;
    tracing::info!(payment.id = %payment.id, payment.state = %settled.payment.state, "payment.notice_applied");
    Ok(settled.message)
}

fn read(body: &[u8]) -> Result<(&str, Status)> {
    let malformed = |what: String| Error::new(Code::MalformedRequest, what);
    let text = std::str::from_utf8(body)
        .map_err(|_| malformed("The notice is not UTF-8 text.".to_owned()))?;
    let notice = serde_json::from_str(text)
        .map_err(|error| malformed(format!("The notice is not as Midtrans writes it: {error}.")))?;
    Ok((text, notice))
}

/// Stores the notice before anything else is done with it.
async fn keep(
    state: &AppState,
    payment: &Payment,
    body: &str,
    notice: &Status,
) -> Result<(uuid::Uuid, NoticeOutcome)> {
    let new = NewNotice {
        id: new_id(&state.clock),
        payment_id: payment.id,
        body,
        body_hash: &crypto::sha256_hex(body),
        claims: &notice.transaction_status,
        now: state.clock.now(),
    };
    let mut conn = state.db.begin().await?;
    let kept = store::store_notice(&mut conn, &new).await?;
    conn.commit().await?;
    Ok(kept)
}

/// Asks the gateway about the order. What it says is the truth; when it does not bear out a claim
/// that moves money, the notice is to come again.
async fn confirm(
    state: &AppState,
    payment: &Payment,
    claim: Claim,
) -> Result<(Claim, Option<String>)> {
    let gateway = state.payments.gateway()?;
    let known = super::ask(gateway, payment).await?;
    let truth = known.as_ref().map(|(claim, _)| *claim);
    let bears_out = truth.is_some_and(|truth| {
        truth == claim || step(payment.state, truth) != Step::Stay || !moves_money(claim)
    });
    match known {
        Some(known) if bears_out => Ok(known),
        _ => {
            super::ask_soon(state, payment).await?;
            let message = "The gateway does not confirm this notice yet. Send it again.";
            Err(Error::new(Code::GatewayUnavailable, message).retry_after(60))
        }
    }
}

const fn moves_money(claim: Claim) -> bool {
    matches!(
        claim,
        Claim::Captured | Claim::Settled | Claim::Reversed { .. }
    )
}
