//! The catalogues against the sources: no sentence is missing, none is left over, each is recognised.

mod said;
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use self::sources::{Literal, key, literals, texts};
use super::{
    Language,
    catalogue::{LABELS, SENTENCES, WORDS, entries},
    templates::probes::places,
    translated,
};

/// Parts of paths of files whose texts are for the operator's console, for documents, or no sentences.
const NOT_FOR_CLIENTS: &[&str] = &[
    "config/settings.rs",
    "api/openapi",
    "app/bootstrap.rs",
    "app/document.rs",
    "app/examples.rs",
    "app/in_use.rs",
    "app/measuring.rs",
    "app/redaction.rs",
    "app/start",
    "notifications/mail.rs",
    "notifications/samples.rs",
    "http/answer_headers.rs",
    "http/cors.rs",
    "shop/src/db/",
    "/store/",
    "store.rs",
    "receipt/labels.rs",
    "wallet/typeface.rs",
    "wallet/ledger/heads.rs",
    "scheduler/schedule.rs",
    "scheduler/worker.rs",
    "provisioning/provisioner.rs",
    "provisioning/directory.rs",
    "shop/src/crypto",
    "template/draft.rs",
    "check/command.rs",
    "check/text_report.rs",
    // Said as sentences, which are among those that are put together.
    "cluster/error.rs",
];

/// Calls whose arguments no client reads: logs, comparisons, causes, the document.
const UNREAD: &[&str] = &[
    "debug!",
    "info!",
    "warn!",
    "error!",
    "trace!",
    "span!",
    "event!",
    "info_span!",
    "panic!",
    "unreachable!",
    "assert!",
    "counter!",
    "histogram!",
    "gauge!",
    "json!",
    "matches!",
    "concat!",
    "env!",
    "include_str!",
    "println!",
    "text_enum!",
    ".starts_with",
    ".ends_with",
    ".contains",
    ".strip_prefix",
    ".trim_start_matches",
    ".trim_end_matches",
    ".split",
    ".split_once",
    ".rsplit_once",
    ".replace",
    ".get",
    ".pointer",
    ".expect",
    ".call",
    ".format",
    ".find",
    ".rfind",
    ".unknown",
    ".eq_ignore_ascii_case",
    ".header",
    ".field",
    ".debug_struct",
    ".chain",
    ".description",
    "internal",
    "failed",
    "described",
    "from_static",
    "ClusterError::of",
    "digest",
    "encode",
    "Throttle::new#0",
];

/// Calls with the place of the argument that clients read, whatever it looks like.
const READ: &[(&str, usize)] = &[
    ("Error::new", 1),
    ("Error::invalid", 1),
    ("Error::not_found", 0),
    (".with", 1),
    ("garde::Error::new", 0),
    ("invalid", 0),
    ("refused", 0),
    ("too_many", 0),
    ("throttle::too_many", 0),
    ("Throttle::new", 2),
    ("Attempt::not_made", 0),
    ("wrong", 2),
    ("error", 0),
    ("Success::ok", 0),
    ("Success::created", 0),
    ("Success::accepted", 0),
    ("Success::page", 0),
    ("Success::walk", 0),
];

/// Beginnings of what a field is said to break.
const RULES: &[&str] = &["must ", "is ", "has ", "cannot ", "may ", "reaches "];
/// Words of SQL.
const SQL: &[&str] = &[
    "SELECT", "INSERT", "UPDATE", "DELETE", "WHERE", "ORDER BY", "FROM", "PRAGMA",
];

/// Fields and variables whose texts clients read, whatever they look like.
const TARGETS: &[&str] = &["description", "summary", "label"];

/// Literals that look like sentences and are none of a client's.
const NO_SENTENCES: &[&str] = &[
    "cannot parse integer",
    // It would be recognised in every sentence that begins so.
    "The {error}.",
    // A check makes them up.
    "Basic, 1 month",
    "One month of the plan.",
    // Another sentence is said in its place.
    "no slot to run a plugin was free",
    // They end a start.
    "the plugin engine cannot start: {0}",
    "the plugin engine cannot start its timer thread: {0}",
    "the folder {} for compiled plugins cannot be used: {error}",
    "Duration of a discount: a number of months, or for ever. Of a longer term it reduces as many months.",
    "Names this intention, for example a UUID. The same request with the same key is answered as the first one was, for 24 hours, and acts once; another request with the same key is refused. A refusal that can pass (too little credit, sold out, another price) leaves the key free: send the same request with it again.",
];

/// Sentences that the code puts together of several literals.
const COMPOSED: &[&str] = &[
    "must be one of: {}, not \"{}\"",
    "{} still to be cancelled",
    "{} still to be removed",
    "{} still to be paid or cancelled",
    "{} still to be answered by the gateway",
    "{} still to be paid",
    "The cluster denies access: {}.",
    "{} exists in namespace {} and was not made by Dermaga.",
    "The cluster refuses {}: {}.",
    "The cluster has no quota for {}: {}.",
    "{} {}; its volume was {}.",
    "Cannot {} {}: {}.",
    "write either its `price`, in rupiah for the whole term, or its `discountPercent`",
    "Container `{}`, image `{}`: {}",
    "The plugin {} {}, {}: {}.",
    "Writing the manifests stopped: {}.",
    "{}: [images] does not list `{}`, which the plugin runs; list exactly: {}",
    "{}: [images] lists `{}`, which the plugin does not know; list exactly: {}",
    "{}: [texts.id.form] names `{}`, which the form does not have; name some of: {}",
    "{}: the volumes take {} GiB of the {} GiB that the plan sells; {}",
    "{}: the second answer differs, at {}",
    "{}: the second call logged other lines",
    "{}: the first call used {} units of fuel and the second {}",
];

fn all() -> BTreeMap<String, String> {
    let files = SENTENCES.iter().copied().chain([WORDS, LABELS]);
    files.flat_map(entries).collect()
}

/// Returns true for a call that has one of these names, with any modules before it.
fn is_named(call: &str, name: &str) -> bool {
    call == name
        || call
            .strip_suffix(name)
            .is_some_and(|before| before.ends_with("::"))
}

fn has_letters(key: &str) -> bool {
    let letters: Vec<char> = key.chars().collect();
    letters
        .windows(2)
        .any(|pair| pair.iter().all(char::is_ascii_alphabetic))
}

fn is_sentence(text: &str) -> bool {
    let begins = text
        .starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "{`".contains(c));
    begins && text.contains(' ') && text.ends_with(['.', '!', '?'])
}

/// Returns true for a sentence with a gap at its end, which holds a reason or another sentence.
fn is_sentence_with_more(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_uppercase() || c == '{');
    let is_small = |word: &&str| {
        let word = word.trim_end_matches(['.', ',', ':', ';']);
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    begins && text.ends_with('}') && text.split(' ').filter(is_small).count() >= 3
}

/// Returns true for a line such as `Gift of the shop`: capital, small letters, a second small word.
fn is_label(text: &str) -> bool {
    let Some((first, rest)) = text.split_once(' ') else {
        return false;
    };
    let mut letters = first.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && first.len() > 1
        && letters.all(|c| c.is_ascii_lowercase() || c == '-')
        && rest.starts_with(|c: char| c.is_ascii_lowercase() || "{`".contains(c))
}

/// Returns the keys that a literal needs.
fn needed(literal: &Literal) -> Vec<String> {
    let text = literal.text.trim();
    let names = |listed: &[&str]| listed.iter().any(|part| literal.file.contains(part));
    let is_unread = literal
        .calls
        .iter()
        .any(|(call, _)| UNREAD.iter().any(|name| is_named(call, name)));
    let is_sql = SQL
        .iter()
        .any(|word| text.split(' ').any(|own| own == *word));
    let key = key(text);
    if names(NOT_FOR_CLIENTS) || is_unread || is_sql || !has_letters(&key.replace("{}", " ")) {
        return Vec::new();
    }
    let is_code = text
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if NO_SENTENCES.contains(&text) || is_code || text.starts_with('/') {
        return Vec::new();
    }
    let is_counted =
        |(call, argument): &(String, usize)| is_named(call, "counted") && *argument == 1;
    if literal.calls.iter().any(is_counted) {
        return vec![format!("{{}} {key}"), format!("{{}} {key}s")];
    }
    let is_read = literal.calls.iter().any(|(call, argument)| {
        // A function of the file is called by its name alone.
        let read = |(name, place): &(&str, usize)| {
            let is_call = call == name || name.contains("::") && is_named(call, name);
            is_call && place == argument
        };
        READ.iter().any(read)
    });
    let is_rule = RULES.iter().any(|begin| text.starts_with(begin));
    // All that these files say is about what authors and clients have written.
    let is_fault = ["schema/wording.rs", "toolkit/src/template/", "runtime/src/"]
        .iter()
        .any(|part| literal.file.contains(part));
    let is_kind = is_fault && text.contains(' ');
    let is_target = |name: &String| TARGETS.contains(&name.as_str());
    let is_named_so = literal.target.as_ref().is_some_and(is_target);
    // Lines about a plan: the names of service and plan, and what happened to them.
    let is_line = is_label(text) || key.starts_with("{} {}, ") || is_named_so;
    let is_whole = is_sentence(text) || is_sentence_with_more(text);
    if is_read || is_rule || is_kind || is_line || is_whole {
        vec![key]
    } else {
        Vec::new()
    }
}

#[test]
fn no_sentence_is_missing_in_indonesian() {
    let known = all();
    let mut missing = BTreeSet::new();
    for literal in literals() {
        for key in needed(&literal) {
            // Lists of alternatives are known as parts of sentences.
            let is_joint = ["or", ", or"].contains(&key.as_str());
            if !is_joint && !known.contains_key(&key) {
                missing.insert(format!("{}: {key:?}", literal.file));
            }
        }
    }
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(
        missing.is_empty(),
        "without an entry in host/shop/src/language/id:\n{}",
        missing.join("\n")
    );
}

#[test]
fn no_sentence_is_left_over() {
    let literals = literals();
    let texts = texts(&literals);
    let words: BTreeSet<&str> = texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphabetic()))
        .collect();
    let is_word = |word: &str| {
        words.contains(word)
            || word
                .strip_suffix('s')
                .is_some_and(|one| words.contains(one))
    };
    let mut left: Vec<String> = SENTENCES
        .iter()
        .copied()
        .chain([LABELS])
        .flat_map(entries)
        .map(|(english, _)| english)
        .filter(|english| !texts.contains(english) && !COMPOSED.contains(&english.as_str()))
        .collect();
    // Words are put together by the code, such as a number with a plural.
    left.extend(entries(WORDS).into_keys().filter(|english| {
        let mut parts = english.split(|c: char| !c.is_ascii_alphabetic());
        !texts.contains(english) && !parts.all(is_word)
    }));
    assert!(left.is_empty(), "no source says:\n{}", left.join("\n"));
}

#[test]
fn every_file_is_read_and_names_each_sentence_once() {
    let mut known = BTreeSet::new();
    for file in SENTENCES.iter().copied().chain([WORDS, LABELS]) {
        toml::from_str::<BTreeMap<String, String>>(file).unwrap();
        assert!(entries(file).len() > 50 || file == LABELS && entries(file).len() > 5);
        for english in entries(file).into_keys() {
            assert!(known.insert(english.clone()), "{english:?} is there twice");
        }
    }
}

/// Words of Kubernetes, which customers need not know.
const OF_KUBERNETES: &[&str] = &["manifest", "container", "pod"];

#[test]
fn customers_read_no_words_of_kubernetes() {
    for english in entries(SENTENCES[0]).into_keys() {
        let small = english.to_ascii_lowercase();
        let mut words = small.split(|c: char| !c.is_ascii_alphabetic());
        let technical = words.find(|word| OF_KUBERNETES.contains(&word.trim_end_matches('s')));
        assert_eq!(technical, None, "{english:?}");
    }
}

#[test]
fn both_languages_have_the_same_arguments() {
    for (english, indonesian) in all() {
        let wanted: Vec<usize> = (0..english.matches("{}").count()).collect();
        assert_eq!(places(&indonesian), wanted, "{english:?}: {indonesian:?}");
        assert!(!indonesian.trim().is_empty(), "{english:?}");
    }
}

#[test]
fn every_sentence_is_recognised_again() {
    let one_word = |_: &[&str], place: usize| format!("N{place}x");
    // Of gaps with nothing but a blank between them, only the last can hold several words.
    let two_words = |parts: &[&str], place: usize| {
        let after = parts[place + 1];
        if after.trim().is_empty() && place + 2 < parts.len() {
            format!("N{place}x")
        } else {
            format!("N{place}x M{place}y")
        }
    };
    for (english, indonesian) in SENTENCES.iter().copied().chain([LABELS]).flat_map(entries) {
        let parts: Vec<&str> = english.split("{}").collect();
        for words in [one_word, two_words] {
            let (mut filled, mut expected) = (parts[0].to_owned(), indonesian.clone());
            for place in 0..parts.len() - 1 {
                let argument = words(&parts, place);
                filled.push_str(&argument);
                filled.push_str(parts[place + 1]);
                expected = expected.replace(&format!("{{{place}}}"), &argument);
            }
            let said = translated(&filled, Language::Indonesian).into_owned();
            assert_eq!(said, expected, "{english:?}");
        }
    }
}
