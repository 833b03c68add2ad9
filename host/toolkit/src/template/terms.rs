//! Longer terms of a plan, each with its own price or a discount on the months' price.

use dermaga_runtime::contract::Rupiah;
use serde::{Deserialize, Serialize};

use super::{fields::Fields, rules};

/// Months of the terms that a plan may be sold for beside one month.
pub const TERMS: [u32; 3] = [3, 6, 12];
/// Most terms of a plan.
pub const MOST_TERMS: usize = TERMS.len();

/// A term that a plan is sold for. It has either a price or a discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanTerm {
    /// Calendar months: 3, 6 or 12.
    pub months: u32,
    /// Price of the whole term in rupiah, at most that of its months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Rupiah>,
    /// Whole percent off the price of its months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount_percent: Option<u32>,
}

/// Reads the terms of a plan, which may be absent.
pub(super) fn read(
    fields: &Fields<'_, '_>,
    monthly_price: Option<Rupiah>,
) -> Option<Vec<PlanTerm>> {
    let tables = fields.optional_tables("terms");
    if !tables.is_empty() && monthly_price == Some(0) {
        fields.problem("terms", "a plan that costs nothing has no terms");
        return None;
    }
    let mut terms: Vec<PlanTerm> = Vec::with_capacity(tables.len());
    let mut is_whole = !fields.has("terms") || !tables.is_empty();
    for table in &tables {
        match term(table, monthly_price) {
            Some(term) if terms.iter().any(|other| other.months == term.months) => {
                let message = format!("the term of {} months is there already", term.months);
                table.problem("months", message);
                is_whole = false;
            }
            Some(term) => terms.push(term),
            None => is_whole = false,
        }
    }
    terms.sort_by_key(|term| term.months);
    is_whole.then_some(terms)
}

fn term(fields: &Fields<'_, '_>, monthly_price: Option<Rupiah>) -> Option<PlanTerm> {
    fields.only(&["months", "price", "discount_percent"]);
    let months = fields.required("months", rules::term);
    let most = months.zip(monthly_price);
    let most = most.map_or(Rupiah::MAX, |(months, price)| {
        price.saturating_mul(months.into())
    });
    let price = fields.optional("price", None, |value| {
        rules::whole(0, most)(value).map(Some)
    });
    let discount_percent = fields.optional("discount_percent", None, |value| {
        rules::whole(1, 100)(value).map(Some)
    });
    if fields.has("price") == fields.has("discount_percent") {
        let message =
            "write either its `price`, in rupiah for the whole term, or its `discount_percent`";
        fields.problem("price", message);
        return None;
    }
    Some(PlanTerm {
        months: months?,
        price: price?,
        discount_percent: discount_percent?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    fn parse(terms: &str) -> Result<Vec<PlanTerm>, Vec<String>> {
        let text = format!(
            r#"slug = "n8n"
name = "N8N"
summary = "Workflow automation."
description = "Connect anything."
plugin = "service-n8n"
[category]
slug = "development-tools"
name = "Development Tools"
description = "For builders."
[images]
app = "docker.io/n8nio/n8n:1.121.3"
[[plans]]
slug = "basic"
name = "Basic"
tier = "BASIC"
monthly_price = 50_000
quota = 100
max_instances_per_user = 1
features = ["One workflow"]
resources = {{ cpu_millis = 250, memory_mib = 512, storage_gib = 1, replicas = 1 }}
{terms}"#
        );
        match Template::parse("n8n.toml", &text) {
            Ok(template) => Ok(template.plans[0].terms.clone()),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_plan_is_sold_for_terms_with_a_price_or_a_discount() {
        assert_eq!(parse(""), Ok(Vec::new()));
        let terms = parse(
            "[[plans.terms]]\nmonths = 12\ndiscount_percent = 15\n[[plans.terms]]\nmonths = 3\nprice = 140_000\n",
        );
        let expected = vec![
            PlanTerm {
                months: 3,
                price: Some(140_000),
                discount_percent: None,
            },
            PlanTerm {
                months: 12,
                price: None,
                discount_percent: Some(15),
            },
        ];
        assert_eq!(terms, Ok(expected));
    }

    #[test]
    fn wrong_terms_are_shown_where_they_are() {
        for (terms, expected) in [
            (
                "months = 2\nprice = 1",
                "n8n.toml:22:10: plans[0].terms[0].months: it is 2 and must be 3, 6 or 12; a month is sold at the \
                 monthly price",
            ),
            (
                "months = 3\nprice = 150_001",
                "n8n.toml:23:9: plans[0].terms[0].price: it is 150001 and must be 0 to 150000",
            ),
            (
                "months = 3\ndiscount_percent = 101",
                "n8n.toml:23:20: plans[0].terms[0].discount_percent: it is 101 and must be 1 to 100",
            ),
            (
                "months = 3\nprice = 1\n[[plans.terms]]\nmonths = 3\nprice = 1",
                "n8n.toml:25:10: plans[0].terms[1].months: the term of 3 months is there already",
            ),
            (
                "months = 3\nprise = 1\ndiscount_percent = 5",
                "n8n.toml:23:1: plans[0].terms[0].prise: there is no such key; did you mean `price`?",
            ),
        ] {
            let found = parse(&format!("[[plans.terms]]\n{terms}\n"));
            assert_eq!(found, Err(vec![expected.to_owned()]), "{terms}");
        }
        for both in ["months = 3", "months = 3\nprice = 1\ndiscount_percent = 5"] {
            let found = parse(&format!("[[plans.terms]]\n{both}\n")).unwrap_err();
            assert!(found[0].contains("write either its `price`"), "{found:?}");
        }
    }
}
