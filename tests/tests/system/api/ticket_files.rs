//! Tests of the parts of a form: which of them are files, and how many there may be of one name.

use std::time::Duration;

use dermaga_tests::both_engines;
use serde_json::Value;

use super::tickets::{Desk, OF_SHOP, TICKETS, ask};
use crate::pictures;

both_engines!(
    Desk,
    [
        a_file_that_was_not_chosen_does_not_count,
        an_optional_part_is_given_once_also_when_it_is_empty,
    ]
);

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

async fn an_optional_part_is_given_once_also_when_it_is_empty(desk: Desk) {
    let Desk {
        customer, admin, ..
    } = &desk;
    let ticket = ask(customer, &[]).await.data(201);
    let answers = format!("{OF_SHOP}/{}/messages", ticket["id"].as_str().unwrap());
    let subject = ("subject", "My domain does not work");
    let description = ("description", "It shows another page since yesterday.");
    let message = ("message", "Try again, please.");
    let instance = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (client, path, part, filled, others) in [
        (
            customer,
            TICKETS,
            "instanceId",
            instance,
            &[subject, description][..],
        ),
        (
            admin,
            &answers,
            "reason",
            "Asked for on the phone",
            &[message][..],
        ),
    ] {
        for both in [["", ""], ["", filled], [filled, ""], [filled, filled]] {
            let texts = [others, &both.map(|text| (part, text))].concat();
            let refused = client.post_form(path, &texts, &[]).await;
            refused.fails(400, "VALIDATION_FAILED");
            assert_eq!(refused.detail(part), Some("is given twice"), "{both:?}");
        }
    }
    let counts = [
        "SELECT count(*) FROM tickets",
        "SELECT count(*) FROM ticket_messages",
    ];
    for sql in counts {
        assert_eq!(desk.count(sql).await, 1, "{sql}");
    }
}
