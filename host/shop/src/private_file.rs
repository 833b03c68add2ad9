//! Files that only the user who runs the server may read: keys, the database, exports.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

const OWNER_ONLY: u32 = 0o600;

/// Creates a file for its owner alone, whatever the folder's mode and the umask are.
///
/// # Errors
/// `AlreadyExists` when there is a file of that name, and every failure to create it.
pub fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
    options.open(path)
}

/// Creates or empties a file and removes all other users' permissions before anything is written.
///
/// # Errors
/// When it cannot be opened, or belongs to another user.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
    let file = options.open(path)?;
    restrict(&file)?;
    Ok(file)
}

/// Creates a file that a library will open by its name, or restricts the one that is there.
///
/// # Errors
/// When it cannot be opened, or is no regular file: a folder or a device keeps its mode. A file of another
/// user is left as it is.
pub(crate) fn ensure(path: &Path) -> io::Result<()> {
    match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Asked before it is opened, since a pipe would wait for its writer.
            if !path.metadata()?.is_file() {
                let message = format!("{} is not a file", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            let file = File::open(path)?;
            if let Err(error) = restrict(&file) {
                tracing::warn!(path = %path.display(), %error, "file.not_restricted");
            }
            Ok(())
        }
        created => created.map(drop),
    }
}

#[cfg(unix)]
fn restrict(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o777 == OWNER_ONLY {
        return Ok(());
    }
    permissions.set_mode(OWNER_ONLY);
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
fn restrict(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        create_new(&path("new")).unwrap();
        assert_eq!(mode(&path("new")), 0o600);
        assert!(create_new(&path("new")).is_err());
        for name in ["created", "ensured"] {
            fs::write(path(name), "open to all").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        create(&path("created")).unwrap();
        ensure(&path("ensured")).unwrap();
        ensure(&path("ensured too")).unwrap();
        for name in ["created", "ensured", "ensured too"] {
            assert_eq!(mode(&path(name)), 0o600, "{name}");
        }
        assert_eq!(fs::read_to_string(path("created")).unwrap(), "");
        assert_eq!(fs::read_to_string(path("ensured")).unwrap(), "open to all");
    }

    #[test]
    fn what_is_no_file_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        let error = ensure(&inner).unwrap_err();
        assert!(error.to_string().ends_with("is not a file"), "{error}");
        assert_eq!(mode(&inner), 0o755);
    }
}
