//! The reconciler on a real database, with a scripted service.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use dermaga_runtime::contract::{self, Answer, Health, HealthState, Observation};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    sync::MutexGuard,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{directory::Directory, model::Cause, reconciler::Reconciler, *};
use crate::{
    catalog::Sizes,
    crypto::MasterKey,
    db::Term,
    execute, fetch_all, fetch_one,
    ids::{PlanId, UserId},
    plugins::{Decided, Decision},
    test_cluster::named_by,
    test_database::TestDatabase,
};

const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A service whose answers a test decides.
#[derive(Debug, Clone, Default)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
pub(super) struct Script {
    /// Objects of an instance, where they are others than usual.
    pub(super) render: Option<fn(&contract::Instance) -> Vec<Value>>,
    /// Calls of `manifests` by instance.
    calls: HashMap<String, usize>,
    /// Instances being rendered now.
    busy: Vec<String>,
    /// Instances that were being rendered twice at once.
    doubled: Vec<String>,
    pub(super) delay: Duration,
    pub(super) problem: Option<String>,
}

impl Scripted {
    pub(super) fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn enter(&self, name: &str) -> Duration {
        let mut script = self.script();
        *script.calls.entry(name.to_owned()).or_default() += 1;
        if script.busy.iter().any(|busy| busy == name) {
            script.doubled.push(name.to_owned());
        }
        script.busy.push(name.to_owned());
        script.delay
    }

    fn leave(&self, name: &str) -> Option<String> {
        let mut script = self.script();
        script.busy.retain(|busy| busy != name);
        script.problem.clone()
    }
}

impl Services for Scripted {
    async fn manifests(
        &self,
        digest: &str,
        input: contract::Instance,
        user_id: UserId,
    ) -> Result<Decided<Answer<Vec<Value>>>> {
        let delay = self.enter(&input.name);
        sleep(delay).await;
        let value = match self.leave(&input.name) {
            Some(message) => Answer::Problems(vec![contract::Problem {
                field: String::new(),
                message,
            }]),
            None => Answer::Ok(self.script().render.unwrap_or(objects)(&input)),
        };
        let clock = Clock::system();
        let decision = Decision {
            id: new_id(&clock),
            digest: digest.to_owned(),
            plugin_id: "service-test".to_owned(),
            plugin_version: "1.0.0".to_owned(),
            contract: contract::CONTRACT,
            function: "manifests",
            subject: user_id.into(),
            input: dermaga_runtime::canonical_json(&serde_json::to_value(&input).unwrap()),
            output: Some(dermaga_runtime::canonical_json(
                &serde_json::to_value(&value).unwrap(),
            )),
            failure: None,
            logs: "[]".to_owned(),
            fuel: 1,
            duration_us: 1,
            at: clock.now(),
        };
        Ok(Decided { value, decision })
    }

    async fn health(&self, _digest: &str, input: Observation) -> Result<Health> {
        let ready = |object: &Value| {
            object
                .pointer("/status/readyReplicas")
                .and_then(Value::as_u64)
                == Some(1)
        };
        let has_secret = input
            .observed
            .iter()
            .any(|object| object["kind"] == "Secret");
        assert!(!has_secret, "a plugin saw a Secret object");
        let (state, message) = if input.observed.iter().any(ready) {
            (HealthState::Ready, "Ready.")
        } else {
            (HealthState::Starting, "Waiting for it to start.")
        };
        Ok(Health {
            state,
            message: message.to_owned(),
        })
    }
}

pub(super) fn objects(instance: &contract::Instance) -> Vec<Value> {
    let name = &instance.name;
    let labels = json!({"app.kubernetes.io/name": name});
    let size = json!({"cpu": "100m", "memory": "64Mi"});
    let container = json!({
        "name": "app",
        "image": instance.images[0].reference,
        "resources": {"requests": size, "limits": size},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": instance.secret_object, "key": "password"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"greeting": "hello"}}),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": format!("{name}-data")},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        "volumes": [
                            {"name": "data", "persistentVolumeClaim": {"claimName": format!("{name}-data")}},
                        ],
                    },
                },
            },
        }),
    ]
}

/// A shop with one service, one plan and one customer.
pub(super) struct Shop {
    pub(super) db: Db,
    pub(super) clock: Clock,
    vault: Arc<Vault>,
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

    /// Buys one instance.
    pub(super) async fn buy(&self) -> Instance {
        let end = self.clock.now();
        let subscription_id = self.database.subscribe(self.plan_id, "ACTIVE", end).await;
        let mut conn = self.db.begin().await.unwrap();
        let sql = "SELECT images FROM services";
        let (images,) = fetch_one!(&mut conn, (Json<BTreeMap<String, String>>,), sql).unwrap();
        let sizes =
            "SELECT cpu_millis, memory_mib, storage_gib, replicas FROM service_plans WHERE id = $1";
        let sizes = fetch_one!(&mut conn, Sizes, sizes, self.plan_id).unwrap();
        let new = NewInstance {
            subscription_id,
            user_id: self.user_id,
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

    fn files(&self) -> PathBuf {
        self.database.folder.path().join("manifests")
    }

    /// Leads to a closed port.
    fn closed_kubeconfig(&self) -> PathBuf {
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
        Provisioner::Directory(Directory::new(self.files()))
    }

    pub(super) fn server(&self, provisioner: Provisioner) -> Server {
        self.server_as(provisioner, Identity::passing(&self.clock))
    }

    fn server_as(&self, provisioner: Provisioner, identity: Identity) -> Server {
        let reconciler = Reconciler {
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
        };
        let (handle, worker) = Worker::new(reconciler, 4, identity);
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
        PathBuf::new(),
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

/// A control plane whose API server a test may stop and start again: a folder with `apiserver.sh`,
/// `pids/2-apiserver.pid` and `admin.kubeconfig`. Its nodes survive that. One test has it at a time.
pub(super) struct ControlPlane(
    PathBuf,
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl ControlPlane {
    /// Waits for its turn; returns nothing when no control plane is named.
    pub(super) async fn take() -> Option<Self> {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let folder = named_by("DERMAGA_TEST_CONTROL_PLANE")?;
        Some(Self(folder, TURN.lock().await))
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.0.join("admin.kubeconfig")
    }

    fn pid_file(&self) -> PathBuf {
        self.0.join("pids/2-apiserver.pid")
    }

    pub(super) fn kill(&self) {
        let pid = std::fs::read_to_string(self.pid_file()).unwrap();
        let killed = std::process::Command::new("kill")
            .args(["-9", pid.trim()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    pub(super) fn start(&self) {
        let log = std::fs::File::create(self.0.join("logs/2-apiserver.log")).unwrap();
        let started = std::process::Command::new("setsid")
            .arg(self.0.join("apiserver.sh"))
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .spawn();
        std::fs::write(self.pid_file(), started.unwrap().id().to_string()).unwrap();
    }
}

pub(super) const GOOD_IMAGE: &str = "docker.io/library/app:1.0";

#[tokio::test]
async fn a_folder_holds_what_was_bought_until_it_is_cancelled() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    server.handle.wake();
    let running = shop.is(&instance, Status::Written).await;
    let folder = shop.files().join(&instance.namespace).join(&instance.name);
    assert_eq!(
        running.message,
        "Its manifests are written and wait to be applied."
    );
    assert!(running.ready_at.is_some() && running.last_ran_at.is_some());
    assert_eq!((running.observed_generation, running.failures), (1, 0));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
    let mut conn = shop.db.read().await.unwrap();
    let secret = secret_manifest(&mut conn, &shop.vault, &instance.name)
        .await
        .unwrap();
    assert_eq!(secret["metadata"]["name"], instance.secret_object());
    assert!(secret["data"]["password"].as_str().unwrap().len() >= 24);
    drop(conn);
    shop.cancel(&instance).await;
    let gone = shop.is(&instance, Status::Terminated).await;
    assert!(gone.applied.is_empty() && !folder.parent().unwrap().exists());
    assert_eq!((gone.generation, gone.observed_generation), (2, 2));
    let sql = "SELECT kind FROM instance_events ORDER BY created_at, id";
    let events: Vec<(String,)> = fetch_all!(shop.db.read().await.unwrap(), (String,), sql).unwrap();
    let events: Vec<_> = events.iter().map(|(kind,)| kind.as_str()).collect();
    assert_eq!(events, ["PENDING", "WRITTEN", "TERMINATING", "TERMINATED"]);
    server.stop().await;
}

#[tokio::test]
async fn the_same_rendering_is_asked_for_and_recorded_once() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    shop.is(&instance, Status::Written).await;
    shop.set_desired(&instance, Desired::Stopped).await;
    let stopped = shop.is(&instance, Status::Stopped).await;
    assert_eq!(shop.services.script().calls[&instance.name], 1);
    assert_eq!(shop.count("SELECT count(*) FROM decisions").await, 1);
    assert!(stopped.manifests_decision_id.is_some());
    let folder = shop.files().join(&instance.namespace).join(&instance.name);
    let deployment = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let deployment = deployment
        .into_iter()
        .find(|path| path.to_string_lossy().contains("-deployment-"))
        .unwrap();
    assert!(
        std::fs::read_to_string(deployment)
            .unwrap()
            .contains("replicas: 0")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_names_the_plugin_and_its_reason_and_is_tried_again() {
    let shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().problem = Some("The time zone is unknown.".to_owned());
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    let failed = shop.is(&instance, Status::Failed).await;
    assert_eq!(
        failed.message,
        "The plugin service-test 1.0.0 cannot make this service: The time zone is unknown."
    );
    assert_eq!(failed.failures, 1);
    assert!(failed.next_attempt_at > shop.clock.now());
    server.stop().await;
}

#[tokio::test]
async fn images_the_template_does_not_name_are_refused_by_the_gate() {
    let shop = Shop::open("docker.io/library/app:latest").await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    let failed = shop.is(&instance, Status::Failed).await;
    assert_eq!(
        failed.message,
        "The plugin service-test 1.0.0 asks for what is not allowed."
    );
    // The rule that it breaks is for administrators.
    assert!(shop.alert(&instance).await.contains("GATE_"));
    assert!(
        !shop
            .files()
            .join(&instance.namespace)
            .join(&instance.name)
            .exists()
    );
    server.stop().await;
}

/// Another controller's changes are corrected later and later, and the alert names who changes
/// what; when that controller stops, the alert ends.
#[tokio::test]
async fn a_fight_is_told_and_left_alone_for_longer_and_longer() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let other = crate::cluster::Contested {
        object: crate::cluster::ObjectRef::new("apps/v1", "Deployment", "shop"),
        field: ".spec.replicas".to_owned(),
        manager: "keda-operator".to_owned(),
    };
    let pass = async |fields: &[crate::cluster::Contested]| {
        let now = shop.clock.now();
        let mut conn = shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET next_attempt_at = $1, lease_until = NULL WHERE id = $2";
        execute!(conn, sql, now, instance.id).unwrap();
        let until = now + reconciler::LEASE;
        let term = Term { now, until };
        let leases = store::PASSES.claim_due(&mut conn, &shop.clock, term, 1);
        let lease = leases.await.unwrap().remove(0);
        conn.commit().await.unwrap();
        let seen = shop.now(&instance).await;
        let decider = status::StatusDecider {
            seen: &seen,
            now,
            resync: Duration::from_secs(600),
        };
        let new_status = decider.contested(decider.written(), fields);
        let next = now + new_status.after;
        let mut conn = shop.db.begin().await.unwrap();
        // A change that is seen in the cluster during the pass does not shorten the wait.
        store::touch(&mut conn, &seen.name, now).await.unwrap();
        store::finish(&mut conn, &lease, &seen, &new_status, now, next)
            .await
            .unwrap();
        attention::tell(&mut conn, &shop.clock, &seen, &new_status)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        new_status.after.as_secs()
    };
    let touched = async || {
        let mut conn = shop.db.begin().await.unwrap();
        let soon = shop.clock.now();
        let rows = store::touch(&mut conn, &instance.name, soon).await.unwrap();
        conn.rollback().await.unwrap();
        rows
    };
    for wait in [4, 8, 16] {
        let length = chrono::TimeDelta::seconds(wait);
        let waits = pass(std::slice::from_ref(&other)).await;
        assert_eq!(waits, u64::try_from(wait).unwrap());
        let left = shop.now(&instance).await.next_attempt_at - shop.clock.now();
        assert!(left <= length && left > length - chrono::TimeDelta::seconds(1));
        assert_eq!(touched().await, 0, "{wait}");
        shop.clock.advance(length);
    }
    let told = shop.alert(&instance).await;
    assert!(
        told.contains("keda-operator changes .spec.replicas of Deployment/shop"),
        "{told}"
    );
    assert_eq!(pass(&[]).await, 600);
    assert_eq!(shop.alert(&instance).await, "");
    // The instance is due at once again for a change seen meanwhile.
    let now = shop.now(&instance).await;
    assert!(now.next_attempt_at <= shop.clock.now());
}

/// A move to a version that will never be set up goes back by itself; administrators are alerted,
/// and running instances stay as they are.
#[tokio::test]
async fn a_move_that_can_never_be_made_is_undone() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    let written = shop.is(&instance, Status::Written).await;
    let other = "1".repeat(64);
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "INSERT INTO plugin_versions (digest, plugin_id, kind, version, contract, title, component, \
        size_bytes, state, report, created_at) SELECT $1, plugin_id, kind, '2.0.0', contract, title, component, \
        size_bytes, 'STAGED', report, created_at FROM plugin_versions";
    execute!(conn, sql, &other).unwrap();
    shop.services.script().problem = Some("No more.".to_owned());
    let now = shop.clock.now();
    let sql = "UPDATE subscriptions SET period_end = $1";
    execute!(conn, sql, now + chrono::TimeDelta::days(30)).unwrap();
    let recipe = recipe::Recipe {
        plugin_digest: other.clone(),
        ..recipe::Recipe::of(&written)
    };
    shop.change(&mut conn, &written, recipe).await;
    conn.commit().await.unwrap();
    let failed = shop.is(&instance, Status::Failed).await;
    assert_eq!(
        (failed.plugin_digest.as_str(), failed.final_generation),
        (other.as_str(), None)
    );
    assert!(shop.alert(&instance).await.contains("No more."));
    // The second answer to the same question is the last.
    shop.services.script().problem = None;
    shop.clock.advance(chrono::TimeDelta::minutes(1));
    let back = shop
        .until(&instance, |now| now.plugin_digest == DIGEST)
        .await;
    assert_eq!(back.unproven_generation, None);
    let undone = back.undone.unwrap().0;
    assert_eq!(
        (undone.change, undone.reason.contains("No more.")),
        (ChangeKind::Version, true)
    );
    let back = shop.is(&instance, Status::Written).await;
    assert_eq!((back.failures, back.final_generation), (0, None));
    let alert = shop.alert(&instance).await;
    assert!(alert.contains("(VERSION) was undone"), "{alert}");
    let events = shop.count(
        "SELECT count(*) FROM instance_events WHERE message LIKE 'The move to another%No more.'",
    );
    assert_eq!(events.await, 1);
    server.stop().await;
}

#[tokio::test]
async fn without_its_cluster_an_instance_waits_and_says_why() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let path = shop.closed_kubeconfig();
    let server = shop.server(in_cluster(&path).await.0);
    let instance = shop.buy().await;
    let waiting = shop.until(&instance, |now| now.failures > 0).await;
    assert_eq!(waiting.status, Status::Pending);
    assert_eq!(
        waiting.message,
        "The cluster does not answer. Your service is set up as soon as it is back."
    );
    assert!(!server.handle.status().is_available);
    server.stop().await;
}

#[tokio::test]
async fn auto_keeps_to_a_cluster_that_is_away_once_instances_live_there() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let kubeconfig = shop.closed_kubeconfig();
    let instance = shop.buy().await;
    let chosen = async || {
        let lives_in_cluster = lives_in_cluster(&shop.db, &shop.files()).await;
        let kubeconfig = Some(kubeconfig.clone());
        Provisioner::select(Choice::Auto, kubeconfig, shop.files(), lives_in_cluster)
            .await
            .unwrap()
            .name()
    };
    assert_eq!(chosen().await, "directory", "nothing was applied yet");
    let server = shop.server(shop.in_folder());
    shop.is(&instance, Status::Written).await;
    server.stop().await;
    assert_eq!(chosen().await, "directory", "it was applied to the folder");
    std::fs::remove_dir_all(shop.files()).unwrap();
    assert_eq!(
        chosen().await,
        "kubernetes",
        "it was applied, and not to the folder"
    );
}

#[tokio::test]
async fn two_servers_share_the_work_and_never_double_it() {
    let shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().delay = Duration::from_millis(100);
    let mut instances = Vec::new();
    for _ in 0..12 {
        instances.push(shop.buy().await);
    }
    let servers = [shop.server(shop.in_folder()), shop.server(shop.in_folder())];
    for instance in &instances {
        shop.is(instance, Status::Written).await;
    }
    {
        let script = shop.services.script();
        assert!(script.doubled.is_empty(), "{:?}", script.doubled);
        assert!(
            script.calls.values().all(|calls| *calls == 1),
            "{:?}",
            script.calls
        );
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn what_a_stopped_server_left_is_taken_over_when_its_lease_ends() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let until = now + reconciler::LEASE;
    let term = Term { now, until };
    let taken = store::PASSES
        .claim_due(&mut conn, &shop.clock, term, 10)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    assert_eq!(taken.len(), 1);
    let server = shop.server(shop.in_folder());
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.now(&instance).await.status, Status::Pending);
    shop.clock.advance(reconciler::LEASE);
    server.handle.wake();
    shop.is(&instance, Status::Written).await;
    let decider = status::StatusDecider {
        seen: &instance,
        now,
        resync: Duration::ZERO,
    };
    let mut conn = shop.db.begin().await.unwrap();
    let late = store::finish(&mut conn, &taken[0], &instance, &decider.gone(), now, now)
        .await
        .unwrap();
    assert_eq!(
        late, None,
        "whoever lost the lease has nothing to say any more"
    );
    drop(conn);
    server.stop().await;
}

/// A server that was killed continues at once when it starts again, and leaves alone what another
/// one of the same data folder works on.
#[tokio::test]
async fn a_server_that_starts_again_ends_its_own_leases() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let folder = tempfile::tempdir().unwrap();
    let killed = Identity::of_folder(folder.path(), &shop.clock);
    let now = shop.clock.now();
    let mut conn = shop.db.begin().await.unwrap();
    let until = now + reconciler::LEASE;
    let term = Term { now, until };
    let taken = store::PASSES.claim_due(&mut conn, &shop.clock, term, 10);
    let lease = taken.await.unwrap().remove(0);
    store::name_server(&mut conn, lease.holder, killed.id)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    let second = Identity::of_folder(folder.path(), &shop.clock);
    let server = shop.server_as(shop.in_folder(), second);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shop.now(&instance).await.status, Status::Pending);
    server.stop().await;

    drop(killed);
    let again = Identity::of_folder(folder.path(), &shop.clock);
    let server = shop.server_as(shop.in_folder(), again);
    let started = Instant::now();
    shop.is(&instance, Status::Written).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    server.stop().await;
}

/// Failures are counted by cause: what a cluster that was away left does not slow down what comes
/// after it.
#[tokio::test]
async fn failures_of_a_cluster_that_was_away_are_forgotten() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let instance = shop.buy().await;
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE instances SET failures = 9, failure_cause = 'AWAY', next_attempt_at = $1";
    let later = shop.clock.now() + chrono::TimeDelta::minutes(5);
    execute!(conn, sql, later).unwrap();
    conn.commit().await.unwrap();
    let seen = shop.now(&instance).await;
    let again = |cause| model::Failure::again(&seen, cause).times;
    assert_eq!((again(Cause::Away), again(Cause::NotYet)), (10, 1));
    let mut conn = shop.db.begin().await.unwrap();
    let now = shop.clock.now();
    let touched = store::touch(&mut conn, &instance.name, now).await.unwrap();
    assert_eq!(touched, 1, "the cluster answers");
    execute!(conn, sql, later).unwrap();
    store::touch_failed(&mut conn, now).await.unwrap();
    conn.commit().await.unwrap();
    let back = shop.now(&instance).await;
    assert_eq!((back.failures, back.next_attempt_at), (0, now));
}
