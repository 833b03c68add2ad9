//! Merging of the sources into the values in force, with every problem found on the way.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use dermaga_shop::text;

use super::{
    Config, addresses, clean, dotenv,
    error::{ConfigError, Problem},
    file, midtrans, names, otel, rules,
    setting::Setting,
    settings::all_settings,
};

/// Sources of settings; later fields win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file, when there is one.
    pub file: Option<PathBuf>,
    /// The file of variables beside it, when there is one.
    pub dotenv: Option<PathBuf>,
    /// All environment variables.
    pub environment: BTreeMap<String, String>,
    /// Values of flags, by key.
    pub flags: Vec<(&'static str, String)>,
    /// True for a command that takes no payments, and has no use for a gateway.
    pub without_payments: bool,
}

impl Sources {
    /// `dermaga.toml` in the working folder (or the file that DERMAGA_CONFIG or `--config` names),
    /// `.env` in the same folder, and this process's environment.
    ///
    /// # Errors
    /// When a file was named and is not there.
    pub fn of_process(
        file: Option<PathBuf>,
        flags: Vec<(&'static str, String)>,
    ) -> Result<Self, ConfigError> {
        // Lossy, since a value that is not UTF-8 is refused by name when it is read.
        let environment = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into(),
                    value.to_string_lossy().into(),
                )
            })
            .collect::<BTreeMap<String, String>>();
        let of_environment = environment.get("DERMAGA_CONFIG");
        let of_environment = of_environment.filter(|path| !path.is_empty());
        let (named, source) = match (file, of_environment) {
            (Some(path), _) => (Some(path), Source::Flag),
            (None, path) => (path.map(PathBuf::from), Source::Environment),
        };
        let file = match named {
            Some(path) if path.is_file() => Some(path),
            Some(path) => return Err(not_there(&path, &source)),
            None => Some(PathBuf::from("dermaga.toml")).filter(|path| path.is_file()),
        };
        let dotenv = file
            .as_deref()
            .map_or_else(|| PathBuf::from(".env"), |path| path.with_file_name(".env"));
        Ok(Self {
            file,
            dotenv: Some(dotenv).filter(|path| path.is_file()),
            environment,
            flags,
            without_payments: false,
        })
    }
}

/// Returns the fault of a configuration file that is not there. An address in its place is not repeated.
fn not_there(path: &Path, source: &Source) -> ConfigError {
    let name = "the configuration file";
    match addresses::path(&path.to_string_lossy()) {
        Ok(path) => ConfigError::one(path, name, "is not there"),
        Err(fault) => ConfigError::one(source.to_string(), name, fault),
    }
}

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    /// Path and line.
    File(PathBuf, usize),
    /// A line of the `.env` file.
    Dotenv(PathBuf, usize),
    Environment,
    Flag,
}

impl Source {
    /// The setting's name as this source spells it.
    pub(super) const fn name_of(&self, setting: &'static Setting) -> &'static str {
        match self {
            Self::Environment | Self::Dotenv(..) => setting.env,
            Self::Default | Self::File(..) | Self::Flag => setting.key,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) | Self::Dotenv(path, line) => {
                write!(f, "{}:{line}", path.display())
            }
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value in force and where it came from.
#[derive(Clone)]
pub struct Origin {
    pub setting: &'static Setting,
    /// `None` when it has no default and no source sets it.
    pub value: Option<String>,
    pub source: Source,
    /// A remark about what was taken off the value as it was written.
    pub note: Option<&'static str>,
}

impl Origin {
    /// The value for people: secrets are masked, also those within addresses.
    pub fn shown(&self) -> Cow<'_, str> {
        match &self.value {
            None => "(not set)".into(),
            Some(_) if self.setting.secret => "********".into(),
            Some(value) if self.setting.address => text::without_secrets(value).into(),
            Some(value) => value.into(),
        }
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={} [{}]", self.setting.env, self.shown(), self.source)
    }
}

/// The outcome of [`load`].
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Origins in the table's order.
    pub origins: Vec<Origin>,
    /// Doubts about variables that are no settings.
    pub(super) doubts: Vec<String>,
    /// True when settings of payments need no gateway.
    pub(super) without_payments: bool,
}

/// Reads all sources and applies them.
///
/// # Errors
/// Every unknown name (with the nearest known one) and every value that breaks its rule, each with
/// its source.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    let Sources {
        file,
        dotenv,
        environment,
        flags,
        without_payments,
    } = sources;
    let mut given = Given::default();
    if let Some(path) = &file {
        given.read_file(path)?;
    }
    if let Some(path) = &dotenv {
        given.read_dotenv(path, &environment)?;
    }
    for (name, value) in environment {
        given.take_variable(&name, &value, Source::Environment);
    }
    for (key, value) in flags {
        if let Some(setting) = names::by_key(key) {
            given.take(setting, &value, Source::Flag);
        }
    }
    let (mut loaded, mut faults) = given.apply();
    loaded.without_payments = without_payments;
    check_together(&loaded, &mut faults);
    if faults.problems.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError(faults.problems))
    }
}

/// Problems that were found, and what they are about.
#[derive(Default)]
struct Faults {
    problems: Vec<Problem>,
    /// Settings whose value is not known by a mistake, as they are named in the environment.
    unknown: BTreeSet<&'static str>,
}

impl Faults {
    /// Returns true for a rule that may be broken by a mistake which is reported already: it is about a setting
    /// whose value is not known, or that has a problem.
    fn explain(&self, name: &str, message: &str) -> bool {
        let is_of_name =
            |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        let named = message.split(|letter: char| !is_of_name(letter));
        let follows = named.chain([name]).any(|name| self.unknown.contains(name));
        follows || self.problems.iter().any(|problem| problem.name == name)
    }
}

/// Values of the sources, by key, and their problems.
#[derive(Default)]
struct Given {
    values: BTreeMap<&'static str, (clean::Cleaned, Source)>,
    faults: Faults,
    doubts: Vec<String>,
}

impl Given {
    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        for entry in file::read(path)? {
            let source = Source::File(path.to_owned(), entry.line);
            match names::by_key(&entry.key) {
                Some(setting) => self.take(setting, &entry.value, source),
                None => {
                    self.faults.unknown.extend(names::meant_key(&entry.key));
                    let problem = names::unknown_key(&entry.key, &source);
                    self.faults.problems.push(problem);
                }
            }
        }
        Ok(())
    }

    fn read_dotenv(
        &mut self,
        path: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let mut lines = BTreeMap::new();
        for entry in dotenv::read(path)? {
            let source = Source::Dotenv(path.to_owned(), entry.line);
            if let Some(setting) = names::by_variable(&entry.key)
                && let Some(line) = lines.insert(setting.env, entry.line)
            {
                let message = format!("is given twice: line {line} has it, too");
                self.refuse(setting, &source, message);
                continue;
            }
            if entry.key == "DERMAGA_CONFIG" && !environment.contains_key(&entry.key) {
                let message = "must be in the environment: it says where this file is looked for";
                self.faults.problems.push(Problem {
                    source: source.to_string(),
                    name: entry.key,
                    message: message.into(),
                });
                continue;
            }
            self.take_variable(&entry.key, &entry.value, source);
        }
        Ok(())
    }

    fn take_variable(&mut self, name: &str, value: &str, source: Source) {
        match names::by_variable(name) {
            Some(setting) => self.take(setting, value, source),
            None if names::is_misspelt(name, value) => {
                self.faults.unknown.extend(names::meant_variable(name));
                let problem = names::unknown_variable(name, &source);
                self.faults.problems.push(problem);
            }
            None if value.is_empty() => {}
            None => {
                let doubt = otel::doubt(name, &source);
                self.doubts
                    .extend(doubt.or_else(|| names::doubt(name, value, &source)));
            }
        }
    }

    fn take(&mut self, setting: &'static Setting, text: &str, source: Source) {
        let fault = match clean::clean(text) {
            // An empty variable is how compose files say "not set".
            Ok(cleaned) if cleaned.value.is_empty() && source != Source::Flag => return,
            Ok(cleaned) if cleaned.value.is_empty() => "must not be empty".to_owned(),
            Ok(cleaned) => {
                self.values.insert(setting.key, (cleaned, source));
                return;
            }
            Err(fault) => fault,
        };
        self.refuse(setting, &source, fault);
    }

    fn refuse(&mut self, setting: &'static Setting, source: &Source, message: String) {
        self.faults.unknown.insert(setting.env);
        self.faults.problems.push(Problem {
            source: source.to_string(),
            name: source.name_of(setting).to_owned(),
            message,
        });
    }

    fn apply(mut self) -> (Loaded, Faults) {
        let mut config = Config::default();
        let mut origins = Vec::new();
        for setting in all_settings() {
            let (value, note, source) = match self.values.remove(setting.key) {
                Some((cleaned, source)) => (Some(cleaned.value), cleaned.note, source),
                None => (setting.default.map(str::to_owned), None, Source::Default),
            };
            if let Some(text) = &value
                && let Err(message) = (setting.set)(&mut config, text)
            {
                self.refuse(setting, &source, message);
            }
            origins.push(Origin {
                setting,
                value,
                source,
                note,
            });
        }
        let loaded = Loaded {
            config,
            origins,
            doubts: self.doubts,
            without_payments: false,
        };
        (loaded, self.faults)
    }
}

/// Rules about several settings at once.
fn check_together(loaded: &Loaded, faults: &mut Faults) {
    let config = &loaded.config;
    let mut missing = |name: &str, message: &str| {
        // One mistake is one problem.
        if faults.explain(name, message) {
            return;
        }
        let given = |origin: &&Origin| origin.setting.env == name && origin.value.is_some();
        let origin = loaded.origins.iter().find(given);
        faults.problems.push(Problem {
            source: origin.map_or("not set".into(), |origin| origin.source.to_string()),
            name: name.into(),
            message: message.into(),
        });
    };
    if config.is_production() && config.clock.is_some() {
        missing(
            "DERMAGA_CLOCK",
            "must not be given in production: customers are charged by the true time",
        );
    }
    if config.is_production() && config.jwt_secrets.is_empty() {
        missing(
            "JWT_SECRET",
            "is required in production; `openssl rand -hex 32` makes one",
        );
    }
    if config.is_production() && config.master_keys.is_empty() {
        missing(
            "DERMAGA_MASTER_KEY",
            "is required in production; `openssl rand -hex 32` makes one, keep a copy of it",
        );
    }
    midtrans::check(config, &mut missing);
    rules::check(loaded, &mut missing);
    if config.plugins.trust.required && config.plugins.trust.keys.is_empty() {
        missing(
            "DERMAGA_PLUGIN_TRUSTED_KEYS",
            "is required together with DERMAGA_PLUGIN_REQUIRE_SIGNATURE; `dermaga plugin keygen` makes a key",
        );
    }
    match (&config.admin_email, &config.admin_password) {
        (Some(_), None) => missing(
            "DERMAGA_ADMIN_PASSWORD",
            "is required together with DERMAGA_ADMIN_EMAIL",
        ),
        (None, Some(_)) => missing(
            "DERMAGA_ADMIN_EMAIL",
            "is required together with DERMAGA_ADMIN_PASSWORD",
        ),
        _ => {}
    }
}
