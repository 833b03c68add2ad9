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

/// File of the key of tokens in the data folder.
const TOKEN_KEY: &str = "jwt.key";
/// File of the master key in the data folder.
const MASTER_KEY: &str = "master.key";

/// Keys that sign tokens and seal secrets.
#[derive(Debug)]
pub struct Keys {
    pub jwt_secrets: Vec<Secret>,
    pub master_keys: Vec<MasterKey>,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{advice}", told(path, message))]
pub struct KeysError {
    path: PathBuf,
    message: String,
    /// Sentence after the fault; empty where the fault says enough.
    advice: &'static str,
}

impl KeysError {
    /// Returns a fault of a file that another file or a setting replaces. None is removed: a new master key would
    /// open no secret.
    fn damaged(path: &Path, message: &str) -> Self {
        let advice = if path.ends_with(MASTER_KEY) {
            ". Restore it from a backup, or give its key in DERMAGA_MASTER_KEY"
        } else {
            ". Restore it from a backup, or give another key in JWT_SECRET, which ends all sessions"
        };
        Self {
            path: path.to_owned(),
            message: format!("is damaged: {message}"),
            advice,
        }
    }

    fn of_file(path: &Path, message: String) -> Self {
        Self {
            path: path.to_owned(),
            message,
            advice: "",
        }
    }

    /// Returns the fault without advice, for those who have their own.
    pub fn without_advice(&self) -> String {
        told(&self.path, &self.message)
    }
}

fn told(path: &Path, message: &str) -> String {
    format!("the key file {} {message}", path.display())
}

impl Keys {
    /// Takes the configured keys; makes missing ones in the data folder, readable by the owner
    /// only.
    ///
    /// # Errors
    /// When a key file cannot be read, written or understood.
    pub fn obtain(config: &Config) -> Result<Self, KeysError> {
        let jwt_secrets = if config.jwt_secrets.is_empty() {
            let make = || Zeroizing::new(crypto::random_token());
            vec![kept(&config.data_dir.join(TOKEN_KEY), make)?]
        } else {
            config.jwt_secrets.clone()
        };
        let path = Self::master_key_file(config);
        let texts = if config.master_keys.is_empty() {
            vec![kept(&path, || MasterKey::generate().to_hex())?]
        } else {
            config.master_keys.clone()
        };
        Ok(Self {
            jwt_secrets,
            master_keys: parse(&texts, &path)?,
        })
    }

    /// Returns the file of the master key, which is there where no setting has the key.
    pub fn master_key_file(config: &Config) -> PathBuf {
        config.data_dir.join(MASTER_KEY)
    }

    /// Reads the key of tokens in the data folder where no setting has one, and makes none.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn check_token_key(config: &Config) -> Result<(), KeysError> {
        let path = config.data_dir.join(TOKEN_KEY);
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
        let path = Self::master_key_file(config);
        let texts = if !config.master_keys.is_empty() {
            config.master_keys.clone()
        } else if path.exists() {
            vec![read(&path)?]
        } else {
            return Ok(None);
        };
        parse(&texts, &path).map(Some)
    }
}

fn parse(texts: &[Secret], path: &Path) -> Result<Vec<MasterKey>, KeysError> {
    let keys: Result<Vec<MasterKey>, String> = texts
        .iter()
        .map(|text| MasterKey::parse(text.reveal()))
        .collect();
    // Settings are judged before, and the advice to make a key is for them.
    keys.map_err(|_| KeysError::damaged(path, "it is not 64 hexadecimal digits"))
}

/// Returns the key in the file, which is made when it is not there. When two servers start at once in one
/// folder, the file of the first is used by both.
fn kept(path: &Path, make: impl FnOnce() -> Zeroizing<String>) -> Result<Secret, KeysError> {
    let fault = |message| KeysError::of_file(path, message);
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
    let bytes = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|e| KeysError::of_file(path, format!("cannot be read: {e}")))?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Err(KeysError::damaged(path, "it is not text"));
    };
    if text.trim().len() < dermaga_shop::accounts::MIN_SECRET_BYTES {
        return Err(KeysError::damaged(path, "it is too short"));
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
    fn a_damaged_key_is_not_replaced_and_gets_one_advice() {
        let random = [0xff; 48];
        let no_digits = [b'x'; 64];
        let damages: [(&str, &[u8], &str, &str); 4] = [
            (
                TOKEN_KEY,
                b"",
                "is damaged: it is too short. ",
                "JWT_SECRET",
            ),
            (
                TOKEN_KEY,
                &random,
                "is damaged: it is not text. ",
                "JWT_SECRET",
            ),
            (
                MASTER_KEY,
                b"short",
                "is damaged: it is too short. ",
                "DERMAGA_MASTER_KEY",
            ),
            (
                MASTER_KEY,
                &no_digits,
                "is damaged: it is not 64 hexadecimal digits. ",
                "DERMAGA_MASTER_KEY",
            ),
        ];
        for (name, content, told, setting) in damages {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let error = Keys::obtain(&Config::in_folder(folder.path()).unwrap()).unwrap_err();
            let all = error.to_string();
            assert!(all.contains(told) && all.contains(setting), "{all}");
            assert!(
                !all.contains("remove") && !all.contains("makes one"),
                "{all}"
            );
            let alone = error.without_advice();
            assert!(
                all.starts_with(&alone) && !alone.contains("Restore"),
                "{alone}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }
}
