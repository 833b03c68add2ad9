//! Signing secrets: made by the shop, shown once, kept sealed.

use crate::{
    Error, Result,
    crypto::{Secret, Vault},
    db::{Clock, Conn, new_id},
    ids::WebhookId,
};

use super::{signing, store};

/// Makes, seals and stores the secret that signs from now on; returns it.
pub(super) async fn make(
    conn: &mut Conn,
    clock: &Clock,
    vault: &Vault,
    webhook_id: WebhookId,
) -> Result<Secret> {
    let secret = signing::new_secret();
    let sealed = vault.seal(secret.reveal().as_bytes(), &associated(webhook_id))?;
    store::insert_secret(conn, new_id(clock), webhook_id, &sealed, clock.now()).await?;
    Ok(secret)
}

/// Opens the secrets that sign, the newest first.
pub(super) fn open_all(
    vault: &Vault,
    webhook_id: WebhookId,
    sealed: Vec<(Vec<u8>,)>,
) -> Result<Vec<Secret>> {
    let open = |(sealed,): (Vec<u8>,)| {
        let plain = vault.open(&sealed, &associated(webhook_id))?;
        String::from_utf8(plain)
            .map(Secret::new)
            .map_err(Error::internal)
    };
    sealed.into_iter().map(open).collect()
}

/// Binds a sealed secret to its endpoint, so that rows cannot be swapped.
fn associated(webhook_id: WebhookId) -> Vec<u8> {
    format!("webhook-secret:{webhook_id}").into_bytes()
}
