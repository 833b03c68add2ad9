//! Rules for the settings of a template; every problem names its key.

use std::collections::BTreeSet;

use dermaga_plugin_sdk::service::Problem;
use serde_json::Value;

use crate::{
    settings::{
        AccessLine, Field, FieldKind, Port, Probe, Reach, Secret, SecretKind, Settings, Variable,
        Workload,
    },
    text::{Placeholder, placeholders},
};

/// Most workloads of a service; each is a pod of the plan.
const MAX_WORKLOADS: usize = 8;
/// Most problems in one answer, by the contract.
const MAX_PROBLEMS: usize = 50;

/// Returns all problems of the settings.
pub(crate) fn check(settings: &Settings) -> Vec<Problem> {
    let mut rules = Rules {
        settings,
        problems: Vec::new(),
    };
    rules.whole();
    for (position, workload) in settings.workloads.iter().enumerate() {
        rules.workload(workload, &format!("/workloads/{position}"));
    }
    for (name, secret) in &settings.secrets {
        rules.secret(name, secret);
    }
    for (name, field) in &settings.config {
        rules.field(name, field);
    }
    for (position, line) in settings.access.fields.iter().enumerate() {
        rules.access_line(line, &format!("/access/fields/{position}"));
    }
    rules.text(&settings.access.notes, "/access/notes");
    rules.problems.truncate(MAX_PROBLEMS);
    rules.problems
}

struct Rules<'s> {
    settings: &'s Settings,
    problems: Vec<Problem>,
}

impl<'s> Rules<'s> {
    fn refuse(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(at, message));
    }

    fn ensure(&mut self, holds: bool, at: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.refuse(at, message);
        }
    }

    /// Checks rules between workloads.
    fn whole(&mut self) {
        let settings = self.settings;
        let count = settings.workloads.len();
        self.ensure(
            (1..=MAX_WORKLOADS).contains(&count),
            "/workloads",
            format!("A service has 1 to {MAX_WORKLOADS} workloads; these are {count}."),
        );
        self.unique(
            settings
                .workloads
                .iter()
                .map(|workload| workload.name.as_str()),
            "/workloads",
        );
        let shares = settings.workloads.iter();
        self.shares(
            &shares
                .map(|workload| workload.share_percent)
                .collect::<Vec<_>>(),
            "/workloads",
            "workload",
        );
        let volumes = settings.volumes().map(|volume| volume.share_percent);
        self.shares(&volumes.collect::<Vec<_>>(), "/workloads", "volume");
        let public = settings
            .ports()
            .filter(|(_, port)| port.reach == Reach::Public);
        self.ensure(
            public.count() <= 1,
            "/workloads",
            "One port at most can be public: an instance has one host name.",
        );
        let mut numbers = BTreeSet::new();
        let told = settings
            .ports()
            .filter(|(_, port)| port.reach != Reach::Instance);
        for (workload, port) in told {
            if !numbers.insert(port.number) {
                let message = format!(
                    "The port {} of `{}` is offered by another workload too.",
                    port.number, workload.name
                );
                self.refuse("/workloads", message);
            }
        }
    }

    /// Checks percentages, one of which may be left out and then gets the rest.
    fn shares(&mut self, shares: &[Option<u8>], at: &str, what: &str) {
        let open = shares.iter().filter(|share| share.is_none()).count();
        let sum: u32 = shares.iter().flatten().map(|share| u32::from(*share)).sum();
        self.ensure(
            open <= 1,
            at,
            format!("One {what} may leave share_percent out and gets the rest; {open} do."),
        );
        let most = if open == 0 { 100 } else { 99 };
        self.ensure(
            sum <= most && !shares.contains(&Some(0)),
            at,
            format!("The share_percent of every {what} is at least 1 and together at most {most}; they add up to {sum}."),
        );
    }

    fn unique(&mut self, names: impl Iterator<Item = &'s str>, at: &str) {
        let mut seen = BTreeSet::new();
        for (position, name) in names.enumerate() {
            if !seen.insert(name) {
                self.refuse(
                    format!("{at}/{position}/name"),
                    format!("`{name}` is there twice; names are unique."),
                );
            }
        }
    }

    fn workload(&mut self, workload: &'s Workload, at: &str) {
        self.name(&workload.name, 20, &format!("{at}/name"));
        self.name(workload.image(), 50, &format!("{at}/image"));
        self.ports(&workload.ports, at);
        self.paths(workload, at);
        for (list, key) in [
            (&workload.prepare, "prepare"),
            (&workload.command, "command"),
            (&workload.args, "args"),
        ] {
            for (position, word) in list.iter().enumerate() {
                self.text(word, &format!("{at}/{key}/{position}"));
            }
        }
        for (name, variable) in &workload.env {
            let at = format!("{at}/env/{name}");
            match variable {
                Variable::Text(text) => self.text(text, &at),
                Variable::Secret(reference) => self.knows_secret(&reference.secret, &at),
            }
        }
        self.probe(&workload.probe, workload, &format!("{at}/probe"));
        if let Some(probe) = &workload.liveness {
            self.probe(probe, workload, &format!("{at}/liveness"));
        }
        self.ensure(
            (10..=3600).contains(&workload.startup_seconds),
            format!("{at}/startup_seconds"),
            "A start takes 10 to 3600 seconds.",
        );
        self.ensure(
            workload.grace_seconds <= 600,
            format!("{at}/grace_seconds"),
            "Stopping takes at most 600 seconds.",
        );
    }

    fn ports(&mut self, ports: &'s [Port], at: &str) {
        let at = format!("{at}/ports");
        self.unique(ports.iter().map(|port| port.name.as_str()), &at);
        let mut numbers = BTreeSet::new();
        for (position, port) in ports.iter().enumerate() {
            self.name(&port.name, 15, &format!("{at}/{position}/name"));
            self.ensure(
                port.number > 0 && numbers.insert(port.number),
                format!("{at}/{position}/number"),
                "A port is 1 to 65535, and once in a workload.",
            );
        }
    }

    fn paths(&mut self, workload: &'s Workload, at: &str) {
        let names = workload.volumes.iter().map(|volume| volume.name.as_str());
        self.unique(names, &format!("{at}/volumes"));
        let mut paths = BTreeSet::new();
        let volumes = workload.volumes.iter().map(|volume| &volume.path);
        let scratch = workload.scratch.iter().map(|scratch| &scratch.path);
        let all = volumes
            .enumerate()
            .map(|place| ("volumes", place))
            .chain(scratch.enumerate().map(|place| ("scratch", place)));
        for (list, (position, path)) in all {
            let good = path.starts_with('/') && path.len() > 1 && !path.contains("..");
            self.ensure(
                good && paths.insert(path),
                format!("{at}/{list}/{position}/path"),
                format!("`{path}` is not an absolute path, or is mounted twice."),
            );
        }
        for (position, volume) in workload.volumes.iter().enumerate() {
            self.name(&volume.name, 20, &format!("{at}/volumes/{position}/name"));
        }
        for (position, scratch) in workload.scratch.iter().enumerate() {
            self.ensure(
                (1..=2048).contains(&scratch.mib),
                format!("{at}/scratch/{position}/mib"),
                "A scratch directory holds 1 to 2048 MiB.",
            );
        }
    }

    fn probe(&mut self, probe: &Probe, workload: &Workload, at: &str) {
        let given = [
            probe.http.is_some(),
            probe.tcp.is_some(),
            probe.exec.is_some(),
        ];
        self.ensure(
            given.into_iter().filter(|given| *given).count() == 1,
            at,
            "A probe is exactly one of http, tcp and exec.",
        );
        let has = |name: &str| workload.ports.iter().any(|port| port.name == name);
        if let Some(path) = &probe.http {
            self.ensure(
                path.starts_with('/'),
                format!("{at}/http"),
                "It is a path such as `/healthz`.",
            );
            let found = match &probe.port {
                Some(port) => has(port),
                None => workload.ports.len() == 1,
            };
            self.ensure(
                found,
                format!("{at}/port"),
                "Name the one of the workload's ports that is asked.",
            );
        }
        if let Some(port) = &probe.tcp {
            self.ensure(
                has(port),
                format!("{at}/tcp"),
                format!("The workload has no port named `{port}`."),
            );
        }
        self.ensure(
            probe.failures.is_none_or(|count| (1..=60).contains(&count)),
            format!("{at}/failures"),
            "A probe may fail 1 to 60 times in a row.",
        );
        if let Some(command) = &probe.exec {
            self.ensure(
                !command.is_empty(),
                format!("{at}/exec"),
                "The command is empty.",
            );
        }
    }

    fn secret(&mut self, name: &str, secret: &Secret) {
        let at = format!("/secrets/{name}");
        self.name(name, 50, &at);
        let range = match secret.kind {
            SecretKind::Password => 16..=128,
            SecretKind::Hex => 16..=64,
        };
        self.ensure(
            range.contains(&secret.length),
            format!("{at}/length"),
            format!("It is {} to {}.", range.start(), range.end()),
        );
        self.ensure(
            !secret.purpose.trim().is_empty(),
            format!("{at}/purpose"),
            "Say in a sentence what it is for.",
        );
    }

    fn field(&mut self, name: &str, field: &Field) {
        let at = format!("/config/{name}");
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        self.ensure(
            (1..=50).contains(&name.len()) && name.bytes().all(word),
            at.clone(),
            "A name is 1 to 50 letters, digits and underscores.",
        );
        let fits = |value: &Value| match field.kind {
            FieldKind::String => value.is_string(),
            FieldKind::Integer => value.is_i64(),
            FieldKind::Boolean => value.is_boolean(),
        };
        if field.secret {
            let is_text = matches!(field.kind, FieldKind::String);
            self.ensure(
                is_text && field.default == "",
                at.clone(),
                "A secret value is a string whose default is empty.",
            );
            self.knows_secret(&name.replace('_', "-"), &at);
        }
        self.ensure(
            fits(&field.default),
            format!("{at}/default"),
            "The default is not of the type.",
        );
        let choices = field.choices.as_deref().unwrap_or_default();
        self.ensure(
            choices.iter().all(fits),
            format!("{at}/enum"),
            "A choice is not of the type.",
        );
    }

    fn access_line(&mut self, line: &AccessLine, at: &str) {
        match (&line.text, &line.secret) {
            (Some(text), None) => self.text(text, &format!("{at}/text")),
            (None, Some(secret)) => self.knows_secret(secret, &format!("{at}/secret")),
            _ => self.refuse(at, "It shows exactly one of text and secret."),
        }
    }

    fn knows_secret(&mut self, name: &str, at: &str) {
        let known = self.settings.secrets.contains_key(name);
        self.ensure(
            known,
            at,
            format!("There is no secret `{name}`; write [settings.secrets.{name}]."),
        );
    }

    fn text(&mut self, text: &str, at: &str) {
        let placeholders = match placeholders(text) {
            Ok(placeholders) => placeholders,
            Err(message) => return self.refuse(at, message),
        };
        let settings = self.settings;
        for placeholder in placeholders {
            let missing = match placeholder {
                Placeholder::Url | Placeholder::Hostname => {
                    let public = settings
                        .ports()
                        .any(|(_, port)| port.reach == Reach::Public);
                    (!public).then(|| "No port is public, so there is no host name.".to_owned())
                }
                Placeholder::Host(name) => {
                    let known = settings
                        .workloads
                        .iter()
                        .any(|workload| workload.name == name && !workload.ports.is_empty());
                    (!known).then(|| format!("There is no workload `{name}` with a port."))
                }
                Placeholder::Config(name) => (!settings.config.contains_key(name))
                    .then(|| format!("There is no [settings.config.{name}].")),
                Placeholder::Memory(_) => None,
            };
            if let Some(message) = missing {
                self.refuse(at, message);
            }
        }
    }

    /// Checks a name: `[a-z][a-z0-9-]*`, not ending with a hyphen.
    fn name(&mut self, name: &str, max: usize, at: &str) {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=max).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.bytes().all(inner);
        self.ensure(
            good,
            at,
            format!("`{name}` is not a name: 1 to {max} lower-case letters, digits and hyphens, beginning with a letter."),
        );
    }
}
