//! Checks of what a server has on its own machine: settings, database, keys, clock, plugins, templates.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::RuntimeError;
use dermaga_shop::{
    Error,
    audit::{self, AuditFilter},
    catalog::{self, Cure, RefusedTemplate, Sizes, Templates},
    crypto::Vault,
    db::{Clock, Db, Part as PageOf, Schema, Span, file_of},
    plugins::{Registry, Remedy},
    text::counted,
};

use super::{
    connections, folders,
    report::{Finding, Part},
};
use crate::{
    app::{self, SealedSecrets, StartError},
    config::{Config, Keys, Loaded, Source},
};

/// Difference between two clocks without a consequence. The database's time is to the second.
const UNNOTICED: TimeDelta = TimeDelta::seconds(3);
/// Difference at which the shop distrusts a clock.
const DISTRUSTED: TimeDelta = TimeDelta::seconds(60);
const SET_THE_CLOCK: &str =
    "Let a time server set the clocks of both machines (`timedatectl set-ntp true`).";

pub(super) fn configuration(loaded: &Loaded) -> Vec<Finding> {
    let part = Part::Configuration;
    let config = &loaded.config;
    let mut findings = Vec::new();
    let given = loaded.origins.iter();
    let given = given.filter(|origin| !matches!(origin.source, Source::Default | Source::Flag));
    let mode = if config.is_production() {
        "production"
    } else {
        "development"
    };
    let settings = counted(given.count(), "setting");
    findings.push(part.ok(format!("{mode}, {settings} given")));
    findings.extend(
        loaded
            .notes()
            .into_iter()
            .map(|note| part.warning(note, "`dermaga config` prints what is in force.")),
    );
    findings.extend(folders::data(config));
    if let Err(error) = app::refuse_part_restored(&config.data_dir) {
        findings.push(part.failed(error.to_string(), "No server starts in it before."));
    }
    findings
}

/// Opens the database and checks it; returns it when the other checks can use it.
pub(super) async fn database(config: &Config) -> (Option<Db>, Vec<Finding>) {
    let part = Part::Database;
    if let Some(path) = missing_file(config) {
        return (None, vec![not_made_yet(config, &path)]);
    }
    let db = match app::connect(config).await {
        Ok(db) => db,
        Err(error) => {
            let todo = connections::unopened(config, &error);
            return (None, vec![part.failed(error.without_advice(), todo)]);
        }
    };
    if let Err(error) = app::refuse_half_filled(&db).await {
        let todo = "No server starts on it before.";
        return (None, vec![part.failed(error.to_string(), todo)]);
    }
    let engine = db.engine_name();
    let wrong = match db.schema().await {
        Ok(schema) => wrong_schema(config, engine, schema),
        Err(error) => {
            let reason = app::database_reason(engine, &error);
            let message = format!("the {engine} database cannot be used: {reason}");
            Some(part.failed(message, connections::unusable(config, Some(&error))))
        }
    };
    if let Some(wrong) = wrong {
        return (None, vec![wrong]);
    }
    let mut findings = vec![match db.check_writable().await {
        Ok(()) => part.ok(format!(
            "{engine}, its schema is up to date, it takes writes"
        )),
        Err(error) => part.failed(
            format!(
                "the {engine} database takes no writes: {}",
                app::database_reason(engine, &error)
            ),
            "Check its room and its rights, and that DATABASE_URL names no standby.",
        ),
    }];
    findings.extend(pooler(config, &db));
    findings.extend(connections::bounds(config, &db).await);
    (Some(db), findings)
}

/// Judges a schema; `None` for one that is worked with.
fn wrong_schema(config: &Config, engine: &str, schema: Schema) -> Option<Finding> {
    let part = Part::Database;
    Some(match schema {
        Schema::Current | Schema::Expanded(_) => return None,
        Schema::Empty if config.migrate => part.warning(
            format!("the {engine} database is empty"),
            "`dermaga serve` makes its tables, and so does `dermaga migrate`.",
        ),
        Schema::Empty => part.failed(
            format!("the {engine} database is empty, and DERMAGA_MIGRATE is false"),
            "Run `dermaga migrate`, which makes its tables, or correct DATABASE_URL.",
        ),
        Schema::Older if config.migrate => part.warning(
            format!("the schema of the {engine} database is older than this program"),
            "The next start brings it up to date, and so does `dermaga migrate`. Make a backup before.",
        ),
        Schema::Older => part.failed(
            format!("the schema of the {engine} database is older than this program, and DERMAGA_MIGRATE is false"),
            "Make a backup, then run `dermaga migrate`.",
        ),
        Schema::Newer(version) => part.failed(
            format!("the {engine} database was made by a newer Dermaga (migration {version})"),
            "Start that version, or restore a backup.",
        ),
    })
}

/// Tells of a pooler, such as PgBouncer, that lends a connection for one transaction.
fn pooler(config: &Config, db: &Db) -> Option<Finding> {
    if db.keeps_sessions() {
        return None;
    }
    let poll = config.plugin_poll;
    let message = format!(
        "a pooler lends connections for one transaction: servers look for activations every {poll:?} and are not told"
    );
    Some(Part::Database.ok(message))
}

/// Returns the sizes of the plans that are sold; none where the database does not say.
pub(super) async fn plans(db: Option<&Db>) -> Vec<Sizes> {
    let Some(db) = db else {
        return Vec::new();
    };
    let Ok(mut conn) = db.read().await else {
        return Vec::new();
    };
    let offers = catalog::offers(&mut conn).await.unwrap_or_default();
    offers.iter().map(|offer| offer.plan.sizes()).collect()
}

/// Returns the file of a SQLite database that is not there: opening it would make it.
fn missing_file(config: &Config) -> Option<PathBuf> {
    let path = file_of(&config.database_url())?;
    (!path.exists()).then_some(path)
}

/// Judges a SQLite file that is not there. A start makes it, and of folders the data folder alone.
fn not_made_yet(config: &Config, path: &Path) -> Finding {
    let part = Part::Database;
    let message = format!("there is none at {} yet", path.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let todo = "Make its folder, give it to the user of the server, or correct DATABASE_URL.";
    if folder.exists() {
        if let Err(error) = folders::probe(folder) {
            let message = format!("{message}, and its folder cannot be written: {error}");
            return part.failed(message, todo);
        }
    } else if !absolute(&config.data_dir).starts_with(absolute(folder)) {
        let message = format!("{message}, and its folder is not there, which no start makes");
        return part.failed(message, todo);
    }
    let todo = "`dermaga serve` makes it, and so does `dermaga migrate`.";
    if folder.exists() {
        return part.warning(message, todo);
    }
    part.warning(message, folders::made_in_data(config, todo))
}

/// Returns advice about a part that is not checked without the database.
fn once_usable(config: &Config) -> &'static str {
    if missing_file(config).is_some() {
        "Run this again once the database is made."
    } else {
        "Run this again once the database is well."
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads the key of tokens that lies in the data folder, as a start does.
pub(super) fn token_key(config: &Config) -> Option<Finding> {
    let error = Keys::check_token_key(config).err()?;
    let todo = "Restore the file from a backup, or give another key in JWT_SECRET, which ends all sessions.";
    Some(Part::Keys.failed(error.without_advice(), todo))
}

/// Compares the master key with the one that secrets in the database were sealed with, as a start does.
pub(super) async fn master_key(config: &Config, db: Option<&Db>) -> Finding {
    let part = Part::Keys;
    let keys = match Keys::master_keys_of_data(config) {
        Ok(keys) => keys,
        Err(error) => {
            let todo = "Restore the file from a backup, or give its key in DERMAGA_MASTER_KEY.";
            return part.failed(error.without_advice(), todo);
        }
    };
    let Some(db) = db else {
        let message = "not checked: the master key is compared with the secrets in the database";
        return part.warning(message, once_usable(config));
    };
    let missing = keys.is_none().then(|| Keys::master_key_file(config));
    let vault = Vault::new(&keys.unwrap_or_default());
    let found = app::sealed_secrets(db, &vault, missing.as_deref()).await;
    let SealedSecrets { all, unreadable } = match found {
        Ok(found) => found,
        Err(error) => return part.failed(error.to_string(), "No server starts before."),
    };
    let secrets = counted(all, "secret");
    if all == 0 {
        part.ok("the database has no secrets of instances yet")
    } else if unreadable == 0 {
        part.ok(format!("the master key opens {secrets} of instances"))
    } else {
        part.warning(
            format!("no master key opens {unreadable} of {secrets} of instances"),
            "Give the key that they were sealed with in DERMAGA_MASTER_KEY, after the present one.",
        )
    }
}

/// Compares this machine's clock with the database's, and with the newest moment in the books.
pub(super) async fn clock(config: &Config, db: Option<&Db>) -> Finding {
    let part = Part::Clock;
    let Some(db) = db else {
        let message = "not checked: it is compared with the database's";
        return part.warning(message, once_usable(config));
    };
    let clock = Clock::system().in_zone(config.billing_timezone);
    let before = clock.now();
    let theirs = match db.now().await {
        Ok(theirs) => theirs,
        Err(error) => {
            let reason = app::database_reason(db.engine_name(), &error);
            return part.warning(
                format!("the database does not say its time: {reason}"),
                "Check the database first.",
            );
        }
    };
    let apart = apart(before, clock.now(), theirs);
    let seconds = apart.num_seconds();
    if apart > DISTRUSTED {
        let message = format!("it is {seconds} seconds apart from the database's");
        return part.failed(message, SET_THE_CLOCK);
    }
    if let Some(ahead) = newest(db).await.filter(|at| *at > before + DISTRUSTED) {
        return rewound(config, ahead);
    }
    if apart > UNNOTICED {
        let message = format!("it is {seconds} seconds apart from the database's");
        part.warning(message, SET_THE_CLOCK)
    } else {
        part.ok(format!("{}, as the database's", clock.written(before)))
    }
}

/// Returns the difference of a clock that was read between two readings of this machine's.
fn apart(before: DateTime<Utc>, after: DateTime<Utc>, theirs: DateTime<Utc>) -> TimeDelta {
    if theirs < before {
        before - theirs
    } else if theirs > after {
        theirs - after
    } else {
        TimeDelta::zero()
    }
}

/// Returns the time of the newest event in the audit trail.
async fn newest(db: &Db) -> Option<DateTime<Utc>> {
    let first = PageOf {
        offset: 0,
        limit: 1,
    };
    let page = audit::list(db, &AuditFilter::default(), Span::Page(first))
        .await
        .ok()?;
    page.items.first().map(|event| event.created_at)
}

fn rewound(config: &Config, ahead: DateTime<Utc>) -> Finding {
    let written = Clock::system()
        .in_zone(config.billing_timezone)
        .written(ahead);
    let message = format!("the newest event was written at {written}, which is still to come");
    if config.clock.is_some() || config.payments.sandbox {
        let todo =
            "Expected where a rehearsal moved the clock; charge no customers with this database.";
        return Part::Clock.warning(message, todo);
    }
    let todo = "This clock was set back, or one of a server was ahead. Let a time server set it before the next renewals.";
    Part::Clock.failed(message, todo)
}

/// Tries the operator's texts of notifications, as a start does.
pub(super) fn texts(config: &Config) -> Option<Finding> {
    let settings = &config.notifications;
    let folder = settings.templates.as_ref()?;
    // It names the file, or the folder that cannot be read.
    let error = settings.try_templates(config.billing_timezone).err()?;
    let todo = if folder.is_dir() {
        "Correct the file that is named, or DERMAGA_NOTIFICATION_TEMPLATES_DIR: no server starts before."
    } else {
        "Correct the setting, or leave it out: no server starts before."
    };
    Some(Part::Templates.failed(told(&error), todo))
}

/// Loads the active plugins and puts the templates to them.
pub(super) async fn plugins_and_templates(config: &Config, db: Option<Db>) -> Vec<Finding> {
    let templates = match app::find_templates(config) {
        Ok(templates) => templates,
        Err(error) => {
            let todo = "Correct the setting, or leave it out.";
            return vec![Part::Templates.failed(error.to_string(), todo)];
        }
    };
    let mut findings = Vec::new();
    if let Err(error) = app::find_plugins(config) {
        let todo = "Correct the setting, or leave it out.";
        findings.push(Part::Plugins.failed(error.to_string(), todo));
    }
    let Some(db) = db else {
        for part in [Part::Plugins, Part::Templates] {
            let message = "not checked: they need the database";
            findings.push(part.warning(message, once_usable(config)));
        }
        return findings;
    };
    let clock = Clock::system();
    let registry = match app::registry(config, db.clone(), &clock) {
        Ok(registry) => registry,
        Err(error) => {
            let todo = if matches!(error, StartError::Runtime(RuntimeError::Cache { .. })) {
                "Check the rights and the room of the data folder, or name another with DERMAGA_DATA_DIR."
            } else {
                "Check the settings that begin with DERMAGA_PLUGIN_."
            };
            findings.push(Part::Plugins.failed(error.to_string(), todo));
            return findings;
        }
    };
    let (loaded, has_any) = plugins(&registry).await;
    findings.extend(loaded);
    findings.extend(offers(&templates, &registry, &db, has_any).await);
    findings
}

/// Returns the findings about the active plugins, and true when there are any.
async fn plugins(registry: &Registry) -> (Vec<Finding>, bool) {
    let part = Part::Plugins;
    let all = match registry.load_all().await {
        Ok(all) => all,
        Err(error) => return (vec![part.failed(told(&error), "Check the database.")], true),
    };
    if all.is_empty() {
        let todo = "A start installs those of its folder; `dermaga plugin push` uploads one.";
        return (vec![part.warning("none is active yet", todo)], false);
    }
    let wrong = all.iter().filter_map(|(id, loaded)| {
        let error = loaded.as_ref().err()?;
        Some(part.failed(
            format!("{id}: {}", told(error)),
            format!("Go back to a version that does: POST /api/admin/plugins/{id}/rollback, or push another."),
        ))
    });
    let mut findings: Vec<Finding> = wrong.collect();
    if findings.is_empty() {
        let message = format!("{} compiled", counted(all.len(), "active plugin"));
        findings.push(part.ok(message));
    }
    (findings, true)
}

/// Returns the findings about the templates.
async fn offers(
    templates: &Templates,
    registry: &Registry,
    db: &Db,
    has_plugins: bool,
) -> Vec<Finding> {
    let part = Part::Templates;
    let examined = match catalog::examine(templates, registry, db).await {
        Ok(examined) => examined,
        Err(error) => {
            let todo = "Check DERMAGA_TEMPLATES_DIR and the rights on its files.";
            return vec![part.failed(told(&error), todo)];
        }
    };
    let refusals = examined.refused.iter();
    let mut findings: Vec<Finding> = refusals.map(|one| refused(one, has_plugins)).collect();
    if examined.sold > 0 {
        let message = format!("{} can be sold", counted(examined.sold, "service"));
        findings.push(part.ok(message));
    } else if findings.is_empty() {
        let todo = "Put templates into a folder and name it with DERMAGA_TEMPLATES_DIR; without the setting, `service-templates` beside the program is read.";
        findings.push(part.warning(
            "no template is read: what is in the catalogue stays as it is",
            todo,
        ));
    }
    findings
}

/// Returns the finding about a refused template; before the first start, no plugin is active yet.
fn refused(template: &RefusedTemplate, has_plugins: bool) -> Finding {
    let problems = template.problems.iter().map(|problem| {
        let file = &template.file;
        match (problem.line, template.cure) {
            // The sentence names the plugin, and its key is not where the problem is.
            (_, Cure::Install(_) | Cure::Activate(_) | Cure::Load) => {
                format!("{file}: {}", problem.message)
            }
            (0, _) => format!("{file}: {} {}", problem.key, problem.message),
            (line, _) => format!("{file}:{line}: {} {}", problem.key, problem.message),
        }
    });
    let problems: Vec<String> = problems.collect();
    let (part, message) = (Part::Templates, problems.join("\n"));
    let todo = cure(template.cure);
    if matches!(template.cure, Cure::Install(_)) && !has_plugins {
        part.warning(message, todo)
    } else {
        part.failed(message, todo)
    }
}

/// Says how a refused template is loaded.
const fn cure(cure: Cure) -> &'static str {
    match cure {
        Cure::Correct => "Correct the file, then POST /api/admin/catalog/reload or restart.",
        Cure::Install(Remedy::UploadHigher) | Cure::Activate(Remedy::UploadHigher) => {
            "Push the plugin with a higher version number (`dermaga plugin push`), then POST /api/admin/catalog/reload; or remove the file."
        }
        Cure::Install(_) => {
            "Put the component of the plugin into the folder of plugins and restart, or `dermaga plugin push` it, then POST /api/admin/catalog/reload."
        }
        Cure::Activate(_) => {
            "Activate a version of the plugin (`dermaga plugin push`), then POST /api/admin/catalog/reload; or remove the file."
        }
        Cure::Load => {
            "Activate a version that loads, then POST /api/admin/catalog/reload or restart."
        }
    }
}

/// Returns the sentence of an error with its details and causes, which are for administrators.
pub(super) fn told(error: &Error) -> String {
    let mut text = error.message.clone();
    for detail in &error.details {
        text.push_str(&format!("\n{} {}", detail.field, detail.message));
    }
    let mut cause: Option<&dyn std::error::Error> = match &error.source {
        Some(cause) => Some(cause.as_ref()),
        None => None,
    };
    while let Some(deeper) = cause {
        let told = deeper.to_string();
        if !text.contains(&told) {
            text.push_str(&format!(" ({told})"));
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_apart_by_what_asking_does_not_explain() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        assert_eq!(apart(at(0), at(2), at(1)), TimeDelta::zero());
        assert_eq!(apart(at(10), at(12), at(3)), TimeDelta::seconds(7));
        assert_eq!(apart(at(10), at(12), at(100)), TimeDelta::seconds(88));
    }
}
