//! Texts of notifications: the included templates, and the operator's that replace some of them.

use std::{fs, path::Path};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde_json::{Value, json};

use super::{
    model::{Language, Rendered},
    samples,
};
use crate::{Code, Error, Result, calendar, language::translated, money::Rupiah, outbox::Topic};

/// Line that every text begins with.
const SUBJECT: &str = "Subject: ";
const LAYOUT: &str = "layout.html";

macro_rules! included {
    ($($topic:ident: $name:literal,)+) => {
        const fn included(topic: Topic, language: Language) -> &'static str {
            match (topic, language) {
                $((Topic::$topic, Language::Indonesian) => include_str!(concat!("templates/", $name, ".id.txt")),
                (Topic::$topic, Language::English) => include_str!(concat!("templates/", $name, ".en.txt")),)+
            }
        }
    };
}

included! {
    LowCreditWarning: "low-credit-warning",
    RenewalSuccess: "renewal-success",
    RenewalFailure: "renewal-failure",
    SubscriptionSuspended: "subscription-suspended",
    SubscriptionEnded: "subscription-ended",
    GracePeriodReminder: "grace-period-reminder",
    AdminBillingSummary: "admin-billing-summary",
    TopUpReceived: "top-up-received",
    InstanceReady: "instance-ready",
    InstanceFailed: "instance-failed",
    TicketAnswered: "ticket-answered",
    ImageOld: "image-old",
    PriceChange: "price-change",
    QuotaFree: "quota-free",
    PasswordChanged: "password-changed",
    ApiTokenCreated: "api-token-created",
    NewDevice: "new-device",
    SessionsEnded: "sessions-ended",
    TwoFactorChanged: "two-factor-changed",
    AccountChanged: "account-changed",
    AccountLookedAt: "account-looked-at",
    WebhookDisabled: "webhook-disabled",
    EmailConfirmation: "email-confirmation",
    PasswordReset: "password-reset",
}

/// Values of a text beside the facts of its notification.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Name of the reader.
    pub(super) name: &'a str,
    pub(super) language: Language,
    /// Address that ends further mails of the kind.
    pub(super) unsubscribe: Option<&'a str>,
}

/// All templates, each known to work with the facts of its kind.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    shop: String,
}

impl Templates {
    /// Loads the templates, those of the folder before the included ones, and tries each one.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` with the file and the line that is wrong.
    pub(super) fn load(folder: Option<&Path>, zone: Tz, shop: &str) -> Result<Self> {
        let sources = sources(folder)?;
        let strict = Self::of(&sources, (zone, true), shop)?;
        for (topic, language) in all() {
            let frame = Frame {
                name: "Sari",
                language,
                unsubscribe: Some("https://shop.example.com/"),
            };
            let tried = strict.render(topic, &samples::facts(topic), frame);
            tried.map_err(|fault| refusal(&sources, &fault))?;
        }
        // A fact that an old notification lacks must not keep it from its reader.
        Self::of(&sources, (zone, false), shop)
    }

    fn of(sources: &[Source], (zone, is_strict): (Tz, bool), shop: &str) -> Result<Self> {
        let mut environment = environment(zone, is_strict);
        for source in sources {
            environment
                .add_template_owned(source.name.clone(), source.text.clone())
                .map_err(|error| refusal(sources, &Fault::of(&source.name, &error)))?;
        }
        Ok(Self {
            environment,
            shop: shop.to_owned(),
        })
    }

    /// Writes a notification in a language.
    pub(super) fn render(
        &self,
        topic: Topic,
        facts: &Value,
        frame: Frame<'_>,
    ) -> Result<Rendered, Fault> {
        let name = text_name(topic, frame.language);
        let context = |subject: &str, text: &str| {
            let paragraphs: Vec<Vec<&str>> = text
                .split("\n\n")
                .map(|paragraph| paragraph.trim().lines().collect())
                .collect();
            json!({
                "name": frame.name,
                "shop": self.shop,
                "language": frame.language,
                "unsubscribe": frame.unsubscribe,
                "data": facts,
                "subject": subject,
                "paragraphs": paragraphs,
            })
        };
        let whole = self.fill(&name, &context("", ""))?;
        let wrong = || Fault {
            name: name.clone(),
            line: 1,
            message: format!("the first line must begin with `{SUBJECT}`"),
        };
        let (head, text) = whole.split_once('\n').ok_or_else(wrong)?;
        let subject = head.strip_prefix(SUBJECT).ok_or_else(wrong)?.trim();
        let text = text.trim();
        let own = html_name(topic, frame.language);
        let is_own = self.environment.get_template(&own).is_ok();
        let html = self.fill(if is_own { &own } else { LAYOUT }, &context(subject, text))?;
        Ok(Rendered {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html,
        })
    }

    fn fill(&self, name: &str, context: &Value) -> Result<String, Fault> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(Serde(context)))
            .map_err(|error| Fault::of(name, &error))
    }
}

/// A template that does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub(super) struct Fault {
    name: String,
    line: usize,
    message: String,
}

impl Fault {
    fn of(name: &str, error: &minijinja::Error) -> Self {
        let message = error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned);
        Self {
            name: error.name().unwrap_or(name).to_owned(),
            line: error.line().unwrap_or(1),
            message,
        }
    }
}

/// A template and its place.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    text: String,
    /// File of the operator.
    path: Option<String>,
}

fn refusal(sources: &[Source], fault: &Fault) -> Error {
    let source = sources.iter().find(|source| source.name == fault.name);
    let path = source.and_then(|source| source.path.as_ref());
    wrong(path.unwrap_or(&fault.name), fault.line, &fault.message)
}

fn wrong(place: &str, line: usize, fault: &str) -> Error {
    let fault = fault.trim_end_matches('.');
    let message = format!("A template of notifications is wrong: {place}:{line}: {fault}.");
    Error::new(Code::ValidationFailed, message)
}

fn sources(folder: Option<&Path>) -> Result<Vec<Source>> {
    let mut sources: Vec<Source> = all()
        .map(|(topic, language)| Source {
            name: text_name(topic, language),
            text: included(topic, language).to_owned(),
            path: None,
        })
        .collect();
    sources.push(Source {
        name: LAYOUT.to_owned(),
        text: include_str!("templates/layout.html").to_owned(),
        path: None,
    });
    let Some(folder) = folder else {
        return Ok(sources);
    };
    for own in read(folder)? {
        let is_html = all().any(|(topic, language)| own.name == html_name(topic, language));
        match sources.iter_mut().find(|source| source.name == own.name) {
            Some(source) => *source = own,
            None if is_html => sources.push(own),
            None => {
                let path = own.path.unwrap_or(own.name);
                return Err(wrong(
                    &path,
                    1,
                    "no notification has a template of this name",
                ));
            }
        }
    }
    Ok(sources)
}

/// Reads the operator's templates; files of other kinds are left alone.
fn read(folder: &Path) -> Result<Vec<Source>> {
    let failed = |path: &Path, error: &std::io::Error| {
        let place = path.display().to_string();
        wrong(&place, 1, &format!("it cannot be read: {error}"))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.ends_with(".txt") && !name.ends_with(".html") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        found.push(Source {
            name: name.into_owned(),
            text,
            path: Some(path.display().to_string()),
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn all() -> impl Iterator<Item = (Topic, Language)> {
    let languages = |topic| Language::ALL.iter().map(move |language| (topic, *language));
    Topic::ALL.iter().copied().flat_map(languages)
}

fn text_name(topic: Topic, language: Language) -> String {
    format!("{}.{language}.txt", stem(topic))
}

fn html_name(topic: Topic, language: Language) -> String {
    format!("{}.{language}.html", stem(topic))
}

fn stem(topic: Topic) -> String {
    topic.as_str().to_ascii_lowercase().replace('_', "-")
}

fn environment(zone: Tz, is_strict: bool) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(if is_strict {
        UndefinedBehavior::Strict
    } else {
        UndefinedBehavior::Chainable
    });
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".html") {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    let missing = move |what: &'static str| {
        if is_strict {
            return Err(minijinja::Error::new(
                ErrorKind::UndefinedError,
                format!("the value to write as {what} is not known"),
            ));
        }
        Ok(String::new())
    };
    environment.add_filter("rupiah", move |amount: Option<i64>| {
        amount.map_or_else(
            || missing("rupiah"),
            |amount| Ok(Rupiah::new(amount).to_string()),
        )
    });
    environment.add_filter("moment", move |text: Option<String>| {
        let at = text
            .as_deref()
            .and_then(|text| text.parse::<DateTime<Utc>>().ok());
        at.map_or_else(|| missing("a moment"), |at| Ok(calendar::written(zone, at)))
    });
    // For facts that are sentences of the shop, which are written down in English.
    environment.add_filter("indonesian", move |sentence: Option<String>| {
        sentence.map_or_else(
            || missing("a sentence"),
            |sentence| Ok(translated(&sentence, Language::Indonesian).into_owned()),
        )
    });
    environment
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const SARI: Frame<'_> = Frame {
        name: "Sari <b>",
        language: Language::English,
        unsubscribe: None,
    };

    fn load(files: &[(&str, &str)]) -> Result<Templates> {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Templates::load(Some(folder.path()), Tz::Asia__Jakarta, "Toko")
    }

    #[test]
    fn every_kind_is_written_in_both_languages() {
        let templates = Templates::load(None, Tz::Asia__Jakarta, "Toko").unwrap();
        for (topic, language) in all() {
            let frame = Frame { language, ..SARI };
            let rendered = templates.render(topic, &samples::facts(topic), frame);
            let rendered = rendered.unwrap();
            assert!(!rendered.subject.is_empty() && !rendered.subject.contains("{{"));
            let hello = if language == Language::English {
                "Hello"
            } else {
                "Halo"
            };
            assert!(rendered.text.starts_with(hello), "{rendered:?}");
            assert!(rendered.html.contains("Sari &lt;b&gt;"), "{rendered:?}");
        }
    }

    #[test]
    fn amounts_and_moments_are_written_for_people() {
        let templates = Templates::load(None, Tz::Asia__Jakarta, "Toko").unwrap();
        let facts = json!({ "amount": 25_000, "number": "TXMP-1" });
        let received = templates
            .render(Topic::TopUpReceived, &facts, SARI)
            .unwrap();
        assert_eq!(received.subject, "Rp25.000 was added");
        let facts = json!({ "at": "2027-01-01T00:00:00Z" });
        let changed = templates
            .render(Topic::PasswordChanged, &facts, SARI)
            .unwrap();
        assert!(changed.text.contains("2027-01-01 07:00 WIB"), "{changed:?}");
    }

    #[test]
    fn sentences_among_the_facts_are_in_the_language_of_the_text() {
        let templates = Templates::load(None, Tz::UTC, "Toko").unwrap();
        let facts = json!({ "name": "ghost-1", "message": "Its volume is still growing." });
        for (language, told) in [
            (Language::English, "Its volume is still growing."),
            (Language::Indonesian, "Volumenya masih diperbesar."),
        ] {
            let frame = Frame { language, ..SARI };
            let rendered = templates.render(Topic::InstanceFailed, &facts, frame);
            let rendered = rendered.unwrap();
            assert!(rendered.text.contains(told), "{rendered:?}");
        }
    }

    /// Texts of people are values: nothing in them is run, wherever a template shows them.
    #[test]
    fn what_looks_like_a_template_is_shown_as_it_was_written() {
        let written = "{{ 7 * 7 }} {% for x in [1] %}{{ data }}{% endfor %} {# unseen #}";
        let own = ("ticket-answered.id.html", "<p>{{ data.answer }}</p>");
        let templates = load(&[own]).unwrap();
        let facts = json!({
            "ticketId": "T", "number": "#042", "subject": written, "answer": written, "canReply": true,
        });
        let seen = |language| {
            let frame = Frame {
                name: written,
                language,
                ..SARI
            };
            templates
                .render(Topic::TicketAnswered, &facts, frame)
                .unwrap()
        };
        let english = seen(Language::English);
        assert_eq!(english.subject, format!("Answer to #042: {written}"));
        for shown in [
            format!("Hello {written},"),
            format!("\"{written}\" was answered"),
            format!("\n\n{written}\n\n"),
        ] {
            assert!(english.text.contains(&shown), "{shown}: {english:?}");
        }
        assert!(english.html.contains(&format!("Hello {written},")));
        let indonesian = seen(Language::Indonesian);
        assert_eq!(indonesian.html, format!("<p>{written}</p>"));
    }

    #[test]
    fn a_fact_that_is_missing_keeps_no_notification_back() {
        let templates = Templates::load(None, Tz::UTC, "Toko").unwrap();
        let received = templates.render(Topic::TopUpReceived, &json!({}), SARI);
        assert_eq!(received.unwrap().subject, "was added");
    }

    #[test]
    fn a_template_of_the_operator_replaces_the_included_one() {
        let text = "Subject: Plus {{ data.amount | rupiah }}\n\nThanks.";
        let html = "<p>{{ name }}</p>";
        let files = [
            ("top-up-received.en.txt", text),
            ("top-up-received.en.html", html),
            ("README.md", "ours"),
        ];
        let facts = samples::facts(Topic::TopUpReceived);
        let received = load(&files)
            .unwrap()
            .render(Topic::TopUpReceived, &facts, SARI);
        let received = received.unwrap();
        assert_eq!(received.text, "Thanks.");
        assert_eq!(received.html, "<p>Sari &lt;b&gt;</p>");
        assert!(received.subject.starts_with("Plus Rp"), "{received:?}");
    }

    #[test]
    fn a_wrong_template_is_refused_with_its_file_and_line() {
        for (name, text, expected) in [
            (
                "quota-free.id.txt",
                "Subject: x\n\n{% if %}\n",
                "quota-free.id.txt:3: ",
            ),
            (
                "quota-free.id.txt",
                "Subject: x\n\n\n{{ data.plam }}",
                "quota-free.id.txt:4: ",
            ),
            (
                "top-up-received.id.txt",
                "Subject: x\n{{ data.amont | rupiah }}",
                "top-up-received.id.txt:2: ",
            ),
            (
                "quota-free.en.txt",
                "Hello",
                "quota-free.en.txt:1: the first line must begin",
            ),
            ("layout.html", "<p>\n{{ subjekt }}", "layout.html:2: "),
            (
                "quota-free.de.txt",
                "Subject: x\n",
                "quota-free.de.txt:1: no notification has",
            ),
        ] {
            let refused = load(&[(name, text)]).unwrap_err();
            assert!(
                refused.message.contains(&format!("/{expected}")),
                "{}",
                refused.message
            );
            assert_eq!(refused.code, Code::ValidationFailed);
        }
    }
}
