//! `user`: accounts of customers and administrators.

use super::super::act::{
    Act, Group, Input, Kind, PAGES, REASON, USER, Verb, View, body, money, number, path, query,
    text, time,
};

const ROLES: Kind = Kind::OneOf(&["USER", "ADMINISTRATOR"]);
const STATES: Kind = Kind::OneOf(&["ACTIVE", "DISABLED", "DELETED"]);
const WHO: Input = path("id", Kind::Named(&USER), "Account, by its id or e-mail.");

const LIST: View = View::of(&[
    text("ID", "/id"),
    text("E-MAIL", "/email"),
    text("NAME", "/name"),
    text("ROLE", "/role"),
    text("STATE", "/state"),
    money("PAID", "/paidBalance"),
    money("BONUS", "/bonusBalance"),
    number("SUBSCRIPTIONS", "/liveSubscriptions"),
    time("LAST SEEN", "/lastSeenAt"),
]);
const ONE: View = View::of(&[
    text("ID", "/id"),
    text("E-MAIL", "/email"),
    text("NAME", "/name"),
    text("PHONE", "/phone"),
    text("ROLE", "/role"),
    text("STATE", "/state"),
    time("E-MAIL CONFIRMED", "/emailVerifiedAt"),
    money("PAID CREDIT", "/paidBalance"),
    money("BONUS CREDIT", "/bonusBalance"),
    number("LIVE SUBSCRIPTIONS", "/liveSubscriptions"),
    time("LAST SEEN", "/lastSeenAt"),
    time("MADE", "/createdAt"),
]);

pub(super) const GROUP: Group = Group {
    name: "user",
    about: "Look after accounts of customers and administrators",
    acts: &[
        Act::new(
            "list",
            (Verb::Get, "/api/admin/users"),
            "List accounts, newest first",
            &[
                query("q", "q", Kind::Text, "Text within the e-mail or the name."),
                query("role", "role", ROLES, "Role."),
                query("state", "state", STATES, "State."),
                query(
                    "email-verified",
                    "emailVerified",
                    Kind::Truth,
                    "True for accounts with a confirmed e-mail.",
                ),
                query("from", "from", Kind::Text, "Made on this date or later."),
                query("to", "to", Kind::Text, "Made on this date or earlier."),
                PAGES[0],
                PAGES[1],
            ],
            LIST,
        ),
        Act::new(
            "show",
            (Verb::Get, "/api/admin/users/{id}"),
            "Show an account",
            &[WHO],
            ONE,
        ),
        Act::new(
            "create",
            (Verb::Post, "/api/admin/users"),
            "Make an account; without a password, a mail goes out with which the person chooses one",
            &[
                body("email", "email", Kind::Text, "E-mail.").required(),
                body("name", "name", Kind::Text, "Name.").required(),
                body("role", "role", ROLES, "Role.").required(),
                body("phone", "phone", Kind::Text, "Indonesian mobile number."),
                body(
                    "password-stdin",
                    "password",
                    Kind::SecretOnStdin,
                    "Read the password from the first line of stdin.",
                ),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "disable",
            (Verb::Patch, "/api/admin/users/{id}/status"),
            "Close an account to every sign-in; its services keep running",
            &[WHO, REASON],
            ONE,
        )
        .with(&[("status", "DISABLED")]),
        Act::new(
            "enable",
            (Verb::Patch, "/api/admin/users/{id}/status"),
            "Open a disabled account again",
            &[WHO, REASON],
            ONE,
        )
        .with(&[("status", "ACTIVE")]),
        Act::new(
            "edit",
            (Verb::Put, "/api/admin/users/{id}"),
            "Change the name or phone number of an account",
            &[
                WHO,
                body("name", "name", Kind::Text, "Name to have."),
                body(
                    "phone",
                    "phone",
                    Kind::Text,
                    "Indonesian mobile number to have.",
                ),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "role",
            (Verb::Put, "/api/admin/users/{id}"),
            "Set the role of an account, by an access token; its sessions and API tokens end",
            &[
                WHO,
                body("role", "role", ROLES, "Role to have.").required(),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "sign-out",
            (Verb::Post, "/api/admin/users/{id}/sign-out"),
            "End every session of an account, and revoke its API tokens",
            &[WHO, REASON],
            View::NOTHING,
        ),
        Act::new(
            "remove-two-factor",
            (Verb::Delete, "/api/admin/users/{id}/two-factor"),
            "Turn two-factor sign-in off for an owner who has lost app and recovery codes, by an access token",
            &[WHO, REASON],
            View::NOTHING,
        ),
        Act::new(
            "delete",
            (Verb::Delete, "/api/admin/users/{id}"),
            "Delete what is personal of an account for good; the books stay",
            &[
                WHO,
                body(
                    "give-up-credit",
                    "giveUpCredit",
                    Kind::Flag,
                    "Give up paid credit that is left.",
                ),
                REASON,
            ],
            View::NOTHING,
        ),
    ],
};
