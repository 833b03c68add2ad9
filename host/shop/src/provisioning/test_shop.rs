//! A shop on a real database with one service, the servers that work for it, and their cluster.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dermaga_runtime::contract;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use sqlx::types::Json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Choice, Classes, Desired, Handle, Instance, NewInstance, Provisioner, Status, Worker,
    change_plan, create, directory::Directory, recipe, reconciler::Reconciler, render, secrets,
    store, terminate, test_service::Scripted,
};
use crate::{
    catalog::Sizes,
    crypto::{MasterKey, Vault},
    db::{Clock, Conn, Db},
    execute, fetch_all, fetch_one,
    identity::Identity,
    ids::{PlanId, UserId},
    test_database::TestDatabase,
};

pub(super) const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A shop with one service, one plan and one customer.
pub(super) struct Shop {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) vault: Arc<Vault>,
    pub(super) services: Scripted,
    user_id: UserId,
    plan_id: PlanId,
    /// Time for which an instance must be at fault before it is restarted.
    pub(super) patience: Duration,
    database: TestDatabase,
    /// Forced on what is applied to a cluster.
    pub(super) classes: Classes,
}

impl Shop {
    pub(super) async fn open(image: &str) -> Self {
        let database = TestDatabase::open().await;
        let plugin = ("service-test", "service");
        database.install(plugin, DIGEST, b"").await;
        Self {
            db: database.db.clone(),
            clock: database.clock.clone(),
            vault: Arc::new(Vault::new(&[MasterKey::generate()])),
            services: Scripted::default(),
            patience: Duration::from_secs(3600),
            user_id: database.user_id,
            plan_id: database.sell("service-test", image).await,
            database,
            classes: Classes::default(),
        }
    }

    /// Adds a customer.
    pub(super) async fn customer(&self, email: &str) -> UserId {
        self.database.account(email, "USER").await
    }

    /// Buys one instance.
    pub(super) async fn buy(&self) -> Instance {
        self.buy_as(self.user_id).await
    }

    /// Buys one instance for a customer.
    pub(super) async fn buy_as(&self, user_id: UserId) -> Instance {
        let bought = (self.plan_id, "ACTIVE", self.clock.now());
        let subscription_id = self.database.subscribe_as(user_id, bought).await;
        let mut conn = self.db.begin().await.unwrap();
        let sql = "SELECT images FROM services";
        let (images,) = fetch_one!(&mut conn, (Json<BTreeMap<String, String>>,), sql).unwrap();
        let sizes =
            "SELECT cpu_millis, memory_mib, storage_gib, replicas FROM service_plans WHERE id = $1";
        let sizes = fetch_one!(&mut conn, Sizes, sizes, self.plan_id).unwrap();
        let new = NewInstance {
            subscription_id,
            user_id,
            plan_id: self.plan_id,
            service: "test".to_owned(),
            plugin_digest: DIGEST.to_owned(),
            settings: contract::Settings::new(),
            images: images.0,
            sizes,
            config: json!({}),
            secrets: vec![contract::SecretSpec {
                name: "password".to_owned(),
                kind: contract::SecretKind::Password(24),
                purpose: "To log in.".to_owned(),
            }],
            given: [].into(),
            base_domain: Some("apps.localhost".to_owned()),
        };
        let instance = create(&mut conn, &self.clock, &self.vault, new)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        instance
    }

    pub(super) async fn cancel(&self, instance: &Instance) {
        let mut conn = self.db.begin().await.unwrap();
        terminate(&mut conn, &self.clock, instance.subscription_id)
            .await
            .unwrap();
        conn.commit().await.unwrap();
    }

    /// Puts another recipe into an instance.
    pub(super) async fn change(&self, conn: &mut Conn, seen: &Instance, recipe: recipe::Recipe) {
        let preview = recipe::Preview {
            recipe,
            new_secrets: Vec::new(),
            given: [].into(),
            difference: recipe::diff::Difference::default(),
        };
        let parts = (&self.clock, &*self.vault);
        let changed = recipe::change(conn, parts, seen, &preview, "Being changed.").await;
        assert!(changed.unwrap());
    }

    /// Brings an instance to the present size of its plan, as an upgrade does.
    pub(super) async fn upgrade(&self, instance: &Instance) {
        let mut conn = self.db.begin().await.unwrap();
        let id = instance.subscription_id;
        change_plan(&mut conn, &self.clock, id, self.plan_id, "Being moved.")
            .await
            .unwrap();
        conn.commit().await.unwrap();
    }

    /// Renders an instance with this much storage.
    pub(super) async fn rendered(&self, instance: &Instance, storage_gib: i64) -> Vec<Value> {
        let mut conn = self.db.read().await.unwrap();
        let mut terms = store::terms(&mut conn, instance.id).await.unwrap();
        terms.sizes.storage_gib = storage_gib;
        let secrets = secrets::open(&mut conn, &self.vault, instance)
            .await
            .unwrap();
        let inputs = render::RenderInputs {
            instance,
            terms: &terms,
            secrets: &secrets,
            classes: &self.classes,
            domains: &[],
            recorded: None,
        };
        render::render(&self.services, inputs)
            .await
            .unwrap()
            .objects
    }

    /// Changes the desired state of an instance, as a later request would.
    pub(super) async fn set_desired(&self, instance: &Instance, desired: Desired) {
        let mut conn = self.db.begin().await.unwrap();
        let sql = "UPDATE instances SET desired = $1, generation = generation + 1, next_attempt_at = $2 WHERE id = $3";
        execute!(conn, sql, desired, self.clock.now(), instance.id).unwrap();
        conn.commit().await.unwrap();
    }

    pub(super) fn files(&self) -> PathBuf {
        self.database.folder.path().join("manifests")
    }

    /// Leads to a closed port.
    pub(super) fn closed_kubeconfig(&self) -> PathBuf {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let path = self.database.folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "users": [{"name": "a", "user": {"token": "t"}}],
            "clusters": [{"name": "a", "cluster": {"server": format!("https://{closed}")}}],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    pub(super) fn in_folder(&self) -> Provisioner {
        Provisioner::Directory(Directory::new(self.files(), None))
    }

    pub(super) fn server(&self, provisioner: Provisioner) -> Server {
        self.server_as(provisioner, Identity::passing(&self.clock))
    }

    /// Returns what a server does its passes with, without the server.
    pub(super) fn reconciler(&self, provisioner: Provisioner) -> Reconciler<Scripted> {
        Reconciler {
            db: self.db.clone(),
            clock: self.clock.clone(),
            vault: Arc::clone(&self.vault),
            services: self.services.clone(),
            provisioner,
            classes: self.classes.clone(),
            ingress_namespace: "ingress-nginx".to_owned(),
            resync: Duration::from_secs(3600),
            patience: self.patience,
            rollout: Duration::from_secs(600),
            turns: super::tenancy::Turns::default(),
            looks: super::rest::FullLooks::default(),
        }
    }

    pub(super) fn server_as(&self, provisioner: Provisioner, identity: Identity) -> Server {
        let reconciler = self.reconciler(provisioner);
        let (handle, worker) = Worker::new(reconciler, 4, Arc::new(identity));
        let cancel = CancellationToken::new();
        Server {
            handle,
            task: tokio::spawn(worker.run(cancel.clone())),
            cancel,
        }
    }

    pub(super) async fn now(&self, instance: &Instance) -> Instance {
        store::instance(&mut self.db.read().await.unwrap(), instance.id)
            .await
            .unwrap()
            .unwrap()
    }

    /// Waits until the instance is as wanted.
    pub(super) async fn until(
        &self,
        instance: &Instance,
        wanted: impl Fn(&Instance) -> bool,
    ) -> Instance {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let now = self.now(instance).await;
            if wanted(&now) {
                return now;
            }
            assert!(
                Instant::now() < deadline,
                "still {}: {}",
                now.status,
                now.message
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn is(&self, instance: &Instance, status: Status) -> Instance {
        self.until(instance, |now| now.status == status).await
    }

    /// The message of the open alert about an instance.
    pub(super) async fn alert(&self, instance: &Instance) -> String {
        let sql = "SELECT message FROM alerts WHERE subject = $1 AND resolved_at IS NULL";
        let mut conn = self.db.read().await.unwrap();
        let alerts = fetch_all!(conn, (String,), sql, &instance.name).unwrap();
        let alerts: Vec<_> = alerts.into_iter().map(|(message,)| message).collect();
        alerts.join("; ")
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        self.database.number(sql).await
    }
}

/// A worker that runs.
pub(super) struct Server {
    pub(super) handle: Handle,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// Returns the access of the server to a cluster: with no more rights than it needs in the one that
/// `DERMAGA_TEST_SERVER_KUBECONFIG` is for.
fn of_server(kubeconfig: &Path) -> PathBuf {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let is_shared = path("DERMAGA_TEST_KUBECONFIG").is_some_and(|shared| shared == kubeconfig);
    let limited = path("DERMAGA_TEST_SERVER_KUBECONFIG").filter(|_| is_shared);
    limited.unwrap_or_else(|| kubeconfig.to_owned())
}

pub(super) async fn in_cluster(kubeconfig: &Path) -> (Provisioner, Client) {
    let provisioner = Provisioner::select(
        Choice::Kubernetes,
        Some(of_server(kubeconfig)),
        Directory::new(PathBuf::new(), None),
        false,
    )
    .await
    .unwrap();
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    (provisioner, Client::try_from(config).unwrap())
}

pub(super) const GOOD_IMAGE: &str = "docker.io/library/app:1.0";
