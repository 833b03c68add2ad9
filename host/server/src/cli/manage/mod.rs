//! Commands for administrators: `user`, `coupon`, `subscription`, `instances`, `billing`, `ticket`.
//!
//! Each is a request to a server's API, described in a table of [`acts`].

mod act;
mod acts;
mod read;
mod request;
mod show;

use chrono_tz::Tz;
use clap::{
    ArgMatches, Command, FromArgMatches, Subcommand,
    error::{Error, ErrorKind},
};
use reqwest::Method;
use serde_json::Value;

use self::act::{Act, Group};
use super::{
    CliError,
    instance::InstanceCommand,
    plugin::answer_json,
    print,
    remote::{Remote, is_envelope},
};
use crate::client::{Api, ApiError, Content};

/// Route whose jobs name the zone of the shop's days.
const ZONE_OF: &str = "/api/admin/billing/job-status";
/// Group that has a command on the local database, too.
const INSTANCES: &str = "instances";

/// Command for administrators, as it was typed.
#[derive(Debug, Clone)]
pub(super) enum Managing {
    Remotely(Box<Asked>),
    Locally(InstanceCommand),
}

/// Act on a server, with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    act: &'static Act,
    given: ArgMatches,
}

impl FromArgMatches for Managing {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let missing = || Error::new(ErrorKind::MissingSubcommand);
        let (group, within) = matches.subcommand().ok_or_else(missing)?;
        let (name, given) = within.subcommand().ok_or_else(missing)?;
        if group == INSTANCES && InstanceCommand::has_subcommand(name) {
            return InstanceCommand::from_arg_matches(within).map(Self::Locally);
        }
        let group = acts::GROUPS.iter().find(|one| one.name == group);
        let act = group.and_then(|group| group.acts.iter().find(|act| act.name == name));
        let act = act.ok_or_else(missing)?;
        let given = given.clone();
        Ok(Self::Remotely(Box::new(Asked { act, given })))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Managing {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(acts::GROUPS.iter().map(whole))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        acts::GROUPS.iter().any(|group| group.name == name)
    }
}

/// Returns the commands of a group, with those that need no server.
fn whole(group: &Group) -> Command {
    let command = group.command();
    if group.name == INSTANCES {
        return InstanceCommand::augment_subcommands(command);
    }
    command
}

/// Sends a command to its server and prints the answer.
pub(super) async fn run(asked: Asked) -> Result<(), CliError> {
    let Asked { act, given } = asked;
    let remote =
        Remote::from_arg_matches(&given).map_err(|error| CliError::Usage(error.to_string()))?;
    let api = remote.api()?;
    let is_json = given.get_flag("json");
    let envelope = match request::send(&api, act, &given).await {
        Ok(envelope) => envelope,
        Err(Failure::Api(error)) => return Err(refused(error, is_json)),
        Err(Failure::Cli(error)) => return Err(error),
    };
    if is_json {
        return answer_json(&envelope);
    }
    let zone = if act.view.has_times() {
        zone(&api).await
    } else {
        Tz::UTC
    };
    print(&show::describe(&envelope, &act.view, zone))
}

/// Reason why a request has no answer to show.
#[derive(Debug)]
enum Failure {
    Api(ApiError),
    Cli(CliError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self::Cli(error)
    }
}

/// Returns the failure of the command; with `--json`, the server's own is printed as it is.
fn refused(error: ApiError, is_json: bool) -> CliError {
    if let ApiError::Refused { body, .. } = &error
        && is_json
        && is_envelope(body)
        && let Ok(envelope) = serde_json::from_str::<Value>(body)
        && let Err(failed) = answer_json(&envelope)
    {
        return failed;
    }
    error.into()
}

/// Returns the zone of the shop's days; UTC, which every moment then says, where it is not known.
async fn zone(api: &Api) -> Tz {
    let jobs = api.envelope(Method::GET, ZONE_OF, Content::Nothing).await;
    let name = jobs.ok().and_then(|jobs| {
        let name = jobs.pointer("/data/0/timezone")?.as_str()?;
        name.parse().ok()
    });
    name.unwrap_or(Tz::UTC)
}
