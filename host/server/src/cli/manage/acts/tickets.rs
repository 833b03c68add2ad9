//! `ticket`: questions of customers and their answers.

use super::super::act::{
    Act, Group, Input, Kind, OPTIONAL_REASON, PAGES, REASON, Section, TICKET, USER, Verb, View,
    body, mark, names, number, path, query, text, time, titled,
};

const PRIORITIES: Kind = Kind::OneOf(&["LOW", "NORMAL", "HIGH", "URGENT"]);
const WHICH: Input = path("id", Kind::Named(&TICKET), "Ticket, by its id or number.");

const LIST: View = View::of(&[
    text("NUMBER", "/number"),
    text("ID", "/id"),
    text("STATUS", "/status"),
    text("PRIORITY", "/priority"),
    text("E-MAIL", "/email"),
    text("ASSIGNED TO", "/assigneeEmail"),
    time("OPENED", "/createdAt"),
    text("SUBJECT", "/subject"),
]);
const ONE: View = View::of(&[
    text("NUMBER", "/number"),
    text("ID", "/id"),
    text("SUBJECT", "/subject"),
    text("STATUS", "/status"),
    text("PRIORITY", "/priority"),
    text("E-MAIL", "/email"),
    text("ASSIGNED TO", "/assigneeEmail"),
    text("INSTANCE", "/instanceId"),
    time("OPENED", "/createdAt"),
    time("WAITS FOR THE CUSTOMER SINCE", "/awaitsCustomerSince"),
    time("CLOSED", "/closedAt"),
    text("CLOSED BY", "/closedBy"),
])
.and(&[Section {
    title: "Messages",
    at: "/messages",
    columns: &[
        time("AT", "/createdAt"),
        text("BY", "/authorEmail"),
        text("AS", "/author"),
        mark("NOTE", "/internal"),
        titled("SENT FROM", "/sentFrom"),
        names("PICTURES", "/attachments"),
    ],
    text: Some("/body"),
}]);

const CANNED: Input = path("id", Kind::Id, "Canned answer.");
const TITLE: Input = body(
    "title",
    "title",
    Kind::Text,
    "Title, at most 100 characters.",
)
.required();
const BODY: Input = body(
    "body",
    "body",
    Kind::LongText,
    "Answer, at most 2000 characters; - reads it from stdin.",
)
.required();
const CANNED_ANSWERS: View = View::of(&[
    text("ID", "/id"),
    text("TITLE", "/title"),
    time("CHANGED", "/updatedAt"),
]);
const CANNED_ANSWER: View = View::of(&[
    text("ID", "/id"),
    text("TITLE", "/title"),
    text("ANSWER", "/body"),
    time("CHANGED", "/updatedAt"),
]);

pub(super) const GROUP: Group = Group {
    name: "ticket",
    about: "Answer customers",
    acts: &[
        Act::new(
            "list",
            (Verb::Get, "/api/admin/tickets"),
            "List tickets of all customers, newest first",
            &[
                query(
                    "q",
                    "q",
                    Kind::Text,
                    "Text within the subject or the e-mail, or a number such as #042.",
                ),
                query(
                    "status",
                    "status",
                    Kind::OneOf(&["OPEN", "IN_PROGRESS", "CLOSED"]),
                    "Status.",
                ),
                query("priority", "priority", PRIORITIES, "Priority."),
                query(
                    "user",
                    "userId",
                    Kind::Named(&USER),
                    "Customer, by id or e-mail.",
                ),
                query(
                    "assignee",
                    "assigneeId",
                    Kind::Named(&USER),
                    "Administrator who takes care of it.",
                ),
                query(
                    "unassigned",
                    "unassigned",
                    Kind::Truth,
                    "True for those that no administrator takes care of.",
                ),
                query("from", "from", Kind::Text, "Opened on this date or later."),
                query("to", "to", Kind::Text, "Opened on this date or earlier."),
                PAGES[0],
                PAGES[1],
            ],
            LIST,
        ),
        Act::new(
            "show",
            (Verb::Get, "/api/admin/tickets/{id}"),
            "Show a ticket with its messages and notes; --json has the evidence of its instance, too",
            &[WHICH],
            ONE,
        ),
        Act::new(
            "answer",
            (Verb::PostForm, "/api/admin/tickets/{id}/messages"),
            "Answer a ticket; its customer is notified",
            &[
                WHICH,
                body(
                    "message",
                    "message",
                    Kind::LongText,
                    "Answer, at most 2000 characters; - reads it from stdin.",
                )
                .required(),
                body(
                    "attach",
                    "attachments",
                    Kind::Files,
                    "Picture of 5 MB at most; repeat it for more, up to 5.",
                ),
                OPTIONAL_REASON,
            ],
            ONE,
        ),
        Act::new(
            "note",
            (Verb::Post, "/api/admin/tickets/{id}/notes"),
            "Add a note that customers never see",
            &[
                WHICH,
                body(
                    "message",
                    "message",
                    Kind::LongText,
                    "Note, at most 2000 characters; - reads it from stdin.",
                )
                .required(),
                OPTIONAL_REASON,
            ],
            ONE,
        ),
        Act::new(
            "close",
            (Verb::Put, "/api/admin/tickets/{id}/close"),
            "Close a ticket",
            &[WHICH, REASON],
            ONE,
        ),
        Act::new(
            "close-many",
            (Verb::Put, "/api/admin/tickets/bulk/close"),
            "Close tickets: all of them, or none",
            &[
                body(
                    "ids",
                    "ids",
                    Kind::ManyNamed(&TICKET),
                    "Tickets, by their ids or numbers; at most 100.",
                )
                .required(),
                REASON,
            ],
            View::of(&[
                text("CLOSED", "/closed"),
                text("CLOSED BEFORE", "/alreadyClosed"),
            ]),
        ),
        Act::new(
            "reopen",
            (Verb::Put, "/api/admin/tickets/{id}/reopen"),
            "Open a closed ticket again",
            &[WHICH, REASON],
            ONE,
        ),
        Act::new(
            "assign",
            (Verb::Put, "/api/admin/tickets/{id}/assign"),
            "Make an administrator take care of a ticket, or none",
            &[
                WHICH,
                body(
                    "to",
                    "assigneeId",
                    Kind::Named(&USER),
                    "Administrator, by id or e-mail [default: none]",
                ),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "priority",
            (Verb::Put, "/api/admin/tickets/{id}/priority"),
            "Set the priority of a ticket, which its customer does not see",
            &[
                WHICH,
                body("priority", "priority", PRIORITIES, "Priority to have.").required(),
                REASON,
            ],
            ONE,
        ),
        Act::new(
            "canned-answers",
            (Verb::Get, "/api/admin/tickets/canned-answers"),
            "List the canned answers by their titles",
            &[],
            CANNED_ANSWERS,
        ),
        Act::new(
            "make-canned-answer",
            (Verb::Post, "/api/admin/tickets/canned-answers"),
            "Make a canned answer",
            &[TITLE, BODY, REASON],
            CANNED_ANSWER,
        ),
        Act::new(
            "edit-canned-answer",
            (Verb::Put, "/api/admin/tickets/canned-answers/{id}"),
            "Replace the content of a canned answer",
            &[CANNED, TITLE, BODY, REASON],
            CANNED_ANSWER,
        ),
        Act::new(
            "delete-canned-answer",
            (Verb::Delete, "/api/admin/tickets/canned-answers/{id}"),
            "Delete a canned answer; what was written with it stays",
            &[CANNED, REASON],
            View::NOTHING,
        ),
        Act::new(
            "statistics",
            (Verb::Get, "/api/admin/tickets/stats"),
            "Count tickets by status and priority, and those that wait",
            &[],
            View::of(&[
                number("OPEN", "/open"),
                number("IN PROGRESS", "/inProgress"),
                number("CLOSED", "/closed"),
                number("TOTAL", "/total"),
                number("WITHOUT AN ADMINISTRATOR", "/unassigned"),
                time("OLDEST WAITS SINCE", "/oldestOpenAt"),
            ])
            .and(&[Section {
                title: "Not closed, by priority",
                at: "/byPriority",
                columns: &[text("PRIORITY", "/priority"), number("TICKETS", "/count")],
                text: None,
            }]),
        ),
    ],
};
