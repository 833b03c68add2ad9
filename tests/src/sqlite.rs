//! Databases of tests in files: each is a copy of one that was migrated for all tests of this process.

use std::{fs, io::Write as _, path::Path};

use dermaga_shop::{
    db::{Db, url_of},
    private_file,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Writes a database with the shop's tables, and nothing in them, into a new file.
pub(crate) async fn put_migrated(path: &Path) {
    static MIGRATED: OnceCell<Vec<u8>> = OnceCell::const_new();
    let bytes = MIGRATED.get_or_init(migrated).await;
    let mut file = private_file::create_new(path).expect("a new file");
    file.write_all(bytes).expect("a file is written");
}

async fn migrated() -> Vec<u8> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("migrated.db");
    let db = Db::connect(&url_of(&path)).await;
    let db = db.expect("a database in a file");
    db.migrate().await.expect("the tables are made");
    // Closing moves its log into the file.
    db.close().await;
    fs::read(path).expect("a database in a file")
}
