//! Secrets: generated once per instance, or given by its customer; kept sealed, opened only where they are needed.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dermaga_runtime::{
    contract::{SecretKind, SecretSpec},
    gate::INSTANCE_LABEL,
};
use serde_json::{Value, json};

use super::{given, model::Instance, store};
use crate::{
    Error, Result,
    cluster::owner_labels,
    crypto::{self, Hidden, Vault},
    db::Conn,
    ids::InstanceId,
};

/// Secrets that the host keeps for an instance, by key.
pub(super) type Secrets = BTreeMap<String, Hidden>;

/// Makes and seals one secret of an instance.
pub(super) async fn generate(
    conn: &mut Conn,
    vault: &Vault,
    instance_id: InstanceId,
    spec: &SecretSpec,
) -> Result<()> {
    let size = |wanted: u32| usize::try_from(wanted).map_err(Error::internal);
    let value = match spec.kind {
        SecretKind::Password(length) => crypto::random_password(size(length)?),
        SecretKind::HexBytes(bytes) => crypto::random_hex(size(bytes)?),
    };
    keep(conn, vault, (instance_id, &spec.name), &value).await
}

/// Seals one value as a secret of an instance.
pub(super) async fn keep(
    conn: &mut Conn,
    vault: &Vault,
    (instance_id, name): (InstanceId, &str),
    value: &str,
) -> Result<()> {
    let sealed = vault.seal(value.as_bytes(), &associated(instance_id, name))?;
    store::insert_secret(conn, instance_id, name, &sealed).await?;
    Ok(())
}

/// Opens the secrets of an instance that its configuration is about.
///
/// # Errors
/// When the master key is another than the one they were sealed with.
pub async fn open(conn: &mut Conn, vault: &Vault, instance: &Instance) -> Result<Secrets> {
    let mut secrets = Secrets::new();
    for (name, sealed) in store::secrets(conn, instance.id).await? {
        let plain = vault.open(&sealed, &associated(instance.id, &name))?;
        let plain = String::from_utf8(plain).map_err(Error::internal)?;
        secrets.insert(name, plain.into());
    }
    Ok(given::resolve(secrets, &instance.config.0))
}

/// Returns the number of secrets of instances, and of those that no key of the vault opens.
///
/// # Errors
/// When the database does not answer.
pub async fn unreadable(conn: &mut Conn, vault: &Vault) -> Result<(usize, usize)> {
    let sealed = store::secrets_in_use(conn).await?;
    let opens = |(id, name, value): &&(InstanceId, String, Vec<u8>)| {
        vault.open(value, &associated(*id, name)).is_ok()
    };
    let readable = sealed.iter().filter(opens).count();
    Ok((sealed.len(), sealed.len().saturating_sub(readable)))
}

/// Binds a sealed value to its place, so that rows cannot be swapped.
fn associated(instance_id: InstanceId, name: &str) -> Vec<u8> {
    format!("instance-secret:{instance_id}:{name}").into_bytes()
}

/// The Secret object that the host writes for an instance.
pub(super) fn manifest(instance: &Instance, secrets: &Secrets) -> Value {
    let mut labels = owner_labels(instance.user_id);
    labels.insert(INSTANCE_LABEL.to_owned(), instance.name.clone());
    let data: BTreeMap<_, _> = secrets
        .iter()
        .map(|(name, value)| (name, STANDARD.encode(value.as_bytes())))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": instance.secret_object(), "namespace": instance.namespace, "labels": labels},
        "type": "Opaque",
        "data": data,
    })
}
