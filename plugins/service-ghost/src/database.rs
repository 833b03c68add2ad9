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

pub(crate) const fn component(instance: &Instance) -> Component<'_> {
    Component::new(instance, "mysql", "database")
}

/// Renders volume, Service and StatefulSet.
pub(crate) fn manifests(instance: &Instance, shares: &Shares) -> Result<Vec<Value>, Problem> {
    let database = component(instance);
    let data = VolumeClaim::new(&database, shares.database_gib);
    // InnoDB flushes its buffers before it stops.
    let pod = Pod::as_user(USER, container(instance, shares.database, &data)?).grace_seconds(120);
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
    // TCP, because the server answers on its socket only while the image prepares a new database.
    let probe = Probe::command(&[
        "mysqladmin",
        "ping",
        "--host=127.0.0.1",
        "--connect-timeout=4",
        "--silent",
    ]);
    let container = Container::new("mysql", instance.image("database")?, compute)
        .args(settings(compute.memory_mib))
        .port("mysql", PORT)
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
        .scratch("tmp", "/tmp", 256)
        .startup(&probe.clone().every(5).failures(120))
        .readiness(&probe.clone())
        .liveness(&probe.failures(6));
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
