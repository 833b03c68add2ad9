//! Tests of pictures in a bucket, with a server of PyPI that speaks S3 (moto), so that shop and test
//! server do not only agree with each other.

use dermaga_shop::{crypto::Secret, files::Place};
use dermaga_tests::{Bucket, Engine, Shop};
use serde_json::Value;

use crate::{
    api::tickets::{OF_SHOP, TICKETS, ask},
    pictures, settings,
};

fn first_file(ticket: &Value) -> &str {
    ticket["messages"][0]["attachments"][0]["id"]
        .as_str()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_the_pictures_in_a_bucket() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let shop = settings::empty_shop(&bucket.settings()).await;
    let customer = shop.customer("tanya@example.com").await;
    let kept = ask(&customer, &[("a.png", &pictures::png())])
        .await
        .data(201);
    let id = first_file(&kept);
    assert_eq!(bucket.names().await, [format!("berkas/tickets/{id}")]);
    assert!(!shop.data_dir().join("attachments").exists());
    let seen = customer.get(&format!("{TICKETS}/attachments/{id}")).await;
    assert_eq!(
        (seen.status, &seen.headers["content-type"]),
        (200, &"image/png".parse().unwrap())
    );
    // A refused form leaves nothing in the bucket.
    let files: [(&str, &[u8]); 2] = [("a.png", &pictures::png()), ("b.svg", b"<svg/>")];
    ask(&customer, &files)
        .await
        .fails(415, "UNSUPPORTED_MEDIA_TYPE");
    for _ in 0..100 {
        if bucket.names().await.len() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(bucket.names().await.len(), 1);
    // Without its bucket the shop says so, and works on.
    drop(bucket);
    ask(&customer, &files[..1]).await.fails(503, "UNAVAILABLE");
    ask(&customer, &[]).await.data(201);
    let away = customer.get(&format!("{TICKETS}/attachments/{id}")).await;
    away.fails(503, "UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_shows_what_the_first_one_kept() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let shop = Shop::open_with(Engine::Postgres, |config| {
        config.files.place = Some(Place::parse("s3://toko").unwrap());
        config.files.endpoint = Some(bucket.endpoint.clone());
        config.files.access_key = Some(Secret::new("toko"));
        config.files.secret_key = Some(Secret::new("rahasia"));
    });
    let Some(shop) = shop.await else {
        return;
    };
    let second = shop.second_server().await;
    let customer = shop.customer("tanya@example.com").await;
    let kept = ask(&customer, &[("a.png", &pictures::png())])
        .await
        .data(201);
    let id = first_file(&kept);
    let there = customer.moved_to(second.client());
    let path = format!("{TICKETS}/attachments/{id}");
    let (first, other) = (customer.get(&path).await, there.get(&path).await);
    assert_eq!((first.status, other.status), (200, 200));
    assert_eq!(first.bytes, other.bytes);
    let admin = shop.admin().await.moved_to(second.client());
    let seen = admin.get(&format!("{OF_SHOP}/attachments/{id}")).await;
    assert_eq!(seen.bytes, first.bytes);
}
