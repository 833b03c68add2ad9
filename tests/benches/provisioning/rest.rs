//! Thousands of instances at rest: what they keep in memory, and what looking after them costs.

use std::{
    fs,
    time::{Duration, Instant},
};

use dermaga_shop::ids::{PlanId, UserId};
use dermaga_tests::{
    Shop,
    bench::{buy, customers, verdict},
};
use futures::{StreamExt as _, stream};
use tokio::time::sleep;

use super::{all_applied, count};

/// Instances of one customer, and so of one namespace.
const EACH: usize = 50;
const REST_TARGET: f64 = 2.0;
/// Most memory after the looks of a rest, as a multiple of that before: more would be a leak.
const FLAT_TARGET: f64 = 1.05;
/// Looks at every instance between the two measurements of memory.
const LOOKS: usize = 3;
/// Seconds in which each instance is looked at in full once, as a short rest does not show.
const FULL_LOOK: f64 = 3_000.0;
/// Ticks of the kernel's clock in a second, which Linux fixes for what it shows to programs.
const TICKS: f64 = 100.0;

/// Buys this many instances that are stopped at once, so that the cluster has their objects and no
/// pods; returns their namespaces.
pub(crate) async fn measure(
    shop: &Shop,
    plan: PlanId,
    instances: usize,
    rest: Duration,
) -> Vec<String> {
    // From here on, what is bought is stopped from its first moment, and counts as delivered: what waits for its
    // delivery is no rest.
    shop.sql(
        "CREATE TRIGGER bench_stopped AFTER INSERT ON instances BEGIN
           UPDATE instances SET desired = 'STOPPED', delivered_at = NEW.created_at WHERE id = NEW.id; END",
    )
    .await
    .unwrap();
    let mut before = resident();
    let steps = [instances / 4, instances / 2, instances];
    let mut known = 0;
    for step in steps {
        let began = Instant::now();
        let wanted = step.saturating_sub(known).div_ceil(EACH);
        if wanted == 0 {
            continue;
        }
        let buyers = customers(shop, &format!("diam-{known}"), wanted).await;
        let users: Vec<UserId> = buyers.iter().map(|(_, user)| *user).collect();
        stream::iter(users)
            .for_each_concurrent(8, async |user| {
                for _ in 0..EACH {
                    buy(shop.state(), user, plan).await;
                }
            })
            .await;
        all_applied(shop).await;
        let added = wanted * EACH;
        known += added;
        let applied = began.elapsed();
        all_at_rest(shop).await;
        let now = resident();
        println!(
            "{known} instances at rest, the last {added} applied after {applied:.0?} and at rest after {:.0?}: {:.0} MB resident, {:.1} kB for each that came",
            began.elapsed(),
            now / 1e6,
            (now - before) / added as f64 / 1e3
        );
        before = now;
        at_rest(shop, known, rest).await;
    }
    let unsettled =
        "SELECT COUNT(*) FROM instances WHERE status NOT IN ('STOPPED', 'RUNNING', 'TERMINATED')";
    println!("{} of them are unsettled", count(shop, unsettled).await);
    let mut conn = shop.state().db.read().await.unwrap();
    let names = "SELECT DISTINCT namespace FROM instances";
    let names = dermaga_shop::fetch_all!(conn, (String,), names).unwrap();
    names.into_iter().map(|(name,)| name).collect()
}

/// Waits until no instance waits for a pass but that of its time. What was just applied has passes for what the
/// cluster tells of it, and these are no rest.
async fn all_at_rest(shop: &Shop) {
    let awake = "SELECT COUNT(*) FROM instances WHERE status <> 'TERMINATED'
                   AND (rests_until IS NULL OR rests_until <> next_attempt_at)";
    let deadline = Instant::now() + Duration::from_secs(3_600);
    let mut quiet_for = 0;
    while quiet_for < 15 {
        assert!(Instant::now() < deadline, "instances do not come to rest");
        quiet_for = if count(shop, awake).await > 0 {
            0
        } else {
            quiet_for + 1
        };
        sleep(Duration::from_secs(1)).await;
    }
}

/// Measures what instances cost while nothing happens to them, and then what full looks at each of them
/// cost and leave in memory.
async fn at_rest(shop: &Shop, known: usize, rest: Duration) {
    let (start, began) = (processor_time(), Instant::now());
    sleep(rest).await;
    let quiet = (processor_time() - start) / began.elapsed().as_secs_f64() * 100.0;
    let (mut before, mut looks) = (0.0, 0.0);
    for round in 0..=LOOKS {
        if round == 1 {
            // The first look warms what later ones use again.
            before = resident();
        }
        let start = processor_time();
        look_at_all(shop).await;
        looks = processor_time() - start;
    }
    let full = looks / FULL_LOOK * 100.0;
    println!(
        "{known} instances at rest: {:.2} % of a core (target for 10,000: <= {REST_TARGET} %, {}): {quiet:.2} % as measured, and {full:.2} % for a full look at each in {FULL_LOOK} s, of {:.1} ms",
        quiet + full,
        verdict(quiet + full <= REST_TARGET),
        looks / known as f64 * 1e3
    );
    let ratio = resident() / before;
    println!(
        "{known} instances known: {ratio:.3} x the memory after {LOOKS} more looks at each (target for 5,000: <= {FLAT_TARGET} x, {})",
        verdict(ratio <= FLAT_TARGET)
    );
}

/// Makes every instance due, and waits until each was looked at.
async fn look_at_all(shop: &Shop) {
    shop.sql("UPDATE instances SET checked_at = NULL, next_attempt_at = created_at WHERE status <> 'TERMINATED'")
        .await
        .unwrap();
    let waiting =
        "SELECT COUNT(*) FROM instances WHERE checked_at IS NULL AND status <> 'TERMINATED'";
    let deadline = Instant::now() + Duration::from_secs(3_600);
    while count(shop, waiting).await > 0 {
        assert!(Instant::now() < deadline, "instances are not looked at");
        sleep(Duration::from_millis(500)).await;
    }
}

/// Returns the bytes of this process that are in memory.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024.0
}

/// Returns the seconds that this process has had of the processors.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|it| it.parse::<f64>().unwrap())
        .sum();
    ticks / TICKS
}
