//! Sentences of plugins in Indonesian. They come with the versions that this process has loaded.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use dermaga_runtime::Texts;

use super::catalogue;

/// Texts by plugin and digest of the version.
type Taught = BTreeMap<(String, String), Texts>;

static TAUGHT: Mutex<Taught> = Mutex::new(Taught::new());

/// Lets the sentences of a plugin version be recognised.
pub fn teach(plugin: &str, digest: &str, texts: &Texts) {
    if texts.is_empty() {
        return;
    }
    let mut taught = TAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (plugin.to_owned(), digest.to_owned());
    if taught.insert(key, texts.clone()).as_ref() != Some(texts) {
        learn(&taught);
    }
}

/// Forgets the sentences of a version that was deleted.
pub fn forget(digest: &str) {
    let mut taught = TAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
    let before = taught.len();
    taught.retain(|(_, own), _| own != digest);
    if taught.len() < before {
        learn(&taught);
    }
}

/// Hands all sentences to the catalogue. Of two plugins with the same one, the first by its id has it.
fn learn(taught: &Taught) {
    let mut texts = BTreeMap::new();
    for (english, indonesian) in taught.values().flat_map(Texts::iter) {
        let known = texts.entry(english.to_owned());
        known.or_insert_with(|| indonesian.to_owned());
    }
    catalogue::learn(texts);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::language::{Language, translated};

    fn texts(of: serde_json::Value) -> Texts {
        serde_json::from_value(of).unwrap()
    }

    fn said(text: &str) -> String {
        translated(text, Language::Indonesian).into_owned()
    }

    #[test]
    fn sentences_of_a_loaded_version_are_said() {
        let own = texts(json!({
            "Quokka weight": "Bobot quokka",
            "{} quokkas a day": "{0} quokka sehari",
            "A quokka of {} is fed on {}.": "Pada {1} seekor quokka {0} diberi makan.",
            "Quokkas sleep.": "Quokka tidur.",
            // The shop has this one, and says it itself.
            "The shop charges nothing for this period.": "Lain.",
        }));
        assert_eq!(said("Quokkas sleep."), "Quokkas sleep.");
        teach("service-quokka", "q1", &own);
        for (english, indonesian) in [
            ("Quokka weight", "Bobot quokka"),
            ("12 quokkas a day", "12 quokka sehari"),
            (
                "A quokka of 3 kg is fed on Monday.",
                "Pada Monday seekor quokka 3 kg diberi makan.",
            ),
            (
                "Quokkas sleep. There is no such plan.",
                "Quokka tidur. Tidak ada paket tersebut.",
            ),
            // A sentence of a plugin within one of the shop's.
            (
                "Quokkas sleep. It counts for 1 of the 3 months.",
                "Quokka tidur. Berlaku untuk 1 dari 3 bulan.",
            ),
            (
                "The shop charges nothing for this period.",
                "Toko tidak menagih apa pun untuk periode ini.",
            ),
            // A label may be a name in another sentence.
            (
                "There is no coupon Quokka weight.",
                "Tidak ada kupon Quokka weight.",
            ),
        ] {
            assert_eq!(said(english), indonesian);
            assert_eq!(translated(english, Language::English), english);
        }
        // Another version, and another plugin, with the same sentence.
        teach(
            "service-zebra",
            "z1",
            &texts(json!({ "Quokkas sleep.": "Zebra tidur." })),
        );
        assert_eq!(said("Quokkas sleep."), "Quokka tidur.");
        forget("q1");
        assert_eq!(said("Quokkas sleep."), "Zebra tidur.");
        forget("z1");
        assert_eq!(said("Quokkas sleep."), "Quokkas sleep.");
    }
}
