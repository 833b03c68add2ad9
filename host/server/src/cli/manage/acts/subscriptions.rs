//! `subscription`: subscriptions of all customers.

use super::super::act::{
    Act, Group, Input, Kind, PAGES, REASON, Section, USER, Verb, View, body, money, number, path,
    query, text, time,
};

pub(super) const STATUSES: Kind = Kind::OneOf(&[
    "PENDING",
    "ACTIVE",
    "PAST_DUE",
    "SUSPENDED",
    "CANCELLED",
    "EXPIRED",
]);
const WHICH: Input = path("id", Kind::Id, "Subscription.");

const LIST: View = View::of(&[
    text("ID", "/id"),
    text("E-MAIL", "/email"),
    text("SERVICE", "/service"),
    text("PLAN", "/plan"),
    text("STATUS", "/status"),
    money("PRICE", "/monthlyPrice"),
    text("RENEWS", "/autoRenew"),
    time("PERIOD ENDS", "/periodEnd"),
    text("INSTANCE", "/instanceStatus"),
]);
const PERIODS: &[Section] = &[Section {
    title: "Periods",
    at: "/periods",
    columns: &[
        number("NUMBER", "/number"),
        time("STARTS", "/startsAt"),
        time("ENDS", "/endsAt"),
        money("PRICE", "/price"),
        money("DISCOUNT", "/discount"),
        money("PAID", "/paidCash"),
        money("BONUS", "/paidBonus"),
        money("REFUNDED", "/refundedCash"),
        text("TRANSACTION", "/transactionId"),
    ],
    text: None,
}];
const ONE: View = View::of(&[
    text("ID", "/id"),
    text("SERVICE", "/serviceName"),
    text("PLAN", "/planName"),
    text("PLAN ID", "/planId"),
    text("STATUS", "/status"),
    money("PRICE OF A MONTH", "/monthlyPrice"),
    number("TERM IN MONTHS", "/termMonths"),
    money("PRICE OF THE TERM", "/termPrice"),
    money("UNPAID", "/unpaid"),
    text("RENEWS", "/autoRenew"),
    text("FREEZE", "/freezeState"),
    time("PERIOD STARTS", "/periodStart"),
    time("PERIOD ENDS", "/periodEnd"),
    time("GRACE UNTIL", "/graceUntil"),
    text("NEXT PLAN", "/nextPlanId"),
    money("NEXT PRICE", "/nextPrice"),
    text("INSTANCE", "/instanceId"),
    text("INSTANCE IS", "/instanceStatus"),
    time("CANCELLED", "/cancelledAt"),
    text("REASON", "/cancelReason"),
    time("MADE", "/createdAt"),
])
.and(PERIODS);
const GRANTED: View = View::of(&[
    text("SUBSCRIPTION", "/subscription/id"),
    text("PLAN", "/subscription/planName"),
    text("STATUS", "/subscription/status"),
    money("CHARGED", "/charged"),
    text("TRANSACTION", "/transactionId"),
    text("INSTANCE", "/instanceId"),
]);
const UPGRADED: View = View::of(&[
    text("AT", "/at"),
    money("CHARGED", "/charged"),
    money("COMES BACK", "/givesBack"),
    text("TRANSACTION", "/transactionId"),
    text("SUBSCRIPTION", "/subscription/id"),
    text("PLAN", "/subscription/planName"),
    text("NEXT PLAN", "/subscription/nextPlanId"),
])
.and(&[Section {
    title: "Price",
    at: "/lines",
    columns: &[
        text("LINE", "/label"),
        money("AMOUNT", "/amount"),
        text("REASON", "/reason"),
    ],
    text: None,
}]);
const REFUNDED: View = View::of(&[
    text("TRANSACTION", "/id"),
    text("NUMBER", "/number"),
    text("TYPE", "/type"),
    money("AMOUNT", "/amount"),
    money("BALANCE AFTER", "/balanceAfter"),
    text("DESCRIPTION", "/description"),
]);

pub(super) const GROUP: Group = Group {
    name: "subscription",
    about: "Look after any customer's subscription",
    acts: &[
        Act::new(
            "list",
            (Verb::Get, "/api/admin/subscriptions"),
            "List the subscriptions of all customers, newest first",
            &[
                query("q", "q", Kind::Text, "Text within the customer's e-mail."),
                query("status", "status", STATUSES, "Status."),
                query(
                    "user",
                    "userId",
                    Kind::Named(&USER),
                    "Customer, by id or e-mail.",
                ),
                query("service", "service", Kind::Text, "Slug of the service."),
                query("plan", "planId", Kind::Id, "Plan."),
                query("auto-renew", "autoRenew", Kind::Truth, "Renewed or not."),
                query("from", "from", Kind::Text, "Made on this date or later."),
                query("to", "to", Kind::Text, "Made on this date or earlier."),
                query("ends-by", "endsBy", Kind::Text, "Period over by this date."),
                PAGES[0],
                PAGES[1],
            ],
            LIST,
        ),
        Act::new(
            "show",
            (Verb::Get, "/api/admin/subscriptions/{id}"),
            "Show a subscription, with the cost of each period",
            &[WHICH],
            ONE,
        ),
        Act::new(
            "grant",
            (Verb::Post, "/api/admin/subscriptions"),
            "Make a subscription for a customer, charged or as a gift",
            &[
                body(
                    "user",
                    "userId",
                    Kind::Named(&USER),
                    "Customer, by id or e-mail.",
                )
                .required(),
                body("plan", "planId", Kind::Id, "Plan to have.").required(),
                body(
                    "term",
                    "termMonths",
                    Kind::Number,
                    "Months that are paid at once [default: 1]",
                ),
                body(
                    "config",
                    "config",
                    Kind::Json,
                    "Configuration of the service.",
                ),
                body(
                    "gift",
                    "skipCreditCheck",
                    Kind::Flag,
                    "Charge nothing for the first period.",
                ),
                REASON,
            ],
            GRANTED,
        ),
        Act::new(
            "edit",
            (Verb::Put, "/api/admin/subscriptions/{id}"),
            "Switch the renewal of a subscription, or lower its price from the next period on",
            &[
                WHICH,
                body("auto-renew", "autoRenew", Kind::Truth, "Renew it or not."),
                body(
                    "price",
                    "monthlyPrice",
                    Kind::Money,
                    "Price of a month to have.",
                ),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "extend",
            (Verb::Put, "/api/admin/subscriptions/{id}/extend"),
            "Move the end of the running period, without a charge",
            &[
                WHICH,
                body("days", "days", Kind::Number, "Days to add, 1 to 365.").required(),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "refund",
            (Verb::Post, "/api/admin/subscriptions/{id}/refund"),
            "Refund cash to the customer's wallet",
            &[
                WHICH,
                body("amount", "amount", Kind::Money, "Amount.").required(),
                body(
                    "period",
                    "period",
                    Kind::Number,
                    "Number of the period [default: the newest]",
                ),
                REASON,
            ],
            REFUNDED,
        ),
        Act::new(
            "upgrade",
            (Verb::Put, "/api/admin/subscriptions/{id}/upgrade"),
            "Move a subscription to another plan of its service, higher or lower",
            &[
                WHICH,
                body("plan", "planId", Kind::Id, "Plan to have.").required(),
                body(
                    "at",
                    "at",
                    Kind::OneOf(&["now", "period_end"]),
                    "At once, or with the next period [default: now]",
                ),
                body(
                    "gift",
                    "skipCreditCheck",
                    Kind::Flag,
                    "Charge nothing for the rest of the period.",
                ),
                REASON,
            ],
            UPGRADED,
        ),
        Act::new(
            "force-cancel",
            (Verb::Delete, "/api/admin/subscriptions/{id}/force-cancel"),
            "End a subscription now, with or without a refund",
            &[
                WHICH,
                body(
                    "refund",
                    "processRefund",
                    Kind::Flag,
                    "Refund the cash of the unused time.",
                ),
                REASON,
            ],
            View::of(&[
                money("RETURNED", "/returned"),
                text("SUBSCRIPTION", "/subscription/id"),
                text("STATUS", "/subscription/status"),
            ]),
        ),
        Act::new(
            "expire",
            (Verb::Put, "/api/admin/subscriptions/{id}/expire"),
            "End a subscription now, as if its time were over; a purchase that was not set up yet is undone, \
             with all its money",
            &[WHICH, REASON],
            ONE,
        ),
        Act::new(
            "statistics",
            (Verb::Get, "/api/admin/subscriptions/stats"),
            "Count subscriptions by service and status",
            &[query(
                "months",
                "months",
                Kind::Number,
                "Months back, at most 36.",
            )],
            View::of(&[number("LIVE", "/live")]).and(&[Section {
                title: "By service",
                at: "/services",
                columns: &[
                    text("SERVICE", "/service"),
                    number("PENDING", "/pending"),
                    number("ACTIVE", "/active"),
                    number("PAST DUE", "/pastDue"),
                    number("SUSPENDED", "/suspended"),
                    number("CANCELLED", "/cancelled"),
                    number("EXPIRED", "/expired"),
                ],
                text: None,
            }]),
        ),
    ],
};
