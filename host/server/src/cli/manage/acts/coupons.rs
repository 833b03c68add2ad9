//! `coupon`: credit and discounts decided by plugins.

use super::super::act::{
    Act, COUPON, Group, Input, Kind, OPTIONAL_REASON, PAGES, Section, Verb, View, body, money,
    number, path, query, text, time,
};

const WHICH: Input = path("id", Kind::Named(&COUPON), "Coupon, by its id or code.");
const SEVERAL: Input = body(
    "ids",
    "ids",
    Kind::ManyNamed(&COUPON),
    "Coupons, by their ids or codes; at most 100.",
)
.required();
const TIERS: Kind = Kind::ManyOf(&["FREE", "BASIC", "PRO", "PREMIUM", "ENTERPRISE"]);
const CODE: Input = body("code", "code", Kind::Text, "Code that customers type.").required();
const TYPE: Input = body(
    "type",
    "plugin",
    Kind::Text,
    "Coupon type: the id of its plugin.",
)
.required();
const PARAMETERS: Input = body(
    "parameters",
    "parameters",
    Kind::Json,
    "Parameters of the type; `coupon types` shows the types.",
)
.required();
const DESCRIPTION: Input = body("description", "description", Kind::Text, "Description.");
const STARTS: Input = body(
    "starts-at",
    "startsAt",
    Kind::Text,
    "First moment, such as 2027-01-31T17:00:00Z.",
);
const ENDS: Input = body("ends-at", "endsAt", Kind::Text, "Moment after the last.");
const USES_AT_MOST: Input = body(
    "max-uses",
    "maxUses",
    Kind::Number,
    "Uses, at most; without it they are not limited.",
);
const USES_OF_ONE: Input = body(
    "max-uses-per-user",
    "maxUsesPerUser",
    Kind::Number,
    "Uses of a customer, at most; without it they are not limited.",
);
const BUDGET: Input = body(
    "budget",
    "budget",
    Kind::Money,
    "Sum of all grants, at most; without it, it is not limited.",
);
const SERVICES: Input = body(
    "service",
    "services",
    Kind::Many,
    "Slug of a service it is for; repeat it for more.",
);
const TIER: Input = body(
    "tier",
    "tiers",
    TIERS,
    "Tiers it is for, separated by commas.",
);
const LASTS: Input = body(
    "lasts",
    "lasts",
    Kind::NumberOr("forever"),
    "Periods of a subscription that a discount lasts, or forever.",
);
const FROM: Input = query("from", "from", Kind::Text, "First date.");
const TO: Input = query("to", "to", Kind::Text, "Last date.");

const LIST: View = View::of(&[
    text("ID", "/id"),
    text("CODE", "/code"),
    text("TYPE", "/plugin"),
    text("STATUS", "/status"),
    number("USES", "/usedCount"),
    number("AT MOST", "/maxUses"),
    money("GRANTED", "/grantedAmount"),
    money("BUDGET", "/budget"),
    time("STARTS", "/startsAt"),
    time("ENDS", "/endsAt"),
]);
const ONE: View = View::of(&[
    text("ID", "/id"),
    text("CODE", "/code"),
    text("DESCRIPTION", "/description"),
    text("TYPE", "/plugin"),
    text("PARAMETERS", "/parameters"),
    text("STATUS", "/status"),
    number("USES", "/usedCount"),
    number("USES AT MOST", "/maxUses"),
    number("USES OF A CUSTOMER AT MOST", "/maxUsesPerUser"),
    money("GRANTED", "/grantedAmount"),
    money("BUDGET", "/budget"),
    text("SERVICES", "/services"),
    text("TIERS", "/tiers"),
    number("PERIODS", "/periods"),
    time("STARTS", "/startsAt"),
    time("ENDS", "/endsAt"),
    time("MADE", "/createdAt"),
]);
const STATISTICS: View = View::of(&[
    number("USES", "/uses"),
    number("CUSTOMERS", "/customers"),
    money("COST", "/cost"),
    money("REVENUE", "/revenue"),
])
.and(&[
    Section {
        title: "By status",
        at: "/coupons",
        columns: &[text("STATUS", "/status"), number("COUPONS", "/count")],
        text: None,
    },
    Section {
        title: "By type",
        at: "/byType",
        columns: &[
            text("TYPE", "/plugin"),
            number("COUPONS", "/coupons"),
            number("USES", "/uses"),
            money("COST", "/cost"),
            money("REVENUE", "/revenue"),
        ],
        text: None,
    },
    Section {
        title: "Costliest",
        at: "/costliest",
        columns: &[
            text("ID", "/id"),
            text("CODE", "/couponCode"),
            number("USES", "/uses"),
            money("COST", "/cost"),
            money("REVENUE", "/revenue"),
        ],
        text: None,
    },
]);
const USES: View = View::of(&[
    text("ID", "/id"),
    text("E-MAIL", "/email"),
    money("AMOUNT", "/amount"),
    number("PERIOD", "/period"),
    text("SUBSCRIPTION", "/subscriptionId"),
    text("DECISION", "/decisionId"),
    time("AT", "/createdAt"),
]);

pub(super) const GROUP: Group = Group {
    name: "coupon",
    about: "Look after coupons",
    acts: &[
        Act::new(
            "list",
            (Verb::Get, "/api/admin/coupons"),
            "List coupons, newest first",
            &[
                query(
                    "q",
                    "q",
                    Kind::Text,
                    "Text within the code or the description.",
                ),
                query(
                    "status",
                    "status",
                    Kind::OneOf(&["ACTIVE", "EXPIRED", "DISABLED", "USED_UP"]),
                    "Status.",
                ),
                query(
                    "type",
                    "plugin",
                    Kind::Text,
                    "Coupon type: the id of its plugin.",
                ),
                PAGES[0],
                PAGES[1],
            ],
            LIST,
        ),
        Act::new(
            "show",
            (Verb::Get, "/api/admin/coupons/{id}"),
            "Show a coupon",
            &[WHICH],
            ONE,
        ),
        Act::new(
            "create",
            (Verb::Post, "/api/admin/coupons"),
            "Make a coupon; its type checks the parameters",
            &[
                CODE,
                TYPE,
                PARAMETERS,
                DESCRIPTION,
                STARTS,
                ENDS,
                USES_AT_MOST,
                USES_OF_ONE,
                BUDGET,
                SERVICES,
                TIER,
                LASTS,
                OPTIONAL_REASON,
            ],
            ONE,
        ),
        Act::new(
            "edit",
            (Verb::Put, "/api/admin/coupons/{id}"),
            "Replace the content of a coupon; what is left out is taken off, and after the first use code, type and parameters stay",
            &[
                WHICH,
                CODE,
                TYPE,
                PARAMETERS,
                DESCRIPTION,
                STARTS,
                ENDS,
                USES_AT_MOST,
                USES_OF_ONE,
                BUDGET,
                SERVICES,
                TIER,
                LASTS,
                OPTIONAL_REASON,
            ],
            ONE,
        ),
        Act::new(
            "disable",
            (Verb::Put, "/api/admin/coupons/bulk-status"),
            "Switch coupons off: all of them, or none",
            &[SEVERAL, OPTIONAL_REASON],
            LIST,
        )
        .with(&[("status", "DISABLED")]),
        Act::new(
            "enable",
            (Verb::Put, "/api/admin/coupons/bulk-status"),
            "Switch coupons on again: all of them, or none",
            &[SEVERAL, OPTIONAL_REASON],
            LIST,
        )
        .with(&[("status", "ACTIVE")]),
        Act::new(
            "statistics",
            (Verb::Get, "/api/admin/coupons/statistics"),
            "Sum cost and revenue of coupons by type and by coupon",
            &[FROM, TO],
            STATISTICS,
        ),
        Act::new(
            "redemptions",
            (Verb::Get, "/api/admin/coupons/{id}/redemptions"),
            "List the uses of a coupon, newest first",
            &[WHICH, PAGES[0], PAGES[1]],
            USES,
        ),
        Act::new(
            "types",
            (Verb::Get, "/api/admin/coupon-types"),
            "List the coupon types",
            &[],
            View::of(&[
                text("TYPE", "/plugin"),
                text("VERSION", "/version"),
                text("TITLE", "/title"),
                text("SUMMARY", "/summary"),
            ]),
        ),
        Act::new(
            "delete",
            (Verb::Delete, "/api/admin/coupons/{id}"),
            "Delete a coupon that was never used",
            &[WHICH, OPTIONAL_REASON],
            View::of(&[text("ID", "/id")]),
        ),
    ],
};
