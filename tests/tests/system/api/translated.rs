//! Walks the answers in Indonesian: no sentence of the shop in them is in English, and no half of one.

use std::{collections::BTreeSet, fs};

use dermaga_tests::{Client, Engine, Shop, checkout};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::authorisation::{Belongings, filled};

/// Catalogues whose keys are English sentences.
const CATALOGUES: &[&str] = &["administrators", "authors", "customers", "rules"];
/// Words that no Indonesian sentence has.
const ENGLISH: &[&str] = &[
    "an", "and", "are", "be", "been", "has", "have", "is", "its", "must", "not", "of", "or",
    "that", "the", "this", "was", "were", "will", "with", "would", "your",
];
/// Fields that hold what others have said, or facts as they were written down.
const OF_OTHERS: &[&str] = &["facts", "logs", "input", "output"];
/// Operations that end the session of their caller.
const FAREWELLS: &[&str] = &[
    "/api/auth/logout",
    "/api/auth/logout-all",
    "/api/user/sessions",
];

/// English sentences, each as the texts around its gaps.
struct Sentences(Vec<Vec<String>>);

impl Sentences {
    fn read() -> Self {
        let folder = checkout().join("host/shop/src/language/id");
        let catalogues = CATALOGUES
            .iter()
            .map(|name| folder.join(format!("{name}.toml")));
        let plugins = fs::read_dir(checkout().join("plugins")).unwrap();
        let plugins = plugins.map(|entry| entry.unwrap().path().join("plugin.toml"));
        let files: Vec<_> = catalogues
            .chain(plugins.filter(|file| file.is_file()))
            .collect();
        assert!(files.len() > CATALOGUES.len() + 7, "{files:?}");
        let mut sentences = Vec::new();
        for file in files {
            let file = fs::read_to_string(file).unwrap();
            for line in file.lines().filter(|line| line.starts_with('"')) {
                let (english, indonesian) = line.split_once("\" = \"").unwrap();
                let english: String = serde_json::from_str(&format!("{english}\"")).unwrap();
                let indonesian: String = serde_json::from_str(&format!("\"{indonesian}")).unwrap();
                let texts: Vec<String> = english.split("{}").map(str::to_owned).collect();
                let words = english.split(' ').filter(|word| !word.contains("{}"));
                // A few words may be a name, or the same in both languages.
                if words.count() >= 3 && !fits(&texts, &indonesian) {
                    sentences.push(texts);
                }
            }
        }
        assert!(sentences.len() > 500, "{}", sentences.len());
        Self(sentences)
    }

    /// Returns the part of a text that is one of the sentences.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let pieces = text.split_inclusive(". ").map(str::trim_end);
        let mut all = std::iter::once(text).chain(pieces);
        all.find(|piece| self.0.iter().any(|texts| fits(texts, piece)))
    }
}

/// Returns true for a text that has these texts around its gaps.
fn fits(texts: &[String], text: &str) -> bool {
    let [first, inner @ .., last] = texts else {
        return texts.iter().any(|whole| whole == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    for literal in inner {
        match rest.split_once(literal.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// Leaves out what is quoted: names of fields, and what the client sent.
fn unquoted(text: &str) -> String {
    let (mut kept, mut quote) = (String::new(), None);
    for letter in text.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '`' | '"') => quote = Some(letter),
            None => kept.push(letter),
        }
    }
    kept
}

fn english_word(text: &str) -> Option<&'static str> {
    let plain = unquoted(text);
    let words: BTreeSet<&str> = plain.split(|c: char| !c.is_ascii_alphabetic()).collect();
    ENGLISH.iter().copied().find(|word| words.contains(word))
}

/// Collects the texts within a value, without those of others.
fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => {
            let own = fields
                .iter()
                .filter(|(name, _)| !OF_OTHERS.contains(&name.as_str()));
            own.for_each(|(_, field)| texts(field, found));
        }
        _ => {}
    }
}

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    /// Names of the fields of its body.
    fields: Vec<String>,
    /// Names of the parameters of its query.
    parameters: Vec<String>,
}

impl Operation {
    fn of(document: &Value, method: &str, path: &str, operation: &Value) -> Self {
        let schema = operation.pointer("/requestBody/content/application~1json/schema");
        let reference = schema.and_then(|schema| schema["$ref"].as_str());
        let schema = match reference {
            Some(reference) => document.pointer(reference.trim_start_matches('#')),
            None => schema,
        };
        let fields = schema.and_then(|schema| schema["properties"].as_object());
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let of_query = parameters.filter(|one| one["in"] == "query");
        Self {
            method: method.to_uppercase().parse().unwrap(),
            path: path.to_owned(),
            fields: fields.into_iter().flat_map(Map::keys).cloned().collect(),
            parameters: of_query
                .map(|one| one["name"].as_str().unwrap().to_owned())
                .collect(),
        }
    }

    /// Returns bodies that are wrong in each way that a body can be.
    fn bodies(&self) -> Vec<Value> {
        let mut bodies = vec![json!({}), json!([]), json!({ "apaIni": 1 })];
        for value in [
            json!({}),
            json!([[]]),
            json!(""),
            json!("salah"),
            json!("x".repeat(6_000)),
            json!(-1),
            json!(0.5),
        ] {
            let fields = self.fields.iter();
            let fields: Map<String, Value> =
                fields.map(|name| (name.clone(), value.clone())).collect();
            if !fields.is_empty() {
                bodies.push(Value::Object(fields));
            }
        }
        bodies
    }
}

async fn operations(shop: &Shop) -> Vec<Operation> {
    let document = shop.client().get("/api/openapi.json").await.body;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let item = item.as_object().unwrap();
        for (method, operation) in item.iter().filter(|(name, _)| *name != "parameters") {
            operations.push(Operation::of(&document, method, path, operation));
        }
    }
    operations
}

/// Looks at answers, and keeps what is English in them.
struct Walk {
    sentences: Sentences,
    answers: usize,
    faults: BTreeSet<String>,
}

impl Walk {
    fn new() -> Self {
        Self {
            sentences: Sentences::read(),
            answers: 0,
            faults: BTreeSet::new(),
        }
    }

    /// Sends a request in Indonesian and looks at its answer. The body of an endless one is not read.
    async fn ask(&mut self, client: &Client, method: &Method, path: &str, body: Option<&Value>) {
        let request = client.in_language(Some("id")).request(method.clone(), path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let kind = response.headers().get("content-type");
        let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if is_json {
            let answer: Value = response.json().await.unwrap();
            self.look_at(&format!("{method} {path}"), &answer);
        }
    }

    fn look_at(&mut self, request: &str, answer: &Value) {
        self.answers += 1;
        let details = answer["error"]["details"].as_array().into_iter().flatten();
        let messages = details.chain([answer]).map(|told| &told["message"]);
        for message in messages.filter_map(Value::as_str) {
            if let Some(word) = english_word(message) {
                self.faults
                    .insert(format!("{request}: {word:?} in {message:?}"));
            }
        }
        let mut found = Vec::new();
        texts(&answer["data"], &mut found);
        for text in found {
            if let Some(sentence) = self.sentences.find(text) {
                self.faults
                    .insert(format!("{request}: data has {sentence:?}"));
            }
        }
    }

    fn end(self, least: usize) {
        let faults: Vec<String> = self.faults.into_iter().collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(self.answers >= least, "{}", self.answers);
    }
}

/// Every operation, with nothing, with fields that it does not know, and with values of every wrong kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_in_indonesian() {
    let dev = |config: &mut dermaga::config::Config| config.payments.sandbox = true;
    let shop = Shop::open_with(Engine::Sqlite, dev).await.unwrap();
    let admin = shop.admin().await;
    let mut walk = Walk::new();
    for operation in operations(&shop).await {
        let (method, path) = (&operation.method, filled(&operation.path));
        if FAREWELLS.contains(&path.as_str()) {
            continue;
        }
        for parameter in &operation.parameters {
            for wrong in ["--!", "abc", "-1", ""] {
                let query = format!("{path}?{parameter}={wrong}");
                let body = (*method != Method::GET).then(|| json!({}));
                walk.ask(&admin, method, &query, body.as_ref()).await;
            }
        }
        if *method == Method::GET {
            walk.ask(&admin, method, &path, None).await;
            walk.ask(shop.client(), method, &path, None).await;
            continue;
        }
        for body in operation.bodies() {
            walk.ask(&admin, method, &path, Some(&body)).await;
        }
    }
    walk.end(800);
}

/// Every form, with each part wrong in every way, and with one that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_forms_are_told_in_indonesian() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let admin = shop.admin().await.in_language(Some("id"));
    let mut walk = Walk::new();
    let upload = ["component", "class", "signature", "reason", "apaIni"];
    let ticket = [
        "subject",
        "description",
        "instanceId",
        "attachments",
        "apaIni",
    ];
    let long = "x".repeat(20_000);
    for (path, parts) in [("/api/admin/plugins", upload), ("/api/tickets", ticket)] {
        for part in parts {
            for wrong in ["salah", "STANDARD", "", "a\0b", long.as_str()] {
                let answer = admin.post_form(path, &[(part, wrong)], &[]).await;
                walk.look_at(&format!("{path} {part}"), &answer.body);
            }
        }
    }
    walk.end(50);
}

/// Answers that customers and administrators read, of a shop in which something was bought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_told_in_indonesian() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let owner = shop.customer_with_credit("baca@example.com", 200_000).await;
    let belongings = Belongings::of(&shop, &owner).await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let bought = owner
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    let admin = shop.admin().await;
    let mut walk = Walk::new();
    let (get, post) = (Method::GET, Method::POST);
    for operation in operations(&shop).await {
        let path = operation.path.as_str();
        if operation.method != get {
            continue;
        }
        let is_known = belongings
            .0
            .iter()
            .any(|(start, _)| path.starts_with(start));
        if !path.contains('{') {
            walk.ask(&admin, &get, path, None).await;
            walk.ask(&owner, &get, path, None).await;
        } else if is_known {
            walk.ask(&owner, &get, &belongings.path(path), None).await;
        }
    }
    let id = bought["subscription"]["id"].as_str().unwrap();
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let new = json!({ "code": "BACA", "plugin": "coupon-credit-topup", "parameters": { "amount": 5_000 } });
    admin.post("/api/admin/coupons", new).await.data(201);
    let code = json!({ "couponCode": "BACA" });
    // On the wallet page alone.
    let mut misplaced = order.clone();
    misplaced["couponCode"] = json!("BACA");
    for (path, body) in [
        ("/api/wallet/validate-coupon".to_owned(), &code),
        ("/api/wallet/redeem-coupon".to_owned(), &code),
        ("/api/subscriptions/quote".to_owned(), &misplaced),
        ("/api/subscriptions/quote".to_owned(), &order),
        ("/api/subscriptions/validate".to_owned(), &order),
        (format!("/api/subscriptions/{id}/upgrade-quote"), &pro),
    ] {
        walk.ask(&owner, &post, &path, Some(body)).await;
    }
    walk.end(60);
}
