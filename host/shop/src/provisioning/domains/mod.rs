//! Domains of customers: claimed, proven to be theirs, and led to an instance.
//!
//! A claim has a token of its own, which its customer publishes where only the owner of the domain can. Many
//! may claim a domain; the first who proves it has it until it is removed and its rule is gone from the
//! cluster, so that a domain leads to one place, and never to another one unnoticed.

mod administration;
mod checking;
mod model;
mod name;
mod proof;
mod records;
mod settings;
mod store;
mod taking_back;

use std::sync::Arc;

use chrono::TimeDelta;

pub(in crate::provisioning) use self::model::DomainNames;
use self::model::{Domain, Holder, Removal};
pub use self::{
    checking::watch,
    model::{DomainFilter, DomainProof, DomainState, DomainView, OwnedDomain, ProvenBy},
    name::OwnNames,
    records::{RecordTexts, Records},
    settings::Settings,
};
use super::{
    Instances, lifecycle,
    model::{Desired, Instance, Status},
    store::insert_event,
};
use crate::{
    Code, Error, Result, crypto,
    db::{Clock, Conn, Uncommitted, broken_unique, new_id},
    ids::{DomainId, InstanceId, UserId},
    owners::{self, SignedIn},
    text::counted,
    throttle::Throttle,
    webhooks::{self, Fetcher},
};

/// Time for which a claim waits for its proof.
const CLAIM: TimeDelta = TimeDelta::days(7);
/// Time until the first look for a proof that was not asked for.
const FIRST_LOOK: TimeDelta = TimeDelta::minutes(2);
/// Bytes of a token.
const TOKEN_BYTES: usize = 16;
/// Looks for proofs that one customer may ask for within an hour, on one server.
const MOST_ASKED_AN_HOUR: u32 = 60;
/// Seconds after which a domain that is being taken back is likely to be free.
const TAKEN_BACK_SOON: u64 = 15;

const TAKES_NONE: &str = "This shop takes no domains of customers.";
const HAS_NO_ADDRESS: &str = "This service has no public address that a domain could lead to.";
const IS_LEAVING: &str = "This domain is being taken back from the service.";
const ARE_LEAVING: &str =
    "Domains of this service are still being taken back. Try again in a minute.";
const LEADS_HERE: &str = "A domain of yours leads here now.";
const LEADS_HERE_NO_MORE: &str = "A domain of yours does not lead here any more.";

/// Domains of customers, with all that proofs need.
#[derive(Debug, Clone)]
pub struct Domains {
    instances: Instances,
    settings: Arc<Settings>,
    own: Arc<OwnNames>,
    records: Records,
    files: Fetcher,
    /// Looks that were asked for, by customer.
    asked: Arc<Throttle<UserId>>,
}

impl Domains {
    /// Prepares the looks for proofs. Files are read by the rules about addresses that webhooks have.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        instances: Instances,
        settings: Settings,
        own: OwnNames,
        webhooks: &webhooks::Settings,
    ) -> Result<Self> {
        let records = settings.records.clone();
        let server = settings.name_server;
        let hour = TimeDelta::hours(1);
        let asked = Throttle::new(MOST_ASKED_AN_HOUR, hour, "checks of domains");
        Ok(Self {
            instances,
            own: Arc::new(own),
            records: records.unwrap_or_else(|| Records::of_server(server)),
            files: Fetcher::new(webhooks, proof::FILE_TIMEOUT)?,
            settings: Arc::new(settings),
            asked: Arc::new(asked),
        })
    }

    /// Lists the domains of a customer's instance, the oldest first.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such instance or it is another customer's.
    pub async fn list(&self, user_id: UserId, instance_id: InstanceId) -> Result<Vec<DomainView>> {
        let mut conn = self.instances.db.read().await?;
        lifecycle::subscription_of(&mut conn, user_id, instance_id).await?;
        let found = store::of_instance(&mut conn, instance_id).await?;
        Ok(found.iter().map(|domain| self.view(domain)).collect())
    }

    /// Lists all domains of a customer, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of_customer(&self, user_id: UserId) -> Result<Vec<DomainView>> {
        let mut conn = self.instances.db.read().await?;
        let found = store::of_customer(&mut conn, user_id).await?;
        Ok(found.iter().map(|domain| self.view(domain)).collect())
    }

    /// Claims a domain for a customer's instance; it leads there once it is proven to be the customer's.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for a name that no customer can have; `NOT_FOUND`; `INVALID_STATE` for an instance
    /// that is removed or has no public address, and where the shop takes no domains; `CONFLICT` for one that
    /// is there already, and when the instance has as many as it may.
    pub async fn claim(
        &self,
        caller: SignedIn,
        instance_id: InstanceId,
        given: &str,
    ) -> Result<Uncommitted<DomainView>> {
        let name = self.own.check(given);
        let name = name.map_err(|message| Error::invalid("domain", message))?;
        let mut conn = self.instances.db.begin().await?;
        owners::still_signed_in(&mut conn, caller).await?;
        let instance = store::lock(&mut conn, instance_id).await?;
        let instance = instance.filter(|instance| instance.user_id == caller.user_id);
        let instance = instance.ok_or_else(|| Error::not_found("instance"))?;
        let hostname = hostname(&instance)?;
        let clock = &self.instances.clock;
        let now = clock.now();
        // The worker comes for them later, and until then nothing could be claimed in their place.
        store::delete_expired(&mut conn, instance_id, now).await?;
        let there = store::of_instance(&mut conn, instance_id).await?;
        self.check_room(&there, &name)?;
        let domain = Domain {
            id: new_id(clock),
            instance_id,
            user_id: caller.user_id,
            name,
            token: crypto::random_hex(TOKEN_BYTES),
            state: DomainState::Pending,
            proven_by: None,
            proven_at: None,
            problem: None,
            checked_at: None,
            expires_at: now + CLAIM,
            created_at: now,
            hostname: Some(hostname.to_owned()),
        };
        store::insert(&mut conn, &domain, now + FIRST_LOOK).await?;
        Ok(Uncommitted::new(conn, self.view(&domain)))
    }

    /// Refuses claims, and their proofs, where the shop takes no domains. What is proven stays.
    fn check_taken(&self) -> Result<()> {
        if self.settings.per_instance == 0 {
            return Err(Error::new(Code::InvalidState, TAKES_NONE));
        }
        Ok(())
    }

    /// Refuses a claim beside those that an instance has.
    fn check_room(&self, there: &[Domain], name: &str) -> Result<()> {
        self.check_taken()?;
        let most = self.settings.per_instance;
        let kept = there
            .iter()
            .filter(|domain| domain.state != DomainState::Removing);
        if kept.clone().any(|domain| domain.name == name) {
            let message = "This service has the domain already.";
            return Err(Error::new(Code::Conflict, message));
        }
        if kept.count() >= most {
            let message = format!(
                "A service can have at most {}. Remove one first.",
                counted(most, "domain")
            );
            return Err(Error::new(Code::Conflict, message));
        }
        // Each of them is work for a pass, which a cluster that is away holds up.
        if there.len() >= most.saturating_mul(2) {
            let refused = Error::new(Code::Conflict, ARE_LEAVING);
            return Err(refused.retry_after(TAKEN_BACK_SOON));
        }
        Ok(())
    }

    /// Looks for the proof of a customer's claim now. One that is found lets the domain lead to the instance.
    ///
    /// # Errors
    /// `NOT_FOUND`; `INVALID_STATE` for a claim that has expired, a domain that is being taken back, and an
    /// instance that is not set up or is changing, and where the shop takes no domains any more; `CONFLICT` when
    /// the domain leads to another service; `TOO_MANY_REQUESTS`.
    pub async fn verify(
        &self,
        caller: SignedIn,
        instance_id: InstanceId,
        id: DomainId,
    ) -> Result<DomainView> {
        let Instances { db, clock, .. } = &self.instances;
        let owner = (caller.user_id, instance_id);
        let seen = find(&mut db.read().await?, owner, id).await?;
        match seen.state {
            DomainState::Active => return Ok(self.view(&seen)),
            DomainState::Removing => return Err(Error::new(Code::InvalidState, IS_LEAVING)),
            DomainState::Pending if seen.expires_at <= clock.now() => {
                let message = "This claim has expired. Add the domain again.";
                return Err(Error::new(Code::InvalidState, message));
            }
            DomainState::Pending => self.check_taken()?,
        }
        self.asked.admit(caller.user_id, clock.now())?;
        let looked = self.look(&seen.name, &seen.token).await;
        let mut conn = db.begin().await?;
        owners::still_signed_in(&mut conn, caller).await?;
        let is_proven = looked.is_ok();
        match looked {
            Ok(by) => self.lead(&mut conn, &seen, by).await?,
            Err(problem) => self.note(&mut conn, &seen, &problem).await?,
        }
        let after = find(&mut conn, owner, id).await?;
        conn.commit().await?;
        if is_proven {
            self.instances.handle.wake();
        }
        Ok(self.view(&after))
    }

    /// Removes a customer's domain; returns true when it has to be taken back from its instance.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn remove(
        &self,
        caller: SignedIn,
        instance_id: InstanceId,
        id: DomainId,
    ) -> Result<bool> {
        let mut conn = self.instances.db.begin().await?;
        owners::still_signed_in(&mut conn, caller).await?;
        let domain = find(&mut conn, (caller.user_id, instance_id), id).await?;
        let removal = self.let_go(&mut conn, &domain).await?;
        conn.commit().await?;
        Ok(self.conclude(removal))
    }

    /// Wakes the worker for a removal that was committed; returns true for a domain that led to its instance.
    fn conclude(&self, removal: Removal) -> bool {
        if removal == Removal::Begun {
            self.instances.handle.wake();
        }
        removal != Removal::OfClaim
    }

    /// Removes a claim, or begins to take a domain back, in the caller's transaction.
    async fn let_go(&self, conn: &mut Conn, seen: &Domain) -> Result<Removal> {
        // The instance first, as everything that leads or ends takes the two.
        let instance = store::lock(conn, seen.instance_id).await?;
        let instance = instance.ok_or_else(|| Error::not_found("instance"))?;
        // Another request, or a look for the proof, may have been faster until that lock.
        let now = store::by_id(conn, seen.id).await?;
        match now.ok_or_else(|| Error::not_found("domain"))?.state {
            DomainState::Pending => {
                store::delete(conn, seen.id, DomainState::Pending).await?;
                Ok(Removal::OfClaim)
            }
            DomainState::Active => {
                let clock = &self.instances.clock;
                let generation = store::raise(conn, instance.id, clock.now()).await?;
                store::leave(conn, seen.id, generation, clock.now()).await?;
                record(conn, clock, &instance, LEADS_HERE_NO_MORE).await?;
                Ok(Removal::Begun)
            }
            DomainState::Removing => Ok(Removal::UnderWay),
        }
    }

    /// Leads a proven domain to its instance, in the caller's transaction; wake the worker after the commit.
    async fn lead(&self, conn: &mut Conn, seen: &Domain, by: ProvenBy) -> Result<()> {
        let clock = &self.instances.clock;
        let instance = store::lock(conn, seen.instance_id).await?;
        let instance = instance.ok_or_else(|| Error::not_found("instance"))?;
        hostname(&instance)?;
        if instance.delivered_at.is_none() {
            return Err(Error::new(Code::InvalidState, lifecycle::NOT_SET_UP));
        }
        lifecycle::check_is_proven(&instance)?;
        if let Some(holder) = store::holder(conn, &seen.name).await?
            && holder.id != seen.id
        {
            if holder.status != Status::Terminated {
                return Err(taken(&holder, seen));
            }
            // Still active when a server of the release before, which knows no domains, removed its instance.
            store::delete(conn, holder.id, holder.state).await?;
        }
        let activated = store::activate(conn, seen.id, by, clock.now()).await;
        if !activated.map_err(proven_by_another)? {
            // Another look was faster, or the claim was removed.
            return Ok(());
        }
        store::raise(conn, instance.id, clock.now()).await?;
        record(conn, clock, &instance, LEADS_HERE).await
    }

    async fn note(&self, conn: &mut Conn, seen: &Domain, problem: &str) -> Result<()> {
        let now = self.instances.clock.now();
        let next = now + checking::pause(now - seen.created_at);
        store::note(conn, seen.id, problem, now, next).await?;
        Ok(())
    }

    fn view(&self, domain: &Domain) -> DomainView {
        domain.view(self.settings.web_port)
    }
}

/// Returns the host name that domains of an instance lead to.
///
/// # Errors
/// `INVALID_STATE` when it has none, or is removed.
fn hostname(instance: &Instance) -> Result<&str> {
    if instance.desired == Desired::Terminated {
        return Err(Error::new(Code::InvalidState, lifecycle::IS_REMOVED));
    }
    let missing = || Error::new(Code::InvalidState, HAS_NO_ADDRESS);
    instance.hostname.as_deref().ok_or_else(missing)
}

async fn find(
    conn: &mut Conn,
    (user_id, instance_id): (UserId, InstanceId),
    id: DomainId,
) -> Result<Domain> {
    let found = store::by_id(conn, id).await?;
    let found = found.filter(|found| found.user_id == user_id && found.instance_id == instance_id);
    found.ok_or_else(|| Error::not_found("domain"))
}

/// Returns the refusal of a domain that leads elsewhere.
fn taken(holder: &Holder, seen: &Domain) -> Error {
    if holder.state == DomainState::Removing {
        let message =
            "This domain is still being taken back from a service. Try again in a minute.";
        return Error::new(Code::Conflict, message).retry_after(TAKEN_BACK_SOON);
    }
    if holder.user_id == seen.user_id {
        let message = format!(
            "This domain already leads to your service {}. Remove it there first.",
            holder.instance
        );
        return Error::new(Code::Conflict, message);
    }
    leads_to_another()
}

fn leads_to_another() -> Error {
    let message = "This domain already leads to a service of another customer. It has to be removed there \
                   first; write to the shop's support if that is not possible.";
    Error::new(Code::Conflict, message)
}

/// Returns the failure of an activation: of two claims that are proven at the same moment, the index lets one
/// through.
fn proven_by_another(error: sqlx::Error) -> Error {
    match broken_unique(&error).as_deref() {
        Some("custom_domains_name_key") => leads_to_another(),
        _ => error.into(),
    }
}

/// Records something about its domains among the events of an instance.
async fn record(conn: &mut Conn, clock: &Clock, instance: &Instance, message: &str) -> Result<()> {
    let (id, now) = (new_id(clock), clock.now());
    insert_event(conn, id, instance.id, instance.status, message, now).await?;
    Ok(())
}

/// Returns the domains of an instance that a pass leads to it, and those that it takes back.
pub(in crate::provisioning) async fn names(
    conn: &mut Conn,
    instance: &Instance,
) -> Result<DomainNames> {
    let mut names = DomainNames::default();
    if instance.hostname.is_none() {
        return Ok(names);
    }
    for domain in store::led(conn, instance.id).await? {
        if domain.state == DomainState::Active {
            names.led.push(domain.name);
        } else {
            names.left.push(domain.left());
        }
    }
    Ok(names)
}

/// Ends the claims of an instance that is being removed, and begins to take its domains back, in the caller's
/// transaction.
///
/// # Errors
/// When the database refuses.
pub(in crate::provisioning) async fn end(
    conn: &mut Conn,
    clock: &Clock,
    instance: &Instance,
) -> Result<()> {
    store::delete_claims(conn, instance.id).await?;
    store::leave_all(conn, instance.id, instance.generation, clock.now()).await?;
    Ok(())
}

/// Removes the domains of an account that is deleted; its instances are gone.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::delete_of(conn, user_id).await?;
    Ok(())
}
