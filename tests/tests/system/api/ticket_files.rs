//! Tests of the files of a form: which parts of it are files, and how many there may be.

use std::time::Duration;

use dermaga_tests::both_engines;
use serde_json::Value;

use super::tickets::{Desk, OF_SHOP, TICKETS, ask};
use crate::pictures;

both_engines!(Desk, [a_file_that_was_not_chosen_does_not_count]);

/// Browsers send a part without a name and bytes for a file input that was left alone, first or last in the form.
async fn a_file_that_was_not_chosen_does_not_count(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let png = pictures::png();
    let good: (&str, &[u8]) = ("good.png", &png);
    let unused: (&str, &[u8]) = ("", b"");
    let last = [good, good, good, good, good, unused];
    let first = [unused, good, good, good, good, good];
    let made = ask(customer, &last).await.data(201);
    let id = made["id"].as_str().unwrap();
    let texts = [("message", "Here are more pictures.")];
    let number = |message: &Value| message["attachments"].as_array().unwrap().len();
    assert_eq!(number(&made["messages"][0]), 5);
    for (client, path) in [(customer, TICKETS), (admin, OF_SHOP)] {
        for files in [first, last] {
            let path = format!("{path}/{id}/messages");
            let ticket = client.post_form(&path, &texts, &files).await.data(201);
            let messages = ticket["messages"].as_array().unwrap();
            assert_eq!(messages.last().map(number), Some(5), "{ticket:#}");
        }
    }
    assert_eq!(desk.files().len(), 25);
    // One with a name was chosen although it is empty, and one with bytes is a file without a name.
    for sixth in [("empty.png", b"".as_slice()), ("", png.as_slice())] {
        let files = [good, good, good, good, good, sixth];
        ask(customer, &files).await.fails(400, "TOO_MANY_FILES");
    }
    // Files of a refused form are removed after its answer.
    for _ in 0..200 {
        if desk.files().len() == 25 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", desk.files());
}
