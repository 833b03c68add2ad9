//! `instances`: what runs for customers.

use super::super::act::{
    Act, Group, Input, Kind, OPTIONAL_REASON, PAGES, REASON, Section, USER, Verb, View, body,
    number, path, query, text, time,
};
use super::subscriptions::STATUSES;

const WHICH: Input = path("id", Kind::Id, "Instance.");
const DRIFTS: &[&str] = &["ORPHAN", "GHOST", "FOREIGN", "UNLABELLED"];
const STATES: Kind = Kind::OneOf(&[
    "HEALTHY", "STARTING", "DEGRADED", "FAILED", "STOPPED", "UNKNOWN",
]);

const LIST: View = View::of(&[
    text("ID", "/instanceId"),
    text("STATUS", "/instanceStatus"),
    text("E-MAIL", "/email"),
    text("SERVICE", "/service"),
    text("PLAN", "/plan"),
    text("SUBSCRIPTION", "/id"),
    text("SUBSCRIPTION IS", "/status"),
])
.headed("Instances.");
const ONE: View = View::of(&[
    text("ID", "/id"),
    text("NAME", "/name"),
    text("NAMESPACE", "/namespace"),
    text("SERVICE", "/service"),
    text("PLAN", "/plan"),
    text("HOST NAME", "/hostname"),
    text("WANTED", "/desired"),
    text("HALTED BY", "/halt"),
    text("STATUS", "/status"),
    text("HEALTH", "/health"),
    text("BECAUSE", "/healthReason"),
    time("SINCE", "/healthSince"),
    text("LAST ERROR", "/lastError"),
    number("FAILURES", "/failures"),
    text("CHANGING", "/changing"),
    text("SUBSCRIPTION", "/subscriptionId"),
    text("PLUGIN VERSION", "/pluginDigest"),
    text("DECISION", "/manifestsDecisionId"),
    time("READY", "/readyAt"),
    time("MADE", "/createdAt"),
]);
const EVENTS: View = View::of(&[
    time("AT", "/at"),
    text("FROM", "/origin"),
    text("STATUS", "/status"),
    number("TIMES", "/count"),
    text("MESSAGE", "/message"),
    text("DETAIL", "/detail"),
]);
const HEALTH: View = View::of(&[
    number("INSTANCES", "/total"),
    text("CLUSTER ANSWERS", "/isClusterAvailable"),
    number("HEALTHY", "/byHealth/healthy"),
    number("STARTING", "/byHealth/starting"),
    number("DEGRADED", "/byHealth/degraded"),
    number("FAILED", "/byHealth/failed"),
    number("STOPPED", "/byHealth/stopped"),
    number("UNKNOWN", "/byHealth/unknown"),
    number("GIVEN UP", "/givenUp"),
    number("RESTARTS OF THE LAST HOUR", "/lastHour/restarts"),
    number("RECREATIONS OF THE LAST HOUR", "/lastHour/recreations"),
])
.and(&[Section {
    title: "Not well",
    at: "/unwell",
    columns: &[
        text("ID", "/id"),
        text("NAME", "/name"),
        text("NAMESPACE", "/namespace"),
        text("STATUS", "/status"),
        text("HEALTH", "/health"),
        time("SINCE", "/since"),
        time("GIVEN UP", "/givenUpAt"),
        text("DETAIL", "/detail"),
    ],
    text: None,
}]);
const FIGURES: View = View::of(&[
    time("FROM", "/from"),
    time("TO", "/to"),
    number("INSTANCES", "/instances"),
    number("AVAILABLE IN %", "/availabilityPercent"),
    number("FAILURES", "/failures"),
    number("RECOVERIES", "/recoveries"),
    number("SECONDS TO RECOVERY", "/meanSecondsToRecovery"),
])
.and(&[Section {
    title: "Least available",
    at: "/leastAvailable",
    columns: &[
        text("ID", "/id"),
        text("NAME", "/name"),
        number("AVAILABLE IN %", "/availabilityPercent"),
        number("FAILURES", "/failures"),
        number("RECOVERIES", "/recoveries"),
    ],
    text: None,
}]);
const DOMAINS: View = View::of(&[
    text("ID", "/id"),
    text("DOMAIN", "/domain"),
    text("STATE", "/state"),
    text("E-MAIL", "/email"),
    text("INSTANCE", "/instanceName"),
    text("PROVEN BY", "/provenBy"),
    time("PROVEN", "/provenAt"),
    text("PROBLEM", "/problem"),
]);
const DRIFT: View = View::of(&[
    text("DRIFT", "/drift"),
    text("NAMESPACE", "/namespace"),
    text("KIND", "/kind"),
    text("NAME", "/name"),
    text("UID", "/uid"),
    text("REPAIR", "/action"),
    text("REASON", "/reason"),
]);

pub(super) const GROUP: Group = Group {
    name: "instances",
    about: "Look after what runs for customers",
    acts: &[
        Act::new(
            "list",
            (Verb::Get, "/api/admin/subscriptions"),
            "List the instances of all customers by their subscriptions, newest first; in JSON, `instanceId` is the instance and `id` its subscription",
            &[
                query("q", "q", Kind::Text, "Text within the customer's e-mail."),
                query(
                    "subscription-status",
                    "status",
                    STATUSES,
                    "Status of the subscription.",
                ),
                query(
                    "user",
                    "userId",
                    Kind::Named(&USER),
                    "Customer, by id or e-mail.",
                ),
                query("service", "service", Kind::Text, "Slug of the service."),
                PAGES[0],
                PAGES[1],
            ],
            LIST,
        ),
        Act::new(
            "show",
            (Verb::Get, "/api/admin/instances/{id}"),
            "Show an instance",
            &[WHICH],
            ONE.and(&[Section {
                title: "Endpoints",
                at: "/endpoints",
                columns: &[
                    text("NAME", "/name"),
                    text("PROTOCOL", "/protocol"),
                    number("PORT", "/port"),
                    text("HOST NAME", "/hostname"),
                ],
                text: None,
            }]),
        ),
        Act::new(
            "events",
            (Verb::Get, "/api/admin/instances/{id}/events"),
            "List what happened to an instance, newest first",
            &[WHICH, PAGES[0], PAGES[1]],
            EVENTS,
        ),
        Act::new(
            "health",
            (Verb::Get, "/api/admin/health/summary"),
            "Show the health of all instances, and name those that are not well",
            &[],
            HEALTH,
        ),
        Act::new(
            "history",
            (Verb::Get, "/api/admin/health/instances/{id}"),
            "List the history of an instance's health, newest first",
            &[
                WHICH,
                query("state", "state", STATES, "State."),
                PAGES[0],
                PAGES[1],
            ],
            View::of(&[
                time("SINCE", "/since"),
                time("UNTIL", "/until"),
                text("STATE", "/state"),
                text("SOURCE", "/source"),
                text("REASON", "/reason"),
                text("DETAIL", "/detail"),
            ]),
        ),
        Act::new(
            "statistics",
            (Verb::Get, "/api/admin/health/stats"),
            "Show availability, failures and recoveries of a time range",
            &[query(
                "time-range",
                "timeRange",
                Kind::OneOf(&["1h", "6h", "24h", "7d"]),
                "Time range.",
            )],
            FIGURES,
        ),
        Act::new(
            "check",
            (Verb::Post, "/api/admin/health/check"),
            "Check instances now, some or all",
            &[
                body(
                    "id",
                    "instanceIds",
                    Kind::Many,
                    "Instance; repeat it for more [default: all]",
                ),
                OPTIONAL_REASON,
            ],
            View::of(&[number("BEING CHECKED", "/due"), text("UNKNOWN", "/unknown")]),
        ),
        Act::new(
            "domains",
            (Verb::Get, "/api/admin/domains"),
            "List the domains of customers, newest first",
            &[
                query(
                    "state",
                    "state",
                    Kind::OneOf(&["PENDING", "ACTIVE", "REMOVING"]),
                    "State.",
                ),
                query(
                    "user",
                    "userId",
                    Kind::Named(&USER),
                    "Customer, by id or e-mail.",
                ),
                query("instance", "instanceId", Kind::Id, "Instance."),
                query(
                    "q",
                    "q",
                    Kind::Text,
                    "Text within the domain or the customer's e-mail.",
                ),
                PAGES[0],
                PAGES[1],
            ],
            DOMAINS,
        ),
        Act::new(
            "remove-domain",
            (Verb::Delete, "/api/admin/domains/{id}"),
            "Take a domain from an instance",
            &[path("id", Kind::Id, "Domain."), REASON],
            View::NOTHING,
        ),
        Act::new(
            "drift",
            (Verb::Get, "/api/admin/instances/drift"),
            "List the differences between the database and the cluster",
            &[
                query("drift", "drift", Kind::OneOf(DRIFTS), "Kind of difference."),
                query("namespace", "namespace", Kind::Text, "Namespace."),
                PAGES[0],
                PAGES[1],
            ],
            DRIFT,
        ),
        Act::new(
            "repair",
            (Verb::Post, "/api/admin/instances/drift/repair"),
            "Repair differences between the database and the cluster",
            &[
                body(
                    "action",
                    "action",
                    Kind::OneOf(&["ADOPT", "DELETE", "REAPPLY"]),
                    "Repair.",
                )
                .required(),
                body(
                    "drift",
                    "drift",
                    Kind::ManyOf(DRIFTS),
                    "Kinds of difference, separated by commas.",
                ),
                body("namespace", "namespace", Kind::Text, "Namespace."),
                body(
                    "items",
                    "items",
                    Kind::Json,
                    "Objects: a list with kind, namespace, name and uid of each, as `drift --json` has them.",
                ),
                REASON,
            ],
            View::of(&[
                text("OUTCOME", "/outcome"),
                text("NAMESPACE", "/namespace"),
                text("KIND", "/kind"),
                text("NAME", "/name"),
                text("MESSAGE", "/message"),
            ]),
        ),
        Act::new(
            "restart",
            (Verb::Post, "/api/admin/instances/{id}/restart"),
            "Restart an instance: each of its pods is replaced",
            &[WHICH, REASON],
            ONE,
        ),
        Act::new(
            "accept-data-loss",
            (Verb::Post, "/api/admin/instances/{id}/accept-data-loss"),
            "Let an instance start on empty volumes after its data was lost",
            &[WHICH, REASON],
            View::of(&[
                text("ID", "/id"),
                text("NAME", "/name"),
                text("LOST VOLUMES", "/claims"),
            ]),
        ),
        Act::new(
            "remove",
            (Verb::Delete, "/api/admin/instances/{id}"),
            "End an instance and its subscription now, with everything it has",
            &[WHICH, REASON],
            View::of(&[
                text("ID", "/id"),
                text("PAID BACK AS NEVER SET UP", "/undone"),
            ]),
        ),
    ],
};
