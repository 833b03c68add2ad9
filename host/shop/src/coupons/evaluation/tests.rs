//! The host's limits around the answer of a coupon's rule.

use chrono::TimeDelta;
use dermaga_runtime::{
    Digest, Runtime, RuntimeConfig,
    contract::{Grant, Refusal, Resources, Term},
    fixtures::CouponFixture,
};
use serde_json::json;
use sqlx::types::Json;

use super::*;
use crate::{execute, ids::CouponId, test_database::TestDatabase};

const CODE: &str = "HEMAT";

fn granting(effect: Effect) -> CouponFixture {
    CouponFixture::deciding(contract::Decision::Grant(Grant {
        effect,
        reason: "As a test wants.".to_owned(),
    }))
}

fn plugin() -> Plugin {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    runtime.load(&CouponFixture::default().component()).unwrap()
}

/// A coupon without limits.
fn coupon(clock: &Clock) -> Coupon {
    Coupon {
        id: new_id(clock),
        code: CODE.to_owned(),
        description: String::new(),
        plugin_id: "coupon-fixture".to_owned(),
        parameters: Json(json!({})),
        starts_at: clock.now(),
        ends_at: None,
        max_uses: None,
        max_uses_per_user: None,
        used_count: 0,
        budget: None,
        granted_amount: Rupiah::ZERO,
        services: Json(Vec::new()),
        tiers: Json(Vec::new()),
        periods: None,
        status: CouponStatus::Active,
        revision: 0,
        created_at: clock.now(),
    }
}

fn purchase(total: i64) -> Purchase {
    Purchase {
        service: "n8n".to_owned(),
        plan: contract::Plan {
            slug: "basic".to_owned(),
            tier: contract::Tier::Basic,
            monthly_price: total,
            resources: Resources {
                cpu_millis: 500,
                memory_mib: 512,
                storage_gib: 1,
                replicas: 1,
            },
        },
        term: Term { months: 1 },
        lines: Vec::new(),
        total,
    }
}

/// A shop with one coupon, decided by this rule.
struct Scene {
    database: TestDatabase,
    registry: std::sync::Arc<Registry>,
    coupon_id: CouponId,
}

impl Scene {
    async fn open(fixture: &CouponFixture) -> Self {
        let database = TestDatabase::open().await;
        let component = fixture.component();
        let digest = Digest::of(&component).to_string();
        let plugin = ("coupon-fixture", "coupon");
        database.install(plugin, &digest, &component).await;
        let (coupon_id, now) = (new_id(&database.clock), database.clock.now());
        let mut conn = database.db.begin().await.unwrap();
        let sql = "INSERT INTO coupons (id, code, description, plugin_id, parameters, starts_at, services, tiers,
               status, created_at, updated_at)
             VALUES ($1, $2, '', 'coupon-fixture', '{}', $3, '[]', '[]', 'ACTIVE', $3, $3)";
        execute!(conn, sql, coupon_id, CODE, now).unwrap();
        conn.commit().await.unwrap();
        Self {
            registry: database.registry().await,
            database,
            coupon_id,
        }
    }

    async fn asked(&self, place: Place, total: Option<i64>) -> Result<Evaluated> {
        let context = (&self.database.db, &self.database.clock, &*self.registry);
        let (code, user_id) = (CODE.parse().unwrap(), self.database.user_id);
        let asking = (place, Asking::Preview);
        evaluate(context, &code, user_id, asking, total.map(purchase)).await
    }

    async fn refused(&self, place: Place, total: Option<i64>) -> Code {
        self.asked(place, total).await.unwrap_err().code
    }

    async fn take(&self, evaluated: &Evaluated) -> Result<bool> {
        let (user_id, clock) = (self.database.user_id, &self.database.clock);
        let mut conn = self.database.db.begin().await.unwrap();
        let wallet = wallet::lock(&mut conn, user_id).await?;
        let Some(held) = still_holds(&mut conn, evaluated, &wallet).await? else {
            return Ok(false);
        };
        take(&mut conn, clock, held).await?;
        conn.commit().await?;
        Ok(true)
    }
}

fn month(total: Rupiah) -> Price {
    Price {
        total,
        months: 1,
        left: None,
    }
}

/// Of a longer term a coupon reduces the months that it lasts, rounded down once, and no others.
#[test]
fn a_coupon_counts_months_and_never_terms() {
    let (plugin, total) = (plugin(), Rupiah::new(510_000));
    for (effect, left, expected, counted) in [
        (Effect::FreePeriods(1), None, 42_500, Some(1)),
        (Effect::FreePeriods(5), None, 212_500, Some(5)),
        (Effect::FreePeriods(12), None, 510_000, None),
        (Effect::FreePeriods(18), None, 510_000, None),
        (Effect::FreePeriods(18), Some(6), 255_000, Some(6)),
        (Effect::Discount(120_000), None, 120_000, None),
        (Effect::Discount(120_000), Some(1), 10_000, Some(1)),
        (Effect::Discount(120_000), Some(24), 120_000, None),
        (Effect::Discount(100), Some(7), 58, Some(7)),
        (Effect::Discount(i64::MAX), Some(3), 127_500, Some(3)),
    ] {
        let price = Some(Price {
            total,
            months: 12,
            left,
        });
        let worth = amount(&plugin, effect, Place::Checkout, price).unwrap();
        assert_eq!(worth, Rupiah::new(expected), "{effect:?} {left:?}");
        let reason = "Good.".to_owned();
        let said = Price::explained(price, Grant { effect, reason });
        let counted =
            counted.map(|months| format!("Good. It counts for {months} of the 12 months."));
        assert_eq!(
            said,
            counted.unwrap_or("Good.".to_owned()),
            "{effect:?} {left:?}"
        );
    }
}

#[test]
fn a_coupon_takes_off_no_more_than_the_price() {
    let (plugin, total) = (plugin(), Rupiah::new(50_000));
    for (effect, expected) in [
        (Effect::Discount(0), 0),
        (Effect::Discount(20_000), 20_000),
        (Effect::Discount(50_001), 50_000),
        (Effect::Discount(i64::MAX), 50_000),
        (Effect::FreePeriods(1), 50_000),
        (Effect::FreePeriods(12), 50_000),
    ] {
        let worth = amount(&plugin, effect, Place::Checkout, Some(month(total))).unwrap();
        assert_eq!(worth, Rupiah::new(expected), "{effect:?}");
    }
}

#[test]
fn an_effect_out_of_its_place_is_the_plugins_failure() {
    let (plugin, total) = (plugin(), Some(month(Rupiah::new(50_000))));
    for place in [Place::Wallet, Place::Registration] {
        let worth = amount(&plugin, Effect::Credit(7_000), place, None).unwrap();
        assert_eq!(worth, Rupiah::new(7_000));
    }
    for (effect, place, total) in [
        (Effect::Credit(7_000), Place::Checkout, total),
        (Effect::Credit(0), Place::Wallet, None),
        (Effect::Credit(-1), Place::Wallet, None),
        (Effect::Discount(7_000), Place::Wallet, None),
        (Effect::Discount(7_000), Place::Checkout, None),
        (Effect::FreePeriods(1), Place::Registration, None),
        (Effect::FreePeriods(0), Place::Checkout, total),
    ] {
        let failed = amount(&plugin, effect, place, total).unwrap_err();
        assert_eq!(failed.code, Code::PluginFailed, "{effect:?}");
        assert_eq!(failed.details[1].message, "EFFECT_OUT_OF_PLACE");
    }
}

#[test]
fn a_coupon_is_good_from_its_start_until_before_its_end() {
    let clock = Clock::movable();
    let mut coupon = coupon(&clock);
    let (start, end) = (clock.now(), clock.now() + TimeDelta::days(1));
    coupon.ends_at = Some(end);
    let second = TimeDelta::milliseconds(1);
    let at = |now| check_window(&coupon, &clock, now).map_err(|error| error.code);
    assert_eq!(at(start - second), Err(Code::CouponNotActive));
    assert_eq!(at(start), Ok(()));
    assert_eq!(at(end - second), Ok(()));
    assert_eq!(at(end), Err(Code::CouponNotActive));
    for (status, code) in [
        (CouponStatus::Disabled, Code::CouponNotActive),
        (CouponStatus::Expired, Code::CouponNotActive),
        (CouponStatus::UsedUp, Code::CouponUsedUp),
    ] {
        coupon.status = status;
        let refused = check_window(&coupon, &clock, start).unwrap_err();
        assert_eq!(refused.code, code, "{status}");
    }
}

#[test]
fn a_restricted_coupon_is_for_its_services_and_tiers_both() {
    let purchase = purchase(50_000);
    let mut coupon = coupon(&Clock::movable());
    for (services, tiers, fits) in [
        (&[][..], &[][..], true),
        (&["n8n"], &[], true),
        (&["ghost"], &[], false),
        (&["ghost", "n8n"], &[Tier::Basic], true),
        (&["n8n"], &[Tier::Pro], false),
        (&[], &[Tier::Pro, Tier::Basic], true),
        (&["ghost"], &[Tier::Basic], false),
    ] {
        coupon.services = Json(services.iter().map(|&slug| slug.to_owned()).collect());
        coupon.tiers = Json(tiers.to_vec());
        let checked = check_restrictions(&coupon, Some(&purchase));
        assert_eq!(checked.is_ok(), fits, "{services:?} {tiers:?}");
        check_restrictions(&coupon, None).unwrap();
    }
}

#[tokio::test]
async fn a_coupon_lasts_as_long_as_its_effect_says() {
    for (effect, periods, months, left) in [
        (Effect::FreePeriods(3), None, 1, Some(2)),
        (Effect::FreePeriods(3), None, 12, Some(0)),
        (Effect::FreePeriods(18), None, 12, Some(6)),
        (Effect::FreePeriods(1), Some(9), 1, Some(0)),
        (Effect::Discount(1_000), Some(3), 1, Some(2)),
        (Effect::Discount(1_000), Some(3), 6, Some(0)),
        (Effect::Discount(1_000), Some(9), 6, Some(3)),
        (Effect::Discount(1_000), None, 12, None),
    ] {
        let scene = Scene::open(&granting(effect)).await;
        let mut evaluated = scene.asked(Place::Checkout, Some(50_000)).await.unwrap();
        (evaluated.coupon.periods, evaluated.months) = (periods, months);
        assert_eq!(evaluated.months_left(), left, "{effect:?} {periods:?}");
    }
}

/// A third, less a little, of 500,103 is 165,033.99: eleven twelfths of the rule's 165,033 are 151,280.25, while those
/// of the exact discount would be 151,281.16.
#[tokio::test]
async fn a_share_of_months_is_rounded_down_after_the_rule() {
    let effect = Effect::Discount(500_103 * 33 / 100);
    let price = Some(Price {
        total: Rupiah::new(500_103),
        months: 12,
        left: Some(11),
    });
    let worth = amount(&plugin(), effect, Place::Checkout, price).unwrap();
    assert_eq!(worth, Rupiah::new(151_280));
    let reason = "33 % off.".to_owned();
    let said = Price::explained(price, Grant { effect, reason });
    assert_eq!(said, "33 % off. It counts for 11 of the 12 months.");

    for (effect, periods, months, is_rounded_twice) in [
        (effect, Some(11), 12, true),
        (effect, Some(12), 12, false),
        (effect, None, 12, false),
        (effect, Some(1), 1, false),
        (Effect::FreePeriods(1), Some(1), 12, false),
    ] {
        let scene = Scene::open(&granting(effect)).await;
        let mut evaluated = scene.asked(Place::Checkout, Some(500_103)).await.unwrap();
        (evaluated.coupon.periods, evaluated.months) = (periods, months);
        let told = evaluated.is_rounded_twice();
        assert_eq!(told, is_rounded_twice, "{effect:?} {periods:?} {months}");
    }
}

/// The budget pays for what is granted, not for what the rule would grant.
#[tokio::test]
async fn a_coupon_costs_no_more_than_its_budget() {
    let scene = Scene::open(&granting(Effect::Discount(80_000))).await;
    let sql = "UPDATE coupons SET budget = 100000, granted_amount = 50000";
    scene.database.sql(sql).await;
    let granted = scene.asked(Place::Checkout, Some(50_000)).await.unwrap();
    assert_eq!(granted.amount, Rupiah::new(50_000));
    let over = scene.refused(Place::Checkout, Some(50_001)).await;
    assert_eq!(over, Code::CouponBudgetSpent);
}

#[tokio::test]
async fn refusals_come_in_one_order() {
    let refusing = CouponFixture::deciding(contract::Decision::Refuse(Refusal {
        code: "NOT_TODAY".to_owned(),
        message: "Not today.".to_owned(),
    }));
    let scene = Scene::open(&refusing).await;
    let database = &scene.database;
    let user = "INSERT INTO coupon_customer_uses (coupon_id, user_id, uses) SELECT c.id, u.id, 1 FROM coupons c, users u";
    database.sql(user).await;
    let sql =
        "UPDATE coupons SET status = 'DISABLED', services = '[\"ghost\"]', max_uses_per_user = 1";
    database.sql(sql).await;
    let (place, total) = (Place::Checkout, Some(50_000));
    assert_eq!(scene.refused(place, total).await, Code::CouponNotActive);
    database.sql("UPDATE coupons SET status = 'ACTIVE'").await;
    assert_eq!(scene.refused(place, total).await, Code::CouponNotApplicable);
    database.sql("UPDATE coupons SET services = '[]'").await;
    // The fixture is a rule for the wallet.
    assert_eq!(scene.refused(place, total).await, Code::CouponNotApplicable);
    let place = Place::Wallet;
    assert_eq!(scene.refused(place, None).await, Code::CouponAlreadyUsed);
    database
        .sql("UPDATE coupons SET max_uses_per_user = 2")
        .await;
    let refused = scene.asked(place, None).await.unwrap_err();
    assert_eq!(refused.code, Code::CouponRefused);
    assert_eq!(refused.message, "Not today.");
}

#[tokio::test]
async fn the_last_use_is_taken_once() {
    let scene = Scene::open(&granting(Effect::Credit(5_000))).await;
    scene.database.sql("UPDATE coupons SET max_uses = 1").await;
    let (first, second) = (
        scene.asked(Place::Wallet, None).await.unwrap(),
        scene.asked(Place::Wallet, None).await.unwrap(),
    );
    assert!(scene.take(&first).await.unwrap());
    let late = scene.take(&second).await.unwrap_err();
    assert_eq!(late.code, Code::CouponUsedUp);
    let granted = scene.database.number("SELECT granted_amount FROM coupons");
    assert_eq!(granted.await, 5_000);
}

#[tokio::test]
async fn the_budget_is_looked_at_again_when_the_use_is_taken() {
    let scene = Scene::open(&granting(Effect::Credit(5_000))).await;
    scene.database.sql("UPDATE coupons SET budget = 9999").await;
    let (first, second) = (
        scene.asked(Place::Wallet, None).await.unwrap(),
        scene.asked(Place::Wallet, None).await.unwrap(),
    );
    assert!(scene.take(&first).await.unwrap());
    let late = scene.take(&second).await.unwrap_err();
    assert_eq!(late.code, Code::CouponBudgetSpent);
}

#[tokio::test]
async fn a_coupon_changed_since_its_rule_was_asked_is_not_taken() {
    let scene = Scene::open(&granting(Effect::Credit(5_000))).await;
    let seen = scene.asked(Place::Wallet, None).await.unwrap();
    assert_eq!(seen.coupon.id, scene.coupon_id);
    scene.database.sql("UPDATE coupons SET revision = 1").await;
    let late = scene.take(&seen).await.unwrap_err();
    assert_eq!(late.code, Code::Conflict);
    let uses = "SELECT count(*) FROM coupon_customer_uses";
    assert_eq!(scene.database.number(uses).await, 0);
}

#[tokio::test]
async fn a_rule_is_asked_again_when_its_facts_have_changed() {
    let mut fixture = granting(Effect::Credit(5_000));
    fixture.description.facts = vec![Fact::PastRedemptions];
    let scene = Scene::open(&fixture).await;
    let seen = scene.asked(Place::Wallet, None).await.unwrap();
    assert!(scene.take(&seen).await.unwrap());
    assert!(!scene.take(&seen).await.unwrap());
    let again = scene.asked(Place::Wallet, None).await.unwrap();
    assert!(scene.take(&again).await.unwrap());
}

#[tokio::test]
async fn a_rule_learns_only_the_facts_that_it_declared() {
    let mut fixture = granting(Effect::Credit(5_000));
    let scene = Scene::open(&fixture).await;
    let told = scene.asked(Place::Wallet, None).await.unwrap().facts;
    assert_eq!(told, Facts::default());
    fixture.description.facts = vec![Fact::FirstPurchase, Fact::AccountAge];
    let scene = Scene::open(&fixture).await;
    scene.database.clock.advance(TimeDelta::days(3));
    let told = scene.asked(Place::Wallet, None).await.unwrap().facts;
    let expected = Facts {
        first_purchase: Some(true),
        account_age_days: Some(3),
        past_redemptions: None,
    };
    assert_eq!(told, expected);
}

/// This server has not heard of it yet.
#[tokio::test]
async fn a_rule_that_another_server_activated_is_loaded_when_it_is_asked() {
    let scene = Scene::open(&granting(Effect::Credit(5_000))).await;
    let stage = "UPDATE plugin_versions SET state = 'STAGED'";
    scene.database.sql(stage).await;
    scene.registry.refresh().await.unwrap();
    let absent = scene.asked(Place::Wallet, None).await.unwrap_err();
    assert_eq!(absent.code, Code::PluginUnavailable);
    let said = "No version of the plugin `coupon-fixture` is active.";
    assert_eq!(absent.message, said);
    let activate = "UPDATE plugin_versions SET state = 'ACTIVE'";
    scene.database.sql(activate).await;
    let asked = scene.asked(Place::Wallet, None).await.unwrap();
    assert_eq!(asked.amount, Rupiah::new(5_000));
}
