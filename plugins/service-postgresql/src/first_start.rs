//! The first start, which makes the data or leaves nothing that looks like data.

use dermaga_plugin_sdk::service::*;

use crate::{Config, base};

/// Makes the data in a folder aside, which is renamed when it is whole: a start that is cut off
/// is then made again. Logins from outside need the password; inside the pod, the socket does not.
const MAKE_DATA: &str = r#"
set -eu
trap 'exit 143' TERM
[ ! -s "$PGDATA/PG_VERSION" ] || exit 0
new=${PGDATA%/*}/new
rm -rf "$new"
umask 077
printf '%s\n' "$POSTGRES_PASSWORD" > /tmp/password
initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile=/tmp/password --data-checksums \
  --auth-local=peer --auth-host=scram-sha-256 &
wait $!
rm /tmp/password
printf '%s\n' 'local all all peer map=pod' 'host all all all scram-sha-256' > "$new/pg_hba.conf"
printf '%s\n' "pod /^.*\$ $POSTGRES_USER" > "$new/pg_ident.conf"
printf '%s\n' "CREATE DATABASE \"$POSTGRES_DB\"" > /tmp/database.sql
postgres --single -D "$new" postgres < /tmp/database.sql &
wait $!
[ ! -d "$PGDATA" ] || rmdir "$PGDATA"
sync
mv -T "$new" "$PGDATA"
sync
"#;

/// Builds the container that makes the data before the server starts.
pub(crate) fn container(
    instance: &Instance,
    config: &Config,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let command = ["bash", "-c", MAKE_DATA.trim()].map(str::to_owned);
    Ok(base("first-start", instance, config, data)?.command(command))
}
