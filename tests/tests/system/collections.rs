//! The request collections in `docs/http`, each run from its first request to its last against a new shop:
//! what they promise is what the server answers.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use dermaga::config::Config;
use dermaga_shop::accounts::{Email, NewAccount, Role};
use dermaga_tests::{Engine, Shop, checkout};
use reqwest::Method;
use serde_json::Value;

use self::file::{Collection, Step};
use crate::api::provisioning::{kubeconfig, shop_on};

const ADMIN_PASSWORD: &str = "kata sandi untuk pengurus";
/// Attempts at a request that is repeated until its answer says something, 50 ms apart.
const ATTEMPTS: usize = 1_200;

fn folder() -> PathBuf {
    checkout().join("docs/http")
}

fn collections() -> BTreeMap<String, Collection> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let named = files.filter_map(|file| {
        let name = file.file_name().into_string().unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let name = name.strip_suffix(".http")?.to_owned();
        let read = Collection::read(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        Some((name, read))
    });
    named.collect()
}

/// A run of one collection: its variables and what was answered.
struct Run<'a> {
    shop: &'a Shop,
    http: reqwest::Client,
    variables: BTreeMap<String, String>,
    answers: BTreeMap<String, Value>,
}

impl<'a> Run<'a> {
    /// Begins with the values of a reader's own shop in the place of the written ones.
    async fn of(shop: &'a Shop) -> Self {
        let email = Email::parse("pengurus@example.com").unwrap();
        let new = NewAccount {
            password: ADMIN_PASSWORD.to_owned().into(),
            name: "Pengurus".to_owned(),
            phone: None,
            avatar: None,
            role: Role::Administrator,
            email,
        };
        shop.state().accounts.create(new).await.unwrap();
        let (address, _) = shop.client().address_and_token();
        let own = [
            ("base", format!("http://{address}")),
            ("adminEmail", "pengurus@example.com".to_owned()),
            ("adminPassword", ADMIN_PASSWORD.to_owned()),
        ];
        Self {
            shop,
            http: reqwest::Client::new(),
            variables: own.map(|(name, value)| (name.to_owned(), value)).into(),
            answers: BTreeMap::new(),
        }
    }

    fn define(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            if !["base", "adminEmail", "adminPassword"].contains(&name.as_str()) {
                self.variables.insert(name.clone(), value.clone());
            }
        }
    }

    /// Fills the variables of a text in, and theirs.
    fn filled(&self, text: &str) -> String {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").expect("}} ends a variable");
            filled.push_str(before);
            filled.push_str(&self.value(name.trim()));
            rest = after;
        }
        filled + rest
    }

    fn value(&self, name: &str) -> String {
        if let Some(value) = self.variables.get(name) {
            return self.filled(value);
        }
        let (request, path) = name
            .split_once(".response.body.")
            .unwrap_or_else(|| panic!("`{name}` is not defined"));
        let answer = self.answers.get(request);
        let answer = answer.unwrap_or_else(|| panic!("no request before is called `{request}`"));
        match file::at(answer, path) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => panic!("`{name}` is not in {answer:#}"),
            Some(other) => other.to_string(),
        }
    }

    async fn send(&self, step: &Step) -> (u16, Value) {
        let method: Method = step.method.parse().expect("a method");
        let mut request = self.http.request(method, self.filled(&step.url));
        for (name, value) in &step.headers {
            request = request.header(name, self.filled(value));
        }
        if let Some(body) = &step.body {
            request = request.body(self.filled(body));
        }
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("the whole answer");
        let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, answer)
    }

    /// True when the answer says what the step waits for. An instance of manifests in a folder never runs.
    fn is_awaited(&self, (path, word): &(String, String), answer: &Value) -> bool {
        let in_folder = self.shop.state().instances.handle.status().provisioner == "directory";
        let word = match word.as_str() {
            "RUNNING" if in_folder => "WRITTEN",
            word => word,
        };
        file::at(answer, path).and_then(Value::as_str) == Some(word)
    }

    /// Sends a request, again and again where it waits for something; returns what is wrong.
    async fn take(&mut self, step: &Step) -> Result<(), String> {
        self.define(&step.variables);
        for _ in 0..ATTEMPTS {
            let (status, answer) = self.send(step).await;
            if status != step.expected {
                let wanted = step.expected;
                return Err(format!("answers {status}, not {wanted}: {answer:#}"));
            }
            let is_done = step
                .until
                .as_ref()
                .is_none_or(|awaited| self.is_awaited(awaited, &answer));
            if is_done {
                if let Some(name) = &step.name {
                    self.answers.insert(name.clone(), answer);
                }
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("never says {:?}", step.until))
    }
}

/// Runs a collection to its first fault, and returns that.
async fn run(name: &str, collection: &Collection, shop: &Shop) -> Option<String> {
    let mut run = Run::of(shop).await;
    run.define(&collection.variables);
    for step in &collection.steps {
        if let Err(fault) = run.take(step).await {
            let (line, title) = (step.line, &step.title);
            let place = format!("docs/http/{name}.http, line {line}, `{title}`");
            return Some(format!("{place}: {} {} {fault}", step.method, step.url));
        }
    }
    shop.books_balance().await;
    None
}

async fn every_collection_is_true(engine: Engine) {
    let collections = collections();
    assert!(collections.len() > 10, "{}", collections.len());
    let mut faults = Vec::new();
    for (name, collection) in &collections {
        let dev = |config: &mut Config| config.payments.sandbox = true;
        let Some(shop) = Shop::open_with(engine, dev).await else {
            return;
        };
        faults.extend(run(name, collection, &shop).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_collection_is_true_on_sqlite() {
    Box::pin(every_collection_is_true(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_collection_is_true_on_postgresql() {
    Box::pin(every_collection_is_true(Engine::Postgres)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collection_from_registration_to_a_running_instance_is_true_on_a_cluster() {
    let Some(path) = kubeconfig() else { return };
    let shop = shop_on(&path).await.unwrap();
    let shop = shop.restart_with(|config| config.payments.sandbox = true);
    let shop = shop.await.unwrap();
    let name = "end-to-end";
    let fault = run(name, &collections()[name], &shop).await;
    assert_eq!(fault, None);
}

/// Every area of the API, by the tags of its document, has requests in a collection, and every request is of
/// an operation in the document.
#[test]
fn every_area_has_a_collection() {
    let text = fs::read_to_string(checkout().join("docs/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let tags = document["tags"].as_array().unwrap().iter();
    let tags: BTreeSet<&str> = tags.map(|tag| tag["name"].as_str().unwrap()).collect();
    let paths = document["paths"].as_object().unwrap();
    let (mut covered, mut unknown) = (BTreeSet::new(), Vec::new());
    for (name, collection) in collections() {
        for step in collection.steps {
            let Some(path) = step.url.strip_prefix("{{base}}") else {
                continue;
            };
            let path = path.split('?').next().unwrap_or(path);
            let found = paths.iter().find_map(|(template, item)| {
                let operation = item.get(step.method.to_lowercase())?;
                file::is_of(template, path).then_some(operation)
            });
            match found {
                Some(operation) => covered.extend(operation["tags"][0].as_str()),
                None => unknown.push(format!("{name}: {} {path}", step.method)),
            }
        }
    }
    assert!(unknown.is_empty(), "not in the document: {unknown:#?}");
    let missing: Vec<_> = tags.iter().filter(|tag| !covered.contains(**tag)).collect();
    assert!(missing.is_empty(), "without a collection: {missing:?}");
}
