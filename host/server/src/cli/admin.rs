//! `admin create`.

use std::io::BufRead as _;

use clap::Subcommand;
use dermaga_shop::{
    accounts::{self, Email, NewAccount, Password, Role},
    db::Clock,
    language::Language,
};
use zeroize::Zeroizing;

use super::{CliError, print};
use crate::{app, config::Loaded};

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Make an administrator.
    ///
    /// Without --password-stdin a password is made and printed, once; change it after the first
    /// login. Works on the database directly, whether a server runs or not.
    Create {
        /// E-mail, with which the administrator logs in.
        #[arg(long)]
        email: String,
        /// Name, 2 to 50 characters.
        #[arg(long)]
        name: String,
        /// Read the password from the first line of stdin instead of making one.
        #[arg(long)]
        password_stdin: bool,
        /// Language of mails to the administrator, and of answers to requests that name none: id
        /// (Indonesian) or en (English).
        #[arg(long, value_name = "LANGUAGE", default_value_t = Language::OF_ACCOUNTS)]
        language: Language,
    },
}

pub(super) async fn run(loaded: Loaded, command: AdminCommand) -> Result<(), CliError> {
    let AdminCommand::Create {
        email,
        name,
        password_stdin,
        language,
    } = command;
    let wrong = |what: &'static str| {
        move |message: String| CliError::Usage(format!("the {what} {message}"))
    };
    let email = Email::parse(&email).map_err(wrong("e-mail"))?;
    let name = accounts::parse_name(&name).map_err(wrong("name"))?;
    let password = if password_stdin {
        read_password()?
    } else {
        accounts::generate_password()
    };

    let accounts = app::open_accounts(&loaded.config, Clock::system()).await?;
    let shown = email.as_str().to_owned();
    let new = NewAccount {
        email,
        password: password.clone(),
        name,
        phone: None,
        avatar: None,
        role: Role::Administrator,
    };
    let user = accounts.create_in(language, new).await?;
    print(&format!(
        "Administrator {shown} is made (id {}).\n",
        user.id
    ))?;
    if !password_stdin {
        print(&format!(
            "Password, shown this once: {}\n",
            password.reveal()
        ))?;
    }
    Ok(())
}

fn read_password() -> Result<Password, CliError> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| {
            CliError::Failed(format!("the password cannot be read from stdin: {error}"))
        })?;
    let password = Password::new(line.trim_end_matches(['\r', '\n']));
    accounts::check_rules(password.reveal())
        .map_err(|message| CliError::Usage(format!("the password {message}")))?;
    Ok(password)
}
