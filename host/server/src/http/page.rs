//! Lists in pages.

use dermaga_shop::{
    Error,
    db::{MOST_COUNTED, Part, Span, Walked},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Cursor, lists::Listed};

/// Page of a list. Taken by [`super::Paged`], beside a list's own filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Number of the page, from 1.
    #[garde(range(min = 1, max = 1_000_000))]
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    pub page: u32,
    /// Items on a page.
    #[garde(range(min = 1, max = 100))]
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: u32,
}

/// The filters of a list that has none.
#[derive(Debug, Clone, Copy, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct NoFilter {}

impl Default for PageQuery {
    fn default() -> Self {
        Self { page: 1, limit: 20 }
    }
}

impl PageQuery {
    /// Part of the list that is this page.
    pub fn part(&self) -> Part {
        let limit = i64::from(self.limit);
        Part {
            offset: i64::from(self.page.saturating_sub(1)) * limit,
            limit,
        }
    }

    /// Part of a list that grows: what comes after a cursor, or else this page.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for both a cursor and a page.
    pub fn span<L: Listed>(
        &self,
        cursor: Option<Cursor<L>>,
    ) -> Result<Span<L::Key, L::Rank>, Error> {
        match cursor {
            None => Ok(Span::Page(self.part())),
            Some(_) if self.page > 1 => Err(Error::invalid(
                "cursor",
                "cannot be combined with a page; leave out one of them",
            )),
            Some(Cursor(place)) => Ok(Span::After(place, self.limit.into())),
        }
    }

    /// Describes a part of a list that grows, and what follows it.
    pub(super) fn walk<T>(&self, walked: &Walked<T>, next: Option<String>) -> Pagination {
        let described = walked.total.map(|total| self.pagination(total));
        Pagination {
            next_cursor: next,
            ..described.unwrap_or(Pagination {
                page: None,
                limit: self.limit,
                total_items: None,
                more_than_total: None,
                total_pages: None,
                next_cursor: None,
            })
        }
    }

    /// Describes this page of a list of `total` items.
    pub fn pagination(&self, total: i64) -> Pagination {
        let is_longer = total > MOST_COUNTED;
        let total_items = u64::try_from(total.min(MOST_COUNTED)).unwrap_or_default();
        let total_pages = total_items.div_ceil(u64::from(self.limit.max(1)));
        Pagination {
            page: Some(self.page),
            limit: self.limit,
            total_items: Some(total_items),
            more_than_total: is_longer.then_some(true),
            total_pages: Some(total_pages),
            next_cursor: None,
        }
    }
}

/// Place of a part in its list. After a cursor the list is not counted: only `limit` is there, and `nextCursor`
/// while more follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub page: Option<u32>,
    pub limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total_items: Option<u64>,
    /// True when the list has more items than `totalItems`, which counts 10,000 of them at most; absent otherwise.
    /// Pages after `totalPages` are there as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub more_than_total: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total_pages: Option<u64>,
    /// In lists that take a `cursor`: send it back to read on where this part ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_pages() {
        let page = PageQuery { page: 3, limit: 20 };
        let (offset, limit) = (40, 20);
        assert_eq!(page.part(), Part { offset, limit });
        for (total, pages) in [(0, 0), (1, 1), (20, 1), (21, 2)] {
            let found = page.pagination(total);
            assert_eq!(
                (found.total_pages, found.more_than_total),
                (Some(pages), None)
            );
        }
    }

    #[test]
    fn a_list_that_was_not_counted_to_its_end_says_so() {
        let page = PageQuery { page: 1, limit: 20 };
        let counted = page.pagination(MOST_COUNTED);
        assert_eq!(
            (counted.total_items, counted.more_than_total),
            (Some(10_000), None)
        );
        let longer = page.pagination(MOST_COUNTED + 1);
        assert_eq!(longer.more_than_total, Some(true));
        assert_eq!(
            (longer.total_items, longer.total_pages),
            (Some(10_000), Some(500))
        );
    }
}
