//! Answers of the server for people: its sentence, then a table of a list or the fields of one
//! thing.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use dermaga_shop::{calendar, money::Rupiah, text::shown_line};
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::act::{Column, Form, Section, View};

/// Blanks between two columns.
const GAP: &str = "  ";
const INDENT: &str = "  ";
/// Written for a value that is absent.
const ABSENT: &str = "-";

/// Returns an envelope as a text.
pub(super) fn describe(envelope: &Value, view: &View, zone: Tz) -> String {
    let message = envelope.get("message").and_then(Value::as_str);
    let message = view.heading.or(message);
    let mut text = format!("{}\n", clean(message.unwrap_or("Done.")));
    let data = envelope.get("data").unwrap_or(&Value::Null);
    match data {
        Value::Array(items) => text.push_str(&table(items, view.columns, zone)),
        _ => text.push_str(&fields(data, view.columns, zone)),
    }
    for section in view.sections {
        text.push_str(&part(data, section, zone));
    }
    text.push_str(&pages(envelope));
    text
}

/// Returns the place in a list of several pages.
fn pages(envelope: &Value) -> String {
    let of = |field: &str| {
        let found = envelope.pointer(&format!("/pagination/{field}"));
        found.and_then(Value::as_i64).unwrap_or_default()
    };
    let (page, all) = (of("page"), of("totalPages"));
    if all <= 1 {
        return String::new();
    }
    let more = envelope.pointer("/pagination/moreThanTotal");
    let at_least = if more == Some(&Value::Bool(true)) {
        "more than "
    } else {
        ""
    };
    let items = of("totalItems");
    let next = if page < all || !at_least.is_empty() {
        format!(" --page {} shows the next.", page + 1)
    } else {
        String::new()
    };
    format!("Page {page} of {at_least}{all}; {at_least}{items} in all.{next}\n")
}

fn part(data: &Value, section: &Section, zone: Tz) -> String {
    let Some(found) = data.pointer(section.at).filter(|found| !found.is_null()) else {
        return String::new();
    };
    let Value::Array(items) = found else {
        let inner = fields(found, section.columns, zone);
        return format!("\n{}\n{inner}", section.title);
    };
    if items.is_empty() {
        return String::new();
    }
    let Some(at) = section.text else {
        let rows = table(items, section.columns, zone);
        return format!("\n{}\n{rows}", section.title);
    };
    let mut text = format!("\n{}\n", section.title);
    for item in items {
        let columns = section.columns.iter();
        let head = columns.filter_map(|column| head(item, column, zone));
        let head: Vec<_> = head.collect();
        text.push_str(&format!("{}\n", head.join(GAP)));
        let body = item.pointer(at).and_then(Value::as_str).unwrap_or_default();
        for line in body.lines() {
            text.push_str(&format!("{INDENT}{INDENT}{}\n", clean(line)));
        }
    }
    text
}

/// Returns a value of the line above a text, which has no titles of its own; nothing for a mark that is not
/// set.
fn head(item: &Value, column: &Column, zone: Tz) -> Option<String> {
    let cell = cell(item, column, zone);
    match column.form {
        Form::Mark | Form::Names | Form::Titled if cell == ABSENT => None,
        Form::Names | Form::Titled => Some(format!("{} {cell}", column.title)),
        _ => Some(cell),
    }
}

/// Returns the fields of one thing, a line each; those that are absent are left out.
fn fields(data: &Value, columns: &[Column], zone: Tz) -> String {
    let is_there = |column: &&Column| {
        data.pointer(column.at)
            .is_some_and(|found| !found.is_null())
    };
    let shown: Vec<&Column> = columns.iter().filter(is_there).collect();
    let width = shown.iter().map(|column| column.title.width()).max();
    let width = width.unwrap_or_default();
    let lines = shown.into_iter().map(|column| {
        let title = padded(column.title, width, false);
        format!("{INDENT}{title}{GAP}{}\n", cell(data, column, zone))
    });
    lines.collect()
}

/// Returns a table with a head; nothing for an empty list.
fn table(items: &[Value], columns: &[Column], zone: Tz) -> String {
    if items.is_empty() || columns.is_empty() {
        return String::new();
    }
    let titles: Vec<String> = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect();
    let rows = items.iter().map(|item| {
        columns
            .iter()
            .map(|column| cell(item, column, zone))
            .collect()
    });
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        })
        .collect();
    rows.iter().map(|row| line(row, columns, &widths)).collect()
}

fn line(row: &[String], columns: &[Column], widths: &[usize]) -> String {
    let cells = row.iter().zip(columns).zip(widths);
    let cells: Vec<String> = cells
        .map(|((cell, column), width)| {
            let is_figure = matches!(column.form, Form::Money | Form::Number);
            padded(cell, *width, is_figure)
        })
        .collect();
    let line = format!("{INDENT}{}", cells.join(GAP));
    format!("{}\n", line.trim_end())
}

/// Fills a cell up to a width, as a terminal counts it.
fn padded(cell: &str, width: usize, to_the_right: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(cell.width()));
    if to_the_right {
        format!("{blanks}{cell}")
    } else {
        format!("{cell}{blanks}")
    }
}

fn cell(item: &Value, column: &Column, zone: Tz) -> String {
    let value = item.pointer(column.at).unwrap_or(&Value::Null);
    let written = match (column.form, value) {
        (_, Value::Null) => None,
        (Form::Money, value) => value.as_i64().map(|amount| Rupiah::new(amount).to_string()),
        (Form::Time, value) => value.as_str().and_then(|text| moment(text, zone)),
        (Form::Mark, value) => (*value == Value::Bool(true)).then(|| column.title.to_owned()),
        (Form::Names, value) => value.as_array().map(|items| names(items)),
        (Form::Text | Form::Number | Form::Titled, value) => Some(written(value)),
    };
    let written = written.map(|text| clean(&text));
    written
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| ABSENT.to_owned())
}

fn names(items: &[Value]) -> String {
    let names = items.iter().filter_map(|item| item.get("name")?.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn moment(text: &str, zone: Tz) -> Option<String> {
    let at: DateTime<Utc> = text.parse().ok()?;
    Some(calendar::written(zone, at))
}

fn written(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(written).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Returns a text on one line, without what could steer the terminal or hide: customers wrote some of it.
fn clean(text: &str) -> String {
    shown_line(text)
        .chars()
        .map(|letter| match letter {
            '\n' | '\t' => ' ',
            letter if letter.is_control() => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::act::{mark, money, names, number, text, time, titled},
        *,
    };

    const COLUMNS: &[Column] = &[
        text("ID", "/id"),
        text("NAME", "/name"),
        money("PRICE", "/price"),
        number("USES", "/uses"),
        time("UNTIL", "/until"),
    ];
    const VIEW: View = View::of(COLUMNS);

    #[test]
    fn a_list_of_several_pages_says_where_it_goes_on() {
        for (page, all, items, more, told) in [
            (1, 0, 0, false, ""),
            (1, 1, 20, false, ""),
            (
                1,
                3,
                50,
                false,
                "Page 1 of 3; 50 in all. --page 2 shows the next.\n",
            ),
            (3, 3, 50, false, "Page 3 of 3; 50 in all.\n"),
            (
                3,
                3,
                60,
                true,
                "Page 3 of more than 3; more than 60 in all. --page 4 shows the next.\n",
            ),
        ] {
            let envelope = json!({ "pagination": {
                "page": page, "totalPages": all, "totalItems": items, "moreThanTotal": more,
            } });
            assert_eq!(pages(&envelope), told, "{page} {all}");
        }
        assert_eq!(pages(&json!({})), "");
    }

    fn shown(envelope: &Value, view: &View) -> String {
        describe(envelope, view, chrono_tz::Asia::Jakarta)
    }

    #[test]
    fn a_list_is_a_table_in_the_shops_money_and_zone() {
        let envelope = json!({
            "message": "2 things.",
            "data": [
                { "id": "a", "name": "Kopi", "price": 1_250_000, "uses": 7, "until": "2026-12-31T17:00:00Z" },
                { "id": "bc", "name": "珈琲", "price": 0, "uses": null },
            ],
            "pagination": { "page": 1, "limit": 2, "totalItems": 3, "totalPages": 2 },
        });
        assert_eq!(
            shown(&envelope, &VIEW),
            "\
2 things.
  ID  NAME        PRICE  USES  UNTIL
  a   Kopi  Rp1.250.000     7  2027-01-01 00:00 WIB
  bc  珈琲          Rp0     -  -
Page 1 of 2; 3 in all. --page 2 shows the next.
"
        );
    }

    #[test]
    fn a_list_that_was_not_counted_to_its_end_says_so() {
        let envelope = json!({
            "message": "Things.",
            "data": [],
            "pagination": { "page": 500, "limit": 20, "totalItems": 10_000, "totalPages": 500, "moreThanTotal": true },
        });
        let shown = shown(&envelope, &VIEW);
        let expected =
            "Page 500 of more than 500; more than 10000 in all. --page 501 shows the next.\n";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn one_thing_is_its_fields_and_parts() {
        const PARTS: &[Section] = &[
            Section {
                title: "Messages",
                at: "/messages",
                columns: &[
                    text("BY", "/by"),
                    mark("NOTE", "/internal"),
                    titled("SENT FROM", "/from"),
                    names("PICTURES", "/files"),
                ],
                text: Some("/body"),
            },
            Section {
                title: "Uses",
                at: "/none",
                columns: COLUMNS,
                text: None,
            },
        ];
        let envelope = json!({
            "message": "The thing.",
            "data": { "id": "a", "price": 5, "none": [], "messages": [
                { "by": "sari", "body": "one\ntwo", "internal": false, "from": null, "files": [] },
                { "by": "budi", "body": "three", "internal": true, "from": "b@example.com", "files": [{ "name": "a.png" }, { "name": "b.gif" }] },
            ] },
        });
        assert_eq!(
            shown(&envelope, &VIEW.and(PARTS)),
            "\
The thing.
  ID     a
  PRICE  Rp5

Messages
sari
    one
    two
budi  NOTE  SENT FROM b@example.com  PICTURES a.png, b.gif
    three
"
        );
    }

    #[test]
    fn a_customers_text_does_not_steer_the_terminal() {
        let envelope = json!({
            "message": "Done.",
            "data": { "name": "\u{1b}[2Jgone\u{202e}\nnext" },
        });
        assert_eq!(
            shown(&envelope, &VIEW),
            "Done.\n  NAME  \u{fffd}[2Jgone next\n"
        );
    }
}
