//! Literals of the shop's sources: a lexer of Rust that knows strings, comments, attributes and calls.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A string literal and the calls around it, the innermost last, each with the place of its argument.
#[derive(Debug)]
pub(super) struct Literal {
    pub(super) file: String,
    pub(super) text: String,
    pub(super) calls: Vec<(String, usize)>,
    /// Field or variable that it is written into, by itself or by `format!`.
    pub(super) target: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

impl Token {
    fn is(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(own) if own == sign)
    }
}

/// Files of the runtime that say what is wrong with a component.
const RUNTIME: &[&str] = &[
    "check_output.rs",
    "complexity.rs",
    "error.rs",
    "exports.rs",
    "inspect.rs",
    "metadata.rs",
    "texts.rs",
];

/// Returns the literals of the sources whose texts reach people over the API.
pub(super) fn literals() -> Vec<Literal> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in [
        "shop/src",
        "server/src/api",
        "server/src/http",
        "server/src/app",
        "toolkit/src/check",
        "toolkit/src/template",
        "../plugins/sdk/src",
    ] {
        collect(&host.join(folder), &mut files);
    }
    for file in RUNTIME {
        files.push(host.join("runtime/src").join(file));
    }
    files.sort();
    assert!(files.len() > 300, "the sources are not where they were");
    let mut literals = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(&host).unwrap().display().to_string();
        let tokens = shipped(&tokens(&source));
        literals.extend(within_calls(&file, &tokens));
    }
    literals
}

/// Returns the texts of all literals, in the form of keys.
pub(super) fn texts(literals: &[Literal]) -> BTreeSet<String> {
    let keys = literals.iter().map(|literal| key(literal.text.trim()));
    keys.collect()
}

/// Writes a format string as a key of a catalogue: each placeholder as `{}`.
pub(super) fn key(text: &str) -> String {
    let mut key = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' if letters.peek() == Some(&'{') => {
                letters.next();
                key.push('{');
            }
            '}' if letters.peek() == Some(&'}') => {
                letters.next();
                key.push('}');
            }
            '{' => {
                for inner in letters.by_ref() {
                    if inner == '}' {
                        break;
                    }
                }
                key.push_str("{}");
            }
            letter => key.push(letter),
        }
    }
    key
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_test = name.ends_with("tests.rs") || name == "tests" || name.starts_with("test_");
        if is_test || name == "language" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// Cuts a source into words, signs and strings; comments and characters are left out.
fn tokens(source: &str) -> Vec<Token> {
    let letters: Vec<char> = source.chars().collect();
    let at = |place: usize| letters.get(place).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut place = 0;
    while place < letters.len() {
        let letter = at(place);
        if letter == '/' && at(place + 1) == '/' {
            while place < letters.len() && at(place) != '\n' {
                place += 1;
            }
        } else if letter == '/' && at(place + 1) == '*' {
            while place < letters.len() && !(at(place) == '*' && at(place + 1) == '/') {
                place += 1;
            }
            place += 2;
        } else if let Some((text, next)) = string(&letters, place) {
            tokens.push(Token::Text(text));
            place = next;
        } else if letter == '\'' {
            place = character(&letters, place);
        } else if letter.is_alphanumeric() || letter == '_' {
            let start = place;
            while at(place).is_alphanumeric() || at(place) == '_' {
                place += 1;
            }
            tokens.push(Token::Word(letters[start..place].iter().collect()));
        } else if letter == ':' && at(place + 1) == ':' {
            tokens.push(Token::Sign("::".to_owned()));
            place += 2;
        } else {
            if !letter.is_whitespace() {
                tokens.push(Token::Sign(letter.to_string()));
            }
            place += 1;
        }
    }
    tokens
}

/// Reads a string that begins here, and the place after it.
fn string(letters: &[char], start: usize) -> Option<(String, usize)> {
    let at = |place: usize| letters.get(place).copied().unwrap_or('\0');
    let mut place = start;
    if matches!(at(place), 'b' | 'c') && matches!(at(place + 1), '"' | 'r') {
        place += 1;
    }
    let is_raw = at(place) == 'r' && matches!(at(place + 1), '"' | '#');
    let mut hashes = 0;
    if is_raw {
        place += 1;
        while at(place) == '#' {
            hashes += 1;
            place += 1;
        }
    }
    if at(place) != '"' {
        return None;
    }
    place += 1;
    let mut text = String::new();
    while place < letters.len() {
        match at(place) {
            '"' if (1..=hashes).all(|hash| at(place + hash) == '#') => {
                return Some((text, place + 1 + hashes));
            }
            '\\' if !is_raw => place = escape(letters, place + 1, &mut text),
            letter => {
                text.push(letter);
                place += 1;
            }
        }
    }
    None
}

/// Reads what follows a backslash, and returns the place after it.
fn escape(letters: &[char], start: usize, text: &mut String) -> usize {
    let at = |place: usize| letters.get(place).copied().unwrap_or('\0');
    let mut place = start + 1;
    match at(start) {
        '\n' => {
            while at(place).is_whitespace() {
                place += 1;
            }
        }
        'u' => {
            let end = (place..letters.len()).find(|end| at(*end) == '}').unwrap();
            let digits: String = letters[place + 1..end].iter().collect();
            let letter = u32::from_str_radix(&digits, 16)
                .ok()
                .and_then(char::from_u32);
            text.extend(letter);
            place = end + 1;
        }
        'x' => place += 2,
        'n' => text.push('\n'),
        't' => text.push('\t'),
        'r' | '0' => {}
        letter => text.push(letter),
    }
    place
}

/// Returns the place after a character or a lifetime.
fn character(letters: &[char], start: usize) -> usize {
    let at = |place: usize| letters.get(place).copied().unwrap_or('\0');
    if at(start + 1) == '\\' {
        let end = (start + 3..letters.len()).find(|end| at(*end) == '\'');
        return end.map_or(letters.len(), |end| end + 1);
    }
    if at(start + 2) == '\'' {
        return start + 3;
    }
    start + 1
}

/// Returns the place after the bracket that closes the one here.
fn closed(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|sign| token.is(sign)) {
            depth -= 1;
            if depth == 0 {
                return place + 1;
            }
        }
    }
    tokens.len()
}

/// Leaves out attributes, but for the texts of errors, and what only tests compile.
fn shipped(tokens: &[Token]) -> Vec<Token> {
    let is = |place: usize, sign: &str| tokens.get(place).is_some_and(|token| token.is(sign));
    let mut kept = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        let open = if is(place + 1, "!") {
            place + 2
        } else {
            place + 1
        };
        if !is(place, "#") || !is(open, "[") {
            kept.push(tokens[place].clone());
            place += 1;
            continue;
        }
        let end = closed(tokens, open);
        let names = |name: &str| tokens[open..end].contains(&Token::Word(name.to_owned()));
        if tokens.get(open + 1) == Some(&Token::Word("error".to_owned())) {
            // Read as a call with the text as its argument.
            kept.extend(tokens[open + 1..end - 1].iter().cloned());
        }
        place = end;
        if names("cfg") && names("test") && !names("not") {
            place = after_item(tokens, end);
        }
    }
    kept
}

/// Returns the place after the item that begins here, its attributes included.
fn after_item(tokens: &[Token], start: usize) -> usize {
    let mut place = start;
    while let Some(token) = tokens.get(place) {
        if token.is(";") {
            return place + 1;
        } else if token.is("{") {
            return closed(tokens, place);
        } else if token.is("(") || token.is("[") {
            place = closed(tokens, place);
        } else {
            place += 1;
        }
    }
    place
}

/// Returns the literals, each with the calls that it is an argument of.
fn within_calls(file: &str, tokens: &[Token]) -> Vec<Literal> {
    let mut literals = Vec::new();
    let mut open: Vec<(String, usize)> = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        match token {
            Token::Text(text) => literals.push(Literal {
                file: file.to_owned(),
                text: text.clone(),
                calls: open.clone(),
                target: target(tokens, place),
            }),
            Token::Sign(sign) => match sign.as_str() {
                "(" | "[" | "{" => open.push((called(tokens, place), 0)),
                ")" | "]" | "}" => {
                    open.pop();
                }
                "," => {
                    if let Some((_, argument)) = open.last_mut() {
                        *argument += 1;
                    }
                }
                _ => {}
            },
            Token::Word(_) => {}
        }
    }
    literals
}

/// Returns the name before `: "a text"`, `= "a text"` and `: format!("a text")`.
fn target(tokens: &[Token], text: usize) -> Option<String> {
    let before = |back: usize| text.checked_sub(back).and_then(|place| tokens.get(place));
    let is = |back: usize, sign: &str| before(back).is_some_and(|token| token.is(sign));
    let is_formatted =
        is(1, "(") && is(2, "!") && before(3) == Some(&Token::Word("format".to_owned()));
    let sign = if is_formatted { 4 } else { 1 };
    if !is(sign, ":") && !is(sign, "=") {
        return None;
    }
    match before(sign + 1) {
        Some(Token::Word(name)) => Some(name.clone()),
        _ => None,
    }
}

/// Returns the name before a bracket: `Error::new`, `.with`, `format!`; empty for none.
fn called(tokens: &[Token], open: usize) -> String {
    let before = |back: usize| open.checked_sub(back).and_then(|place| tokens.get(place));
    let is_macro = before(1).is_some_and(|token| token.is("!"));
    if !is_macro && !tokens[open].is("(") {
        return String::new();
    }
    let mut back = if is_macro { 2 } else { 1 };
    let Some(Token::Word(name)) = before(back) else {
        return String::new();
    };
    let mut name = name.clone();
    while before(back + 1).is_some_and(|token| token.is("::"))
        && let Some(Token::Word(module)) = before(back + 2)
    {
        name = format!("{module}::{name}");
        back += 2;
    }
    if before(back + 1).is_some_and(|token| token.is(".")) {
        name = format!(".{name}");
    }
    if is_macro {
        name.push('!');
    }
    name
}
