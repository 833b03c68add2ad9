//! The catalogues against the sources: no sentence is missing, none is left over, each is recognised.

mod sources;

use std::collections::{BTreeMap, BTreeSet};

use self::sources::{Literal, key, literals, texts};
use super::{
    Language,
    catalogue::{self, SENTENCES, WORDS, entries, probes::places},
    translated,
};

/// Parts of paths of files whose texts are for the operator's console, for documents, or no sentences.
const NOT_FOR_CLIENTS: &[&str] = &[
    "/settings.rs",
    "api/openapi",
    "server/src/app/",
    "notifications/templates.rs",
    "notifications/mail.rs",
    "notifications/samples.rs",
    "users/export.rs",
    "http/answer_headers.rs",
    "http/cors.rs",
    "shop/src/db/",
    "/store/",
    "store.rs",
    "wallet/receipt.rs",
    "wallet/typeface.rs",
    "scheduler/schedule.rs",
    "timekeeping/setting.rs",
    "provisioning/provisioner.rs",
    "provisioning/directory.rs",
    "shop/src/crypto",
    "catalog/templates.rs",
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
const TARGETS: &[&str] = &["description"];

/// Literals that look like sentences and are none of a client's.
const NO_SENTENCES: &[&str] = &[
    "cannot parse integer",
    // It would be recognised in every sentence that begins so.
    "The {error}.",
    "How long a discount lasts: a number of months, or for ever. Of a longer term it reduces as many months.",
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
];

fn all() -> BTreeMap<String, String> {
    let files = SENTENCES.iter().copied().chain([WORDS]);
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
    let is_kind = literal.file.ends_with("schema/wording.rs") && text.contains(' ');
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
    for file in SENTENCES.iter().copied().chain([WORDS]) {
        toml::from_str::<BTreeMap<String, String>>(file).unwrap();
        assert!(entries(file).len() > 50);
        for english in entries(file).into_keys() {
            assert!(known.insert(english.clone()), "{english:?} is there twice");
        }
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
    for (english, indonesian) in SENTENCES.iter().copied().flat_map(entries) {
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

#[test]
fn arguments_that_are_words_of_ours_are_said_too() {
    for (english, indonesian) in [
        ("There is no such plan.", "Tidak ada paket tersebut."),
        (
            "There is no such canned answer.",
            "Tidak ada jawaban siap pakai tersebut.",
        ),
        (
            "Too many requests. Try again in 3 seconds.",
            "Terlalu banyak permintaan. Coba lagi dalam 3 detik.",
        ),
        (
            "The plan costs Rp90.000 for 3 months, in place of Rp120.000.",
            "Harga paket ini Rp90.000 untuk 3 bulan, bukan Rp120.000.",
        ),
        (
            "must be a whole number, not the text \"x\"",
            "harus berupa bilangan bulat, bukan teks \"x\"",
        ),
        (
            "must be one of: A, B, not \"C\"",
            "harus salah satu dari: A, B, bukan \"C\"",
        ),
        (
            "must be a text or a number, not true or false",
            "harus berupa teks atau angka, bukan true atau false",
        ),
        (
            "It was given up by hand. We restart it once more.",
            "It was given up by hand. Kami memulai ulang sekali lagi.",
        ),
        (
            "Its volume is still growing. We restart it once more.",
            "Volumenya masih diperbesar. Kami memulai ulang sekali lagi.",
        ),
        (
            "The change is being rolled out: 1 of 2 pods are new and ready.",
            "Perubahan sedang diterapkan: 1 dari 2 pod sudah baru dan siap.",
        ),
        (
            "It is being started. Rp50.000 was charged. The period ends on 5 July 2026.",
            "Layanan sedang dijalankan. Rp50.000 sudah ditagih. Periodenya berakhir pada 5 July 2026.",
        ),
        (
            "Nothing is added or changed. 2 templates are refused.",
            "Tidak ada yang ditambah atau diubah. 2 templat ditolak.",
        ),
        (
            "Its volume is still growing. 3 restarts and 1 recreation within an hour did not mend it. \
             It is watched, and restarted once an hour.",
            "Volumenya masih diperbesar. 3 mulai ulang dan 1 pembuatan ulang dalam satu jam tidak \
             memperbaikinya. Layanan terus dipantau, dan dimulai ulang sekali sejam.",
        ),
        (
            "2 instances can be moved, 0 refused. 1 that was named is not among those to move.",
            "2 instans dapat dipindahkan, 0 ditolak. 1 yang disebut tidak termasuk yang akan dipindahkan.",
        ),
        (
            "N8N is being set up. Rp50.000 was charged.",
            "N8N sedang disiapkan. Rp50.000 sudah ditagih.",
        ),
        (
            "Uptime Kuma is being set up. Nothing was charged.",
            "Uptime Kuma sedang disiapkan. Tidak ada yang ditagih.",
        ),
        (
            "is not known here; there are: amount, note",
            "tidak dikenal di sini; yang ada: amount, note",
        ),
        ("N8N Basic, first month", "N8N Basic, bulan pertama"),
        (
            "Uptime Kuma Basic, first 12 months",
            "Uptime Kuma Basic, 12 bulan pertama",
        ),
        ("N8N Basic, month 2", "N8N Basic, bulan ke-2"),
        (
            "N8N Basic, period 2, 12 months",
            "N8N Basic, periode ke-2, 12 bulan",
        ),
        (
            "N8N Basic, period 3, storage only",
            "N8N Basic, periode ke-3, penyimpanan saja",
        ),
        (
            "N8N Pro, from Basic, for the rest of the period",
            "N8N Pro, dari Basic, untuk sisa periode",
        ),
        (
            "The change of plan could not be made and was undone: Its new pods did not become ready in time.",
            "Perubahan paket tidak dapat dilakukan dan dibatalkan: Pod barunya tidak siap pada waktunya.",
        ),
        ("3 tickets.", "3 tiket."),
        ("1 Ingress object.", "1 objek Ingress."),
        ("2 routes.", "2 rute."),
        (
            "must be one of: A, B, not \"plan\"",
            "harus salah satu dari: A, B, bukan \"plan\"",
        ),
    ] {
        assert_eq!(translated(english, Language::Indonesian), indonesian);
        assert_eq!(translated(english, Language::English), english);
    }
}

#[test]
fn what_is_not_known_stays_and_nothing_is_too_long_or_too_strange() {
    for text in [
        "",
        " ",
        "Nothing of ours",
        "The Qwertz is down.",
        "{0} {} }{ {",
        "\u{0}\u{fe0f}é.",
        "There is no such",
        ". . . . . . . . . . . .",
    ] {
        assert_eq!(translated(text, Language::Indonesian), text);
    }
    let long = "There is no such plan. ".repeat(10_000);
    assert_eq!(translated(&long, Language::Indonesian), long);
    let name = "There is no coupon A. ".repeat(80);
    translated(&name, Language::Indonesian);
    assert_eq!(catalogue::entries("this = is = no file"), BTreeMap::new());
}
