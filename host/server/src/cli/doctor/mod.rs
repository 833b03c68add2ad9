//! `doctor`: what is wrong with a shop, and what to do.
//!
//! It reads the configuration that a server on this machine would have, and tries each part by
//! itself. Nothing is left but compiled plugins in their cache: a write to the database is taken back,
//! probes in folders and among the attachments are removed again, no mail is sent.

mod connections;
mod folders;
mod local;
mod named;
mod outside;
mod report;
mod software;

use clap::Args;

use self::report::{Finding, Part, Report};
use super::{CliError, plugin::answer_json, print};
use crate::config::{ConfigError, Loaded};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Examine the shop as `serve --dev` runs it: with a sandbox for payments.
    #[arg(long)]
    dev: bool,
    /// Ask the payment gateway, too, if it answers and takes the server key.
    #[arg(long)]
    ask_gateway: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    pub(super) fn flags(&self) -> Vec<(&'static str, String)> {
        let sandbox = ("payments.sandbox", "true".to_owned());
        self.dev.then_some(sandbox).into_iter().collect()
    }
}

pub(super) async fn doctor(
    loaded: Result<Loaded, ConfigError>,
    args: DoctorArgs,
) -> Result<(), CliError> {
    let findings = match loaded {
        Ok(loaded) => Box::pin(examine(&loaded, args.ask_gateway)).await,
        Err(wrong) => refused(&wrong),
    };
    let report = Report::of(findings);
    if args.json {
        answer_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    match report.failures {
        0 => Ok(()),
        1 => Err(CliError::Check("1 check failed".to_owned())),
        failures => Err(CliError::Check(format!("{failures} checks failed"))),
    }
}

async fn examine(loaded: &Loaded, ask_gateway: bool) -> Vec<Finding> {
    let config = &loaded.config;
    let mut findings = local::configuration(loaded);
    let (db, found) = local::database(config).await;
    findings.extend(found);
    findings.extend(local::token_key(config));
    findings.push(local::master_key(config, db.as_ref()).await);
    findings.push(local::clock(config, db.as_ref()).await);
    findings.extend(local::plugins_and_templates(config, db.clone()).await);
    findings.extend(local::texts(config));
    let plans = local::plans(db.as_ref()).await;
    if let Some(db) = &db {
        db.close().await;
    }
    findings.extend(outside::cluster(config, &plans).await);
    findings.extend(named::name_server(config).await);
    findings.push(outside::gateway(config, ask_gateway).await);
    findings.push(outside::mail(config).await);
    findings.push(outside::attachments(config).await);
    findings.extend(outside::attachments_apart(config));
    findings.extend(outside::traces(config).await);
    findings
}

/// Returns a finding for each problem of a configuration. Nothing else can be checked then.
fn refused(wrong: &ConfigError) -> Vec<Finding> {
    // The problem says where it is.
    let todo = "Correct it; `dermaga config --reference` lists all settings.";
    let problems = wrong.0.iter();
    let problems = problems.map(|problem| Part::Configuration.failed(problem.to_string(), todo));
    problems.collect()
}
