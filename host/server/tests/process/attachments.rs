//! `kill -9` while pictures come in: of an upload that was cut off, the sweeper leaves no file and no row, and
//! of one that was answered nothing is lost.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use dermaga_shop::{db::Db, ids::AttachmentId};
use rand::RngExt as _;
use reqwest::{
    Body,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use super::site::{Patient, Server, Site, seeded};

const DEATHS: usize = 8;
/// The longest that a server lives after it was ready, in milliseconds.
const LONGEST_LIFE: u64 = 600;
/// Customers that upload at the same time.
const UPLOADERS: usize = 3;
/// A picture of one pixel.
pub(super) const PNG: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82";

pub(super) fn form(pictures: usize) -> Form {
    let texts = Form::new()
        .text("subject", "Pictures of the fault")
        .text("description", "It looks like this, again and again.");
    (0..pictures).fold(texts, |form, number| {
        let part = Part::bytes(PNG).file_name(format!("{number}.png"));
        form.part("attachments", part)
    })
}

/// Names in the folder of pictures, of half-written ones too.
fn files(site: &Site) -> BTreeSet<String> {
    let folder: PathBuf = site.path().join("data/attachments/tickets");
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

async fn rows(db: &Db, only_attached: bool) -> BTreeSet<String> {
    let mut conn = db.read().await.unwrap();
    let sql = "SELECT id FROM ticket_attachments WHERE message_id IS NOT NULL OR NOT $1";
    let rows = dermaga_shop::fetch_all!(conn, (AttachmentId,), sql, only_attached).unwrap();
    rows.into_iter().map(|(id,)| id.to_string()).collect()
}

async fn customer(patient: &Patient, number: usize) -> Patient {
    let body = json!({
        "email": format!("unggah-{number}@example.com"), "password": "kata sandi yang panjang", "name": "Pelanggan",
    });
    let key = format!("register-{number}");
    let session = patient.post("/api/auth/register", &key, &body).await;
    patient.signed_in(&session)
}

/// Uploads until its server is gone; returns the pictures of answers that arrived.
async fn upload_until_death(customer: Patient) -> BTreeSet<String> {
    let mut answered = BTreeSet::new();
    loop {
        let Ok(response) = customer.form("/api/tickets", form(5)).await else {
            return answered;
        };
        let is_made = response.status() == 201;
        let Ok(answer) = response.json::<Value>().await else {
            return answered;
        };
        if !is_made {
            // As many messages as an hour allows.
            return answered;
        }
        let kept = answer["data"]["messages"][0]["attachments"]
            .as_array()
            .unwrap();
        answered.extend(
            kept.iter()
                .map(|file| file["id"].as_str().unwrap().to_owned()),
        );
    }
}

/// Sends one picture of a form that never ends, so that it is kept and belongs to nothing.
fn begin_without_end(customer: &Patient) -> tokio::task::JoinHandle<()> {
    let endless = futures::stream::pending::<std::io::Result<Vec<u8>>>();
    let last = Part::stream(Body::wrap_stream(endless)).file_name("last.png");
    let form = form(1).part("attachments", last);
    let customer = customer.clone();
    tokio::spawn(async move {
        let _ = customer.form("/api/tickets", form).await;
    })
}

async fn swept_after_deaths(on_postgres: bool) {
    let Some(site) = Site::new(on_postgres).await else {
        return;
    };
    // Longer than the endless upload of this test lives.
    let mut site = site.with("DERMAGA_REQUEST_TIMEOUT", "30s".to_owned());
    let mut random = seeded();
    let patient = Patient::new(&site);
    let mut server = Server::start(&site);
    let admin = patient.administrator(&site).await;
    let db = site.database().await;
    let mut answered = BTreeSet::new();
    for death in 0..DEATHS {
        let mut uploading = Vec::new();
        for number in 0..UPLOADERS {
            let customer = customer(&patient, death * UPLOADERS + number).await;
            uploading.push(tokio::spawn(upload_until_death(customer)));
        }
        let life = random.random_range(0..LONGEST_LIFE);
        tokio::time::sleep(Duration::from_millis(life)).await;
        drop(server);
        for upload in uploading {
            answered.extend(upload.await.unwrap());
        }
        server = Server::start(&site);
    }
    // One death for certain in the middle of an upload.
    let before = files(&site);
    let unfinished = begin_without_end(&customer(&patient, 1000).await);
    for _ in 0..400 {
        if files(&site).len() > before.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(
        files(&site).len() > before.len(),
        "the first picture is kept"
    );
    drop(server);
    unfinished.abort();
    let orphans = rows(&db, false).await.len() - rows(&db, true).await.len();
    println!("{} answered, {orphans} orphans", answered.len());
    assert!(orphans > 0);
    // As the death of a server in the middle of a write leaves it.
    let orphan = rows(&db, false)
        .await
        .difference(&rows(&db, true).await)
        .next()
        .cloned();
    let folder = site.path().join("data/attachments/tickets");
    fs::write(folder.join(format!("{}#1", orphan.unwrap())), PNG).unwrap();

    site.set("DERMAGA_CLOCK", "+2h");
    let server = Server::start(&site);
    let run = admin
        .post(
            "/api/admin/jobs/attachment-orphans/run",
            "sweep",
            &json!({}),
        )
        .await;
    assert_eq!(run["items"], json!(orphans), "{run:#}");
    let kept = rows(&db, true).await;
    assert_eq!(files(&site), kept, "files and rows are the same");
    assert_eq!(rows(&db, false).await, kept, "no row is without a message");
    assert!(kept.is_superset(&answered), "what was answered is kept");
    drop(server);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_on_sqlite_are_swept_after_deaths() {
    swept_after_deaths(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_on_postgresql_are_swept_after_deaths() {
    swept_after_deaths(true).await;
}
