//! `plugin keygen`, `sign` and `verify`: who published a component.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;
use dermaga_runtime::Digest;
use dermaga_shop::plugins::signatures::{PrivateKey, PublicKey, Signature, Trust};
use zeroize::Zeroizing;

use super::{CliError, print};

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// Name of the key: lower-case letters, digits and hyphens.
    name: String,
    /// Folder for the two files.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// Components (`*.wasm`).
    #[arg(value_name = "COMPONENT", required = true)]
    components: Vec<PathBuf>,
    /// The private key, as `plugin keygen` writes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Components (`*.wasm`), each with its signature beside it.
    #[arg(value_name = "COMPONENT", required = true)]
    components: Vec<PathBuf>,
    /// A public key that is believed; may be given several times.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

pub(super) fn keygen(args: &KeygenArgs) -> Result<(), CliError> {
    let key = PrivateKey::generate(&args.name).map_err(CliError::Usage)?;
    let (private, public) = (
        args.out.join(format!("{}.key", args.name)),
        args.out.join(format!("{}.pub", args.name)),
    );
    write_new(&private, &key.reveal(), 0o600)?;
    write_new(&public, &key.public().to_string(), 0o644)?;
    print(&format!(
        "{}: the private key, to sign with; keep it, and keep it secret\n{}: the public key; servers believe it with\n  DERMAGA_PLUGIN_TRUSTED_KEYS={}\n",
        private.display(),
        public.display(),
        key.public()
    ))
}

pub(super) fn sign(args: &SignArgs) -> Result<(), CliError> {
    let key: PrivateKey = read(&args.key)?;
    for component in &args.components {
        let signature = key.sign(digest(component)?);
        let beside = beside(component);
        fs::write(&beside, format!("{signature}\n")).map_err(|error| {
            CliError::Failed(format!("{} cannot be written: {error}", beside.display()))
        })?;
        print(&format!("{}\n", beside.display()))?;
    }
    Ok(())
}

pub(super) fn verify(args: &VerifyArgs) -> Result<(), CliError> {
    let keys: Result<Vec<PublicKey>, CliError> = args.key.iter().map(|path| read(path)).collect();
    let trust = Trust {
        keys: keys?,
        required: true,
    };
    let mut bad = 0;
    for component in &args.components {
        let digest = digest(component)?;
        let beside = beside(component);
        let signature: Option<Signature> = if beside.exists() {
            Some(read(&beside)?)
        } else {
            None
        };
        let verdict = match (trust.admit(digest, signature.as_ref()), signature) {
            (Ok(()), Some(signature)) => format!("signed by {}", signature.key_name()),
            (Ok(()), None) => continue,
            (Err(distrust), _) => {
                bad += 1;
                format!("NOT VERIFIED: {distrust} ({})", distrust.code())
            }
        };
        print(&format!("{}: {verdict}\n", component.display()))?;
    }
    if bad == 0 {
        return Ok(());
    }
    Err(CliError::Check(format!(
        "components that do not verify: {bad}"
    )))
}

fn beside(component: &Path) -> PathBuf {
    component.with_added_extension("sig")
}

fn digest(component: &Path) -> Result<Digest, CliError> {
    let bytes = fs::read(component).map_err(|error| unreadable(component, &error))?;
    Ok(Digest::of(&bytes))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Usage(format!("{} cannot be read: {error}", path.display()))
}

fn read<T: FromStr<Err = String>>(path: &Path) -> Result<T, CliError> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let text = Zeroizing::new(text);
    text.parse()
        .map_err(|why| CliError::Usage(format!("{}: {why}", path.display())))
}

/// A line in a file that is not there yet: a key is never written over.
fn write_new(path: &Path, line: &str, mode: u32) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options
        .open(path)
        .and_then(|mut file| writeln!(file, "{line}").and_then(|()| file.sync_all()));
    written
        .map_err(|error| CliError::Failed(format!("{} cannot be written: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with_key() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let made = KeygenArgs {
            name: "acme".to_owned(),
            out: folder.path().to_owned(),
        };
        keygen(&made).unwrap();
        let component = folder.path().join("some.wasm");
        fs::write(&component, b"a component").unwrap();
        (folder, component)
    }

    fn verified(folder: &Path, component: &Path) -> Result<(), CliError> {
        verify(&VerifyArgs {
            components: vec![component.to_owned()],
            key: vec![folder.join("acme.pub")],
        })
    }

    #[test]
    fn what_is_signed_verifies_until_it_is_changed() {
        let (folder, component) = folder_with_key();
        assert!(verified(folder.path(), &component).is_err());
        let signing = SignArgs {
            components: vec![component.clone()],
            key: folder.path().join("acme.key"),
        };
        sign(&signing).unwrap();
        verified(folder.path(), &component).unwrap();
        fs::write(&component, b"another component").unwrap();
        let error = verified(folder.path(), &component).unwrap_err();
        assert_eq!(error.exit_code(), 1, "{error}");
    }

    #[test]
    fn a_key_is_private_and_never_written_over() {
        let (folder, _) = folder_with_key();
        let key = folder.path().join("acme.key");
        #[cfg(unix)]
        {
            let metadata = fs::metadata(&key).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        let before = fs::read(&key).unwrap();
        let again = KeygenArgs {
            name: "acme".to_owned(),
            out: folder.path().to_owned(),
        };
        assert!(keygen(&again).is_err());
        assert_eq!(fs::read(&key).unwrap(), before);
    }
}
