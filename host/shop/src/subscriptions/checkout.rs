//! Buying: quota, coupon, money, subscription and instance in one database transaction.

use sqlx::types::Json;

use super::{
    FreezeState, Subscriptions,
    model::{PeriodRow, PurchaseView, Subscription, SubscriptionRow, SubscriptionStatus},
    pricing::{self, Order, Priced},
    quoting::{check_quote, known, quote_used},
    store,
};
use crate::{
    Result,
    catalog::{self, Offer},
    cluster::Load,
    coupons::{self, DECISION_ATTEMPTS},
    db::{Clock, Conn, Uncommitted, new_id},
    ids::{InstanceId, QuoteId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    owners,
    plugins::Asking,
    provisioning::{self, Instance},
    wallet::{self, LockedWallet, NewTransaction, Payment, TransactionType},
};

/// Checks that an order could be bought now, without buying.
///
/// # Errors
/// Every refusal of [`buy`].
pub async fn validate(shop: &Subscriptions, order: &Order) -> Result<Priced> {
    let priced = pricing::price(shop, order, Asking::Preview).await?;
    let mut conn = shop.db.read().await?;
    let live = store::live_of_plan(&mut conn, order.user_id, priced.offer.plan.id).await?;
    check_instance_limit(live, &priced)?;
    drop(conn);
    catalog::check_quota(&shop.db, &shop.clock, order.user_id, &priced.offer).await?;
    let balance = wallet::balance(&mut shop.db.read().await?, order.user_id).await?;
    let due = priced.due()?;
    if balance.total()? < due {
        return Err(wallet::insufficient(due, balance)?);
    }
    let pods = rehearse(shop, order, &priced, Asking::Preview).await?;
    check_room(shop, order, &priced, &pods).await?;
    Ok(priced)
}

/// Party that asks for a purchase.
#[derive(Debug, Clone, Copy)]
pub(super) enum Buyer {
    /// The customer, with the quote that the price is bound to where there is one.
    Customer(Option<QuoteId>),
    /// An administrator, for the customer.
    Administrator,
}

impl Buyer {
    const fn quote_id(self) -> Option<QuoteId> {
        match self {
            Self::Customer(quote_id) => quote_id,
            Self::Administrator => None,
        }
    }
}

/// Buys for the customer who asks, as `sell` does.
///
/// # Errors
/// As `sell`.
pub async fn buy(
    shop: &Subscriptions,
    order: &Order,
    quote_id: Option<QuoteId>,
) -> Result<Uncommitted<PurchaseView>> {
    Box::pin(sell(shop, order, Buyer::Customer(quote_id))).await
}

/// Sells: all of it or nothing, as soon as the caller commits. Plugins decide before the
/// transaction; the facts they were asked with are checked again inside it, and they decide again
/// when one changed.
///
/// # Errors
/// As for a quote; and `INSUFFICIENT_CREDIT`, `QUOTA_EXHAUSTED`, `CLUSTER_FULL`, `INSTANCE_LIMIT_REACHED`,
/// `COUPON_*`, `QUOTE_CHANGED`, `QUOTE_USED`, `NOT_DELIVERABLE`; `UNAUTHENTICATED` when the account of a customer who
/// asks was disabled meanwhile.
pub(super) async fn sell(
    shop: &Subscriptions,
    order: &Order,
    buyer: Buyer,
) -> Result<Uncommitted<PurchaseView>> {
    for _ in 0..DECISION_ATTEMPTS {
        let priced = pricing::price(shop, order, Asking::Act).await?;
        if let Some(quote_id) = buyer.quote_id() {
            check_quote(shop, order, quote_id, &priced).await?;
        }
        catalog::check_quota(&shop.db, &shop.clock, order.user_id, &priced.offer).await?;
        // After the refusals that cost less: this one has manifests rendered.
        let pods = rehearse(shop, order, &priced, Asking::Act).await?;
        check_room(shop, order, &priced, &pods).await?;
        let settled = settle(shop, order, buyer, (&priced, &pods)).await;
        if let Some(purchase) = known(shop, order, settled).await? {
            let provisioning = shop.instances.handle.clone();
            return Ok(purchase.and_then(move || provisioning.wake()));
        }
    }
    Err(coupons::too_busy())
}

/// The one transaction. `None` when a fact a coupon was decided on has changed.
async fn settle(
    shop: &Subscriptions,
    order: &Order,
    buyer: Buyer,
    (priced, pods): (&Priced, &[Load]),
) -> Result<Option<Uncommitted<PurchaseView>>> {
    let clock = &shop.clock;
    let mut conn = shop.db.begin_together().await?;
    // The customer's own lock first, the shared rows (plan, coupon) as late as can be.
    let mut wallet = wallet::lock(&mut conn, order.user_id).await?;
    wallet.check_open()?;
    if let Some(quote_id) = buyer.quote_id()
        && !store::use_quote(&mut conn, order.user_id, quote_id, clock.now()).await?
    {
        return Err(quote_used());
    }
    let standing = store::standing(&mut conn, order.user_id, priced.offer.plan.id).await?;
    if matches!(buyer, Buyer::Customer(_)) && !standing.is_active {
        return Err(owners::over());
    }
    check_instance_limit(standing.live, priced)?;
    let subscription = subscription(shop, order, priced);
    let mut held = None;
    if let Some(coupon) = &priced.coupon {
        held = coupons::still_holds(&mut conn, coupon, &wallet).await?;
        if held.is_none() {
            conn.rollback().await?;
            return Ok(None);
        }
        coupon.decision.record(&mut conn).await?;
    }
    priced.price_decision.record(&mut conn).await?;
    let payment = pay(shop, &mut conn, &mut wallet, priced, subscription.id).await?;
    store::insert(&mut conn, &subscription).await?;
    let new = new_instance(shop, order.user_id, priced, subscription.id);
    let instance = provisioning::create(&mut conn, clock, &shop.instances.vault, new).await?;
    // Sent together with the entry of the payment, the subscription and the instance, which wait.
    let period = period(priced, &payment);
    store::insert_period(&mut conn, subscription.id, &period, priced.moment).await?;
    let row = row(subscription.clone(), &priced.offer, &instance);
    let view = view(row, instance.id, priced, &payment)?;
    take_shared(
        &mut conn,
        clock,
        priced,
        held,
        (&subscription, payment.transaction.id),
    )
    .await?;
    // Others who buy this plan wait for its row until the commit, and see this instance then.
    let whose = (order.user_id, Some(subscription.id));
    provisioning::check_room(&mut conn, &shop.instances, &priced.offer, whose, pods).await?;
    Ok(Some(Uncommitted::new(conn, view)))
}

/// Returns a subscription as it is read once it is written.
fn row(subscription: Subscription, offer: &Offer, instance: &Instance) -> SubscriptionRow {
    let Offer { service, plan } = offer;
    SubscriptionRow {
        subscription,
        service_slug: service.slug.clone(),
        service_name: service.name.clone(),
        plan_slug: plan.slug.clone(),
        plan_name: plan.name.clone(),
        tier: plan.tier,
        instance_id: Some(instance.id),
        instance_status: Some(instance.status.to_string()),
    }
}

fn view(
    row: SubscriptionRow,
    instance_id: InstanceId,
    priced: &Priced,
    payment: &Payment,
) -> Result<PurchaseView> {
    Ok(PurchaseView {
        subscription: row.into(),
        instance_id,
        transaction: payment.transaction.number,
        transaction_id: payment.transaction.id,
        lines: priced.explained(),
        price: priced.price,
        discount: priced.discount(),
        charged: priced.due()?,
        paid_cash: payment.cash,
        paid_bonus: payment.bonus,
        price_decision_id: priced.price_decision.id,
        coupon_decision_id: priced.coupon.as_ref().map(|coupon| coupon.decision.id),
    })
}

/// Takes what customers share, coupon and plan, directly before the commit: others who want the
/// same row wait from here to there.
///
/// Rows that refer to the coupon are written with its use, not before: see [`coupons::take`].
async fn take_shared(
    conn: &mut Conn,
    clock: &Clock,
    priced: &Priced,
    held: Option<coupons::Held<'_>>,
    (subscription, transaction_id): (&Subscription, TransactionId),
) -> Result<()> {
    if let (Some(coupon), Some(held)) = (&priced.coupon, held) {
        let period = Some((subscription.id, subscription.period_number));
        let (user_id, transaction) = (subscription.user_id, Some(transaction_id));
        coupons::record_redemption(conn, clock, coupon, user_id, transaction, period).await?;
        coupons::take(conn, clock, held).await?;
        store::set_coupon(conn, subscription.id, coupon.coupon.id).await?;
    }
    catalog::take_quota(conn, clock, subscription.user_id, &priced.offer).await
}

fn subscription(shop: &Subscriptions, order: &Order, priced: &Priced) -> Subscription {
    let coupon = priced.coupon.as_ref();
    Subscription {
        id: new_id(&shop.clock),
        user_id: order.user_id,
        plan_id: order.plan_id,
        status: SubscriptionStatus::Active,
        monthly_price: priced.term.monthly_price,
        term_months: priced.term.months.into(),
        term_price: priced.term.price,
        freeze_state: FreezeState::None,
        storage_price: None,
        config: Json(priced.config.clone()),
        auto_renew: true,
        anchor_at: priced.moment,
        anchor_months: priced.term.months.into(),
        period_number: 1,
        period_start: priced.moment,
        period_end: priced.period_end,
        coupon_id: coupon.map(|coupon| coupon.coupon.id),
        coupon_periods_left: coupon.and_then(coupons::Evaluated::months_left),
        cancelled_at: None,
        cancel_reason: None,
        grace_until: None,
        suspended_at: None,
        unpaid: None,
        delivered_at: None,
        held_since: None,
        next_plan_id: None,
        next_price: None,
        next_term_price: None,
        next_price_from: None,
        created_at: priced.moment,
        updated_at: priced.moment,
    }
}

async fn pay(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    priced: &Priced,
    subscription_id: SubscriptionId,
) -> Result<Payment> {
    let (service, plan) = (&priced.offer.service.name, &priced.offer.plan.name);
    let description = match priced.term.months {
        1 => format!("{service} {plan}, first month"),
        _ => format!("{service} {plan}, first {}", priced.term.in_words()),
    };
    let new = NewTransaction {
        user_id: wallet.user_id,
        kind: TransactionType::Subscription,
        description,
        details: priced.details(),
        subscription_id: Some(subscription_id),
        coupon_id: priced.coupon.as_ref().map(|coupon| coupon.coupon.id),
        price_decision_id: Some(priced.price_decision.id),
        coupon_decision_id: priced.coupon.as_ref().map(|coupon| coupon.decision.id),
    };
    let key = format!("subscription:{subscription_id}:period:1");
    wallet::pay(
        conn,
        &shop.clock,
        wallet,
        priced.price,
        priced.discount(),
        &key,
        new,
    )
    .await
}

fn period(priced: &Priced, payment: &Payment) -> PeriodRow {
    PeriodRow {
        number: 1,
        starts_at: priced.moment,
        ends_at: priced.period_end,
        months: priced.term.months.into(),
        frozen: false,
        paid_until: None,
        storage: Rupiah::ZERO,
        price: priced.price,
        discount: priced.discount(),
        paid_cash: payment.cash,
        paid_bonus: payment.bonus,
        refunded_cash: Rupiah::ZERO,
        transaction_id: Some(payment.transaction.id),
        price_decision_id: priced.price_decision.id,
    }
}

fn new_instance(
    shop: &Subscriptions,
    user_id: UserId,
    priced: &Priced,
    subscription_id: SubscriptionId,
) -> provisioning::NewInstance {
    let description = &priced.description;
    let public = description.endpoints.iter().any(|endpoint| endpoint.public);
    provisioning::NewInstance {
        subscription_id,
        user_id,
        plan_id: priced.offer.plan.id,
        service: priced.offer.service.slug.clone(),
        plugin_digest: priced.plugin.digest().to_string(),
        settings: priced.offer.service.settings.0.clone(),
        images: priced.offer.service.images.0.clone(),
        sizes: priced.offer.plan.sizes(),
        config: priced.config.clone(),
        secrets: description.secrets.clone(),
        given: priced.given.clone(),
        base_domain: public.then(|| shop.settings.base_domain.clone()),
    }
}

/// Refuses an order that the cluster has no room for, before anything is locked.
async fn check_room(
    shop: &Subscriptions,
    order: &Order,
    priced: &Priced,
    pods: &[Load],
) -> Result<()> {
    // Shops without a cluster ask for no connection, which others may wait for.
    if !provisioning::knows_room(&shop.instances) {
        return Ok(());
    }
    let mut conn = shop.db.read().await?;
    let buyer = (order.user_id, None);
    provisioning::check_room(&mut conn, &shop.instances, &priced.offer, buyer, pods).await
}

/// Checks the objects of the order at the gate, so that nothing is charged for a refused one. Returns the
/// requests of its pods.
async fn rehearse(
    shop: &Subscriptions,
    order: &Order,
    priced: &Priced,
    asking: Asking,
) -> Result<Vec<Load>> {
    let new = new_instance(shop, order.user_id, priced, SubscriptionId::MIN);
    provisioning::rehearse_purchase(&shop.instances, new, &priced.offer, asking).await
}

/// Counting is safe because the customer's wallet is locked while it matters.
fn check_instance_limit(live: i64, priced: &Priced) -> Result<()> {
    if live < priced.offer.plan.max_instances_per_user {
        return Ok(());
    }
    Err(catalog::limit_reached(&priced.offer))
}
