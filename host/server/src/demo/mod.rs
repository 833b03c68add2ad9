//! `dermaga demo`: the whole shop in one command, with one real purchase to watch.

mod samples;
mod story;

use std::{ffi::OsString, path::Path};

use dermaga_shop::{
    accounts::{self, Email, NewAccount, Password, Role},
    crypto,
    db::Clock,
    wallet::ledger,
};
use dermaga_toolkit::build;

use crate::{
    app::{self, App, Running, StartError},
    client::{Api, ApiError},
    config::Config,
};

use self::story::{Cast, Login};

/// Reason why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the demo's people cannot be made: {}", .0.message)]
    People(dermaga_shop::Error),
    #[error("the purchase stopped: {0}")]
    Story(String),
    #[error("the ledger does not hold:{}", .0.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Books(Vec<String>),
}

impl From<ApiError> for DemoError {
    fn from(error: ApiError) -> Self {
        Self::Story(error.to_string())
    }
}

/// Starts a shop, plays a purchase through its public API, proves the books, and keeps serving
/// until ctrl-c, unless `exit` is set. `file` is the configuration file that was named.
///
/// # Errors
/// The first step that does not go as it should.
pub async fn run(config: Config, file: Option<&Path>, exit: bool) -> Result<(), DemoError> {
    println!(
        "Starting a shop in {}.{}",
        config.data_dir.display(),
        about_plugins(&config)?
    );
    let flags = flags(file, &config.data_dir);
    let rates = config.rates.raised();
    let config = Config { rates, ..config };
    let running = App::from_config(config, Clock::system())
        .await?
        .serve()
        .await?;
    let told = tell(&running, &flags, exit).await;
    if told.is_ok() && !exit {
        println!("\nThe shop keeps serving. Ctrl-C stops it.");
        running.serve_until_stopped().await;
    } else {
        running.stop().await;
    }
    told
}

async fn tell(running: &Running, flags: &str, exits: bool) -> Result<(), DemoError> {
    let state = &running.state;
    let base = format!("http://{}", running.address);
    let provisioner = state.instances.handle.status();
    println!("\n    API          {base}/api (documentation: {base}/api/docs)");
    println!("    database     {}", state.db.engine_name());
    println!(
        "    instances    {}: {}",
        provisioner.provisioner, provisioner.detail
    );
    let cast = cast(running).await.map_err(DemoError::People)?;
    println!(
        "    administrator {}  one-time password {}",
        cast.administrator.email, cast.administrator.password
    );
    println!(
        "    customer      {}  one-time password {}",
        cast.customer.email, cast.customer.password
    );
    let outcome = story::play(&Api::new(base.clone()), &cast, state.clock.now()).await?;
    let found = ledger::verify(&state.db, &state.clock)
        .await
        .map_err(DemoError::People)?;
    if !found.holds() {
        return Err(DemoError::Books(found.faults));
    }
    println!("\nThe books balance");
    println!(
        "    {} wallets, {} entries, {} postings; all accounts together are zero",
        found.wallets, found.entries, found.postings
    );
    for (account, amount) in &found.accounts {
        println!(
            "    {account:<16} {amount:>14}",
            amount = amount.to_string()
        );
    }
    println!("\nGo on yourself");
    let program = program(std::env::args_os().next());
    println!("    {program} ledger verify{flags}");
    println!("    {program} replay {}{flags}", outcome.coupon_decision);
    if !exits {
        println!(
            "    curl -H 'Authorization: Bearer {}' {base}/api/wallet/info",
            outcome.customer_token
        );
    }
    Ok(())
}

/// Says where the plugins come from: components are given, and crates are built.
fn about_plugins(config: &Config) -> Result<String, StartError> {
    let Some(folder) = app::find_plugins(config)? else {
        return Ok(" There is no folder of plugins.".to_owned());
    };
    let folder_shown = folder.display();
    Ok(if build::discover(&folder)?.is_empty() {
        format!(" Its plugins are given in {folder_shown}.")
    } else {
        format!(" The first start builds the plugins in {folder_shown}.")
    })
}

/// Returns this program as it was called, as a word of a shell.
fn program(called: Option<OsString>) -> String {
    let called = called.map(|called| called.to_string_lossy().into_owned());
    let called = called.filter(|called| !called.is_empty());
    word(called.as_deref().unwrap_or("dermaga"))
}

/// Returns the flags with which another command finds this shop, each with a space before it: variables that were set
/// for this command alone are gone in the next one.
fn flags(file: Option<&Path>, data_dir: &Path) -> String {
    let file = file.map(|file| ("config", file));
    let given = file.into_iter().chain([("data-dir", data_dir)]);
    let flag = |(name, path): (&str, &Path)| format!(" --{name} {}", word(&path.to_string_lossy()));
    given.map(flag).collect()
}

/// Returns a text as one word of a shell.
fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// People of this run: their passwords are made now and shown once.
async fn cast(running: &Running) -> dermaga_shop::Result<Cast> {
    let suffix = crypto::random_hex(3);
    let administrator = login(&format!("admin-{suffix}@demo.example"));
    let new = NewAccount {
        email: Email::parse(&administrator.email)
            .map_err(|error| dermaga_shop::Error::invalid("email", error))?,
        password: Password::new(administrator.password.clone()),
        name: "Demo Administrator".to_owned(),
        phone: None,
        avatar: None,
        role: Role::Administrator,
    };
    running.state.accounts.create(new).await?;
    Ok(Cast {
        administrator,
        customer: login(&format!("customer-{suffix}@demo.example")),
    })
}

fn login(email: &str) -> Login {
    Login {
        email: email.to_owned(),
        password: accounts::generate_password().reveal().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_as_it_was_called() {
        for (called, shown) in [
            (Some("target/release/dermaga"), "target/release/dermaga"),
            (Some("dermaga"), "dermaga"),
            (Some("/my shop/dermaga"), "'/my shop/dermaga'"),
            (Some(""), "dermaga"),
            (None, "dermaga"),
        ] {
            assert_eq!(program(called.map(OsString::from)), shown);
        }
    }

    #[test]
    fn the_next_commands_find_the_shop() {
        let plain = flags(None, Path::new("./data"));
        assert_eq!(plain, " --data-dir ./data");
        let named = flags(Some(Path::new("toko.toml")), Path::new("/my shop's/data"));
        assert_eq!(
            named,
            r" --config toko.toml --data-dir '/my shop'\''s/data'"
        );
    }
}
