//! Memory of a server that refuses what it is sent: it does not grow with how much that is.

use dermaga_tests::{processes::Watched, skip};
use futures::future::join_all;
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use super::{
    attachments::PNG,
    site::{Patient, Server, Site},
};

/// Rounds in which the server takes the memory that it works with.
const FIRST: usize = 2;
/// Rounds after those, of some 30 MiB each.
const LATER: usize = 8;
/// One byte more than a picture may have.
const TOO_LARGE: usize = 5 * 1024 * 1024 + 1;
/// KiB by which memory may rise in the later rounds: about a quarter of what they send.
const MARGIN: u64 = 64 * 1024;

/// A GIF of two frames of one pixel, each shown on a screen of 25 million.
fn bomb() -> Vec<u8> {
    let side = 5000_u16.to_le_bytes();
    let colours = [0_u8, 0, 0, 255, 255, 255];
    let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x01\xff\0";
    let head = [b"GIF89a".as_slice(), &side, &side, &[0x80, 0, 0], &colours].concat();
    [head.as_slice(), frame, frame, b"\x3b"].concat()
}

async fn upload(customer: &Patient, content: Vec<u8>, (status, code): (u16, &str)) {
    let part = Part::bytes(content).file_name("picture.png");
    let form = Form::new()
        .text("subject", "Pictures of the fault")
        .text("description", "It looks like this, again and again.")
        .part("attachments", part);
    let answer = customer.form("/api/tickets", form).await.unwrap();
    assert_eq!(answer.status(), status);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["error"]["code"], code, "{answer:#}");
}

/// Sends what is refused, as a customer of its own: an account may send only so much in an hour.
async fn round(patient: &Patient, number: usize) {
    let body = json!({
        "email": format!("tolak-{number}@example.com"), "password": "kata sandi yang panjang", "name": "Pelanggan",
    });
    let key = format!("register-{number}");
    let session = patient.post("/api/auth/register", &key, &body).await;
    let customer = patient.signed_in(&session);
    let mut large = PNG.to_vec();
    large.resize(TOO_LARGE, 0);
    for _ in 0..2 {
        let too_large = (413, "PAYLOAD_TOO_LARGE");
        join_all([(); 2].map(|()| upload(&customer, large.clone(), too_large))).await;
    }
    for _ in 0..4 {
        upload(&customer, bomb(), (400, "IMAGE_REFUSED")).await;
    }
    let long = json!({ "planId": "a".repeat(200_000) }).to_string();
    for (name, body, code) in [
        ("nested", "[".repeat(200_000), "MALFORMED_REQUEST"),
        ("long", long, "VALIDATION_FAILED"),
    ] {
        for _ in 0..20 {
            let request = (name, Some(body.clone()));
            let path = "/api/subscriptions/quote";
            let (status, answer) = customer.send(Method::POST, path, request).await;
            assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)));
        }
    }
    let kept = customer.get("/api/tickets").await;
    assert_eq!(kept, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_takes_no_memory() {
    let Some(site) = Site::new(false).await else {
        return;
    };
    // An upload to a busy machine takes longer than a second.
    let site = site.with("DERMAGA_REQUEST_TIMEOUT", "30s".to_owned());
    let server = Server::start(&site);
    let watched = Watched {
        server: Some(server.id()),
        database: None,
    };
    if watched.server_peak().is_none() {
        skip("memory of a server", "there is no /proc");
        return;
    }
    let patient = Patient::new(&site);
    for number in 0..FIRST {
        round(&patient, number).await;
    }
    // Without the peak of the start, which would hide a rise.
    watched.forget_peak();
    let before = watched.server_peak().unwrap();
    for number in FIRST..FIRST + LATER {
        round(&patient, number).await;
    }
    let peak = watched.server_peak().unwrap();
    println!("{before} KiB before, {peak} KiB at most");
    assert!(peak <= before + MARGIN, "{before} KiB, and later {peak}");
}
