//! `restore`: a data folder from a backup, and the comparison of a database with one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use dermaga_shop::{
    db::{self, Clock, Db},
    private_file,
    text::counted,
    wallet::ledger::{self, heads},
};

use super::{
    super::{CliError, print, shell::quoted},
    files::{cannot, private_folder, sync_folder, sync_folders},
    manifest::Backup,
    postgres,
};
use crate::{
    app::{self, StartError},
    config::Loaded,
};

/// Heads that are named, of those that are lost.
const MOST_NAMED: usize = 5;

#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// Folder that `dermaga backup` made.
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Data folder to restore into: an empty one, or one to be made.
    #[arg(
        long,
        value_name = "FOLDER",
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    into: Option<PathBuf>,
    /// Compare the database of the configuration with the backup instead; changes nothing.
    #[arg(long)]
    check: bool,
}

pub(in crate::cli) async fn restore(loaded: Loaded, args: RestoreArgs) -> Result<(), CliError> {
    let backup = Backup::open(&args.backup)?;
    let version = backup.manifest.migration;
    if version > db::newest_migration() {
        return Err(StartError::DatabaseNewer { version }.into());
    }
    match &args.into {
        Some(folder) => Box::pin(restore_into(&backup, &args.backup, folder)).await,
        None => Box::pin(check(loaded, &backup)).await,
    }
}

async fn restore_into(backup: &Backup, from: &Path, folder: &Path) -> Result<(), CliError> {
    private_folder(folder).map_err(cannot(folder))?;
    let mut entries = fs::read_dir(folder).map_err(cannot(folder))?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", folder.display());
        return Err(CliError::Failed(message));
    }
    // Without all files a server would make another shop of the folder.
    let mark = folder.join(app::PART_RESTORED);
    private_file::create_new(&mark).map_err(cannot(&mark))?;
    sync_folder(folder).map_err(cannot(folder))?;
    let mut number = 0;
    for stored in &backup.manifest.files {
        let Some(name) = stored.in_data() else {
            continue;
        };
        backup.copy(stored, &folder.join(name))?;
        number += 1;
    }
    sync_folders(folder).map_err(cannot(folder))?;
    fs::remove_file(&mark).map_err(cannot(&mark))?;
    sync_folder(folder).map_err(cannot(folder))?;
    print(&format!(
        "{} restored into {}.\n",
        counted(number, "file"),
        folder.display()
    ))?;
    if backup.manifest.engine == "postgres" {
        return print(&postgres::restoring(from));
    }
    verify_restored(backup, folder).await?;
    let folder = quoted(&folder.display().to_string());
    print(&format!(
        "Start it without DATABASE_URL and DERMAGA_ATTACHMENTS, and with the keys that were settings:\n  \
         dermaga serve --data-dir {folder}\n"
    ))
}

/// Proves that the restored books are those that were backed up.
async fn verify_restored(backup: &Backup, folder: &Path) -> Result<(), CliError> {
    let path = folder.join("dermaga.db");
    let failed = |what: &dyn std::fmt::Display| {
        CliError::Failed(format!("{} cannot be used: {what}", path.display()))
    };
    let db = Db::connect(&db::url_of(&path))
        .await
        .map_err(|error| failed(&error))?;
    // One of an earlier version; the server would do the same.
    db.migrate().await.map_err(|error| failed(&error))?;
    let faults = db.faults().await.map_err(|error| failed(&error))?;
    let books = ledger::verify(&db, &Clock::system()).await?;
    db.close().await;
    let faults = faults.iter().chain(&books.faults);
    let mut text: String = faults.map(|fault| format!("FAULT  {fault}\n")).collect();
    let holds = text.is_empty();
    text.push_str(&format!("Heads of all chains: {}\n", books.heads));
    if holds {
        text.push_str("The books hold: every entry balances and every chain is unbroken.\n");
    }
    print(&text)?;
    if books.heads != backup.manifest.heads {
        let message = "the restored books are others than those that were backed up";
        return Err(CliError::Check(message.to_owned()));
    }
    if holds {
        return Ok(());
    }
    Err(CliError::Check("the restored books do not hold".to_owned()))
}

/// Proves that a database has all that was in the books when the backup was made.
async fn check(loaded: Loaded, backup: &Backup) -> Result<(), CliError> {
    let db = app::open_database_as_is(&loaded.config).await?;
    let books = ledger::verify(&db, &Clock::system()).await?;
    let mut conn = db.snapshot().await.map_err(dermaga_shop::Error::from)?;
    let (mut checked, mut lost) = (0_usize, Vec::new());
    for head in backup.heads()? {
        let head = head?;
        checked += 1;
        if !heads::has(&mut conn, &head).await? {
            lost.push(head);
        }
    }
    drop(conn);
    db.close().await;
    let mut text = String::new();
    for fault in &books.faults {
        text.push_str(&format!("FAULT  {fault}\n"));
    }
    for head in lost.iter().take(MOST_NAMED) {
        text.push_str(&format!(
            "FAULT  Wallet {} had {} in the backup, and lacks the last one.\n",
            head.wallet_id,
            counted(head.entries, "entry")
        ));
    }
    text.push_str(&format!("Heads of all chains: {}\n", books.heads));
    if books.holds() && lost.is_empty() {
        text.push_str(&format!(
            "The books hold, and have all that the {} of the backup had.\n",
            counted(checked, "wallet")
        ));
        return print(&text);
    }
    print(&text)?;
    Err(CliError::Check(format!(
        "the books do not hold, or lack what the backup has: {}",
        counted(books.faults.len() + lost.len(), "fault")
    )))
}
