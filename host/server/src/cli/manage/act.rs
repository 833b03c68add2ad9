//! Description of the acts of administrators on a server: the route of each, its arguments, and the
//! columns of its answer. One mechanism carries all of them out.

use clap::{
    Arg, ArgAction, Args as _, Command,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use reqwest::Method;
use serde_json::Value;

use super::{super::remote::Remote, read};

/// Commands on one kind of thing.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) acts: &'static [Act],
}

/// A command: one request to the server.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) verb: Verb,
    /// Path of the route, with its `{parameters}`.
    pub(super) path: &'static str,
    pub(super) inputs: &'static [Input],
    /// Fields of the body that are the same in every call.
    pub(super) fixed: &'static [(&'static str, &'static str)],
    pub(super) view: View,
}

/// Method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    /// POST of a form, which can carry files.
    PostForm,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post | Self::PostForm => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

/// An argument or a flag, and its place in the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    /// Name on the command line.
    pub(super) name: &'static str,
    /// Name in the request.
    pub(super) field: &'static str,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    help: &'static str,
}

/// Place of an input in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Body,
}

/// Type of an input.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// A text; `-` reads it from stdin.
    LongText,
    /// A secret, whose flag takes no value: it is the first line of stdin.
    SecretOnStdin,
    Number,
    /// Rupiah, with or without `Rp` and dots.
    Money,
    /// True when the flag is there.
    Flag,
    /// `true` or `false`.
    Truth,
    OneOf(&'static [&'static str]),
    ManyOf(&'static [&'static str]),
    /// A number, or this word.
    NumberOr(&'static str),
    Json,
    Id,
    /// An id, or a name that is looked up.
    Named(&'static Lookup),
    /// Several of them.
    ManyNamed(&'static Lookup),
    Many,
    /// Paths of files to send.
    Files,
}

/// List in which a thing is found by the name that people give it.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) noun: &'static str,
    pub(super) list: &'static str,
    /// Field of the list's items that has the name.
    pub(super) field: &'static str,
    /// Name as the list's `q` and field have it.
    pub(super) written: fn(&str) -> String,
    /// Placeholder in help.
    placeholder: &'static str,
}

/// Parts of an answer that a table shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Sentence in place of the server's, where a list is shown as another one.
    pub(super) heading: Option<&'static str>,
    pub(super) columns: &'static [Column],
    pub(super) sections: &'static [Section],
}

/// List inside an answer.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// JSON pointer.
    pub(super) at: &'static str,
    pub(super) columns: &'static [Column],
    /// JSON pointer of a text below each item.
    pub(super) text: Option<&'static str>,
}

/// Value of an answer, or of each item of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// JSON pointer.
    pub(super) at: &'static str,
    pub(super) form: Form,
}

/// Way to write a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Number,
    Money,
    Time,
    /// True: the title alone. Left out above a text when it is false.
    Mark,
    /// Names of the things in a list, after the title. Left out above a text when it is empty.
    Names,
    /// A text after its title. Left out above a text when it is absent.
    Titled,
}

pub(super) const USER: Lookup = Lookup {
    noun: "account",
    list: "/api/admin/users",
    field: "email",
    written: str::to_lowercase,
    placeholder: "ID|E-MAIL",
};
pub(super) const COUPON: Lookup = Lookup {
    noun: "coupon",
    list: "/api/admin/coupons",
    field: "code",
    written: str::to_uppercase,
    placeholder: "ID|CODE",
};
pub(super) const TICKET: Lookup = Lookup {
    noun: "ticket",
    list: "/api/admin/tickets",
    field: "number",
    written: read::ticket_number,
    placeholder: "ID|NUMBER",
};

pub(super) const PAGES: [Input; 2] = [
    query("page", "page", Kind::Number, "Page to show, from 1."),
    query(
        "limit",
        "limit",
        Kind::Number,
        "Items on a page, at most 100.",
    ),
];
pub(super) const OPTIONAL_REASON: Input = body(
    "reason",
    "reason",
    Kind::Text,
    "Reason, at least 10 characters; it stays in the audit trail.",
);
pub(super) const REASON: Input = OPTIONAL_REASON.required();

impl Act {
    pub(super) const fn new(
        name: &'static str,
        (verb, path): (Verb, &'static str),
        about: &'static str,
        inputs: &'static [Input],
        view: View,
    ) -> Self {
        Self {
            name,
            about,
            verb,
            path,
            inputs,
            fixed: &[],
            view,
        }
    }

    /// Sets fields of the body that are the same in every call.
    pub(super) const fn with(mut self, fixed: &'static [(&'static str, &'static str)]) -> Self {
        self.fixed = fixed;
        self
    }

    fn command(&self) -> Command {
        let inputs = self.inputs.iter().map(Input::argument);
        let json = Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print the whole answer of the server as JSON");
        let command = Command::new(self.name).args(inputs).arg(json);
        // The flags of a server come with a description of their own.
        Remote::augment_args(command).about(self.about)
    }
}

impl Group {
    pub(super) fn command(&self) -> Command {
        let acts = self.acts.iter().map(Act::command);
        Command::new(self.name)
            .about(self.about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommands(acts)
    }
}

impl View {
    pub(super) const NOTHING: Self = Self::of(&[]);

    pub(super) const fn of(columns: &'static [Column]) -> Self {
        Self {
            heading: None,
            columns,
            sections: &[],
        }
    }

    pub(super) const fn headed(mut self, heading: &'static str) -> Self {
        self.heading = Some(heading);
        self
    }

    pub(super) const fn and(mut self, sections: &'static [Section]) -> Self {
        self.sections = sections;
        self
    }

    /// Returns true when a moment is among the values.
    pub(super) fn has_times(&self) -> bool {
        let sections = self.sections.iter().flat_map(|section| section.columns);
        let mut all = self.columns.iter().chain(sections);
        all.any(|column| column.form == Form::Time)
    }
}

/// Positional argument in the path.
pub(super) const fn path(field: &'static str, kind: Kind, help: &'static str) -> Input {
    Input {
        name: field,
        field,
        place: Place::Path,
        kind,
        is_required: true,
        help,
    }
}

pub(super) const fn query(
    name: &'static str,
    field: &'static str,
    kind: Kind,
    help: &'static str,
) -> Input {
    Input {
        name,
        field,
        place: Place::Query,
        kind,
        is_required: false,
        help,
    }
}

pub(super) const fn body(
    name: &'static str,
    field: &'static str,
    kind: Kind,
    help: &'static str,
) -> Input {
    Input {
        name,
        field,
        place: Place::Body,
        kind,
        is_required: false,
        help,
    }
}

pub(super) const fn text(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Text,
    }
}

pub(super) const fn number(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Number,
    }
}

pub(super) const fn money(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Money,
    }
}

pub(super) const fn time(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Time,
    }
}

pub(super) const fn mark(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Mark,
    }
}

pub(super) const fn names(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Names,
    }
}

pub(super) const fn titled(title: &'static str, at: &'static str) -> Column {
    Column {
        title,
        at,
        form: Form::Titled,
    }
}

impl Input {
    pub(super) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Returns true for an argument without a flag's name.
    const fn is_positional(&self) -> bool {
        matches!(self.place, Place::Path) || matches!(self.kind, Kind::ManyNamed(_))
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.name)
            .help(self.help.trim_end_matches('.'))
            .required(self.is_required);
        let argument = if self.is_positional() {
            argument
        } else {
            argument.long(self.name)
        };
        self.kind.read_by(argument)
    }
}

impl Kind {
    /// Returns true when a command takes several values.
    pub(super) const fn is_many(self) -> bool {
        matches!(
            self,
            Self::ManyOf(_) | Self::ManyNamed(_) | Self::Many | Self::Files
        )
    }

    fn read_by(self, argument: Arg) -> Arg {
        match self {
            Self::Flag | Self::SecretOnStdin => argument.action(ArgAction::SetTrue),
            Self::OneOf(words) => words_of(words, argument),
            Self::ManyOf(words) => words_of(words, argument)
                .action(ArgAction::Append)
                .value_delimiter(','),
            Self::Truth => words_of(&["true", "false"], argument),
            Self::ManyNamed(lookup) => argument
                .action(ArgAction::Append)
                .num_args(1..)
                .value_name(lookup.placeholder)
                .value_parser(texts),
            Self::Many | Self::Files => argument
                .action(ArgAction::Append)
                .value_name(self.placeholder())
                .value_parser(texts),
            _ => argument
                .value_name(self.placeholder())
                .value_parser(self.parser()),
        }
    }

    const fn placeholder(self) -> &'static str {
        match self {
            Self::Text | Self::Many => "TEXT",
            Self::LongText => "TEXT|-",
            Self::Number | Self::NumberOr(_) => "NUMBER",
            Self::Money => "RUPIAH",
            Self::Json => "JSON",
            Self::Id => "ID",
            Self::Named(lookup) | Self::ManyNamed(lookup) => lookup.placeholder,
            Self::Files => "FILE",
            Self::Flag | Self::SecretOnStdin | Self::Truth | Self::OneOf(_) | Self::ManyOf(_) => {
                "VALUE"
            }
        }
    }

    fn parser(self) -> impl Fn(&str) -> Result<Value, String> + Clone + Send + Sync + 'static {
        move |given: &str| match self {
            Self::Number => read::number(given),
            Self::NumberOr(word) if given == word => Ok(word.into()),
            Self::NumberOr(word) => {
                read::number(given).map_err(|_| format!("must be a whole number, or {word}"))
            }
            Self::Money => read::money(given),
            Self::Json => read::json(given),
            Self::Id => read::id(given),
            _ => texts(given),
        }
    }
}

fn texts(given: &str) -> Result<Value, String> {
    Ok(Value::from(given))
}

fn words_of(words: &'static [&'static str], argument: Arg) -> Arg {
    // Cases are ignored on the command line, not by the server.
    let parser = PossibleValuesParser::new(words).map(|given| {
        let mut all = words.iter();
        let word = all.find(|word| word.eq_ignore_ascii_case(&given));
        word.map_or(Value::from(given), |word| Value::from(*word))
    });
    argument.ignore_case(true).value_parser(parser)
}
