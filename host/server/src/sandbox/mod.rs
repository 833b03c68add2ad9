//! A gateway that speaks Midtrans' HTTP: what `dermaga demo` and `serve --dev` are paid through,
//! and what tests drive to answer late, wrongly, twice or not at all. Never in production.

mod api;
mod home;
mod orders;
mod page;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, middleware};
use dermaga_shop::{crypto::Secret, db::Clock, text::without_secrets};
use serde_json::Value;
use tokio::sync::Semaphore;

use self::orders::Order;
pub use self::{home::SANDBOX_PATH, orders::Action};

/// Times a notice is sent when it is not answered with success, as Midtrans does.
const DELIVERIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Ways in which an answer goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer at all.
    Silence,
    /// 500, and nothing was done.
    ServerError,
    /// 429 with this `Retry-After`, and nothing was done.
    TooMany(u64),
    /// The work is done, and the answer is a 500.
    AnswerLost,
    /// The work is done, and the answer is on its way until [`Sandbox::let_go`].
    Late,
    /// 200 with something that is not JSON.
    Garbage,
    /// 412, and nothing was done.
    Refused,
    /// 400 as for an order whose id was used before, and nothing was done.
    OrderUsed,
    /// 404 as for an order that was never begun, and nothing was done.
    Unknown,
}

/// The gateway. Cheap to clone; clones are the same gateway.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server_key: Secret,
    clock: Clock,
    http: OnceLock<reqwest::Client>,
    base: OnceLock<String>,
    orders: Mutex<BTreeMap<String, Order>>,
    faults: Mutex<VecDeque<Fault>>,
    is_mute: AtomicBool,
    /// A place for each late answer that may arrive.
    late: Semaphore,
    /// Late answers on their way.
    held: AtomicU64,
    asked: AtomicU64,
}

impl Sandbox {
    pub fn new(server_key: Secret, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            server_key,
            clock,
            http: OnceLock::new(),
            base: OnceLock::new(),
            orders: Mutex::default(),
            faults: Mutex::default(),
            is_mute: AtomicBool::new(false),
            late: Semaphore::new(0),
            held: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }))
    }

    pub fn server_key(&self) -> Secret {
        self.0.server_key.clone()
    }

    /// Sets the address of this gateway, for the addresses of its pages.
    pub fn found_at(&self, base: &str) {
        let _ = self.0.base.set(base.to_owned());
    }

    /// Everything it answers, in any server.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let faulty = middleware::from_fn_with_state(self.clone(), api::go_wrong);
        api::routes()
            .layer(faulty)
            .merge(page::routes())
            .with_state(self.clone())
    }

    // ---- what tests do with it ----

    /// The next answers go wrong in these ways, one after another.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.0.faults).extend(faults);
    }

    /// Counts the late answers on their way.
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::SeqCst)
    }

    /// Lets a late answer arrive.
    pub fn let_go(&self) {
        self.0.late.add_permits(1);
    }

    /// Puts these fields in place of an order's own from now on, signed as they are.
    pub fn tell(&self, order_id: &str, fields: &Value) {
        if let Some(order) = lock(&self.0.orders).get_mut(order_id) {
            order.told_instead = fields.as_object().cloned().unwrap_or_default();
        }
    }

    /// Forgets the faults that have not come yet.
    pub fn forgive(&self) {
        lock(&self.0.faults).clear();
    }

    /// Sends no notices from now on, as if all of them were lost.
    pub fn mute(&self) {
        self.0.is_mute.store(true, Ordering::SeqCst);
    }

    /// Number of questions it was asked.
    pub fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Acts on an order, as its payer or bank would, and sends the notice.
    ///
    /// # Errors
    /// Midtrans' words for why not.
    pub fn act(&self, order_id: &str, action: Action) -> Result<(), &'static str> {
        let told = {
            let mut orders = lock(&self.0.orders);
            let order = orders.get_mut(order_id).ok_or("there is no such order")?;
            order.act(action, self.0.clock.now())?;
            let message = "midtrans payment notification";
            let told = order.told(self.0.server_key.reveal(), message);
            order.notify.clone().map(|url| (url, told))
        };
        if let Some((url, told)) = told
            && !self.0.is_mute.load(Ordering::SeqCst)
        {
            tokio::spawn(self.clone().deliver(url, told));
        }
        Ok(())
    }

    /// Returns the notice of an order's present status.
    pub fn notice(&self, order_id: &str) -> Option<Value> {
        let orders = lock(&self.0.orders);
        let order = orders.get(order_id)?;
        let message = "midtrans payment notification";
        Some(order.told(self.0.server_key.reveal(), message))
    }

    async fn deliver(self, url: String, told: Value) {
        let http = self.0.http.get_or_init(reqwest::Client::new);
        let mut pause = FIRST_PAUSE;
        for _ in 0..DELIVERIES {
            let sent = http.post(&url).json(&told).send().await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let url = without_secrets(&url);
        tracing::warn!(notify.url = url, "sandbox.notice_not_delivered");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
