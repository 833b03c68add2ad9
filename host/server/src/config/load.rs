//! From the sources to the values in force, with every problem found on the way.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Config,
    error::{ConfigError, Problem},
    file,
    settings::{OTHER_VARIABLES, SETTINGS, Setting},
};

/// Where settings are looked for; later fields win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file, when there is one.
    pub file: Option<PathBuf>,
    /// All environment variables.
    pub environment: BTreeMap<String, String>,
    /// By key.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// `dermaga.toml` in the working folder (or the file that DERMAGA_CONFIG or `--config` names)
    /// and this process's environment.
    ///
    /// # Errors
    /// When a file was named and is not there.
    pub fn of_process(
        file: Option<PathBuf>,
        flags: Vec<(&'static str, String)>,
    ) -> Result<Self, ConfigError> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<BTreeMap<_, _>>();
        let named = file.or_else(|| {
            environment
                .get("DERMAGA_CONFIG")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        });
        let file = match named {
            Some(path) if path.is_file() => Some(path),
            Some(path) => {
                return Err(ConfigError::one(
                    path.display().to_string(),
                    "the configuration file",
                    "is not there",
                ));
            }
            None => Some(PathBuf::from("dermaga.toml")).filter(|path| path.is_file()),
        };
        Ok(Self {
            file,
            environment,
            flags,
        })
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    /// Path and line.
    File(PathBuf, usize),
    Environment,
    Flag,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value in force and where it came from.
#[derive(Clone)]
pub struct Origin {
    pub setting: &'static Setting,
    /// `None` when it has no default and nobody gave one.
    pub value: Option<String>,
    pub source: Source,
}

impl Origin {
    /// The value for people: secrets are masked.
    pub fn shown(&self) -> &str {
        match &self.value {
            None => "(not set)",
            Some(_) if self.setting.secret => "********",
            Some(value) => value,
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
    /// In the table's order.
    pub origins: Vec<Origin>,
}

/// Reads all sources and applies them.
///
/// # Errors
/// Every unknown name (with the nearest known one) and every value that breaks its rule, each with
/// its source.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    let mut given: BTreeMap<&'static str, (String, Source)> = BTreeMap::new();
    let mut problems = Vec::new();
    if let Some(path) = &sources.file {
        for entry in file::read(path)? {
            let source = Source::File(path.clone(), entry.line);
            match SETTINGS.iter().find(|setting| setting.key == entry.key) {
                Some(setting) => drop(given.insert(setting.key, (entry.value, source))),
                None => problems.push(unknown(
                    &entry.key,
                    &source,
                    SETTINGS.iter().map(|setting| setting.key),
                )),
            }
        }
    }
    read_environment(sources.environment, &mut given, &mut problems);
    for (key, value) in sources.flags {
        given.insert(key, (value, Source::Flag));
    }
    let loaded = apply(given, &mut problems);
    check_together(&loaded, &mut problems);
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError(problems))
    }
}

fn read_environment(
    environment: BTreeMap<String, String>,
    given: &mut BTreeMap<&'static str, (String, Source)>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in environment {
        let setting = SETTINGS.iter().find(|setting| setting.env == name);
        match setting {
            // An empty variable is how compose files say "not set".
            Some(_) if value.is_empty() => {}
            Some(setting) => drop(given.insert(setting.key, (value, Source::Environment))),
            // What the project's own tests are told stands in the same environment.
            None if name.starts_with("DERMAGA_TEST_") || is_service_link(&name, &value) => {}
            None if name.starts_with("DERMAGA_") && !OTHER_VARIABLES.contains(&name.as_str()) => {
                let known = SETTINGS
                    .iter()
                    .map(|setting| setting.env)
                    .chain(OTHER_VARIABLES.iter().copied());
                problems.push(unknown(&name, &Source::Environment, known));
            }
            None => {}
        }
    }
}

/// What Kubernetes tells every pod about a Service whose name begins with `dermaga`.
fn is_service_link(name: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let parts = ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP_", "_UDP_"];
    address || parts.iter().any(|part| name.contains(part))
}

fn apply(
    mut given: BTreeMap<&'static str, (String, Source)>,
    problems: &mut Vec<Problem>,
) -> Loaded {
    let mut config = Config::blank();
    let mut origins = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        let (value, source) = match given.remove(setting.key) {
            Some((value, source)) => (Some(value), source),
            None => (setting.default.map(str::to_owned), Source::Default),
        };
        if let Some(text) = &value
            && let Err(message) = (setting.set)(&mut config, text)
        {
            let name = if source == Source::Environment {
                setting.env
            } else {
                setting.key
            };
            problems.push(Problem {
                source: source.to_string(),
                name: name.to_owned(),
                message,
            });
        }
        origins.push(Origin {
            setting,
            value,
            source,
        });
    }
    Loaded { config, origins }
}

/// Rules about several settings at once.
fn check_together(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let config = &loaded.config;
    let mut missing = |name: &str, message: &str| {
        let given = |origin: &&Origin| origin.setting.env == name && origin.value.is_some();
        let origin = loaded.origins.iter().find(given);
        problems.push(Problem {
            source: origin.map_or("not set".into(), |origin| origin.source.to_string()),
            name: name.into(),
            message: message.into(),
        });
    };
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
    check_payments(config, &mut missing);
    if config.plugin_trust.required && config.plugin_trust.keys.is_empty() {
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

/// Play money stays out of production, and real money out of the rest.
fn check_payments(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    if config.is_production() && config.payments_sandbox {
        problem(
            "DERMAGA_PAYMENTS_SANDBOX",
            "must be false in production: it credits what nobody paid",
        );
    }
    let key = config.midtrans.server_key.as_ref();
    if config.midtrans.is_production && key.is_none_or(|key| key.reveal().starts_with("SB-")) {
        problem(
            "MIDTRANS_SERVER_KEY",
            "must be a production key (not one that begins with SB-) when MIDTRANS_IS_PRODUCTION is true",
        );
    }
}

fn unknown(name: &str, source: &Source, known: impl Iterator<Item = &'static str>) -> Problem {
    let likeness =
        |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.max_by(|left, right| likeness(left).total_cmp(&likeness(right)));
    let message = match nearest.filter(|nearest| likeness(nearest) > 0.8) {
        Some(nearest) => format!("is not a setting; did you mean {nearest}?"),
        None => "is not a setting; `dermaga config --reference` lists them all".to_owned(),
    };
    Problem {
        source: source.to_string(),
        name: name.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Sources {
        let environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Sources {
            environment,
            ..Sources::default()
        }
    }

    fn problems(sources: Sources) -> Vec<String> {
        load(sources)
            .unwrap_err()
            .0
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn later_sources_win_and_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dermaga.toml");
        std::fs::write(
            &file,
            "base_domain = \"file.example\"\nlog = \"warn\"\nresync_seconds = 60\n",
        )
        .unwrap();
        let mut sources = environment(&[
            ("DERMAGA_BASE_DOMAIN", "env.example"),
            ("DERMAGA_LOG", "debug"),
        ]);
        sources.file = Some(file.clone());
        sources.flags = vec![("log", "error".into())];
        let loaded = load(sources).unwrap();
        let config = &loaded.config;
        assert_eq!(
            (
                config.base_domain.as_str(),
                config.log.as_str(),
                config.resync.as_secs()
            ),
            ("env.example", "error", 60)
        );
        let source = |key: &str| {
            loaded
                .origins
                .iter()
                .find(|o| o.setting.key == key)
                .unwrap()
                .source
                .clone()
        };
        assert_eq!(source("log"), Source::Flag);
        assert_eq!(source("base_domain"), Source::Environment);
        assert_eq!(source("resync_seconds"), Source::File(file, 3));
        assert_eq!(source("listen"), Source::Default);
    }

    #[test]
    fn proposes_the_nearest_name() {
        assert_eq!(
            problems(environment(&[("DERMAGA_LISTN", "x")])),
            ["DERMAGA_LISTN is not a setting; did you mean DERMAGA_LISTEN? (environment)"]
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dermaga.toml");
        std::fs::write(&file, "\n[plugins]\nquick_feul = 1\n").unwrap();
        let found = problems(Sources {
            file: Some(file.clone()),
            ..Sources::default()
        });
        let expected = format!(
            "plugins.quick_feul is not a setting; did you mean plugins.quick_fuel? ({}:3)",
            file.display()
        );
        assert_eq!(found, [expected]);
    }

    #[test]
    fn wrong_values_name_setting_source_and_rule() {
        assert_eq!(
            problems(environment(&[
                ("DERMAGA_MIGRATE", "yes"),
                ("JWT_SECRET", "short")
            ])),
            [
                "DERMAGA_MIGRATE must be true or false (environment)",
                "JWT_SECRET must be at least 32 bytes (each, when several are listed); `openssl rand -hex 32` makes one (environment)",
            ]
        );
    }

    #[test]
    fn production_requires_keys() {
        let found = problems(environment(&[("DERMAGA_ENV", "production")]));
        assert!(
            found.len() == 2
                && found[0].starts_with("JWT_SECRET")
                && found[1].starts_with("DERMAGA_MASTER_KEY"),
            "{found:?}"
        );
        let (jwt, master) = ("s".repeat(32), "ab".repeat(32));
        let given = [
            ("DERMAGA_ENV", "production"),
            ("JWT_SECRET", jwt.as_str()),
            ("DERMAGA_MASTER_KEY", master.as_str()),
        ];
        assert!(load(environment(&given)).is_ok());
    }

    #[test]
    fn play_money_and_real_money_are_kept_apart() {
        let (jwt, master) = ("s".repeat(32), "ab".repeat(32));
        let production = [
            ("DERMAGA_ENV", "production"),
            ("JWT_SECRET", jwt.as_str()),
            ("DERMAGA_MASTER_KEY", master.as_str()),
        ];
        let with = |more: &[(&str, &str)]| environment(&[&production, more].concat());
        assert!(load(with(&[("MIDTRANS_SERVER_KEY", "Mid-server-1")])).is_ok());
        for (more, name) in [
            (
                &[("DERMAGA_PAYMENTS_SANDBOX", "true")][..],
                "DERMAGA_PAYMENTS_SANDBOX",
            ),
            (
                &[
                    ("MIDTRANS_IS_PRODUCTION", "true"),
                    ("MIDTRANS_SERVER_KEY", "SB-Mid-server-1"),
                ],
                "MIDTRANS_SERVER_KEY",
            ),
            (&[("MIDTRANS_IS_PRODUCTION", "true")], "MIDTRANS_SERVER_KEY"),
        ] {
            let found = problems(with(more));
            assert!(found.len() == 1 && found[0].starts_with(name), "{found:?}");
            let is_given = more.iter().any(|(given, _)| *given == name);
            let source = if is_given {
                "(environment)"
            } else {
                "(not set)"
            };
            assert!(found[0].ends_with(source), "{found:?}");
        }
    }

    #[test]
    fn an_administrator_needs_both_halves() {
        assert_eq!(
            problems(environment(&[("DERMAGA_ADMIN_EMAIL", "a@example.com")])).len(),
            1
        );
        assert_eq!(
            problems(environment(&[(
                "DERMAGA_ADMIN_PASSWORD",
                "long enough secret"
            )]))
            .len(),
            1
        );
    }

    #[test]
    fn a_kubernetes_service_named_dermaga_is_no_setting() {
        let links = [
            ("DERMAGA_SERVICE_HOST", "10.0.0.7"),
            ("DERMAGA_SERVICE_PORT_HTTP", "80"),
            ("DERMAGA_PORT", "tcp://10.0.0.7:80"),
            ("DERMAGA_DB_PORT_80_TCP_ADDR", "10.0.0.7"),
        ];
        assert!(load(environment(&links)).is_ok());
        assert_eq!(problems(environment(&[("DERMAGA_PORT", "3000")])).len(), 1);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert!(load(environment(&[("DATABASE_URL", ""), ("DERMAGA_LISTEN", "")])).is_ok());
    }
}
