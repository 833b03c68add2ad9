//! Secrets that are long and still easy to guess.

/// Letters that a random key of 32 hexadecimal digits has with certainty for all practical
/// purposes.
const LEAST_DISTINCT: usize = 8;

/// True for a text that is one shorter text written again and again, whatever is between and
/// however it is capitalised.
pub(super) fn is_repeated(text: &str) -> bool {
    let plain = text.chars().filter(|c| c.is_alphanumeric());
    let plain: Vec<char> = plain.flat_map(char::to_lowercase).collect();
    let repeats = |period: usize| {
        let again = plain.iter().skip(period);
        plain.iter().zip(again).all(|(one, other)| one == other)
    };
    (1..=plain.len() / 2).any(repeats)
}

/// True for a key that a person made up: one word repeated, or hardly any different characters.
pub(super) fn is_guessable(key: &str) -> bool {
    let distinct = key.chars().collect::<std::collections::BTreeSet<_>>();
    is_repeated(key) || distinct.len() < LEAST_DISTINCT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_repeated_is_found() {
        for weak in [
            "secretsecretsecretsecretsecretsecret",
            "Secret-secret_SECRET secret.secretse",
            "ssssssssssssssssssssssssssssssss",
            "0123456789abcdef0123456789abcdef",
            "correct horse correct horse correct horse",
        ] {
            assert!(is_guessable(weak), "{weak}");
        }
        assert!(is_guessable("abcdabdcbadcabcddcbabcdacbdabcda"));
        for good in [
            "b0f9d1a6e2c47385b0f9d1a6e2c47384",
            "kata sandi pemilik toko",
            "7c1d5b1f4e0a93d26a8fbb0c3e5d7f91",
        ] {
            assert!(!is_guessable(good), "{good}");
        }
    }
}
