//! `ledger verify` and `replay`: proofs over what is recorded.

use std::{
    fs,
    io::{self, BufWriter},
    path::PathBuf,
};

use chrono_tz::Tz;
use dermaga_shop::{
    calendar,
    db::Clock,
    ids::DecisionId,
    plugins::{self, Replay},
    private_file,
    text::counted,
    wallet::{
        self, ExportFormat,
        ledger::{self, Verification},
    },
};

use super::{CliError, print};
use crate::{app, config::Loaded};

pub(super) async fn verify(loaded: Loaded, json: bool) -> Result<(), CliError> {
    let db = app::open_database_as_is(&loaded.config).await?;
    let zone = loaded.config.billing_timezone;
    let found = ledger::verify(&db, &Clock::system()).await?;
    db.close().await;
    if json {
        let text = serde_json::to_string_pretty(&found).map_err(dermaga_shop::Error::from)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&describe(&found, zone))?;
    }
    if found.holds() {
        return Ok(());
    }
    Err(CliError::Check(format!(
        "the books do not hold: {}",
        counted(found.faults.len(), "fault")
    )))
}

/// A file appears under its name when it is whole.
pub(super) async fn export(
    loaded: Loaded,
    output: Option<PathBuf>,
    format: ExportFormat,
) -> Result<(), CliError> {
    let db = app::open_database_as_is(&loaded.config).await?;
    let Some(path) = output else {
        wallet::export(&db, format, BufWriter::new(io::stdout())).await?;
        db.close().await;
        return Ok(());
    };
    let cannot = |error: io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    if path.symlink_metadata().is_ok() {
        let message = "is there already. Name another file, or remove that one";
        return Err(CliError::Failed(format!("{} {message}", path.display())));
    }
    let partial = path.with_added_extension("partial");
    let file = private_file::create_new(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::Failed(format!(
            "{} is there: an export was interrupted, or is under way. Remove it if none is",
            partial.display()
        )),
        _ => cannot(error),
    })?;
    let written = async {
        let written = wallet::export(&db, format, BufWriter::new(&file)).await?;
        file.sync_all().map_err(cannot)?;
        fs::rename(&partial, &path).map_err(cannot)?;
        Ok::<_, CliError>(written)
    };
    let written = written.await;
    db.close().await;
    if written.is_err() {
        // A part of the books is of no use.
        let _ = fs::remove_file(&partial);
    }
    let written = written?;
    print(&format!(
        "{} written to {}\n",
        counted(written, "entry"),
        path.display()
    ))
}

fn describe(found: &Verification, zone: Tz) -> String {
    let Verification {
        wallets,
        entries,
        postings,
        ..
    } = found;
    let mut text = format!(
        "{}, {}, {} checked.\n",
        counted(wallets, "wallet"),
        counted(entries, "entry"),
        counted(postings, "posting")
    );
    for (account, sum) in &found.accounts {
        text.push_str(&format!("  {account:<14} {:>18}\n", sum.to_string()));
    }
    text.push_str(&format!("Heads of all chains: {}\n", found.heads));
    if let Some(seal) = &found.seal {
        text.push_str(&format!(
            "Newest seal: {} of {}, {}\n",
            seal.number,
            calendar::date(zone, seal.sealed_at),
            seal.digest
        ));
    }
    for fault in &found.faults {
        text.push_str(&format!("FAULT  {fault}\n"));
    }
    if found.holds() {
        text.push_str("The books hold: every entry balances and every chain is unbroken.\n");
    }
    text
}

/// Reads the id of a decision.
///
/// # Errors
/// Text that is no UUID: the sentence says where the id of a decision is found.
pub(super) fn decision(text: &str) -> Result<DecisionId, String> {
    text.parse().map_err(|_| {
        "is not the id of a decision, which is a UUID; a transaction has it as `priceDecisionId` or \
         `couponDecisionId` (GET /api/wallet/transactions/TXMP-101), and GET /api/admin/decisions lists all"
            .to_owned()
    })
}

pub(super) async fn replay(loaded: Loaded, decision: DecisionId) -> Result<(), CliError> {
    let registry = app::open_registry(&loaded.config, Clock::system()).await?;
    let replay = plugins::replay(&registry, decision).await?;
    print(&describe_replay(&replay))?;
    if replay.identical {
        Ok(())
    } else {
        Err(CliError::Check(
            "the replay differs from what is recorded".into(),
        ))
    }
}

fn describe_replay(replay: &Replay) -> String {
    let Replay {
        decision_id,
        plugin_id,
        plugin_version,
        function,
        digest,
        ..
    } = replay;
    let mut text = format!(
        "Decision {decision_id}: {plugin_id} {plugin_version}, {function}\n  component {digest}\n"
    );
    if replay.identical {
        text.push_str("  identical, byte for byte\n");
        return text;
    }
    if let Some(at) = replay.first_difference {
        text.push_str(&format!("  first difference at byte {at}\n"));
    }
    if let Some(pointer) = &replay.first_difference_pointer {
        text.push_str(&format!("  first value that differs: \"{pointer}\"\n"));
    }
    let shown =
        |output: &Option<String>| output.clone().unwrap_or_else(|| "(the call failed)".into());
    text.push_str(&format!(
        "  recorded: {}\n  replayed: {}\n",
        shown(&replay.recorded),
        shown(&replay.replayed)
    ));
    text
}
