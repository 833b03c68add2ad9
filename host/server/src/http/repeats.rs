//! Names that a JSON object has more than once.

use std::{collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Pointers of the fields that a JSON body has more than once, at every depth. Types refuse this
/// for their own fields alone: maps and free values keep the last one.
pub(super) fn repeats(body: &[u8]) -> Vec<String> {
    let mut walk = Walk::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    // A body that is no JSON is refused where it is read as its type.
    (&mut walk).deserialize(&mut json).ok();
    walk.found
}

/// A place in a body, and the pointers found before it.
#[derive(Default)]
struct Walk {
    pointer: String,
    found: Vec<String>,
}

impl Walk {
    /// Looks at a part of the value here, by the name of the part.
    fn enter<T>(&mut self, name: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer
            .push_str(&name.replace('~', "~0").replace('/', "~1"));
        let seen = look(self);
        self.pointer.truncate(length);
        seen
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.enter(&name, |walk| {
                if names.contains(&name) {
                    walk.found.push(walk.pointer.clone());
                }
                fields.next_value_seed(walk)
            })?;
            names.insert(name);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut place = 0_usize;
        while self
            .enter(&place.to_string(), |walk| items.next_element_seed(walk))?
            .is_some()
        {
            place += 1;
        }
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_repeated_name() {
        for (body, found) in [
            (r#"{"a": 1, "a": 1}"#, &["/a"][..]),
            (r#"{"a": 1, "\u0061": null}"#, &["/a"]),
            (r#"{"a": 1, "b": {"a": 2}, "c": [{"a": 3}, {"a": 4}]}"#, &[]),
            (
                r#"[{"a/b": {"c": 1.5, "c": -2}}, {"": true, "": [], "d": "", "d": {}}]"#,
                &["/0/a~1b/c", "/1/", "/1/d"],
            ),
            (r#"{"a": {"b": 1}, "a": {"c": 1, "c": 1}}"#, &["/a", "/a/c"]),
            ("7", &[]),
            ("", &[]),
        ] {
            assert_eq!(repeats(body.as_bytes()), found, "{body}");
        }
    }
}
