//! Files that are kept for good: in a folder, or in a bucket that several servers share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig, aws::AmazonS3Builder,
    local::LocalFileSystem, path::Path,
};

use crate::{
    Code, Error, Result,
    crypto::{self, Secret},
    text,
};

/// Longest time for one request to a bucket.
const REQUEST: Duration = Duration::from_secs(15);
/// Longest time for connecting to it.
const CONNECT: Duration = Duration::from_secs(5);
/// Requests after one that failed, and the time that all of them have.
const RETRIES: usize = 2;
const RETRY_FOR: Duration = Duration::from_secs(10);

/// Settings of where files are kept.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A folder or `s3://bucket/prefix`; `None` for a folder in the data folder.
    pub place: Option<Place>,
    /// Address of a service that speaks S3; `None` for Amazon's own.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key: Option<Secret>,
    pub secret_key: Option<Secret>,
}

/// Place of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    Bucket {
        name: String,
        /// Beginning of all names in it; may be empty.
        prefix: String,
    },
}

impl Place {
    /// Reads the path of a folder, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// A sentence that completes the setting's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return if text.contains("://") {
                Err("must be a folder, or s3://bucket/prefix".to_owned())
            } else {
                Ok(Self::Folder(text.into()))
            };
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
        };
        if !(3..=63).contains(&name.len()) || !name.bytes().all(allowed) {
            let message = "must name a bucket of 3 to 63 lower-case letters, digits, hyphens and dots, as s3://bucket/prefix";
            return Err(message.to_owned());
        }
        Path::parse(prefix.trim_matches('/'))
            .map_err(|_| "must have a prefix without empty or special parts".to_owned())?;
        Ok(Self::Bucket {
            name: name.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }
}

/// The files of the shop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    /// Beginning of all names in a bucket.
    prefix: Path,
    /// Absent for a bucket.
    folder: Option<PathBuf>,
}

impl Files {
    /// Opens the place of files, and makes its folder.
    ///
    /// # Errors
    /// When the folder cannot be made or the settings of the bucket do not fit.
    pub fn open(settings: &Settings, otherwise: PathBuf) -> Result<Self> {
        let place = settings.place.clone();
        match place.unwrap_or(Place::Folder(otherwise)) {
            Place::Folder(folder) => Self::in_folder(folder),
            Place::Bucket { name, prefix } => Self::in_bucket(settings, name, &prefix),
        }
    }

    fn in_folder(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|error| unusable(&folder.display(), error))?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| unusable(&folder.display(), error))?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::default(),
            folder: Some(folder),
        })
    }

    fn in_bucket(settings: &Settings, name: String, prefix: &str) -> Result<Self> {
        let place = format!("s3://{name}");
        let options = ClientOptions::new()
            .with_timeout(REQUEST)
            .with_connect_timeout(CONNECT)
            .with_allow_http(true);
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&settings.region)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            // Requests are signed by the key alone, and errors name the address.
            builder = builder.with_endpoint(text::without_user(endpoint));
        }
        if let Some(key) = &settings.access_key {
            builder = builder.with_access_key_id(key.reveal());
        }
        if let Some(key) = &settings.secret_key {
            builder = builder.with_secret_access_key(key.reveal());
        }
        let store = builder.build().map_err(|error| unusable(&place, error))?;
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::parse(prefix).map_err(|error| unusable(&place, error))?,
            folder: None,
        })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Keeps a file under a name, which is durable when this returns.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the place does not take it.
    pub async fn put(&self, name: &str, content: Vec<u8>) -> Result<()> {
        let (path, content) = (self.path(name), PutPayload::from(content));
        self.store.put(&path, content).await.map_err(away)?;
        Ok(())
    }

    /// Returns the content of a file.
    ///
    /// # Errors
    /// `NOT_FOUND` when it is not there; `UNAVAILABLE` when the place does not answer.
    pub async fn get(&self, name: &str) -> Result<Vec<u8>> {
        let found = match self.store.get(&self.path(name)).await {
            Ok(found) => found,
            Err(error @ object_store::Error::NotFound { .. }) => {
                return Err(Error::not_found("file").caused_by(error));
            }
            Err(error) => return Err(away(error)),
        };
        let content = found.bytes().await.map_err(away)?;
        Ok(content.to_vec())
    }

    /// Keeps a small file, reads it again and removes it.
    ///
    /// # Errors
    /// `UNAVAILABLE` with what could not be done.
    pub async fn probe(&self) -> Result<()> {
        let name = format!("probe-{}", crypto::random_hex(8));
        let content = crypto::random_bytes::<32>().to_vec();
        self.put(&name, content.clone()).await?;
        let read = self.get(&name).await;
        self.delete(&name).await?;
        if read? == content {
            return Ok(());
        }
        let message = "The content read back is not the content written.";
        Err(Error::new(Code::Unavailable, message))
    }

    /// Removes a file, and what is left of one that was being written when its server died. One that
    /// is not there is removed already.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the place does not answer.
    pub async fn delete(&self, name: &str) -> Result<()> {
        if let Some(folder) = &self.folder {
            // Written under this name first, then renamed.
            let half = folder.join(format!("{name}#1"));
            match tokio::fs::remove_file(half).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(away(error));
                }
                _ => {}
            }
        }
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

fn away(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let message = "The place of attachments does not answer. Try again in a moment.";
    Error::new(Code::Unavailable, message)
        .retry_after(5)
        .caused_by(error)
}

fn unusable(
    place: &dyn std::fmt::Display,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let error = error.into();
    let message = format!("{place} cannot be used: {error}. Check DERMAGA_ATTACHMENTS.");
    Error::new(Code::Unavailable, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        let folder = Place::Folder("/var/lib/files".into());
        assert_eq!(Place::parse("/var/lib/files").unwrap(), folder);
        let bucket = |prefix: &str| Place::Bucket {
            name: "toko-1".to_owned(),
            prefix: prefix.to_owned(),
        };
        assert_eq!(Place::parse("s3://toko-1").unwrap(), bucket(""));
        assert_eq!(Place::parse("s3://toko-1/a/b/").unwrap(), bucket("a/b"));
        for wrong in [
            "s3://",
            "s3://To",
            "s3://toko_1",
            "s3://toko/a//b",
            "gs://toko",
            "s3://toko/../x",
        ] {
            let message = Place::parse(wrong).unwrap_err();
            assert!(message.starts_with("must "), "{wrong}: {message}");
        }
    }

    /// The error names the address, for the log and for `doctor`.
    #[tokio::test]
    async fn an_address_that_fails_is_named_without_its_user() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let settings = Settings {
            place: Some(Place::parse("s3://toko").unwrap()),
            endpoint: Some(format!("http://toko:rahasia@{address}")),
            region: "us-east-1".to_owned(),
            access_key: Some(Secret::new("kunci")),
            secret_key: Some(Secret::new("gembok")),
        };
        let files = Files::open(&settings, PathBuf::new()).unwrap();
        let error = files.get("a").await.unwrap_err();
        let told = format!("{:?}", error.source);
        assert!(told.contains(&address.to_string()), "{told}");
        assert!(!told.contains("rahasia"), "{told}");
    }

    #[tokio::test]
    async fn a_folder_keeps_a_file_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(&Settings::default(), folder.path().join("files")).unwrap();
        assert_eq!(files.get("a/b").await.unwrap_err().code, Code::NotFound);
        files.put("a/b", b"content".to_vec()).await.unwrap();
        assert_eq!(files.get("a/b").await.unwrap(), b"content");
        // The rest of one that was being written.
        let half = folder.path().join("files/a/b#1");
        std::fs::write(&half, "con").unwrap();
        files.delete("a/b").await.unwrap();
        assert!(!half.exists());
        assert_eq!(files.get("a/b").await.unwrap_err().code, Code::NotFound);
        files.delete("a/b").await.unwrap();
    }
}
