//! Rows that are few among many: SQLite finds them by indexes that have those alone.

use dermaga_shop::db::Db;
use dermaga_tests::explain::{Explainer, Read};

/// Statement, and the index that it reads.
const RARE: &[(&str, &str)] = &[
    (
        "SELECT id FROM decisions WHERE failure IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT 21 OFFSET $1",
        "decisions_failed",
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM decisions WHERE failure IS NOT NULL LIMIT 10001) AS counted",
        "decisions_failed",
    ),
    (
        "SELECT count(*) FROM instances WHERE status <> 'TERMINATED'",
        "instances_live",
    ),
    (
        "SELECT count(*) FROM subscriptions s WHERE s.plan_id = $1 AND s.user_id = $2
           AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')",
        "subscriptions_live",
    ),
    (
        "SELECT id FROM health_spans h WHERE h.until IS NOT NULL AND (h.state <> 'HEALTHY' OR h.unwell_since IS NOT NULL)
           AND (h.until, h.id) > ($1, $2) ORDER BY h.until, h.id LIMIT $3",
        "health_spans_eventful",
    ),
    (
        "SELECT id FROM users WHERE deleted_at IS NOT NULL AND decisions_erased_at IS NULL ORDER BY deleted_at, id LIMIT 1",
        "users_with_decisions_to_erase",
    ),
];

#[tokio::test]
async fn rare_rows_are_found_by_indexes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("shop.db").display());
    let db = Db::connect(&url).await.unwrap();
    db.migrate().await.unwrap();
    db.close().await;
    let mut explainer = Explainer::open(&url).await.unwrap();
    for (sql, index) in RARE {
        let reads = explainer.reads(sql).await.unwrap();
        let is_used = |read: &Read| read.how.contains(index);
        assert!(reads.iter().any(is_used), "{index}: {reads:?}");
    }
}
