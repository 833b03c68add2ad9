//! Domains as they are stored and shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::proof;
use crate::{
    db::Place,
    ids::{DomainId, InstanceId, UserId},
    provisioning::model::Status,
    text_enum,
};

text_enum! {
    /// State of a customer's domain.
    pub enum DomainState {
        /// Waits for the proof that it is the customer's.
        Pending = "PENDING",
        /// Leads to the instance.
        Active = "ACTIVE",
        /// Is being taken back from the instance.
        Removing = "REMOVING",
    }
}

text_enum! {
    /// Place in which the proof of a domain was found.
    pub enum ProvenBy {
        /// A TXT record.
        Dns = "DNS",
        /// A file on the web server that the domain led to.
        Http = "HTTP",
    }
}

/// A domain as the database has it, with the host name of its instance.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Domain {
    pub(super) id: DomainId,
    pub(super) instance_id: InstanceId,
    pub(super) user_id: UserId,
    pub(super) name: String,
    pub(super) token: String,
    pub(super) state: DomainState,
    pub(super) proven_by: Option<ProvenBy>,
    pub(super) proven_at: Option<DateTime<Utc>>,
    /// Reason why the last look found no proof.
    pub(super) problem: Option<String>,
    pub(super) checked_at: Option<DateTime<Utc>>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) hostname: Option<String>,
}

/// Course of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// A claim is removed.
    OfClaim,
    /// A domain is being taken back from now on.
    Begun,
    /// A domain was being taken back already, and nothing was changed.
    UnderWay,
}

/// The domain that others claim in vain.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Holder {
    pub(super) id: DomainId,
    pub(super) user_id: UserId,
    pub(super) state: DomainState,
    /// Name of its instance.
    pub(super) instance: String,
    pub(super) status: Status,
}

/// A domain that leads to an instance, or is being taken back from it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Led {
    pub(super) id: DomainId,
    pub(super) name: String,
    pub(super) state: DomainState,
    /// Moment until which the certificate of one that is being taken back is kept, once its rule is gone.
    pub(super) next_check_at: DateTime<Utc>,
    /// Moment since when it is being taken back.
    pub(super) updated_at: DateTime<Utc>,
}

impl Led {
    /// Returns the domain as one that is to be taken back.
    pub(super) fn left(self) -> Left {
        // The two are one until a pass has applied the instance without the rule.
        let is_gone = self.next_check_at != self.updated_at;
        Left {
            id: self.id,
            name: self.name,
            kept_until: is_gone.then_some(self.next_check_at),
        }
    }
}

/// A domain whose rule is not wanted any more.
#[derive(Debug, Clone)]
pub(in crate::provisioning) struct Left {
    pub(super) id: DomainId,
    pub(super) name: String,
    /// Moment until which its certificate is kept; `None` until a pass has applied the instance without its rule.
    pub(super) kept_until: Option<DateTime<Utc>>,
}

/// Domains of an instance, as a pass needs them.
#[derive(Debug, Default)]
pub(in crate::provisioning) struct DomainNames {
    /// Those that lead to it.
    pub(in crate::provisioning) led: Vec<String>,
    /// Those that are to be taken back.
    pub(in crate::provisioning) left: Vec<Left>,
}

/// A customer's domain, and its proof.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainView {
    pub id: DomainId,
    pub instance_id: InstanceId,
    /// In ASCII and lower case, as DNS has it.
    #[schema(example = "www.example.com")]
    pub domain: String,
    pub state: DomainState,
    /// Proof to publish, in one of two ways; absent once it was found.
    pub proof: Option<DomainProof>,
    /// Host name that the domain is to lead to in DNS, by a CNAME record or by its addresses.
    #[schema(example = "n8n-k3v9x2ab.apps.example.com")]
    pub target: Option<String>,
    pub proven_by: Option<ProvenBy>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub proven_at: Option<DateTime<Utc>>,
    /// Reason why the last look found no proof.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub problem: Option<String>,
    /// Time of the last look.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub checked_at: Option<DateTime<Utc>>,
    /// End of the claim unless it is proven before; absent once it is.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

/// Proof that a domain is the customer's: a record or a file, either is enough.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainProof {
    /// Name of the TXT record.
    #[schema(example = "_dermaga.www.example.com")]
    pub record_name: String,
    /// Value of the TXT record.
    #[schema(example = "dermaga-verify=5b1f4e0a93d26a8fbb0c3e5d7f917c1d")]
    pub record_value: String,
    /// Address of the file.
    pub file_url: String,
    /// Content of the file.
    pub file_content: String,
}

/// A domain as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct OwnedDomain {
    pub id: DomainId,
    /// In ASCII and lower case, as DNS has it.
    #[sqlx(rename = "name")]
    pub domain: String,
    pub state: DomainState,
    pub user_id: UserId,
    /// E-mail address of the customer.
    pub email: String,
    pub instance_id: InstanceId,
    pub instance_name: String,
    pub proven_by: Option<ProvenBy>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub proven_at: Option<DateTime<Utc>>,
    /// Reason why the last look found no proof.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub problem: Option<String>,
    /// Time of the last look.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub checked_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

impl OwnedDomain {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<DomainId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// Filter of a list of domains.
#[derive(Debug, Default)]
pub struct DomainFilter<'a> {
    pub state: Option<DomainState>,
    pub user_id: Option<UserId>,
    pub instance_id: Option<InstanceId>,
    /// Text within the domain or the customer's e-mail address, in any case.
    pub q: Option<&'a str>,
}

impl Domain {
    /// Returns it as its customer sees it; `web_port` is that of the web servers with files.
    pub(super) fn view(&self, web_port: Option<u16>) -> DomainView {
        let is_pending = self.state == DomainState::Pending;
        let proof = || DomainProof {
            record_name: proof::record_name(&self.name),
            record_value: proof::record_value(&self.token),
            file_url: proof::file_url(&self.name, &self.token, web_port),
            file_content: proof::file_content(&self.token),
        };
        DomainView {
            id: self.id,
            instance_id: self.instance_id,
            domain: self.name.clone(),
            state: self.state,
            proof: is_pending.then(proof),
            target: self.hostname.clone(),
            proven_by: self.proven_by,
            proven_at: self.proven_at,
            problem: self.problem.clone(),
            checked_at: self.checked_at,
            expires_at: is_pending.then_some(self.expires_at),
            created_at: self.created_at,
        }
    }
}
