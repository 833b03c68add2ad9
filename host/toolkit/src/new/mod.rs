//! Creates a new plugin: a folder that builds, passes the check and says what to change.

mod files;
mod sdk;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use dermaga_runtime::contract::Kind;

use self::sdk::Sdk;

/// Options of a new plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub kind: Kind,
    pub language: Language,
    /// Name with or without the `service-` or `coupon-` that the plugin's id begins with.
    pub name: String,
    /// Folder of the plugin; by default the id, in the current folder.
    pub path: Option<PathBuf>,
}

/// Language of a new plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    Rust,
    JavaScript,
    C,
}

impl Language {
    pub const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::C];

    /// Returns `rust`, `javascript` or `c`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::C => "c",
        }
    }

    /// File that holds the rule, relative to the plugin's folder.
    const fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::JavaScript => "plugin.js",
            Self::C => "plugin.c",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|language| language.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of: rust, javascript, c"))
    }
}

/// Reason for which nothing was created.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error(
        "`{name}` cannot be a plugin's name: use lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen, at most {most} characters"
    )]
    Name { name: String, most: usize },
    #[error("a new service is written in rust; {0} is for coupons")]
    Language(Language),
    #[error("{} exists and is not empty; nothing is overwritten: choose another folder with --path", .path.display())]
    Exists { path: PathBuf },
    #[error("{} cannot be written: {error}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

/// The plugin created. Its text tells a person what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaffold {
    pub kind: Kind,
    pub language: Language,
    /// Id of the plugin.
    pub id: String,
    pub folder: PathBuf,
    /// Paths relative to the folder.
    pub files: Vec<PathBuf>,
    /// False when a crate needs a checkout of Dermaga and none was found, so that the author must
    /// set the path of the SDK.
    pub sdk_found: bool,
}

/// Most characters of a plugin's id, by the contract.
const LONGEST_ID: usize = 50;

/// Creates the folder and its files.
///
/// # Errors
/// When the name breaks the contract's rule, the language is not for this kind, the folder
/// is not empty, or a file cannot be written.
pub fn scaffold(options: &Options) -> Result<Scaffold, NewError> {
    let Options { kind, language, .. } = *options;
    let names = Names::of(kind, &options.name)?;
    if kind == Kind::Service && language != Language::Rust {
        return Err(NewError::Language(language));
    }
    let folder = options.path.clone().unwrap_or_else(|| (&names.id).into());
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(NewError::Exists { path: folder });
    }
    let writing = |path: &Path| {
        let path = path.to_owned();
        move |error| NewError::Write { path, error }
    };
    fs::create_dir_all(&folder).map_err(writing(&folder))?;
    let sdk = Sdk::find(&folder);
    let mut files = Vec::new();
    for (name, text) in files::of(&names, kind, language, &sdk) {
        let path = folder.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(writing(parent))?;
        }
        fs::write(&path, text).map_err(writing(&path))?;
        files.push(name);
    }
    if let Some(lock) = sdk.lock_file().filter(|_| language == Language::Rust) {
        let path = folder.join("Cargo.lock");
        fs::write(&path, lock).map_err(writing(&path))?;
        files.push("Cargo.lock".into());
    }
    Ok(Scaffold {
        kind,
        language,
        id: names.id,
        folder,
        files,
        sdk_found: language != Language::Rust || sdk.is_found(),
    })
}

/// One name in its forms.
#[derive(Debug)]
struct Names {
    /// Id, for example `service-uptime-kuma`.
    id: String,
    /// Slug, for example `uptime-kuma`.
    slug: String,
    /// Title, for example `Uptime kuma`.
    title: String,
}

impl Names {
    fn of(kind: Kind, name: &str) -> Result<Self, NewError> {
        let prefix = format!("{kind}-");
        let slug = name.strip_prefix(&prefix).unwrap_or(name);
        let most = LONGEST_ID - prefix.len();
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (2..=most).contains(&slug.len())
            && slug.starts_with(|first: char| first.is_ascii_lowercase())
            && !slug.ends_with('-')
            && slug.bytes().all(inner);
        if !good {
            return Err(NewError::Name {
                name: name.to_owned(),
                most,
            });
        }
        let words = slug.replace('-', " ");
        let (first, rest) = words.split_at(1);
        Ok(Self {
            id: format!("{prefix}{slug}"),
            slug: slug.to_owned(),
            title: format!("{}{rest}", first.to_uppercase()),
        })
    }
}

impl fmt::Display for Scaffold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            language,
            id,
            folder,
            ..
        } = self;
        let folder = folder.display();
        writeln!(f, "{id} is in {folder}:")?;
        for file in &self.files {
            writeln!(f, "  {}", file.display())?;
        }
        if !self.sdk_found {
            writeln!(
                f,
                "\nFirst: no checkout of Dermaga is near. In {folder}/Cargo.toml, replace {} by the\nfolder `plugins/sdk` of one.",
                sdk::PLACEHOLDER
            )?;
        }
        writeln!(
            f,
            "\nNow change {}; its first lines say what. Then:\n",
            language.source()
        )?;
        writeln!(f, "  cd {folder}")?;
        writeln!(
            f,
            "  dermaga plugin test .      # --bless accepts new answers"
        )?;
        match kind {
            Kind::Service => writeln!(
                f,
                "  dermaga plugin render .    # every plan's manifests, and what the gate says"
            )?,
            Kind::Coupon => writeln!(
                f,
                "  dermaga plugin run . evaluate cases/evaluate-grants.json"
            )?,
        }
        writeln!(
            f,
            "  dermaga plugin check .     # what the server checks at an upload"
        )?;
        write!(
            f,
            "  dermaga plugin build .     # target/components/{id}.wasm"
        )
    }
}
