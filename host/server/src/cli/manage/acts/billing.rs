//! `billing`: renewals, grace, and forecasts of both.

use super::super::act::{
    Act, Group, Kind, OPTIONAL_REASON, PAGES, REASON, Section, Verb, View, body, money, number,
    path, query, text, time,
};

const FORECAST: View = View::of(&[
    text("SUBSCRIPTION", "/subscriptionId"),
    text("E-MAIL", "/email"),
    text("SERVICE", "/service"),
    text("PLAN", "/plan"),
    text("STATUS", "/status"),
    text("FORECAST", "/forecast"),
    time("EXPECTED", "/expectedAt"),
    number("RENEWALS", "/renewals"),
    money("DUE", "/due"),
    money("MISSING", "/missing"),
    time("PERIOD ENDS", "/periodEnd"),
    text("PROBLEM", "/problem"),
]);
const STATISTICS: View = View::of(&[
    number("PENDING", "/pending"),
    number("ACTIVE", "/active"),
    number("PAST DUE", "/pastDue"),
    number("SUSPENDED", "/suspended"),
    number("OVERDUE", "/overdue"),
    number("DUE WITHIN SEVEN DAYS", "/dueWithinSevenDays"),
    money("RECURRING", "/recurring"),
    money("UNPAID", "/unpaid"),
])
.and(&[
    Section {
        title: "Today",
        at: "/today",
        columns: CHARGES,
        text: None,
    },
    Section {
        title: "This month",
        at: "/thisMonth",
        columns: CHARGES,
        text: None,
    },
]);
const CHARGES: &[super::super::act::Column] = &[
    time("SINCE", "/since"),
    number("CHARGES", "/charges"),
    money("CHARGED", "/charged"),
    number("REFUNDS", "/refunds"),
    money("REFUNDED", "/refunded"),
    number("ENDED", "/ended"),
];

pub(super) const GROUP: Group = Group {
    name: "billing",
    about: "Look after renewals and what they will cost",
    acts: &[
        Act::new(
            "stats",
            (Verb::Get, "/api/admin/billing/stats"),
            "Show billing in numbers",
            &[],
            STATISTICS,
        ),
        Act::new(
            "preview",
            (Verb::Get, "/api/admin/billing/preview"),
            "Forecast renewals, failures, suspensions and ends until the end of a date",
            &[
                query("date", "date", Kind::Text, "Date [default: today]"),
                PAGES[0],
                PAGES[1],
            ],
            FORECAST,
        ),
        Act::new(
            "low-credit",
            (Verb::Get, "/api/admin/billing/low-credit"),
            "List active subscriptions that are due soon and whose wallet does not hold enough",
            &[
                query("days", "days", Kind::Number, "Days ahead, at most 90."),
                PAGES[0],
                PAGES[1],
            ],
            FORECAST,
        ),
        Act::new(
            "run-job",
            (Verb::Post, "/api/admin/billing/run-job/{name}"),
            "Run a job of billing now; an answer after 15 seconds leaves it running",
            &[
                path(
                    "name",
                    Kind::Text,
                    "Job, such as daily-renewals; `job-status` lists them.",
                ),
                OPTIONAL_REASON,
            ],
            View::of(&[
                text("RUN", "/id"),
                text("JOB", "/job"),
                text("STATUS", "/status"),
                number("DEALT WITH", "/items"),
                number("OF", "/total"),
                number("ERRORS", "/errorCount"),
                text("FIRST ERRORS", "/errors"),
                time("STARTED", "/startedAt"),
                time("ENDED", "/finishedAt"),
            ]),
        ),
        Act::new(
            "job-status",
            (Verb::Get, "/api/admin/billing/job-status"),
            "List the jobs of billing with the last run of each",
            &[],
            View::of(&[
                text("JOB", "/name"),
                text("SCHEDULE", "/schedule"),
                time("NEXT RUN", "/nextRun"),
                text("LAST RUN", "/lastRun/status"),
                time("STARTED", "/lastRun/startedAt"),
                number("DEALT WITH", "/lastRun/items"),
                number("ERRORS", "/lastRun/errorCount"),
            ]),
        ),
        Act::new(
            "grace",
            (Verb::Post, "/api/admin/billing/set-grace-period/{id}"),
            "Grant a subscription in grace so many days from now",
            &[
                path("id", Kind::Id, "Subscription."),
                body(
                    "days",
                    "graceDays",
                    Kind::Number,
                    "Days from now, at most 90.",
                )
                .required(),
                REASON,
            ],
            View::of(&[
                text("ID", "/id"),
                text("STATUS", "/status"),
                time("GRACE UNTIL", "/graceUntil"),
            ]),
        ),
    ],
};
