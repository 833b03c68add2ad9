//! Lists in pages.

use dermaga_shop::db::Part;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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

    /// Describes this page of a list of `total` items.
    pub fn pagination(&self, total: i64) -> Pagination {
        let total_items = u64::try_from(total).unwrap_or_default();
        let total_pages = total_items.div_ceil(u64::from(self.limit.max(1)));
        Pagination {
            page: self.page,
            limit: self.limit,
            total_items,
            total_pages,
        }
    }
}

/// Place of a page in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    pub page: u32,
    pub limit: u32,
    pub total_items: u64,
    pub total_pages: u64,
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
            assert_eq!(page.pagination(total).total_pages, pages);
        }
    }
}
