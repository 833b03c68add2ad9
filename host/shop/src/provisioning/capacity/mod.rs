//! Room in the cluster for what is sold: an order is refused when no node has room for its pods.
//!
//! Each server lists nodes and pods every few seconds, and keeps what it saw; no request of a customer asks
//! the cluster. Whatever was bought since, or is not delivered yet, is read from the database
//! and added, as are the places that are held for customers who wait. Without a cluster, and while it cannot
//! be asked, nothing is refused.
//!
//! The bound: the room is checked in the transaction of the purchase, under the lock of the plan's row, which
//! sees every purchase of this plan, and of others as far as they are committed. So of any number of buyers
//! of one plan, on any number of servers, no more are accepted than fit. Orders of different plans that
//! commit at the same moment on PostgreSQL may take the same room: one for each such plan. SQLite has one
//! writer, where that cannot happen. Which node gets a pod is the scheduler's choice, made here by its default
//! rule; an instance that its owner stopped has no room until it is started again. The share that is kept
//! free is for these, and for the second pods of updates.

mod needs;
mod store;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::needs::Needs;
use super::Instances;
use crate::{
    Code, Error, Result,
    catalog::{self, Offer, PlanRoom, Sizes, waitlist},
    cluster::{Capacity, Layout, Load},
    db::{Clock, Conn},
    ids::{PlanId, SubscriptionId, UserId},
    workers::{Next, Worker},
};

/// Interval between two looks at the cluster.
const INTERVAL: Duration = Duration::from_secs(5);
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

/// Room of the cluster, as this server saw it last.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    settings: Settings,
    /// Empty until the cluster answers, and while it does not.
    seen: Arc<ArcSwapOption<Seen>>,
    pub(super) plans: PlanRoom,
}

impl Room {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Forgets what was seen, because the cluster does not say any more.
    fn forget(&self, reason: &str) {
        self.plans.set(HashMap::new());
        if self.seen.swap(None).is_some() {
            tracing::warn!(reason, "capacity.unknown");
        }
    }
}

/// One look at the cluster.
#[derive(Debug)]
struct Seen {
    /// Time before the cluster was asked: what was delivered since may not be in it.
    at: DateTime<Utc>,
    capacity: Capacity,
    /// Requests of the pods of an instance, by plan.
    needs: HashMap<PlanId, Arc<[Load]>>,
}

/// An instance whose pods are not all in what was seen.
#[derive(Debug, sqlx::FromRow)]
struct Moving {
    subscription_id: SubscriptionId,
    name: String,
    plan_id: PlanId,
    #[sqlx(flatten)]
    sizes: Sizes,
}

impl Seen {
    /// Returns the room that is left for one customer's order, with all that others have ordered. The
    /// instance of the order itself is left out.
    async fn layout(
        &self,
        conn: &mut Conn,
        clock: &Clock,
        (user_id, own): (UserId, Option<SubscriptionId>),
    ) -> Result<Layout> {
        let own_instance = match own {
            Some(id) => super::store::of_subscription(conn, id).await?,
            None => None,
        };
        let moving = store::moving(conn, self.at).await?;
        let names = moving.iter().map(|one| one.name.as_str());
        let own_name = own_instance.iter().map(|own| own.name.as_str());
        let names: HashSet<&str> = names.chain(own_name).collect();
        let mut layout = self.capacity.without(&names);
        for one in moving.iter().filter(|one| Some(one.subscription_id) != own) {
            layout.place(&self.pods(one));
        }
        for plan_id in waitlist::held_for_others(conn, clock, user_id).await? {
            if let Some(pods) = self.needs.get(&plan_id) {
                layout.place(pods);
            }
        }
        Ok(layout)
    }

    fn pods(&self, one: &Moving) -> Arc<[Load]> {
        match self.needs.get(&one.plan_id) {
            Some(pods) => Arc::clone(pods),
            None => needs::whole(one.sizes),
        }
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
    (user_id, own): (UserId, Option<SubscriptionId>),
    pods: &[Load],
) -> Result<()> {
    let Some(seen) = instances.room.seen.load_full() else {
        return Ok(());
    };
    let mut layout = seen.layout(conn, &instances.clock, (user_id, own)).await?;
    if layout.place(pods) {
        return Ok(());
    }
    let (service, plan) = (&offer.service.name, &offer.plan.name);
    let message = format!(
        "{service} {plan} is not available at the moment: the cluster has no room for it. Try again later."
    );
    Err(Error::new(Code::ClusterFull, message).retry_after(RETRY_AFTER))
}

/// Looks at the cluster, until cancelled.
pub async fn watch(instances: Instances, cancel: CancellationToken) {
    if !instances.room.settings.check || instances.handle.cluster().is_err() {
        return;
    }
    let known = Mutex::new(Needs::default());
    let step = || async {
        let mut known = known.lock().await;
        look(&instances, &mut known).await?;
        Ok(Next::AfterRest)
    };
    Worker::new("capacity", INTERVAL).run(cancel, step).await;
}

/// Looks at the cluster once.
async fn look(instances: &Instances, known: &mut Needs) -> Result<()> {
    let (room, clock) = (&instances.room, &instances.clock);
    let at = clock.now();
    let capacity = match instances
        .handle
        .cluster()?
        .capacity(room.settings.headroom)
        .await
    {
        Ok(Some(capacity)) => capacity,
        Ok(None) => {
            room.forget("the cluster shows no nodes");
            return Ok(());
        }
        Err(error) => {
            room.forget(&error.to_string());
            return Ok(());
        }
    };
    let offers = catalog::offers(&mut instances.db.read().await?).await?;
    let needs = known.of(instances, &offers).await;
    let seen = Seen {
        at,
        capacity,
        needs,
    };
    let mut conn = instances.db.read().await?;
    let layout = seen.layout(&mut conn, clock, (UserId::MIN, None)).await?;
    let left = seen.needs.iter();
    let left = left.map(|(plan_id, pods)| (*plan_id, layout.count(pods, MOST_COUNTED)));
    room.plans.set(left.collect());
    room.seen.store(Some(Arc::new(seen)));
    Ok(())
}
