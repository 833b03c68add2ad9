//! Prices and purchases in a shop with one service, whose plugin answers as a test wants.

use chrono::TimeDelta;
use dermaga_runtime::{
    Digest,
    contract::{Grant, PriceAnswer, PriceLine},
    fixtures::{CouponFixture, Misdeed, ServiceFixture},
};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    Code, execute,
    ids::{PlanId, QuoteId},
    money::Rupiah,
    plugins::Asking,
    test_database::TestDatabase,
    wallet::{self, NewTransaction, TransactionType},
};

pub(super) struct TestShop {
    pub(super) database: TestDatabase,
    pub(super) shop: Subscriptions,
    pub(super) plan_id: PlanId,
}

impl TestShop {
    /// Opens a shop that sells this service, with the coupon HALF for 25,000 rupiah off.
    pub(super) async fn selling(fixture: &ServiceFixture) -> Self {
        let database = TestDatabase::open().await;
        let service = fixture.component();
        let digest = Digest::of(&service).to_string();
        let id = (fixture.about.id.as_str(), "service");
        database.install(id, &digest, &service).await;
        let half = CouponFixture::deciding(dermaga_runtime::contract::Decision::Grant(Grant {
            effect: dermaga_runtime::contract::Effect::Discount(25_000),
            reason: "Half of it.".to_owned(),
        }));
        let coupon = half.component();
        let digest = Digest::of(&coupon).to_string();
        database
            .install((&half.about.id, "coupon"), &digest, &coupon)
            .await;
        let image = fixture.description.images[0].reference.clone().unwrap();
        let plan_id = database.sell(&fixture.about.id, &image).await;
        let settings = Settings {
            base_domain: "apps.localhost".to_owned(),
            ..Settings::default()
        };
        Self {
            shop: database.subscriptions(settings).await,
            database,
            plan_id,
        }
    }

    async fn offer_half(&self) {
        let (id, now) = (
            crate::db::new_id::<Uuid>(&self.shop.clock),
            self.shop.clock.now(),
        );
        let mut conn = self.shop.db.begin().await.unwrap();
        let sql = "INSERT INTO coupons (id, code, description, plugin_id, parameters, starts_at, services, tiers,
               status, created_at, updated_at)
             VALUES ($1, 'HALF', '', 'coupon-fixture', '{}', $2, '[]', '[]', 'ACTIVE', $2, $2)";
        execute!(conn, sql, id, now).unwrap();
        conn.commit().await.unwrap();
    }

    async fn credit(&self, amount: i64) {
        let (user_id, clock) = (self.database.user_id, &self.shop.clock);
        let mut conn = self.shop.db.begin().await.unwrap();
        let mut wallet = wallet::lock(&mut conn, user_id).await.unwrap();
        let new = NewTransaction {
            user_id,
            kind: TransactionType::CouponRedemption,
            description: "A gift.".to_owned(),
            details: json!({}),
            subscription_id: None,
            coupon_id: None,
            price_decision_id: None,
            coupon_decision_id: None,
        };
        let amount = Rupiah::new(amount);
        wallet::grant_bonus(&mut conn, clock, &mut wallet, amount, "gift", new)
            .await
            .unwrap();
        conn.commit().await.unwrap();
    }

    fn order(&self, coupon: Option<&str>) -> Order {
        Order {
            user_id: self.database.user_id,
            plan_id: self.plan_id,
            term_months: 1,
            coupon: coupon.map(|code| code.parse().unwrap()),
            config: json!({}),
            is_gift: false,
        }
    }

    async fn buy(&self, order: &Order, quote_id: Option<QuoteId>) -> Result<PurchaseView> {
        Ok(buy(&self.shop, order, quote_id).await?.commit().await?)
    }

    async fn quote(&self, order: &Order) -> QuoteView {
        Box::pin(quote(&self.shop, order)).await.unwrap()
    }

    /// Returns the code with which a purchase and its validation are refused.
    async fn refused(&self, order: &Order) -> (Code, Code) {
        let validated = validate(&self.shop, order).await.unwrap_err();
        (
            self.buy(order, None).await.unwrap_err().code,
            validated.code,
        )
    }

    async fn nothing_was_written(&self) {
        let count = "SELECT (SELECT count(*) FROM subscriptions) + (SELECT count(*) FROM instances)
              + (SELECT count(*) FROM coupon_redemptions) + (SELECT sum(used_quota) FROM service_plans)
              + (SELECT count(*) FROM transactions WHERE type = 'SUBSCRIPTION')";
        assert_eq!(self.database.number(count).await, 0);
    }
}

fn line(amount: i64) -> PriceLine {
    PriceLine {
        code: "plan".to_owned(),
        label: "Plan".to_owned(),
        amount,
        reason: "One month.".to_owned(),
    }
}

fn costing(total: i64, lines: &[i64]) -> ServiceFixture {
    ServiceFixture {
        price: PriceAnswer {
            lines: lines.iter().map(|&amount| line(amount)).collect(),
            total,
        },
        ..ServiceFixture::default()
    }
}

#[tokio::test]
async fn a_price_that_breaks_the_contract_sells_nothing() {
    for fixture in [
        costing(50_000, &[49_999]),
        costing(-1, &[-1]),
        costing(0, &[i64::MAX, 1]),
        ServiceFixture::misbehaving("price", Misdeed::Trap),
    ] {
        let shop = TestShop::selling(&fixture).await;
        shop.credit(1_000_000).await;
        let expected = (Code::PluginFailed, Code::PluginFailed);
        assert_eq!(shop.refused(&shop.order(None)).await, expected);
        shop.nothing_was_written().await;
    }
}

#[tokio::test]
async fn the_lines_of_a_price_add_up_to_what_is_charged() {
    let shop = TestShop::selling(&costing(40_000, &[50_000, -10_000])).await;
    shop.offer_half().await;
    shop.credit(15_000).await;
    let order = shop.order(Some("half"));
    let priced = pricing::price(&shop.shop, &order, Asking::Preview)
        .await
        .unwrap();
    let amounts: Vec<_> = priced
        .explained()
        .iter()
        .map(|line| line.amount.get())
        .collect();
    assert_eq!(amounts, [50_000, -10_000, -25_000]);
    assert_eq!(priced.due().unwrap(), Rupiah::new(15_000));
    let details = priced.details();
    assert_eq!(details["couponCode"], "HALF");
    assert_eq!(
        (&details["price"], &details["discount"]),
        (&json!(40_000), &json!(25_000))
    );
    let bought = shop.buy(&order, None).await.unwrap();
    assert_eq!(bought.charged, Rupiah::new(15_000));
    assert_eq!(
        (bought.paid_cash, bought.paid_bonus),
        (Rupiah::ZERO, Rupiah::new(15_000))
    );
}

#[tokio::test]
async fn a_coupon_never_makes_a_price_negative() {
    let shop = TestShop::selling(&costing(10_000, &[10_000])).await;
    shop.offer_half().await;
    let bought = shop.buy(&shop.order(Some("HALF")), None).await.unwrap();
    assert_eq!(
        (bought.discount, bought.charged),
        (Rupiah::new(10_000), Rupiah::ZERO)
    );
}

#[tokio::test]
async fn a_configuration_that_the_schema_refuses_comes_before_the_coupon() {
    let mut fixture = ServiceFixture::default();
    fixture.description.config_schema = json!({
        "type": "object", "properties": { "size": { "type": "integer" } }, "additionalProperties": false,
    });
    let shop = TestShop::selling(&fixture).await;
    let mut order = shop.order(Some("UNKNOWN"));
    order.config = json!({ "size": "large" });
    let expected = (Code::ValidationFailed, Code::ValidationFailed);
    assert_eq!(shop.refused(&order).await, expected);
    order.config = json!({ "size": 3 });
    let expected = (Code::CouponNotFound, Code::CouponNotFound);
    assert_eq!(shop.refused(&order).await, expected);
}

/// All faults are there at the beginning; each step removes the one that was named.
#[tokio::test]
async fn a_purchase_names_its_refusals_in_one_order() {
    use Code::{CouponNotFound, InstanceLimitReached, InsufficientCredit, PlanUnavailable};
    let shop = TestShop::selling(&ServiceFixture::default()).await;
    let database = &shop.database;
    let end = shop.shop.clock.now() + TimeDelta::days(9);
    database.subscribe(shop.plan_id, "ACTIVE", end).await;
    let sql = "UPDATE service_plans SET active = FALSE, used_quota = total_quota, max_instances_per_user = 1";
    database.sql(sql).await;
    let mut order = shop.order(Some("HALF"));
    let unknown = Order {
        plan_id: PlanId::MIN,
        ..order.clone()
    };
    assert_eq!(
        shop.refused(&unknown).await,
        (Code::NotFound, Code::NotFound)
    );
    let expected = (PlanUnavailable, PlanUnavailable);
    assert_eq!(shop.refused(&order).await, expected);
    database.sql("UPDATE service_plans SET active = TRUE").await;
    assert_eq!(shop.refused(&order).await, (CouponNotFound, CouponNotFound));
    order.coupon = None;
    // A purchase counts the instances last, with the wallet locked.
    let expected = (Code::QuotaExhausted, InstanceLimitReached);
    assert_eq!(shop.refused(&order).await, expected);
    database
        .sql("UPDATE service_plans SET used_quota = 0")
        .await;
    let expected = (InstanceLimitReached, InstanceLimitReached);
    assert_eq!(shop.refused(&order).await, expected);
    database
        .sql("UPDATE service_plans SET max_instances_per_user = 2")
        .await;
    let expected = (InsufficientCredit, InsufficientCredit);
    assert_eq!(shop.refused(&order).await, expected);
    database.sql("DELETE FROM subscriptions").await;
    shop.nothing_was_written().await;
    shop.credit(50_000).await;
    validate(&shop.shop, &order).await.unwrap();
    shop.buy(&order, None).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_delivered_is_refused_before_anything_is_charged() {
    let privileged = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "x" } });
    let shop = TestShop::selling(&ServiceFixture::rendering(vec![privileged])).await;
    let order = shop.order(None);
    // A purchase finds it before the money, a validation after it.
    let expected = (Code::NotDeliverable, Code::InsufficientCredit);
    assert_eq!(shop.refused(&order).await, expected);
    shop.credit(50_000).await;
    let expected = (Code::NotDeliverable, Code::NotDeliverable);
    assert_eq!(shop.refused(&order).await, expected);
    shop.nothing_was_written().await;
}

#[tokio::test]
async fn a_purchase_takes_one_of_the_quota_and_pays_one_period() {
    let shop = TestShop::selling(&ServiceFixture::default()).await;
    shop.credit(60_000).await;
    let bought = shop.buy(&shop.order(None), None).await.unwrap();
    assert_eq!(
        (bought.price, bought.charged),
        (Rupiah::new(50_000), Rupiah::new(50_000))
    );
    let subscription = bought.subscription;
    let (start, end) = (subscription.period_start, subscription.period_end);
    assert_eq!(end, period_end(shop.shop.clock.zone(), start, 1).unwrap());
    assert_eq!(
        shop.database
            .number("SELECT used_quota FROM service_plans")
            .await,
        1
    );
    let periods = "SELECT count(*) FROM subscription_periods WHERE number = 1";
    assert_eq!(shop.database.number(periods).await, 1);
    let left = "SELECT paid_balance + bonus_balance FROM wallets";
    assert_eq!(shop.database.number(left).await, 10_000);
}

/// The answer is made of what is written, and is what a read finds then.
#[tokio::test]
async fn a_purchase_reads_nothing_that_it_wrote() {
    let shop = TestShop::selling(&ServiceFixture::default()).await;
    shop.offer_half().await;
    shop.credit(200_000).await;
    let sent = shop.shop.db.record();
    for order in [shop.order(None), shop.order(Some("HALF"))] {
        sent.clear();
        let bought = shop.buy(&order, None).await.unwrap();
        let is_read = |one: &crate::db::Statement| {
            one.file.ends_with("subscriptions/store.rs") && one.sql.starts_with("SELECT")
        };
        let reads = sent.statements().into_iter().filter(is_read).count();
        assert_eq!(reads, 1, "the standing of the customer");
        let mut conn = shop.shop.db.read().await.unwrap();
        let read = owned(&mut conn, order.user_id, bought.subscription.id).await;
        let read = SubscriptionView::from(read.unwrap());
        assert_eq!(json!(bought.subscription), json!(read));
    }
}

/// The database tells only that a row refers to nothing: no fault of the shop is named, and no coupon blamed.
#[tokio::test]
async fn a_purchase_of_a_plan_that_was_deleted_meanwhile_finds_none() {
    for coupon in [None, Some("HALF")] {
        let shop = TestShop::selling(&ServiceFixture::default()).await;
        shop.offer_half().await;
        shop.credit(50_000).await;
        let order = shop.order(coupon);
        let mut conn = shop.shop.db.begin_together().await.unwrap();
        let sql = "DELETE FROM service_plans WHERE id = $1";
        execute!(conn, sql, shop.plan_id).unwrap();
        let buying = Box::pin(shop.buy(&order, None));
        let deleting = async {
            // Until the purchase waits for its turn to write, in which it sees the deletion before readers do.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            conn.commit().await.unwrap();
        };
        let (bought, ()) = tokio::join!(buying, deleting);
        let refused = bought.unwrap_err();
        let told = (refused.code, refused.message.as_str());
        assert_eq!(
            told,
            (Code::NotFound, "There is no such plan."),
            "{coupon:?}"
        );
    }
}

#[tokio::test]
async fn what_is_written_is_delivered_as_what_runs() {
    let delivered = "SELECT count(*) FROM subscriptions WHERE delivered_at IS NOT NULL";
    for found in [
        "UPDATE instances SET status = 'WRITTEN', delivered_at = created_at",
        "UPDATE instances SET status = 'RUNNING', delivered_at = created_at, ready_at = created_at",
    ] {
        let shop = TestShop::selling(&ServiceFixture::default()).await;
        shop.credit(120_000).await;
        for _ in 0..2 {
            shop.buy(&shop.order(None), None).await.unwrap();
        }
        shop.database.sql(found).await;
        let sent = shop.shop.db.record();
        for _ in 0..2 {
            delivery::note_deliveries(&shop.shop).await.unwrap();
            // The look for what was delivered, the note about all of it, and the end of an alert.
            assert!(sent.statements().len() <= 3, "{:#?}", sent.statements());
            assert_eq!(shop.database.number(delivered).await, 2, "{found}");
            sent.clear();
        }
    }
}

#[tokio::test]
async fn an_alert_about_an_offer_is_looked_for_once_in_a_while() {
    let shop = TestShop::selling(&ServiceFixture::default()).await;
    shop.credit(200_000).await;
    let (order, sent) = (shop.order(None), shop.shop.db.record());
    for looks in [1, 0] {
        sent.clear();
        shop.buy(&order, None).await.unwrap();
        let sent = sent.statements().into_iter();
        let of_alerts = sent.filter(|one| one.file.ends_with("alerts/store.rs"));
        assert_eq!(of_alerts.count(), looks);
    }
}

#[tokio::test]
async fn a_quote_is_for_one_order() {
    let shop = TestShop::selling(&ServiceFixture::default()).await;
    shop.offer_half().await;
    shop.credit(50_000).await;
    let order = shop.order(None);
    let quoted = shop.quote(&order).await;
    let other_config = Order {
        config: json!({ "size": 3 }),
        ..order.clone()
    };
    let other_term = Order {
        term_months: 3,
        ..order.clone()
    };
    let sells = "UPDATE service_plans SET terms = '[{\"months\":3,\"discountPercent\":10}]'";
    shop.database.sql(sells).await;
    for other in [shop.order(Some("HALF")), other_config, other_term] {
        let refused = shop.buy(&other, Some(quoted.id)).await.unwrap_err();
        assert_eq!(refused.code, Code::ValidationFailed);
        assert_eq!(refused.details[0].field, "quoteId");
    }
    let unknown = shop.buy(&order, Some(QuoteId::MIN)).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    shop.nothing_was_written().await;
    shop.buy(&order, Some(quoted.id)).await.unwrap();
}

#[tokio::test]
async fn a_quote_buys_once_at_its_price_and_in_its_time() {
    let shop = TestShop::selling(&ServiceFixture::default()).await;
    shop.credit(500_000).await;
    let order = shop.order(None);
    let refused = async |id| shop.buy(&order, Some(id)).await.unwrap_err().code;
    let used = shop.quote(&order).await;
    assert_eq!(used.due, Rupiah::new(50_000));
    shop.buy(&order, Some(used.id)).await.unwrap();
    assert_eq!(refused(used.id).await, Code::QuoteUsed);

    let cheaper = shop.quote(&order).await;
    shop.database
        .sql("UPDATE quotes SET due = 49999 WHERE used_at IS NULL")
        .await;
    assert_eq!(refused(cheaper.id).await, Code::QuoteChanged);

    let old = shop.quote(&order).await;
    let life = old.expires_at - shop.shop.clock.now();
    assert!(life <= TimeDelta::minutes(15) && life > TimeDelta::minutes(14));
    shop.shop.clock.advance(life);
    assert_eq!(refused(old.id).await, Code::QuoteChanged);
    // Its use is named before its age.
    assert_eq!(refused(used.id).await, Code::QuoteUsed);
}
