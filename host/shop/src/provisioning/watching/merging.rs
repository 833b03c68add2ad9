//! One list of the events of the shop, which are many and stored, and of the cluster, which are few and fetched.

use std::cmp::Reverse;

use uuid::Uuid;

use super::InstanceEventView;
use crate::db::{Part, Place, Span, Walked};

/// One part of a list that is merged of events of the shop, of which only some are read, and all of the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merging {
    /// Own events to read.
    pub(super) own: Span<Uuid>,
    /// Events before the part among those that are merged.
    skipped: usize,
    limit: usize,
}

impl Merging {
    /// Plans a part, among which are at most so many events of the cluster.
    pub(super) fn of(span: Span<Uuid>, of_cluster: usize) -> Self {
        let size = |number: i64| usize::try_from(number).unwrap_or_default();
        match span {
            // Own events are left out that come before the part even if all of the cluster's do.
            Span::Page(Part { offset, limit }) => {
                let of_cluster = i64::try_from(of_cluster).unwrap_or(i64::MAX);
                let before = offset.saturating_sub(of_cluster).max(0);
                let skipped = offset.saturating_sub(before);
                let own = Part {
                    offset: before,
                    limit: limit.saturating_add(skipped),
                };
                Self {
                    own: Span::Page(own),
                    skipped: size(skipped),
                    limit: size(limit),
                }
            }
            Span::After(_, limit) => Self {
                own: span,
                skipped: 0,
                limit: size(limit),
            },
        }
    }

    /// Merges what was read with the events of the cluster, as many as were planned with.
    pub(super) fn merged(
        self,
        own: Walked<InstanceEventView>,
        of_cluster: Vec<InstanceEventView>,
    ) -> Walked<InstanceEventView> {
        let key = |Place { at, tie }: Place<Uuid>| (at, tie);
        let further = i64::try_from(of_cluster.len()).unwrap_or(i64::MAX);
        let is_in_it = |event: &InstanceEventView| match self.own {
            Span::Page(_) => true,
            Span::After(place, _) => key(event.place()) < key(place),
        };
        let mut events = own.items;
        events.extend(of_cluster.into_iter().filter(is_in_it));
        events.sort_by_key(|event| Reverse(key(event.place())));
        let has_more = own.has_more || events.len() > self.skipped.saturating_add(self.limit);
        Walked {
            items: events
                .into_iter()
                .skip(self.skipped)
                .take(self.limit)
                .collect(),
            total: own.total.map(|total| total.saturating_add(further)),
            has_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::{super::Origin, *};

    fn event(origin: Origin, seconds: i64, id: u128) -> InstanceEventView {
        InstanceEventView {
            id: Uuid::from_u128(id),
            at: DateTime::from_timestamp(seconds, 0),
            origin,
            status: None,
            message: id.to_string(),
            count: 1,
            detail: None,
        }
    }

    /// Reads own events as the database does.
    fn read(own: &[InstanceEventView], span: Span<Uuid>) -> Walked<InstanceEventView> {
        let (rows, part): (Vec<_>, _) = match span {
            Span::Page(part) => (own.to_vec(), part),
            Span::After(place, limit) => {
                let is_after = |event: &&InstanceEventView| {
                    let Place { at, tie } = event.place();
                    (at, tie) < (place.at, place.tie)
                };
                let rows = own.iter().filter(is_after).cloned().collect();
                (rows, Part { offset: 0, limit })
            }
        };
        let (offset, limit) = (
            usize::try_from(part.offset).unwrap(),
            usize::try_from(part.limit).unwrap(),
        );
        Walked {
            has_more: rows.len() > offset + limit,
            total: matches!(span, Span::Page(_)).then_some(i64::try_from(rows.len()).unwrap()),
            items: rows.into_iter().skip(offset).take(limit).collect(),
        }
    }

    /// Events of many moments, some at one, in each mixture of both origins.
    #[test]
    fn own_and_foreign_events_are_one_list_by_pages_and_by_cursors() {
        for mixture in 0_u32..256 {
            let all = (0_u32..8).map(|number| {
                let origin = match (mixture >> number) & 1 {
                    0 => Origin::Shop,
                    _ => Origin::Cluster,
                };
                // Newest first, two at each moment.
                let (moment, id) = (i64::from(100 - number / 2), u128::from(100 - number));
                event(origin, moment, id)
            });
            let all: Vec<_> = all.collect();
            let of = |origin: Origin| all.iter().filter(move |event| event.origin == origin);
            let own: Vec<_> = of(Origin::Shop).cloned().collect();
            let foreign: Vec<_> = of(Origin::Cluster).cloned().collect();
            let part = |span| {
                let merging = Merging::of(span, foreign.len());
                merging.merged(read(&own, merging.own), foreign.clone())
            };
            for limit in 1..=3 {
                let pages = (0..9).map(|page| {
                    let offset = page * limit;
                    part(Span::Page(Part { offset, limit }))
                });
                let pages: Vec<_> = pages.collect();
                assert!(pages.iter().all(|page| page.total == Some(8)));
                let paged = pages.iter().flat_map(|page| &page.items);
                let paged: Vec<_> = paged.map(|event| &event.message).collect();
                let expected: Vec<_> = all.iter().map(|event| &event.message).collect();
                assert_eq!(paged, expected, "{mixture:b} by {limit}");

                let mut found = part(Span::Page(Part { offset: 0, limit }));
                let mut walked = Vec::new();
                loop {
                    walked.extend(found.items.iter().map(|event| event.message.clone()));
                    let Some(last) = found.items.last().filter(|_| found.has_more) else {
                        break;
                    };
                    found = part(Span::After(last.place(), limit));
                    assert_eq!(found.total, None);
                }
                let walked: Vec<_> = walked.iter().collect();
                assert_eq!(walked, expected, "{mixture:b} by {limit}");
            }
        }
    }
}
