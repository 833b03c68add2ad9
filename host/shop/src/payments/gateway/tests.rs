//! Answers that no gateway sends, refusals in its words, and what is believed of an amount.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::payments::{PaymentState, model::tests::payment, state::Claim};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers one request with JSON that is followed by blanks, in chunks, until its client ends the connection;
/// returns the address.
async fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        assert!(read > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n";
        let mut sent = stream.write_all(head.as_bytes()).await;
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        while sent.is_ok() {
            sent = stream.write_all(chunk.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn an_answer_in_chunks_is_read_up_to_a_bound() {
    let settings = GatewaySettings {
        server_key: Secret::new("SB-Mid-server-test"),
        addresses: Some(Addresses::one(&endless().await)),
        notify: None,
        callbacks: Callbacks::default(),
        timeout: TIMEOUT,
    };
    let gateway = Gateway::new(settings, Clock::movable()).unwrap();
    let unusable = gateway.status("TXMP-1").await.unwrap_err();
    assert!(matches!(unusable, GatewayError::Garbage(_)), "{unusable}");
}

fn answer(code: u16, json: Value) -> Answer {
    Answer {
        code,
        text: json.to_string(),
        json,
    }
}

#[test]
fn the_code_of_an_answer_is_a_text_or_a_number() {
    for (written, read) in [
        (json!("407"), Some(407)),
        (json!(201), Some(201)),
        (json!("2OO"), None),
        (json!(""), None),
        (json!(70_000), None),
        (json!(-1), None),
        (json!(null), None),
        (json!([200]), None),
    ] {
        assert_eq!(code(&json!({ "status_code": written })), read, "{written}");
    }
    assert_eq!(code(&json!({})), None);
}

#[test]
fn a_refusal_has_the_words_of_the_gateway() {
    let long = "é".repeat(400);
    for (body, told) in [
        (
            json!({ "error_messages": ["one", 2, "three"] }),
            "one; three",
        ),
        (json!({ "status_message": "denied" }), "denied"),
        (
            json!({ "error_messages": ["listed"], "status_message": "said" }),
            "listed",
        ),
        (json!([]), ""),
        (json!({ "status_message": long }), &*"é".repeat(300)),
    ] {
        let GatewayError::Refused { code, message } = refusal(&answer(400, body)) else {
            panic!("a refusal is one");
        };
        assert_eq!((code, message.as_str()), (400, told));
    }
}

/// Snap answers in the language of the shop's account.
#[test]
fn a_name_that_was_used_is_known_in_both_languages() {
    let refused = |code, message: &str| GatewayError::Refused {
        code,
        message: message.to_owned(),
    };
    for (error, is_used) in [
        (
            refused(400, "transaction_details.order_id sudah digunakan"),
            true,
        ),
        (refused(406, "order_id has already been taken"), true),
        (refused(409, "order_id already used"), true),
        (refused(500, "order_id already used"), false),
        (refused(400, "gross_amount already set"), false),
        (refused(400, "order_id is not valid"), false),
        (GatewayError::Failed(409), false),
    ] {
        assert_eq!(error.is_order_used(), is_used, "{error}");
    }
}

#[test]
fn a_pause_that_the_gateway_wants_reaches_its_asker() {
    let throttled = Error::from(GatewayError::Throttled(60));
    assert_eq!(throttled.retry_after, Some(60));
    assert_eq!(wanted_pause(&throttled), Some(TimeDelta::seconds(60)));
    for other in [
        Error::from(GatewayError::Failed(500)),
        Error::from(GatewayError::Garbage("no token".to_owned())),
        Error::not_found("payment"),
    ] {
        assert_eq!(wanted_pause(&other), None, "{other}");
    }
}

#[test]
fn a_pause_before_an_attempt_is_spread_and_bounded() {
    for attempt in 0..ATTEMPTS {
        let longest = Duration::from_millis(FIRST_WAIT_MS << attempt);
        for _ in 0..100 {
            let pause = wait(attempt);
            assert!(pause >= longest / 2 && pause < longest, "{pause:?}");
            assert!(pause < LONGEST_WAIT, "{pause:?}");
        }
    }
    assert!(wait(u32::MAX) < Duration::from_secs(10));
}

/// Judges a settlement over this amount of a payment of Rp10.000.
fn judged(gross: &str, more: &Value) -> Result<Option<i64>, String> {
    let mut body = json!({
        "order_id": "TXMP-101-0123456789ab", "gross_amount": gross, "transaction_status": "settlement",
    });
    for (field, value) in more.as_object().unwrap() {
        body[field] = value.clone();
    }
    let status = Status::read(&body.to_string()).unwrap();
    let heard = status.judge(&payment(PaymentState::Pending, 10_000))?;
    Ok(heard.fee.map(Rupiah::get))
}

#[test]
fn more_than_was_asked_for_is_a_fee_only_where_it_is_named() {
    let account = |fields: Value| json!({ "extra_info": { "gross_amount_info": fields } });
    for (gross, more, fee) in [
        ("10000.00", json!({}), Ok(Some(0))),
        ("10000.00", json!({ "currency": "IDR" }), Ok(Some(0))),
        (
            "10700.00",
            account(json!({ "original_amount": 10_000 })),
            Ok(Some(700)),
        ),
        (
            "10700.00",
            account(json!({ "customer_imposed_payment_fee": "700.00" })),
            Ok(Some(700)),
        ),
        (
            "10700.00",
            json!({ "metadata": account(json!({ "original_amount": "10000.00" })) }),
            Ok(Some(700)),
        ),
    ] {
        assert_eq!(judged(gross, &more), fee, "{gross} {more}");
    }
    for (gross, more) in [
        ("9999.00", json!({})),
        ("10700.00", json!({})),
        ("10700.00", account(json!({ "original_amount": 10_001 }))),
        (
            "10700.00",
            account(json!({ "customer_imposed_payment_fee": 699 })),
        ),
        ("10000.50", json!({})),
        ("10000.00", json!({ "currency": "USD" })),
        ("10000.00", json!({ "order_id": "TXMP-102" })),
    ] {
        assert!(judged(gross, &more).is_err(), "{gross} {more}");
    }
}

/// Nothing is booked by it, so that a page which was closed at another amount still closes.
#[test]
fn an_amount_matters_only_where_money_moves() {
    let text =
        r#"{"order_id":"TXMP-101-0123456789ab","gross_amount":"1","transaction_status":"expire"}"#;
    let status = Status::read(text).unwrap();
    let heard = status
        .judge(&payment(PaymentState::Pending, 10_000))
        .unwrap();
    assert_eq!((heard.claim, heard.fee), (Claim::Expired, None));
    let credited = Payment {
        credited: Rupiah::new(10_000),
        ..payment(PaymentState::Settled, 10_000)
    };
    assert!(status.judge(&credited).is_err());
}
