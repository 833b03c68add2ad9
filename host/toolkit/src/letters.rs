//! Characters that print nothing: which of them are at work where they are, and which are left out of texts that
//! people type, or refused.
//!
//! Kinds of characters come from Unicode's own tables; only the rules for their places are written here.

#[cfg(test)]
mod tests;

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, EmojiModifier,
        ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, Ideographic,
        IndicSyllabicCategory, JoiningType, NoncharacterCodePoint, Script,
    },
};

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
/// Asks for an emoji in colours.
const IN_COLOURS: char = '\u{fe0f}';
/// Puts the character before it on a key.
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '\u{1f3f4}';
/// Ends the letters of a region behind a flag.
const END_OF_TAG: char = '\u{e007f}';

/// Returns true for characters that print nothing, or nothing that two readers see alike: soft hyphens, blanks of
/// no width and joiners, marks of direction, variation selectors, tags, fillers (Unicode's
/// `Default_Ignorable_Code_Point`), anchors of annotations, the blank Braille pattern, characters for private use,
/// and code points that are no characters.
pub fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{2800}' | '\u{fff9}'..='\u{fffb}')
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(letter)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(letter)
        || category(letter) == GeneralCategory::PrivateUse
}

/// Returns true for invisible characters that turn the direction of the text around them, so that one name
/// is shown as another.
pub const fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for those of them that turn a whole passage until another one ends it.
pub const fn turns_passages(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for the separators of lines and paragraphs that are no control characters.
pub const fn separates(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Returns true for invisible characters that have their use in a text of several lines: places where a word may be
/// cut or must not be, and marks of direction beside a single word.
const fn serves_prose(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2060}'
    )
}

/// Returns a line without the characters that print nothing, but those at work in emoji and in the scripts that need
/// them.
pub fn shown_line(line: &str) -> String {
    let judged = judged(line);
    let shown = judged.into_iter().filter(|(_, is_idle)| !is_idle);
    shown.map(|(letter, _)| letter).collect()
}

/// Returns a text of any number of lines as [`shown_line`] does, with what serves such texts.
pub fn shown_prose(text: &str) -> String {
    let judged = judged(text);
    let shown = judged
        .into_iter()
        .filter(|(letter, is_idle)| !is_idle || serves_prose(*letter));
    shown.map(|(letter, _)| letter).collect()
}

/// Returns true for a text that holds nothing but blanks and invisible characters.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// Returns true for a text of which nothing can be seen. Accents and other marks need a letter to be on.
pub fn is_unseen(text: &str) -> bool {
    visible_length(text) == 0
}

/// Counts the visible characters, a run of blanks as one. A mark without a letter counts for nothing, and an accent
/// is counted with its letter; vowel signs and other marks that a script spells with are characters of their own.
pub fn visible_length(text: &str) -> usize {
    let shown: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let words = shown.split_whitespace().map(seen).filter(|seen| *seen > 0);
    let letters = words.map(|seen| seen + 1).sum::<usize>();
    letters.saturating_sub(1)
}

/// Counts what is seen of a word.
fn seen(word: &str) -> usize {
    let mut has_letter = false;
    let is_seen = |letter: &char| {
        if is_mark(*letter) {
            return has_letter && script(*letter) != Script::Inherited;
        }
        has_letter = true;
        true
    };
    word.chars().filter(is_seen).count()
}

/// Returns the characters of a text, each with true when it prints nothing and changes nothing where it is, so that
/// two texts with and without it look the same.
pub fn judged(text: &str) -> Vec<(char, bool)> {
    let letters: Vec<char> = text.chars().collect();
    let mut place = Place::default();
    let mut judged = Vec::with_capacity(letters.len());
    let mut rest = letters.as_slice();
    while let [letter, after @ ..] = rest {
        let is_idle = is_invisible(*letter) && !place.needs(*letter, after);
        if !is_idle {
            place.advance(*letter, after);
        }
        judged.push((*letter, is_idle));
        rest = after;
    }
    judged
}

/// A place in a text, told by the characters before it that are not left out.
#[derive(Debug, Default)]
struct Place {
    last: Option<char>,
    /// The last character that is no mark on another one.
    base: Option<char>,
    /// True behind an emoji with its skin and its colours.
    is_emoji: bool,
    /// Number of tags still to come behind a flag.
    tags: usize,
}

impl Place {
    /// Returns true when an invisible character is at work here.
    fn needs(&self, letter: char, after: &[char]) -> bool {
        let next = || after.iter().copied().find(|next| may_work(*next));
        match letter {
            NON_JOINER | JOINER => self.joins(letter, next()),
            '\u{180b}'..='\u{180d}' | '\u{180f}' => self.last.is_some_and(is_mongolian),
            '\u{180e}' => self.base.is_some_and(is_mongolian) && next().is_some_and(is_mongolian),
            '\u{fe00}'..='\u{fe0f}' => self.varies(letter, next()),
            '\u{e0100}'..='\u{e01ef}' => self.last.is_some_and(is_ideograph),
            '\u{e0020}'..='\u{e007f}' => self.tags > 0,
            _ => false,
        }
    }

    /// Returns true where a joiner changes the form of its neighbours. One behind another one never does.
    fn joins(&self, joiner: char, next: Option<char>) -> bool {
        let Some(last) = self.last else {
            return joiner == JOINER && next.is_some_and(joins_backward);
        };
        if matches!(last, NON_JOINER | JOINER) {
            return false;
        }
        let in_emoji = joiner == JOINER && self.is_emoji && next.is_some_and(is_pictograph);
        let before = self.base.unwrap_or(last);
        // Behind letters that join to nothing after them, people type it within words, and at no word's end.
        let in_cursive = joins_forward(before)
            || next.is_some_and(joins_backward) && (joiner == JOINER || joins_backward(before));
        // Behind a virama it says how the consonant before is written; before one, how the next is.
        let in_syllable = is_virama(last)
            || is_of_syllable(last)
                && next.is_some_and(|next| is_of_syllable(next) && is_mark(next));
        in_emoji || in_cursive || in_syllable
    }

    /// Returns true where a variation selector has a character that has variations.
    fn varies(&self, selector: char, next: Option<char>) -> bool {
        let Some(last) = self.last else {
            return false;
        };
        if last.is_ascii() {
            let is_key = matches!(last, '0'..='9' | '#' | '*');
            return selector == IN_COLOURS && is_key && next == Some(KEYCAP);
        }
        let is_sign = GeneralCategoryGroup::Symbol.contains(category(last))
            || GeneralCategoryGroup::Punctuation.contains(category(last));
        let has_forms = matches!(
            script(last),
            Script::Myanmar | Script::PhagsPa | Script::Manichaean | Script::EgyptianHieroglyphs
        );
        is_sign
            || is_ideograph(last)
            || has_forms && category(last) == GeneralCategory::OtherLetter
            || CodePointSetData::new::<Emoji>().contains(last)
    }

    /// Goes behind a character that stays.
    fn advance(&mut self, letter: char, after: &[char]) {
        let is_modifier = CodePointSetData::new::<EmojiModifier>().contains(letter);
        let stays_emoji = letter == IN_COLOURS || is_modifier || self.tags > 0;
        self.is_emoji = is_pictograph(letter) || self.is_emoji && stays_emoji;
        self.tags = match letter {
            BLACK_FLAG => tags_of_region(after),
            _ => self.tags.saturating_sub(1),
        };
        if joining(letter) != JoiningType::Transparent {
            self.base = Some(letter);
        }
        self.last = Some(letter);
    }
}

/// Counts the tags that make a flag that of a part of a country, such as `gbsct`; none unless they are whole.
fn tags_of_region(after: &[char]) -> usize {
    let is_letter = |tag: char| matches!(tag, '\u{e0061}'..='\u{e007a}');
    let is_digit = |tag: char| matches!(tag, '\u{e0030}'..='\u{e0039}');
    let tags = || after.iter().copied();
    let signs = tags().take_while(|tag| is_letter(*tag) || is_digit(*tag));
    let signs = signs.count();
    let is_whole = (3..=6).contains(&signs)
        && tags().take(2).all(is_letter)
        && after.get(signs) == Some(&END_OF_TAG);
    if is_whole { signs + 1 } else { 0 }
}

/// Returns true for characters that can be seen, or can be at work somewhere.
fn may_work(letter: char) -> bool {
    let shapes = matches!(letter,
        NON_JOINER | JOINER | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0020}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}');
    shapes || !is_invisible(letter)
}

fn category(letter: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(letter)
}

fn script(letter: char) -> Script {
    CodePointMapData::<Script>::new().get(letter)
}

fn joining(letter: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(letter)
}

fn is_mark(letter: char) -> bool {
    GeneralCategoryGroup::Mark.contains(category(letter))
}

fn is_letter(letter: char) -> bool {
    GeneralCategoryGroup::Letter.contains(category(letter))
}

fn is_ideograph(letter: char) -> bool {
    CodePointSetData::new::<Ideographic>().contains(letter)
}

fn is_pictograph(letter: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(letter)
}

fn is_mongolian(letter: char) -> bool {
    matches!(script(letter), Script::Mongolian | Script::PhagsPa) && is_letter(letter)
}

/// Returns true for letters that join to the one after them.
fn joins_forward(letter: char) -> bool {
    let joining = joining(letter);
    [
        JoiningType::DualJoining,
        JoiningType::LeftJoining,
        JoiningType::JoinCausing,
    ]
    .contains(&joining)
}

/// Returns true for letters that join to the one before them.
fn joins_backward(letter: char) -> bool {
    let joining = joining(letter);
    [
        JoiningType::DualJoining,
        JoiningType::RightJoining,
        JoiningType::JoinCausing,
    ]
    .contains(&joining)
}

fn is_virama(letter: char) -> bool {
    let class = CodePointMapData::<CanonicalCombiningClass>::new().get(letter);
    class == CanonicalCombiningClass::Virama
}

/// Returns true for letters and marks of the scripts that write syllables.
fn is_of_syllable(letter: char) -> bool {
    let part = CodePointMapData::<IndicSyllabicCategory>::new().get(letter);
    part != IndicSyllabicCategory::Other && !letter.is_ascii()
}
