//! Notices of the gateway: authentic, stored, confirmed, applied once.
//!
//! A notice's signature does not cover its status, so a notice is a reason to ask and never the
//! answer: what the status API says is applied. See `docs/decisions/0010-notices-are-questions.md`.

use super::{
    NoticeOutcome, Payment, Payments,
    asking::{self, Learned, News},
    gateway::{Known, Status},
    problem, settlement,
    state::Claim,
    store::{self, NewNotice},
};
use crate::{Code, Error, Result, crypto, db::new_id, ids::NoticeId, input};

/// A notice that is kept, and the payment that it is about.
struct Kept {
    id: NoticeId,
    notice: Status,
    payment: Payment,
    /// True when the notice came before and was refused; administrators know.
    was_refused: bool,
}

/// Handles a notice as received; returns a sentence about the action taken.
///
/// # Errors
/// `MALFORMED_REQUEST`, `SIGNATURE_INVALID`, `NOT_FOUND` for an unknown order, `NOTICE_MISMATCH`;
/// 5xx when it could not be confirmed or applied, so that it is sent again.
pub async fn receive(payments: &Payments, body: &[u8]) -> Result<String> {
    let received = take(payments, body).await;
    let result = match &received {
        Ok(_) => "TAKEN",
        Err(error) => error.code.as_str(),
    };
    metrics::counter!("dermaga_payment_notices_total", "result" => result).increment(1);
    received
}

async fn take(payments: &Payments, body: &[u8]) -> Result<String> {
    let gateway = payments.gateway()?;
    let (text, notice) = read(body)?;
    if !notice.is_signed_with(gateway.server_key()) {
        tracing::warn!("payment.notice_forged");
        let message = "The signature_key does not fit this notice and the server key.";
        return Err(Error::new(Code::SignatureInvalid, message));
    }
    let found = store::by_order(&mut payments.db.read().await?, notice.order_id.as_str()).await?;
    let payment = found.ok_or_else(|| Error::not_found("order"))?;
    let (id, outcome) = keep(payments, &payment, text, &notice).await?;
    if outcome == NoticeOutcome::Applied {
        return Ok("This notice has been applied before.".to_owned());
    }
    let _turn = payments.turns.take(payment.id).await;
    let kept = Kept {
        id,
        notice,
        payment: asking::reread(payments, &payment).await?,
        was_refused: outcome == NoticeOutcome::Refused,
    };
    handle(payments, &kept).await
}

fn read(body: &[u8]) -> Result<(&str, Status)> {
    let malformed = |what: String| Error::new(Code::MalformedRequest, what);
    let text = std::str::from_utf8(input::without_bom(body))
        .map_err(|_| malformed("The notice is not UTF-8 text.".to_owned()))?;
    // Not a character that PostgreSQL can hold, nor one that Midtrans writes.
    if text.contains("\\u0000") {
        return Err(malformed(
            "The notice must not contain the character U+0000.".to_owned(),
        ));
    }
    let notice = Status::read(text)
        .map_err(|why| malformed(format!("The notice is not as Midtrans writes it: {why}.")))?;
    Ok((text, notice))
}

/// Stores the notice before anything else is done with it.
async fn keep(
    payments: &Payments,
    payment: &Payment,
    body: &str,
    notice: &Status,
) -> Result<(NoticeId, NoticeOutcome)> {
    let new = NewNotice {
        id: new_id(&payments.clock),
        payment_id: payment.id,
        body,
        body_hash: &crypto::sha256_hex(body),
        claims: notice.transaction_status.as_str(),
        now: payments.clock.now(),
    };
    let mut conn = payments.db.begin().await?;
    let kept = store::store_notice(&mut conn, &new).await?;
    conn.commit().await?;
    Ok(kept)
}

async fn handle(payments: &Payments, kept: &Kept) -> Result<String> {
    let claim = match kept.notice.judge(&kept.payment) {
        Ok(heard) => heard.claim,
        // A fee on top may be named by the status API alone.
        Err(_) if is_told_so(payments, kept).await? => Claim::Settled,
        Err(fault) => return refuse(payments, kept, &fault).await,
    };
    if asking::is_stale(&kept.payment, claim)
        && let Some(message) = close_old_news(payments, kept, claim).await?
    {
        return Ok(message);
    }
    confirm(payments, kept, claim).await
}

/// True when the notice names more than was asked for, and the gateway names just that much.
async fn is_told_so(payments: &Payments, kept: &Kept) -> Result<bool> {
    if !kept.notice.is_more_than_asked(&kept.payment) {
        return Ok(false);
    }
    let known = payments.gateway()?;
    Ok(match known.status(&kept.payment.order_id).await? {
        Known::Told(status) => status.amounts_to(&kept.notice),
        Known::Nothing | Known::Unusable(_) => false,
    })
}

const REFUSED_THOUGH_SIGNED: &str = "A notice with the right signature was refused.";

/// Keeps a notice that cannot be used for an administrator, and has the gateway asked soon.
async fn refuse(payments: &Payments, kept: &Kept, fault: &str) -> Result<String> {
    let refused = NoticeOutcome::Refused;
    let mut conn = payments.db.begin().await?;
    // The wallet is locked before the notice, as where one is applied.
    if !kept.was_refused {
        let what = format!("{REFUSED_THOUGH_SIGNED} {fault}");
        problem::note(&mut conn, &payments.clock, &kept.payment, &what).await?;
    }
    store::close_notice(&mut conn, kept.id, refused, fault, None).await?;
    conn.commit().await?;
    asking::ask_soon(payments, &kept.payment).await?;
    Err(Error::new(Code::NoticeMismatch, fault))
}

/// Closes a notice that changes nothing about the payment as it is under its lock, unconfirmed;
/// `None` when it would change something after all.
async fn close_old_news(payments: &Payments, kept: &Kept, claim: Claim) -> Result<Option<String>> {
    let mut conn = payments.db.begin().await?;
    if !settlement::is_old_news(&mut conn, &kept.payment, claim).await? {
        return Ok(None);
    }
    let message = "There was nothing new in it.";
    let (applied, now) = (NoticeOutcome::Applied, payments.clock.now());
    store::close_notice(&mut conn, kept.id, applied, message, Some(now)).await?;
    conn.commit().await?;
    Ok(Some(message.to_owned()))
}

/// Asks the gateway about the order. The answer is applied; when it does not bear out a claim that
/// moves money, the notice is to come again.
async fn confirm(payments: &Payments, kept: &Kept, claim: Claim) -> Result<String> {
    let learned = asking::learn(payments, kept.payment.clone()).await?;
    let (mut open, Learned { payment, news }) = learned.take();
    let (conn, now) = (open.conn(), payments.clock.now());
    match news {
        News::Applied(truth, message)
            if truth == claim
                || !claim.moves_money()
                || !asking::is_stale(&kept.payment, truth) =>
        {
            let applied = NoticeOutcome::Applied;
            store::close_notice(conn, kept.id, applied, &message, Some(now)).await?;
            open.commit().await?;
            tracing::info!(payment.id = %payment.id, payment.state = %payment.state, "payment.notice_applied");
            Ok(message)
        }
        News::Unusable(fault) => {
            let refused = NoticeOutcome::Refused;
            store::close_notice(conn, kept.id, refused, &fault, None).await?;
            open.commit().await?;
            Err(Error::new(Code::NoticeMismatch, fault))
        }
        News::Applied(..) | News::Nothing => {
            drop(open);
            asking::ask_soon(payments, &kept.payment).await?;
            let message = "The gateway does not confirm this notice yet. Send it again.";
            Err(Error::new(Code::GatewayUnavailable, message).retry_after(60))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &str =
        r#"{"order_id":"TXMP-101-a","gross_amount":"10000.00","transaction_status":"settlement"}"#;

    fn refused(body: &[u8]) -> String {
        let error = read(body).unwrap_err();
        assert_eq!(error.code, Code::MalformedRequest);
        error.message
    }

    /// The text is kept as evidence, so that a mark in front of it is no part of it.
    #[test]
    fn a_notice_is_kept_without_its_mark() {
        for mark in ["", "\u{feff}"] {
            let body = format!("{mark}{NOTICE}");
            let (text, notice) = read(body.as_bytes()).unwrap();
            assert_eq!((text, notice.order_id.as_str()), (NOTICE, "TXMP-101-a"));
        }
    }

    #[test]
    fn what_no_database_holds_is_refused() {
        assert_eq!(
            refused(b"{\"a\":\"\xff\"}"),
            "The notice is not UTF-8 text."
        );
        let with_nul = NOTICE.replace("TXMP", "\\u0000");
        let told = "The notice must not contain the character U+0000.";
        assert_eq!(refused(with_nul.as_bytes()), told);
    }

    #[test]
    fn another_form_is_told_with_its_fault() {
        let told = "The notice is not as Midtrans writes it: `gross_amount` is missing.";
        assert_eq!(refused(br#"{"order_id":"1"}"#), told);
        assert!(refused(b"").ends_with("it is not JSON: it ends too early (line 1, column 0)."));
    }
}
