//! Records of objects by instance, and of the watches that show them.

use std::{collections::HashMap, sync::Arc};

use dermaga_runtime::gate::INSTANCE_LABEL;
use kube::{
    ResourceExt,
    api::DynamicObject,
    core::{ObjectMeta, TypeMeta},
};
use tokio::time::Instant;

use super::{SECRET, hash, version};
use crate::cluster::{
    FIELD_MANAGER, ObjectRef, additions, object::is_of_instance, watch::Failures,
};

/// Instances whose whole objects are kept at most; of others they are read when they are needed.
const MAX_CLOSE: usize = 256;

/// Hash of the fields that the API server knows to be as we applied them; 0 for none.
pub(super) fn ours(metadata: &ObjectMeta) -> u64 {
    let entries = metadata.managed_fields.iter().flatten();
    let mut applied = entries.filter(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.is_none()
    });
    applied.next().map_or(0, |entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| fields.0.to_string());
        let time = entry.time.as_ref().map(|time| time.0.to_string());
        hash(&(fields, time))
    })
}

/// Hash of what others have in the desired state of a workload.
pub(super) fn others_of(kind: &str, metadata: &ObjectMeta) -> u64 {
    let others = additions::others(kind, metadata);
    let fields: Vec<_> = others
        .map(|(manager, fields)| (manager, fields.to_string()))
        .collect();
    hash(&fields)
}

/// Our last apply of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastApply {
    pub(super) manifest: u64,
    pub(super) ours: u64,
    pub(super) others: u64,
}

/// Everything that is remembered of one object.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) object: ObjectRef,
    pub(super) uid: Box<str>,
    version: u64,
    ours: u64,
    /// Hash of what others have in the desired state of a workload.
    others: u64,
    pub(super) has_labels: bool,
    pub(super) has_controller: bool,
    pub(super) is_leaving: bool,
    /// The list that it was seen in or after.
    pub(super) list: u32,
    pub(super) applied: Option<LastApply>,
    pub(super) whole: Option<Arc<DynamicObject>>,
}

impl Record {
    pub(super) fn agrees(&self, manifest: u64) -> bool {
        let wanted = LastApply {
            manifest,
            ours: self.ours,
            others: self.others,
        };
        self.ours != 0 && !self.is_leaving && self.has_labels && self.applied == Some(wanted)
    }
}

/// The objects of one instance.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) records: Vec<Record>,
    /// Whole objects are kept.
    pub(super) is_close: bool,
    /// Digest of the objects, and of the status that they led to, when nothing was under way.
    pub(super) settled: Option<(u64, u64)>,
    pub(super) secrets_seen: Option<Instant>,
}

impl Group {
    /// Hash of everything that a status may depend on.
    pub(super) fn digest(&self) -> u64 {
        let mut versions: Vec<_> = self
            .records
            .iter()
            .map(|one| (&one.object, &one.uid, one.version))
            .collect();
        versions.sort_unstable();
        hash(&versions)
    }
}

/// The watch of one kind.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Watch {
    pub(super) is_current: bool,
    pub(super) list: u32,
    pub(super) failures: Failures,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) watches: HashMap<&'static str, Watch>,
    pub(super) groups: HashMap<Owner, Group>,
    pub(super) close: usize,
}

/// An instance by its place.
pub(super) type Owner = (Box<str>, Box<str>);

pub(super) fn owner(namespace: &str, instance: &str) -> Owner {
    (namespace.into(), instance.into())
}

pub(super) fn owner_of(object: &DynamicObject) -> Option<Owner> {
    let instance = object.labels().get(INSTANCE_LABEL)?;
    Some(owner(object.metadata.namespace.as_deref()?, instance))
}

impl State {
    pub(super) fn is_current(&self) -> bool {
        let now = Instant::now();
        let is_current = |watch: &Watch| watch.is_current && !watch.failures.are_lasting(now);
        !self.watches.is_empty() && self.watches.values().all(is_current)
    }

    pub(super) fn group(&self, namespace: &str, instance: &str) -> Option<&Group> {
        self.groups.get(&owner(namespace, instance))
    }

    /// Begins to keep whole objects of an instance, as long as there is room.
    pub(super) fn come_close(&mut self, of: Owner) {
        let has_room = self.close < MAX_CLOSE;
        let group = self.groups.entry(of).or_default();
        if has_room && !group.is_close {
            group.is_close = true;
            self.close = self.close.saturating_add(1);
        }
    }

    pub(super) fn drop_if_empty(&mut self, of: &Owner) {
        if let Some(group) = self.groups.get(of)
            && group.records.is_empty()
        {
            self.close = self.close.saturating_sub(usize::from(group.is_close));
            self.groups.remove(of);
        }
    }

    /// Remembers an object, unless a later version of it is known. Returns its record with true when
    /// that is news.
    pub(super) fn note(
        &mut self,
        kind: (&str, &str),
        mut live: DynamicObject,
    ) -> Option<(&mut Record, bool)> {
        let of = owner_of(&live)?;
        let list = self.watches.get(kind.1).map_or(0, |watch| watch.list);
        let object = ObjectRef::new(kind.0, kind.1, &live.name_any());
        let version = version(&live.metadata);
        let labels = live.metadata.labels.as_ref();
        let mut is_news = true;
        let mut record = Record {
            uid: live.uid().unwrap_or_default().into(),
            version,
            ours: ours(&live.metadata),
            others: others_of(kind.1, &live.metadata),
            has_labels: is_of_instance(labels, &of.1),
            has_controller: live
                .owner_references()
                .iter()
                .any(|owner| owner.controller == Some(true)),
            is_leaving: live.metadata.deletion_timestamp.is_some(),
            list,
            applied: None,
            whole: None,
            object,
        };
        let group = self.groups.entry(of).or_default();
        let records = &mut group.records;
        let at = records.iter().position(|one| one.object == record.object);
        let earlier = at.map(|at| records.swap_remove(at));
        if let Some(earlier) = earlier {
            // The watch is behind our own apply, whose answer was noted before.
            if version < earlier.version {
                records.push(Record { list, ..earlier });
                return Some((records.last_mut()?, false));
            }
            let is_same = earlier.uid == record.uid;
            is_news = !is_same || earlier.version != version;
            // An object that was made again under its name was never applied by us.
            record.applied = earlier.applied.filter(|_| is_same);
            record.whole = earlier.whole.filter(|_| !is_news);
        }
        if group.is_close && kind.1 != SECRET && record.whole.is_none() {
            live.metadata.managed_fields = None;
            live.types = Some(TypeMeta {
                api_version: kind.0.to_owned(),
                kind: kind.1.to_owned(),
            });
            record.whole = Some(Arc::new(live));
        }
        records.push(record);
        Some((records.last_mut()?, is_news))
    }
}
