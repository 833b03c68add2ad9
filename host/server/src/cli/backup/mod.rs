//! `backup` and `restore`: the shop itself, in a folder.

mod files;
mod manifest;
mod postgres;
mod restore;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use dermaga_shop::{
    Code,
    db::{self, Clock, Db},
    files::{Files, Place},
    ids::{AttachmentId, UserId},
    text::counted,
    tickets::attachments,
    wallet::ledger::{self, Verification, heads},
};

use self::{
    files::{DATA, cannot},
    manifest::{DATABASE, Draft, HEADS, Manifest},
};
use super::{CliError, print};
use crate::{
    app::{self, StartError},
    config::{Config, Loaded},
};

pub(super) use restore::{RestoreArgs, restore};

/// Keys that are kept in the data folder when no settings have them.
const KEYS: [&str; 2] = ["jwt.key", "master.key"];
/// Folder of manifests in the data folder.
const MANIFESTS: &str = "manifests";

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Folder to make. It has the keys of the data folder: keep it as you keep them.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Findings about what was written.
struct Written {
    manifest: Manifest,
    books: Verification,
    pictures: Pictures,
}

/// Pictures of tickets.
enum Pictures {
    /// Numbers of those that were copied, and of those that were not there.
    Copied { there: usize, missing: usize },
    /// In a bucket, which a backup leaves where it is.
    InBucket,
}

pub(super) async fn backup(loaded: Loaded, args: BackupArgs) -> Result<(), CliError> {
    let config = loaded.config;
    let file = db::file_of(&config.database_url());
    if let Some(path) = file.filter(|path| !path.exists()) {
        let message = format!("there is no database at {}", path.display());
        return Err(CliError::Failed(message));
    }
    let db = app::open_database_as_is(&config).await?;
    let mut draft = Draft::begin(&args.folder)?;
    let written = Box::pin(write(&config, &db, &mut draft)).await;
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            draft.discard();
            return Err(error);
        }
    };
    let number = draft.to_restore();
    draft.finish(written.manifest.clone())?;
    let opened = app::vault_of_data(&config, &db).await.map(drop);
    let mut text = describe(&config, &written, &args.folder, number);
    if written.manifest.engine == "postgres" {
        text.push_str(&postgres::instructions(&config, &db, &args.folder).await?);
    }
    db.close().await;
    print(&text)?;
    if !written.books.holds() {
        return Err(CliError::Check(format!(
            "the backup is whole, and its books do not hold: {}; `dermaga ledger verify` names them",
            counted(written.books.faults.len(), "fault")
        )));
    }
    opened.map_err(without_key)
}

/// Judges keys that open no secret of the database: a shop that is restored from its backup would not start.
fn without_key(error: StartError) -> CliError {
    match error {
        StartError::Keys(_) | StartError::MasterKey { .. } | StartError::NoMasterKey { .. } => {
            CliError::Check(format!(
                "the backup is made, without a key for its secrets: {error}"
            ))
        }
        other => other.into(),
    }
}

async fn write(config: &Config, db: &Db, draft: &mut Draft) -> Result<Written, CliError> {
    // Before the files: a row names a file that is there, and a file without a row would be kept
    // for ever.
    let copy = match db {
        Db::Sqlite { .. } => Some(copy_database(db, draft).await?),
        Db::Postgres(_) => None,
    };
    let books = Box::pin(read_books(copy.as_ref().unwrap_or(db), draft)).await?;
    let pictures = copy_pictures(config, copy.as_ref().unwrap_or(db), draft).await?;
    if let Some(copy) = copy {
        close_copy(copy, draft).await?;
        draft.add(DATABASE)?;
    }
    for key in KEYS {
        copy_file(&config.data_dir.join(key), &format!("{DATA}/{key}"), draft)?;
    }
    let folder = config.data_dir.join(MANIFESTS);
    if config.manifests_dir() == folder && folder.is_dir() {
        copy_folder(&folder, &format!("{DATA}/{MANIFESTS}"), draft)?;
    }
    let manifest = Manifest {
        format: 0,
        dermaga: env!("CARGO_PKG_VERSION").to_owned(),
        engine: db.engine_name().to_owned(),
        migration: db::newest_migration(),
        made_at: Clock::system().now(),
        wallets: books.wallets,
        entries: books.entries,
        heads: books.heads.clone(),
        seal: books.seal.as_ref().map(|seal| seal.digest.clone()),
        files: Vec::new(),
    };
    Ok(Written {
        manifest,
        books,
        pictures,
    })
}

/// Copies a SQLite database in use, and opens the copy.
async fn copy_database(db: &Db, draft: &Draft) -> Result<Db, CliError> {
    let path = draft.make(DATABASE)?;
    let failed =
        |error: sqlx::Error| CliError::Failed(format!("the database cannot be copied: {error}"));
    db.copy_into(&path).await.map_err(failed)?;
    let copy = Db::connect(&db::url_of(&path)).await.map_err(failed)?;
    let faults = copy.faults().await.map_err(failed)?;
    match faults.first() {
        None => Ok(copy),
        Some(fault) => {
            copy.close().await;
            let message = format!("the copy of the database is damaged: {fault}");
            Err(CliError::Check(message))
        }
    }
}

/// Closes the copy, so that all of it is in its one file.
async fn close_copy(copy: Db, draft: &Draft) -> Result<(), CliError> {
    copy.close().await;
    let log = draft.path(&format!("{DATABASE}-wal"));
    if log.exists() {
        let message = format!("{} is left, and should be gone", log.display());
        return Err(CliError::Failed(message));
    }
    Ok(())
}

/// Verifies the books, and writes down the heads of all chains.
async fn read_books(db: &Db, draft: &mut Draft) -> Result<Verification, CliError> {
    // Of a database in use these are the earlier ones, so that a copy made later has them all.
    let mut conn = db.snapshot().await.map_err(dermaga_shop::Error::from)?;
    let mut text = String::new();
    let mut after = UserId::MIN;
    loop {
        let page = heads::after(&mut conn, after).await?;
        let Some(last) = page.last() else { break };
        after = last.wallet_id;
        text.extend(page.iter().map(ToString::to_string));
    }
    drop(conn);
    draft.put(HEADS, text.as_bytes())?;
    Ok(ledger::verify(db, &Clock::system()).await?)
}

/// Copies the pictures that the database names.
async fn copy_pictures(config: &Config, db: &Db, draft: &mut Draft) -> Result<Pictures, CliError> {
    if let Some(Place::Bucket { .. }) = config.files.place {
        return Ok(Pictures::InBucket);
    }
    let mut conn = db.read().await.map_err(dermaga_shop::Error::from)?;
    let (mut there, mut missing) = (0, 0);
    let mut store = None;
    let mut after = AttachmentId::MIN;
    loop {
        let page = attachments::files_after(&mut conn, after).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for file in &page {
            let place = config.data_dir.join("attachments");
            let store = match &mut store {
                Some(store) => store,
                none => none.insert(Files::open(&config.files, place)?),
            };
            match store.get(&file.name).await {
                Ok(content) => {
                    draft.put(&format!("{DATA}/attachments/{}", file.name), &content)?;
                    there += 1;
                }
                Err(error) if error.code == Code::NotFound => {
                    missing += usize::from(file.is_attached);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Pictures::Copied { there, missing })
}

/// Copies a file that may be missing.
fn copy_file(path: &Path, name: &str, draft: &mut Draft) -> Result<(), CliError> {
    match fs::read(path) {
        Ok(content) => draft.put(name, &content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot(path)(error)),
    }
}

/// Copies a folder of manifests, whose drafts become whole files or go away.
fn copy_folder(folder: &Path, name: &str, draft: &mut Draft) -> Result<(), CliError> {
    for entry in fs::read_dir(folder).map_err(cannot(folder))? {
        let path = entry.map_err(cannot(folder))?.path();
        let Some(last) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = format!("{name}/{last}");
        if path.is_dir() {
            copy_folder(&path, &name, draft)?;
        } else if !last.ends_with(".draft") {
            copy_file(&path, &name, draft)?;
        }
    }
    Ok(())
}

fn describe(config: &Config, written: &Written, folder: &Path, files: usize) -> String {
    let Written {
        manifest, books, ..
    } = written;
    let mut text = format!(
        "{} to restore in {}: the books of {} with {}.\nHeads of all chains: {}\n",
        counted(files, "file"),
        folder.display(),
        counted(manifest.wallets, "wallet"),
        counted(manifest.entries, "entry"),
        books.heads
    );
    match written.pictures {
        Pictures::Copied { there, missing: 0 } => {
            text.push_str(&format!("{} of tickets.\n", counted(there, "picture")));
        }
        Pictures::Copied { there, missing } => text.push_str(&format!(
            "{} of tickets; in the database and not in their place: {missing} more.\n",
            counted(there, "picture")
        )),
        Pictures::InBucket => text.push_str(
            "The pictures of tickets stay in their bucket: let its owner keep earlier versions.\n",
        ),
    }
    for (setting, is_given) in [
        ("JWT_SECRET", !config.jwt_secrets.is_empty()),
        ("DERMAGA_MASTER_KEY", !config.master_keys.is_empty()),
    ] {
        if is_given {
            text.push_str(&format!(
                "{setting} is a setting and not in the backup: keep a copy of it elsewhere.\n"
            ));
        }
    }
    text
}
