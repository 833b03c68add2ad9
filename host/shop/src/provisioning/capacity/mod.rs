//! Room in the cluster for what is sold: an order is refused when no node has room for its pods.
//!
//! Each server watches nodes and pods, and keeps the sums; no request of a customer asks the cluster.
//! Whatever was bought or delivered a moment ago, or is not delivered yet, is read from the database
//! and added, as are the places that are held for customers who wait. Without a cluster, and while a watch of
//! it is broken, nothing is refused.
//!
//! The bound: the room is checked in the transaction of the purchase, under the lock of the plan's row, which
//! sees every purchase of this plan, and of others as far as they are committed. So of any number of buyers
//! of one plan, on any number of servers, no more are accepted than fit. Orders of different plans that
//! commit at the same moment on PostgreSQL may take the same room: one for each such plan. SQLite has one
//! writer, where that cannot happen. Which node gets a pod is the scheduler's choice, made here by its default
//! rule; an instance that its owner stopped has no room until it is started again. The share that is kept
//! free is for these, and for the second pods of updates.

mod fitting;
mod needs;
mod store;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{sync::Mutex, time::timeout};
use tokio_util::sync::CancellationToken;

pub use self::fitting::fitting;
use self::needs::Needs;
use super::{Instances, Pods};
use crate::{
    Code, Error, Result,
    catalog::{self, Offer, PlanRoom, Sizes, waitlist},
    cluster::{Capacity, Layout, Load, NodeRule, ROOM_LAG},
    db::Conn,
    ids::{PlanId, SubscriptionId, UserId},
    workers::{Next, Worker},
};

/// Requests of the pods of an instance, by plan.
type ByPlan = BTreeMap<PlanId, Arc<[Load]>>;

/// Interval between two looks at what changed.
const INTERVAL: Duration = Duration::from_secs(2);
/// Time for the first lists, after which it is logged that the room is not known.
const FIRST_LISTS: Duration = Duration::from_secs(30);
/// Seconds after which a refused order may be sent again: room comes when something ends.
const RETRY_AFTER: u64 = 60;
/// Most instances of a plan that are counted to fit: more do not change what is shown.
const MOST_COUNTED: u64 = 100;

/// Operator's settings of the room that is sold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Refuse orders that the cluster has no room for.
    pub check: bool,
    /// Percent of each node's processor and memory that is not sold.
    pub headroom: u64,
}

/// Room of the cluster, as this server knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    settings: Settings,
    capacity: Capacity,
    /// Empty until the plans were rendered.
    needs: Arc<ArcSwapOption<ByPlan>>,
    pub(super) plans: PlanRoom,
}

impl Room {
    pub(super) fn new(settings: Settings, pods: &Pods) -> Self {
        let rule = NodeRule {
            headroom: settings.headroom,
            selector: pods.node_selector.clone(),
            tolerations: pods.tolerations.clone(),
        };
        Self {
            settings,
            capacity: Capacity::new(rule),
            ..Self::default()
        }
    }
}

/// An instance whose pods the watches may not show yet, or in another size.
#[derive(Debug, sqlx::FromRow)]
struct Moving {
    subscription_id: SubscriptionId,
    name: String,
    plan_id: PlanId,
    #[sqlx(flatten)]
    sizes: Sizes,
}

/// Pods that count beside those of the cluster, or in their place.
#[derive(Debug, Hash)]
struct Expected {
    /// Names of the instances whose pods in the cluster do not count.
    names: Vec<String>,
    /// Requests of the pods of each order and of each place that is held.
    pods: Vec<Arc<[Load]>>,
}

impl Expected {
    /// Reads what others have ordered, for one customer's order. The instance of the order itself does not
    /// count.
    async fn of(
        conn: &mut Conn,
        instances: &Instances,
        needs: &ByPlan,
        (user_id, own): (UserId, Option<SubscriptionId>),
    ) -> Result<Self> {
        let own_instance = match own {
            Some(id) => super::store::of_subscription(conn, id).await?,
            None => None,
        };
        let clock = &instances.clock;
        let moving = store::moving(conn, clock.now() - ROOM_LAG).await?;
        let held = waitlist::held_for_others(conn, clock, user_id).await?;
        let percent = instances.handle.classes().pods.request_percent;
        let mut pods = Vec::with_capacity(moving.len());
        for one in moving.iter().filter(|one| Some(one.subscription_id) != own) {
            pods.push(match needs.get(&one.plan_id) {
                Some(pods) => Arc::clone(pods),
                None => needs::whole(one.sizes, percent),
            });
        }
        pods.extend(held.iter().filter_map(|id| needs.get(id).cloned()));
        let mut names: Vec<_> = moving.into_iter().map(|one| one.name).collect();
        names.extend(own_instance.map(|own| own.name));
        Ok(Self { names, pods })
    }

    /// Returns the room that is left; `None` while the room of the cluster is not known.
    fn layout(&self, capacity: &Capacity) -> Option<Layout> {
        let names: HashSet<&str> = self.names.iter().map(String::as_str).collect();
        let mut layout = capacity.without(&names)?;
        for pods in &self.pods {
            layout.place(pods);
        }
        Some(layout)
    }
}

/// Refuses an order whose pods no node has room for. In the transaction of a purchase, after
/// [`catalog::take_quota`], it is final; before, it spares the rest.
///
/// # Errors
/// `CLUSTER_FULL`.
pub async fn check_room(
    conn: &mut Conn,
    instances: &Instances,
    offer: &Offer,
    whose: (UserId, Option<SubscriptionId>),
    pods: &[Load],
) -> Result<()> {
    let Room {
        capacity, needs, ..
    } = &instances.room;
    let (Ok(_), Some(needs)) = (capacity.revision(), needs.load_full()) else {
        return Ok(());
    };
    let expected = Expected::of(conn, instances, &needs, whose).await?;
    let layout = expected.layout(capacity);
    if layout.is_none_or(|mut layout| layout.place(pods)) {
        return Ok(());
    }
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!(
        "{service} {plan} is not available at the moment: the cluster has no room for it. Try again later."
    );
    Err(Error::new(Code::ClusterFull, message).retry_after(RETRY_AFTER))
}

/// Returns false while the room of the cluster is not known, so that [`check_room`] refuses nothing.
pub fn knows_room(instances: &Instances) -> bool {
    let room = &instances.room;
    room.capacity.revision().is_ok() && room.needs.load().is_some()
}

/// Keeps the room of the cluster, and what the catalogue shows of it, up to date until cancelled.
pub async fn watch(instances: Instances, cancel: CancellationToken) {
    let room = &instances.room;
    let Ok(cluster) = instances.handle.cluster() else {
        return;
    };
    if !room.settings.check {
        return;
    }
    let known = Mutex::new(Known::default());
    let step = || async {
        let mut known = known.lock().await;
        look(&instances, &mut known).await?;
        Ok(Next::AfterRest)
    };
    let looking = async {
        // The first look finds nothing before it, and the next one comes a rest later.
        let _ = timeout(FIRST_LISTS, room.capacity.listed()).await;
        let worker = Worker::new("capacity", INTERVAL);
        worker.run(cancel.clone(), step).await;
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = looking => {}
        () = cluster.follow_room(&room.capacity) => {}
    }
}

/// Result of the last look.
#[derive(Debug, Default)]
struct Known {
    needs: Needs,
    /// Numbers of the plans, with the hash of all that they come from.
    counted: Option<(u64, HashMap<PlanId, u64>)>,
    is_logged: bool,
}

impl Known {
    /// Forgets what was counted, because the room is not known any more.
    fn forget(&mut self, room: &Room, reason: &str) {
        room.plans.set(HashMap::new());
        self.counted = None;
        if !self.is_logged {
            tracing::warn!(reason, "capacity.unknown");
            self.is_logged = true;
        }
    }
}

/// Counts what is left for each plan, if something changed that it depends on.
async fn look(instances: &Instances, known: &mut Known) -> Result<()> {
    let room = &instances.room;
    let revision = match room.capacity.revision() {
        Ok(revision) => revision,
        Err(reason) => {
            known.forget(room, &reason);
            return Ok(());
        }
    };
    let offers = catalog::offers(&mut instances.db.read().await?).await?;
    let needs = Arc::new(known.needs.of(instances, &offers).await);
    room.needs.store(Some(Arc::clone(&needs)));
    let mut conn = instances.db.read().await?;
    let expected = Expected::of(&mut conn, instances, &needs, (UserId::MIN, None)).await?;
    drop(conn);
    let mut hasher = DefaultHasher::new();
    (revision, &*needs, &expected).hash(&mut hasher);
    let origin = hasher.finish();
    let counted = known.counted.take().filter(|(of, _)| *of == origin);
    let numbers = match counted {
        Some((_, numbers)) => numbers,
        None => match expected.layout(&room.capacity) {
            Some(layout) => counts(&layout, &needs),
            // A watch broke meanwhile: the next look says so.
            None => return Ok(()),
        },
    };
    // Set each time: a place that was taken in a transaction that failed is free again.
    room.plans.set(numbers.clone());
    known.counted = Some((origin, numbers));
    known.is_logged = false;
    Ok(())
}

/// Counts how many instances of each plan fit, each plan by itself.
fn counts(layout: &Layout, needs: &ByPlan) -> HashMap<PlanId, u64> {
    let count = |pods: &Arc<[Load]>| layout.count(pods, MOST_COUNTED);
    needs.iter().map(|(id, pods)| (*id, count(pods))).collect()
}
