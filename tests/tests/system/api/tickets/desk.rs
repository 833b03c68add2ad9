//! A shop whose customer asks, and its administrator.

use std::{fs, path::PathBuf, time::Duration};

use dermaga_tests::{Answer, Client, Engine, Shop};

pub(crate) const TICKETS: &str = "/api/tickets";
pub(crate) const OF_SHOP: &str = "/api/admin/tickets";
pub(crate) const REASON: &str = "The customer asked for it.";

/// A shop with a customer and an administrator.
pub(crate) struct Desk {
    pub(crate) shop: Shop,
    pub(crate) customer: Client,
    pub(crate) admin: Client,
}

impl Desk {
    pub(crate) async fn open(engine: Engine) -> Option<Self> {
        let shop = Shop::open(engine).await?;
        let (customer, admin) = (shop.customer("tanya@example.com").await, shop.admin().await);
        Some(Self {
            shop,
            customer,
            admin,
        })
    }

    /// Files that are kept, half-written ones too.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let folder = self.shop.data_dir().join("attachments/tickets");
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let mut conn = self.shop.state().db.read().await.unwrap();
        let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
        count
    }

    pub(crate) async fn rows(&self) -> i64 {
        self.count("SELECT count(*) FROM ticket_attachments").await
    }

    /// Waits until nothing is left of uploads.
    pub(crate) async fn is_clean(&self) {
        for _ in 0..200 {
            if self.files().is_empty() && self.rows().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} rows, {:?}", self.rows().await, self.files());
    }
}

pub(crate) async fn ask(client: &Client, files: &[(&str, &[u8])]) -> Answer {
    let texts = [
        ("subject", "My domain does not work"),
        ("description", "It shows another page since yesterday."),
    ];
    client.post_form(TICKETS, &texts, files).await
}

pub(crate) async fn opened(client: &Client) -> String {
    let data = ask(client, &[]).await.data(201);
    data["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn write(client: &Client, id: &str, message: &str) -> Answer {
    let path = format!("{TICKETS}/{id}/messages");
    client.post_form(&path, &[("message", message)], &[]).await
}

pub(crate) async fn answer(admin: &Client, id: &str, message: &str) -> Answer {
    let path = format!("{OF_SHOP}/{id}/messages");
    admin.post_form(&path, &[("message", message)], &[]).await
}

pub(crate) async fn status(client: &Client, id: &str) -> String {
    let ticket = client.get(&format!("{TICKETS}/{id}")).await.data(200);
    ticket["status"].as_str().unwrap().to_owned()
}
