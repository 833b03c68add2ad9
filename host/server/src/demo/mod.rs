//! `dermaga demo`: the whole shop in one command, with one real purchase to watch.

mod samples;
mod story;

use dermaga_shop::{
    accounts::{self, Email, NewAccount, Password, Role},
    crypto,
    db::Clock,
    wallet::ledger,
};

use crate::{
    app::{App, Running, StartError},
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
/// until ctrl-c, unless `exit` is set.
///
/// # Errors
/// The first step that does not go as it should.
pub async fn run(config: Config, exit: bool) -> Result<(), DemoError> {
    println!(
        "Starting a shop in {}. The first start builds the plugins.",
        config.data_dir.display()
    );
    let rates = config.rates.raised();
    let config = Config { rates, ..config };
    let running = App::from_config(config, Clock::system())
        .await?
        .serve()
        .await?;
    let told = tell(&running).await;
    if told.is_ok() && !exit {
        println!("\nThe shop keeps serving. Ctrl-C stops it.");
        running.serve_until_stopped().await;
    } else {
        running.stop().await;
    }
    told
}

async fn tell(running: &Running) -> Result<(), DemoError> {
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
    println!("    dermaga ledger verify");
    println!("    dermaga replay {}", outcome.coupon_decision);
    println!(
        "    curl -H 'Authorization: Bearer {}' {base}/api/wallet/info",
        outcome.customer_token
    );
    Ok(())
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
