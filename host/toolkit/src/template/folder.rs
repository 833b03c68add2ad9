//! Reads a folder of templates, some of which may be wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{Template, TemplateError, read};

/// The templates of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    /// Valid templates, in the order of their files' names.
    pub templates: Vec<Template>,
    /// Files with errors.
    pub refused: Vec<RefusedFile>,
}

/// A file without a valid template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFile {
    /// Name of the file, without its folder.
    pub file: String,
    /// Errors of the file, at least one.
    pub errors: Vec<TemplateError>,
}

impl Folder {
    /// Reads every `*.toml` of a folder; the others are read even if one is wrong. Two services
    /// with the same slug are both refused; the first file of a category defines it, and files that
    /// contradict it are refused.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn read(folder: &Path) -> Result<Self, TemplateError> {
        let mut read = Vec::new();
        let mut refused = Vec::new();
        for file in toml_files(folder)? {
            match load(&file) {
                Ok(template) => read.push(template),
                Err(errors) => refused.push(RefusedFile {
                    file: file_name(&file),
                    errors,
                }),
            }
        }
        let (templates, contradicting) = without_contradictions(read);
        refused.extend(contradicting);
        Ok(Self { templates, refused })
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn toml_files(folder: &Path) -> Result<BTreeSet<PathBuf>, TemplateError> {
    let unreadable = |error: std::io::Error| {
        let message = format!("the folder of templates cannot be read: {error}");
        TemplateError::of_file(&folder.display().to_string(), message)
    };
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.insert(path);
        }
    }
    Ok(files)
}

fn load(file: &Path) -> Result<read::Read, Vec<TemplateError>> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| {
        vec![TemplateError::of_file(
            &name,
            format!("it cannot be read: {error}"),
        )]
    })?;
    read::template(&name, &text)
}

/// Separates consistent templates from those that contradict another.
fn without_contradictions(all: Vec<read::Read>) -> (Vec<Template>, Vec<RefusedFile>) {
    let errors: Vec<Vec<TemplateError>> =
        all.iter().map(|read| contradictions(read, &all)).collect();
    let (mut templates, mut refused) = (Vec::new(), Vec::new());
    for (read, errors) in all.into_iter().zip(errors) {
        if errors.is_empty() {
            templates.push(read.template);
        } else {
            refused.push(RefusedFile {
                file: file_name(Path::new(&read.slug.file)),
                errors,
            });
        }
    }
    (templates, refused)
}

/// Returns the contradictions between this template and the others.
fn contradictions(read: &read::Read, all: &[read::Read]) -> Vec<TemplateError> {
    let Template { slug, category, .. } = &read.template;
    let twin = all
        .iter()
        .find(|other| other.template.slug == *slug && other.slug.file != read.slug.file);
    let twin = twin.map(|other| {
        read.slug.problem(format!(
            "`{slug}` is the slug of the service in {} too; slugs are unique",
            other.slug.file
        ))
    });
    let mut first: BTreeMap<&str, &read::Read> = BTreeMap::new();
    for read in all {
        first.entry(&read.template.category.slug).or_insert(read);
    }
    let otherwise = first
        .get(category.slug.as_str())
        .filter(|first| first.template.category.contradicts(category))
        .map(|first| {
            read.category.problem(format!(
                "the category `{}` has another name or description in {}; say the same in both",
                category.slug, first.category.file
            ))
        });
    twin.into_iter().chain(otherwise).collect()
}
