//! The MySQL 8 server behind Ghost.

use dermaga_plugin_sdk::service::*;

use crate::Shares;

pub(crate) const PASSWORD: &str = "database-password";
pub(crate) const ROOT_PASSWORD: &str = "database-root-password";
/// Name of the database and of the user that Ghost connects as.
pub(crate) const NAME: &str = "ghost";
pub(crate) const PORT: u16 = 3306;
/// The user `mysql` of the image.
const USER: u32 = 999;
/// Makes the data in a folder aside, which is renamed when it is whole: a start that is cut off
/// is then made again.
const MAKE_DATA: &str = r#"
set -eu
trap 'exit 143' TERM
cd /var/lib/mysql
[ ! -d data/mysql ] || exit 0
rm -rf new
umask 077
cat > /tmp/first.sql <<END
CREATE DATABASE \`$MYSQL_DATABASE\`;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
END
mysqld "$@" --datadir=/var/lib/mysql/new --initialize-insecure --init-file=/tmp/first.sql &
wait $!
rm /tmp/first.sql
[ ! -d data ] || rmdir data
sync
mv -T new data
sync
"#;
/// Logs in as Ghost's user into its database, which asks more than a process that answers. A server
/// without a free connection works, so that is no failure.
const LOG_IN: &str = r#"
said=$(MYSQL_PWD="$MYSQL_PASSWORD" mysql --host=127.0.0.1 --connect-timeout=4 --user="$MYSQL_USER" \
  --execute='SELECT 1' "$MYSQL_DATABASE" 2>&1) && exit 0
case $said in
  *"Too many connections"*) exit 0 ;;
esac
printf '%s\n' "$said" >&2
exit 1
"#;

pub(crate) const fn component(instance: &Instance) -> Component<'_> {
    Component::new(instance, "mysql", "database")
}

/// Renders volume, Service and StatefulSet.
pub(crate) fn manifests(instance: &Instance, shares: &Shares) -> Result<Vec<Value>, Problem> {
    let database = component(instance);
    let data = VolumeClaim::new(&database, shares.database_gib);
    // InnoDB flushes its buffers before it stops.
    let pod = Pod::as_user(USER, container(instance, shares.database, &data)?)
        .init(first_start(instance, shares.database, &data)?)
        .grace_seconds(120);
    Ok(vec![
        data.render(),
        Service::new(&database, "mysql", PORT).render(),
        StatefulSet::new(&database, pod).render(),
    ])
}

fn container(
    instance: &Instance,
    compute: Compute,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let answers = Probe::command(&["sh", "-c", LOG_IN.trim()]);
    // TCP, because the entry point may answer on the socket while it makes a database.
    let alive = Probe::command(&[
        "mysqladmin",
        "ping",
        "--host=127.0.0.1",
        "--connect-timeout=4",
        "--silent",
    ]);
    let container = base("mysql", instance, compute, data)?
        .args(settings(compute.memory_mib))
        .port("mysql", PORT)
        .startup(&answers.clone().every(5).failures(120))
        .readiness(&answers)
        .liveness(&alive.failures(6));
    Ok(container)
}

/// Builds the container that makes the data before the server starts.
fn first_start(
    instance: &Instance,
    compute: Compute,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let command = ["bash", "-c", MAKE_DATA.trim(), "first-start"].map(str::to_owned);
    let container = base("first-start", instance, compute, data)?
        .command(command)
        .args(settings(compute.memory_mib));
    Ok(container)
}

/// Builds a container with the server's image, names and directories.
fn base(
    name: &str,
    instance: &Instance,
    compute: Compute,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let container = Container::new(name, instance.image("database")?, compute)
        .env("MYSQL_DATABASE", NAME)
        .env("MYSQL_USER", NAME)
        .secret_env("MYSQL_PASSWORD", &instance.secret(PASSWORD)?)
        .secret_env("MYSQL_ROOT_PASSWORD", &instance.secret(ROOT_PASSWORD)?)
        // Ghost keeps its times in UTC.
        .env("MYSQL_INITDB_SKIP_TZINFO", "1")
        // The administrator connects from inside the pod only.
        .env("MYSQL_ROOT_HOST", "localhost")
        .volume("data", "/var/lib/mysql", data)
        .scratch("run", "/var/run/mysqld", 16)
        .scratch("tmp", "/tmp", 256);
    Ok(container)
}

/// Returns options for one small site: no replication, no instrumentation, buffers that fit.
fn settings(memory_mib: u32) -> [String; 8] {
    [
        // A folder of its own: the volume's root may hold `lost+found`, and a new database must
        // start empty.
        "--datadir=/var/lib/mysql/data".to_owned(),
        format!("--innodb-buffer-pool-size={}M", (memory_mib / 4).max(64)),
        "--innodb-redo-log-capacity=64M".to_owned(),
        "--max-connections=40".to_owned(),
        "--table-open-cache=400".to_owned(),
        "--performance-schema=OFF".to_owned(),
        "--skip-log-bin".to_owned(),
        "--mysqlx=OFF".to_owned(),
    ]
}
