//! Rows of subscriptions that run: one of each customer, and all of one plan.

use super::{
    super::{DAYS, Kind, words::Rows},
    Filling,
};

/// The plan, with the version that its service has now.
const PLAN: &str = "JOIN (SELECT p.id AS plan, p.monthly_price AS price, v.digest, s.settings, s.images \
                        FROM service_plans p JOIN services s ON s.id = p.service_id \
                        JOIN plugin_versions v ON v.plugin_id = s.plugin_id AND v.state = 'ACTIVE' \
                        WHERE s.slug = 'postgresql' AND p.slug = 'basic') AS p ON TRUE";
/// Days for which their first period has run, and those that are left of it.
const PASSED: i64 = 20;
const LEFT: i64 = 10;

impl Filling<'_> {
    /// Subscriptions, with the period that is paid for and an instance that is ready.
    pub(super) async fn running(&self) {
        let number = self.size.subscriptions;
        let (begin, end) = (self.in_days(-PASSED), self.in_days(LEFT));
        Rows::of(self.db, "subscriptions", number)
            .join(PLAN)
            .id("id", Kind::Subscription, "n")
            .id("user_id", Kind::User, "n")
            .with("plan_id", "p.plan")
            .with("status", "'ACTIVE'")
            .with("monthly_price", "p.price")
            .with("config", "'{}'")
            .with("auto_renew", "TRUE")
            .with("period_number", "1")
            .at(
                &["anchor_at", "created_at", "updated_at", "delivered_at"],
                &begin,
            )
            .at(&["period_start"], &begin)
            .at(&["period_end"], &end)
            .insert()
            .await;
        Rows::of(self.db, "subscription_periods", number)
            .join(PLAN)
            .id("subscription_id", Kind::Subscription, "n")
            .with("number", "1")
            .with("price", "p.price")
            .with("discount", "0")
            .with("paid_cash", "p.price")
            .with("paid_bonus", "0")
            .id("price_decision_id", Kind::Decision, "1")
            .at(&["starts_at", "created_at"], &begin)
            .at(&["ends_at"], &end)
            .insert()
            .await;
        Rows::of(self.db, "instances", number)
            .join(PLAN)
            .id("id", Kind::Instance, "n")
            .id("subscription_id", Kind::Subscription, "n")
            .id("user_id", Kind::User, "n")
            .with("plan_id", "p.plan")
            .with("plugin_digest", "p.digest")
            .with("settings", "p.settings")
            .with("images", "p.images")
            .with("name", "'lama-' || n")
            .with("namespace", "'dermaga-u-' || n")
            .with("config", "'{}'")
            .with("desired", "'RUNNING'")
            .with("status", "'RUNNING'")
            .with("message", "'Set up.'")
            .with("observed_generation", "1")
            .with("applied", "'[]'")
            .at(
                &["created_at", "updated_at", "ready_at", "delivered_at"],
                &begin,
            )
            .at(&["next_attempt_at"], &self.in_days(DAYS.into()))
            .insert()
            .await;
    }
}
