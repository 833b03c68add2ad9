//! Failing jobs, beside one that does not fail.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{Code, db::Part, identity::Identity, ids::UserId, test_database::TestDatabase};

/// Longer than any job of these tests takes.
const LONG: Duration = Duration::from_secs(60);

fn job<F, R>(name: &'static str, rule: F) -> Job
where
    F: Fn(Progress) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome>> + Send + 'static,
{
    Job {
        name,
        summary: "A job of a test.",
        schedule: "* * * * * *".parse().unwrap(),
        rule: Rule::new(rule),
    }
}

async fn scheduler(jobs: Vec<Job>) -> (TestDatabase, Scheduler) {
    let database = TestDatabase::open().await;
    let (db, clock) = (database.db.clone(), database.clock.clone());
    let server = Identity::passing(&clock).id;
    (database, Scheduler::new(db, clock, jobs, server))
}

async fn administrator(database: &TestDatabase) -> UserId {
    database.account("admin@example.com", "ADMINISTRATOR").await
}

#[tokio::test]
async fn a_job_that_fails_stops_nobody() {
    let jobs = vec![
        job("panics", |_| Box::pin(async { panic!("as a test does") })),
        job("fails", |_| {
            Box::pin(async { Err(Error::new(Code::Unavailable, "Away.")) })
        }),
        job("half", |_| {
            let errors = (0..30).map(|number| format!("Item {number}.")).collect();
            Box::pin(async { Ok(Outcome { items: 40, errors }) })
        }),
        job("good", |_| Box::pin(async { Ok(Outcome::of(7)) })),
    ];
    let (database, scheduler) = scheduler(jobs).await;
    let admin = administrator(&database).await;
    let mut ended = Vec::new();
    for name in ["panics", "fails", "half", "good"] {
        ended.push(scheduler.run_now(name, admin.into(), LONG).await.unwrap());
    }
    let told: Vec<_> = ended
        .iter()
        .map(|run| (run.status, run.items, run.error_count, run.errors.len()))
        .collect();
    let expected = [
        (RunStatus::Failed, 0, 1, 1),
        (RunStatus::Failed, 0, 1, 1),
        (RunStatus::Partial, 40, 30, 20),
        (RunStatus::Succeeded, 7, 0, 0),
    ];
    assert_eq!(told, expected);
    assert_eq!(ended[1].errors, ["Away."]);
}

#[tokio::test]
async fn a_job_that_the_database_kept_waiting_begins_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let late = job("late", move |progress| {
        let earlier = counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            progress.expect(1);
            if earlier == 0 {
                return Err(Error::from(sqlx::Error::PoolTimedOut));
            }
            progress.item();
            Ok(Outcome::of(1))
        })
    });
    let (database, scheduler) = scheduler(vec![late]).await;
    let admin = administrator(&database).await;
    let run = scheduler.run_now("late", admin.into(), LONG).await.unwrap();
    assert_eq!((run.status, run.total), (RunStatus::Succeeded, 1));
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_an_administrator_runs_is_audited() {
    let good = job("good", |_| Box::pin(async { Ok(Outcome::of(1)) }));
    let (database, scheduler) = scheduler(vec![good]).await;
    let admin = administrator(&database).await;
    scheduler.run_now("good", admin.into(), LONG).await.unwrap();
    let unknown = scheduler.run_now("bad", admin.into(), LONG).await;
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
    let mut conn = scheduler.db.read().await.unwrap();
    let sql = "SELECT actor_id, subject FROM audit_events WHERE act = 'job.run'";
    let noted = crate::fetch_all!(conn, (UserId, String), sql).unwrap();
    assert_eq!(noted, [(admin, "job:good".to_owned())]);
}

/// A stopping server leaves unfinished runs to another, at once.
#[tokio::test]
async fn a_run_that_is_cut_off_is_anybodys() {
    let endless = job("endless", |_| Box::pin(std::future::pending()));
    let (_database, scheduler) = scheduler(vec![endless]).await;
    let job = scheduler.job("endless").unwrap();
    let instant = scheduler.clock.now() + TimeDelta::seconds(1);
    let claim::Due::Ours(claim) = claim::scheduled(&scheduler, job, instant).await.unwrap() else {
        panic!("nobody else wants it");
    };
    let run = claim.run_id();
    let task = scheduler.launch(job, claim.clone());
    scheduler.cut_off.cancel();
    task.await.unwrap();
    let next = claim::abandoned(&scheduler, job).await.unwrap().unwrap();
    assert_eq!(next.run_id(), run);
    assert!(
        !claim.renew().await.unwrap(),
        "the earlier holder has lost it"
    );
}

/// A server that stops between two attempts leaves the run to another at once, and does not end it as failed.
#[tokio::test]
async fn a_run_that_would_begin_again_on_a_stopping_server_is_anybodys() {
    let late = job("late", |_| {
        Box::pin(async { Err(Error::from(sqlx::Error::PoolTimedOut)) })
    });
    let (_database, scheduler) = scheduler(vec![late]).await;
    let job = scheduler.job("late").unwrap();
    let instant = scheduler.clock.now() + TimeDelta::seconds(1);
    let claim::Due::Ours(claim) = claim::scheduled(&scheduler, job, instant).await.unwrap() else {
        panic!("no other server wants it");
    };
    let run = claim.run_id();
    let task = scheduler.launch(job, claim);
    scheduler.runs.close();
    task.await.unwrap();
    let next = claim::abandoned(&scheduler, job).await.unwrap();
    assert_eq!(next.map(|next| next.run_id()), Some(run));
}

/// A server that starts again frees the runs of its earlier self, and those of no other server; a
/// second one on the same data folder frees none.
#[tokio::test]
async fn a_server_that_starts_again_frees_its_own_runs_alone() {
    let endless = || job("endless", |_| Box::pin(std::future::pending()));
    let database = TestDatabase::open().await;
    let (db, clock) = (&database.db, &database.clock);
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [killed, other] = [0, 1].map(|at| Identity::of_folder(folders[at].path(), clock));
    let scheduler = Scheduler::new(db.clone(), clock.clone(), vec![endless()], killed.id);
    let job = scheduler.job("endless").unwrap();
    let instant = scheduler.clock.now() + TimeDelta::seconds(1);
    let claim::Due::Ours(claim) = claim::scheduled(&scheduler, job, instant).await.unwrap() else {
        panic!("no other server wants it");
    };
    let second = Identity::of_folder(folders[0].path(), clock);
    for not_its in [&other, &second] {
        release_left_behind(db, not_its).await.unwrap();
        assert!(claim.renew().await.unwrap(), "{not_its:?}");
    }

    drop((killed, second));
    let again = Identity::of_folder(folders[0].path(), clock);
    release_left_behind(db, &again).await.unwrap();
    assert!(!claim.renew().await.unwrap());
    let next = claim::abandoned(&scheduler, job).await.unwrap().unwrap();
    assert_eq!(next.run_id(), claim.run_id());
    // A run that another server takes up belongs to that server.
    let taken = Scheduler::new(db.clone(), clock.clone(), vec![endless()], other.id);
    next.let_go().await.unwrap();
    let theirs = claim::abandoned(&taken, job).await.unwrap().unwrap();
    release_left_behind(db, &again).await.unwrap();
    assert!(theirs.renew().await.unwrap());
}

/// A server that ended before its first look at the jobs missed what came due since its start.
#[tokio::test]
async fn a_job_is_known_from_the_first_start() {
    let nightly = || Job {
        schedule: "0 3 * * *".parse().unwrap(),
        ..job("nightly", |_| Box::pin(async { Ok(Outcome::of(1)) }))
    };
    let idle = || Job {
        schedule: Schedule::Off,
        ..job("idle", |_| Box::pin(async { Ok(Outcome::of(1)) }))
    };
    let (database, brief) = scheduler(vec![nightly(), idle()]).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    work(Arc::new(brief), stopped.clone(), stopped.clone())
        .await
        .unwrap();

    database.clock.advance(TimeDelta::days(2));
    let (db, clock) = (database.db.clone(), database.clock.clone());
    let server = Identity::passing(&clock).id;
    let hourly = Job {
        schedule: "0 * * * *".parse().unwrap(),
        ..idle()
    };
    let next = Scheduler::new(db, clock, vec![nightly(), hourly], server);
    let first = Span::Page(Part {
        offset: 0,
        limit: 10,
    });
    next.look_until(&stopped).await;
    let runs = next.runs("nightly", first).await.unwrap();
    assert_eq!(runs.items.len(), 0, "it stops: {runs:?}");
    next.look().await;
    next.runs.close();
    next.runs.wait().await;
    let runs = next.runs("nightly", first).await.unwrap();
    assert_eq!(runs.items.len(), 1, "{runs:?}");
    assert_eq!(runs.items[0].status, RunStatus::Succeeded);
    let unknown = next.runs("idle", first).await.unwrap();
    assert_eq!(unknown.items.len(), 0, "it was off: {unknown:?}");
}

/// Progress of a run can be read before it ends.
#[tokio::test]
async fn a_run_says_how_far_it_has_come() {
    let counting = job("counting", |progress| {
        Box::pin(async move {
            progress.expect(10_000);
            (0..40).for_each(|_| progress.item());
            progress.error();
            std::future::pending().await
        })
    });
    let (database, scheduler) = scheduler(vec![counting]).await;
    let admin = administrator(&database).await;
    let at_once = Duration::ZERO;
    let begun = scheduler.run_now("counting", admin.into(), at_once);
    let begun = begun.await.unwrap();
    assert_eq!(
        (begun.status, begun.finished_at),
        (RunStatus::Running, None)
    );
    let mut seen = begun.clone();
    for _ in 0..200 {
        if seen.items > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen = scheduler.run("counting", begun.id).await.unwrap();
    }
    let counts = (seen.total, seen.items, seen.error_count, seen.status);
    assert_eq!(counts, (10_000, 40, 1, RunStatus::Running));
    let again = scheduler.run_now("counting", admin.into(), at_once).await;
    assert_eq!(again.unwrap_err().code, Code::Conflict);
}

/// A run that another server takes up counts all of it, and not its own part alone.
#[tokio::test]
async fn a_run_that_is_taken_up_goes_on_counting() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let counting = job("counting", move |progress| {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            if is_first {
                progress.expect(207);
                (0..63).for_each(|_| progress.item());
                progress.error();
                return std::future::pending().await;
            }
            progress.expect(144);
            (0..144).for_each(|_| progress.item());
            Ok(Outcome::of(144))
        })
    });
    let (database, scheduler) = scheduler(vec![counting]).await;
    let admin = administrator(&database).await;
    let begun = scheduler.run_now("counting", admin.into(), Duration::ZERO);
    let run = begun.await.unwrap().id;
    let mut seen = scheduler.run("counting", run).await.unwrap();
    for _ in 0..200 {
        if seen.items == 63 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen = scheduler.run("counting", run).await.unwrap();
    }
    assert_eq!((seen.total, seen.items, seen.error_count), (207, 63, 1));

    let mut conn = scheduler.db.begin().await.unwrap();
    store::drop_leases(&mut conn, scheduler.server())
        .await
        .unwrap();
    conn.commit().await.unwrap();
    let job = scheduler.job("counting").unwrap();
    let taken = claim::abandoned(&scheduler, job).await.unwrap().unwrap();
    scheduler.launch(job, taken).await.unwrap();
    let seen = scheduler.run("counting", run).await.unwrap();
    assert_eq!((seen.total, seen.items, seen.error_count), (207, 207, 0));
    assert_eq!(seen.status, RunStatus::Succeeded);
}
