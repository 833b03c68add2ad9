//! Keys: as configured, or made in the data folder on a first development start.

use std::{
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use dermaga_shop::{
    crypto::{self, MasterKey, Secret},
    private_file,
};
use zeroize::Zeroizing;

use super::Config;

/// Keys that sign tokens and seal secrets.
#[derive(Debug)]
pub struct Keys {
    pub jwt_secrets: Vec<Secret>,
    pub master_keys: Vec<MasterKey>,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key file {} {message}", path.display())]
pub struct KeysError {
    path: PathBuf,
    message: String,
}

impl Keys {
    /// Takes the configured keys; makes missing ones in the data folder, readable by the owner
    /// only.
    ///
    /// # Errors
    /// When a key file cannot be read, written or understood.
    pub fn obtain(config: &Config) -> Result<Self, KeysError> {
        let jwt_secrets = if config.jwt_secrets.is_empty() {
            vec![kept(&config.data_dir.join("jwt.key"), || {
                Zeroizing::new(crypto::random_token())
            })?]
        } else {
            config.jwt_secrets.clone()
        };
        let path = config.data_dir.join("master.key");
        let texts = if config.master_keys.is_empty() {
            vec![kept(&path, || MasterKey::generate().to_hex())?]
        } else {
            config.master_keys.clone()
        };
        Ok(Self {
            jwt_secrets,
            master_keys: parse(&texts, path)?,
        })
    }

    /// Reads the key of tokens in the data folder where no setting has one, and makes none.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn check_token_key(config: &Config) -> Result<(), KeysError> {
        let path = config.data_dir.join("jwt.key");
        if config.jwt_secrets.is_empty() && path.exists() {
            read(&path)?;
        }
        Ok(())
    }

    /// Returns the master keys that seal the data of this folder, and makes none: without them there is nothing
    /// that could be opened.
    ///
    /// # Errors
    /// When a key file cannot be read or understood.
    pub fn master_keys_of_data(config: &Config) -> Result<Option<Vec<MasterKey>>, KeysError> {
        let path = config.data_dir.join("master.key");
        let texts = if !config.master_keys.is_empty() {
            config.master_keys.clone()
        } else if path.exists() {
            vec![read(&path)?]
        } else {
            return Ok(None);
        };
        parse(&texts, path).map(Some)
    }
}

fn parse(texts: &[Secret], path: PathBuf) -> Result<Vec<MasterKey>, KeysError> {
    let keys: Result<Vec<MasterKey>, String> = texts
        .iter()
        .map(|text| MasterKey::parse(text.reveal()))
        .collect();
    keys.map_err(|message| KeysError { path, message })
}

/// The key in the file, which is made when it is not there. When two servers start at once in one
/// folder, the file of the first is used by both.
fn kept(path: &Path, make: impl FnOnce() -> Zeroizing<String>) -> Result<Secret, KeysError> {
    let fault = |message: String| KeysError {
        path: path.to_owned(),
        message,
    };
    match private_file::create_new(path) {
        Ok(mut file) => {
            let key = make();
            file.write_all(key.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|e| fault(format!("cannot be written: {e}")))?;
            tracing::info!(path = %path.display(), "key.made");
            Ok(Secret::new(key.as_str()))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(fault(format!("cannot be made: {error}"))),
    }
}

fn read(path: &Path) -> Result<Secret, KeysError> {
    let fault = |message: String| KeysError {
        path: path.to_owned(),
        message,
    };
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|e| fault(format!("cannot be read: {e}")))?;
    if text.trim().len() < dermaga_shop::accounts::MIN_SECRET_BYTES {
        return Err(fault(
            "is damaged: it is too short; restore it, or remove it to make another".into(),
        ));
    }
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::in_folder(folder.path()).unwrap();
        let first = Keys::obtain(&config).unwrap();
        let second = Keys::obtain(&config).unwrap();
        assert_eq!(first.jwt_secrets, second.jwt_secrets);
        assert_eq!(
            first.master_keys[0].to_hex(),
            second.master_keys[0].to_hex()
        );
        #[cfg(unix)]
        for name in ["jwt.key", "master.key"] {
            let metadata = std::fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(
                std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777,
                0o600,
                "{name}"
            );
        }
    }

    #[test]
    fn the_keys_of_data_are_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::in_folder(folder.path()).unwrap();
        assert!(Keys::master_keys_of_data(&config).unwrap().is_none());
        assert!(!folder.path().join("master.key").exists());
        let made = Keys::obtain(&config).unwrap();
        let found = Keys::master_keys_of_data(&config).unwrap().unwrap();
        assert_eq!(found[0].to_hex(), made.master_keys[0].to_hex());
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jwt.key"), "").unwrap();
        let error = Keys::obtain(&Config::in_folder(folder.path()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
