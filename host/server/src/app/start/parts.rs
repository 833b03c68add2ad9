//! The parts of the shop, each made of the configuration and of parts below it.

use std::sync::Arc;

use dermaga_shop::{
    accounts::Accounts,
    catalog::{Catalog, Templates},
    coupons::Coupons,
    crypto::Vault,
    db::{Clock, Db},
    events::Events,
    files::Files,
    idempotency,
    notifications::{self, Notifications},
    payments::Payments,
    plugins::Registry,
    provisioning::{
        Instances,
        domains::{Domains, OwnNames},
    },
    rates::Rates,
    replies::Replies,
    subscriptions::Subscriptions,
    tickets::Tickets,
    users::Exports,
    wallet::Wallets,
    webhooks::Webhooks,
};
use uuid::Uuid;

use super::lifetime;
use crate::{
    api::Shared,
    app::{StartError, jobs},
    config::Config,
    http::{Departure, Streams},
    sandbox::Sandbox,
};

/// Parts that all others stand on.
pub(super) struct Base {
    pub(super) config: Config,
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) vault: Arc<Vault>,
    pub(super) plugins: Arc<Registry>,
    /// Identity of this server.
    pub(super) server: Uuid,
}

impl Base {
    /// Makes the other parts, those below first.
    ///
    /// # Errors
    /// The first part that cannot be made.
    pub(super) fn parts(
        self,
        accounts: Accounts,
        templates: Arc<Templates>,
        instances: Instances,
    ) -> Result<Shared, StartError> {
        let catalog = self.catalog(templates, &instances);
        let wallets = self.wallets();
        let sandbox = Sandbox::asked_for(&self.config.payments, &self.clock);
        let payments = self.payments(&wallets, sandbox.as_ref())?;
        let coupons = self.coupons();
        let subscriptions = self.subscriptions(&coupons, &instances);
        let replies = self.replies();
        let notifications = self.notifications(replies.clone())?;
        let tickets = self.tickets(&instances, replies)?;
        let webhooks = self.webhooks()?;
        let domains = self.domains(&instances)?;
        let parts = jobs::Parts {
            subscriptions: &subscriptions,
            coupons: &coupons,
            wallets: &wallets,
            catalog: &catalog,
            tickets: &tickets,
            server: self.server,
        };
        let scheduler = jobs::scheduler(&self.config, parts);
        Ok(Shared {
            server: self.server,
            events: Events::new(self.db.clone(), self.clock.clone()),
            rates: Arc::new(Rates::new(self.db.clone(), self.config.rates)),
            db: self.db,
            clock: self.clock,
            config: Arc::new(self.config),
            plugins: self.plugins,
            accounts: Arc::new(accounts),
            catalog,
            wallets,
            payments: Arc::new(payments),
            sandbox,
            coupons,
            instances,
            domains,
            subscriptions,
            scheduler: Arc::new(scheduler),
            notifications,
            tickets,
            webhooks,
            exports: Exports::default(),
            streams: Streams::default(),
            departure: Departure::default(),
            kept_refusals: Arc::new(idempotency::refusals()),
            kept_answers: Arc::default(),
        })
    }

    fn catalog(&self, templates: Arc<Templates>, instances: &Instances) -> Catalog {
        Catalog::new(
            self.db.clone(),
            self.clock.clone(),
            Arc::clone(&self.plugins),
            templates,
            self.config.catalog,
            instances.plan_room(),
        )
    }

    fn wallets(&self) -> Wallets {
        let settings = self.config.wallet.clone();
        Wallets::new(self.db.clone(), self.clock.clone(), settings)
    }

    fn payments(
        &self,
        wallets: &Wallets,
        sandbox: Option<&Sandbox>,
    ) -> Result<Payments, StartError> {
        let settings = self.config.payments.clone();
        let key = sandbox.map(Sandbox::server_key);
        Payments::new(wallets.clone(), settings, key, self.server)
            .map_err(StartError::failed("payments cannot be prepared"))
    }

    fn coupons(&self) -> Coupons {
        let plugins = Arc::clone(&self.plugins);
        let (db, clock) = (self.db.clone(), self.clock.clone());
        Coupons::new(db, clock, plugins, self.config.coupons)
    }

    fn subscriptions(&self, coupons: &Coupons, instances: &Instances) -> Subscriptions {
        let settings = self.config.subscriptions.clone();
        Subscriptions::new(coupons.clone(), instances.clone(), settings)
    }

    fn replies(&self) -> Option<Replies> {
        let address = self.config.tickets.reply_address.clone();
        address.map(|address| Replies::new(address, Arc::clone(&self.vault)))
    }

    /// Returns the notifications, and warns of bonuses that wait for mails which are never sent.
    fn notifications(&self, replies: Option<Replies>) -> Result<Notifications, StartError> {
        let config = &self.config;
        let settings = notifications::Settings {
            shop_name: config.wallet.shop_name.clone(),
            password_reset: lifetime(config.accounts.password_reset_lifetime),
            // A sandbox is never in production.
            log_mails: config.payments.sandbox,
            replies,
            ..config.notifications.clone()
        };
        let notifications = Notifications::new(self.db.clone(), self.clock.clone(), settings)
            .map_err(StartError::failed(
                "templates of notifications cannot be used",
            ))?;
        if config.coupons.bonus_requires_verified_email && !notifications.sends_mails() {
            tracing::warn!(
                "bonus.waits_for_mails: SMTP_URL is not set, so that no address can be confirmed"
            );
        }
        Ok(notifications)
    }

    fn tickets(
        &self,
        instances: &Instances,
        replies: Option<Replies>,
    ) -> Result<Tickets, StartError> {
        let folder = self.config.data_dir.join("attachments");
        let files = Files::open(&self.config.files, folder)
            .map_err(StartError::failed("attachments cannot be kept"))?;
        let settings = self.config.tickets.clone();
        Ok(Tickets::new(instances.clone(), files, replies, settings))
    }

    fn webhooks(&self) -> Result<Webhooks, StartError> {
        let (db, clock) = (self.db.clone(), self.clock.clone());
        let settings = self.config.webhooks.clone();
        Webhooks::new(db, clock, Arc::clone(&self.vault), settings)
            .map_err(StartError::failed("webhooks cannot be prepared"))
    }

    fn domains(&self, instances: &Instances) -> Result<Domains, StartError> {
        let config = &self.config;
        let shop_url = config.notifications.shop_url.as_deref();
        let own = OwnNames::new(&config.subscriptions.base_domain, shop_url);
        let settings = config.provisioning.domains.clone();
        Domains::new(instances.clone(), settings, own, &config.webhooks).map_err(
            StartError::failed("proofs of customers' domains cannot be prepared"),
        )
    }
}
