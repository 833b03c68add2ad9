//! Files of requests in the form that editors run, read as far as ours use it.
//!
//! `###` begins a request with its title; `# @name x` lets later ones read its answer as
//! `{{x.response.body.$.data.id}}`; `@x = ...` defines a variable; `# expect 201` is the status that the
//! answer has, 200 where nothing is said; `# until $.data.status = PAID` repeats the request until its answer says so.

use serde_json::Value;

#[derive(Debug, Default)]
pub(super) struct Collection {
    /// Variables before the first request.
    pub(super) variables: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) title: String,
    pub(super) name: Option<String>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) expected: u16,
    pub(super) until: Option<(String, String)>,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

impl Collection {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut collection = Self::default();
        let mut blocks = text.split("\n###");
        let head = blocks.next().unwrap_or_default();
        collection.variables = head.lines().filter_map(variable).collect();
        let mut line = head.split('\n').count() + 1;
        for block in blocks {
            let step = step(block, line)?;
            line += block.split('\n').count();
            collection.steps.push(step);
        }
        if collection.steps.is_empty() {
            return Err("holds no request".to_owned());
        }
        Ok(collection)
    }
}

fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix('@')?.split_once('=')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

fn step(block: &str, line: usize) -> Result<Step, String> {
    let mut lines = block.lines();
    let title = lines.next().unwrap_or_default().trim().to_owned();
    let fault = |what: &str| format!("line {line}, `{title}`: {what}");
    let mut step = Step {
        line,
        title: title.clone(),
        expected: 200,
        ..Step::default()
    };
    for text in lines.by_ref() {
        if let Some(defined) = variable(text) {
            step.variables.push(defined);
        } else if let Some(comment) = text.strip_prefix('#') {
            note(&mut step, comment.trim()).map_err(|what| fault(&what))?;
        } else if !text.trim().is_empty() {
            let (method, url) = text.split_once(' ').ok_or_else(|| fault("no request"))?;
            (step.method, step.url) = (method.to_owned(), url.trim().to_owned());
            break;
        }
    }
    if step.url.is_empty() {
        return Err(fault("has no request"));
    }
    for text in lines.by_ref().take_while(|text| !text.trim().is_empty()) {
        let (name, value) = text.split_once(':').ok_or_else(|| fault("no header"))?;
        let header = (name.trim().to_owned(), value.trim().to_owned());
        step.headers.push(header);
    }
    let is_form = step
        .headers
        .iter()
        .any(|(_, kind)| kind.starts_with("multipart/"));
    let body: Vec<&str> = lines.collect();
    // The parts of a form are parted by both characters, and the last one ends so, too.
    let end = if is_form { "\r\n" } else { "\n" };
    let body = body.join(end);
    let body = body.trim_end();
    step.body = (!body.is_empty()).then(|| match is_form {
        true => format!("{body}{end}"),
        false => body.to_owned(),
    });
    Ok(step)
}

fn note(step: &mut Step, comment: &str) -> Result<(), String> {
    if let Some(name) = comment.strip_prefix("@name ") {
        step.name = Some(name.trim().to_owned());
    } else if let Some(status) = comment.strip_prefix("expect ") {
        let status = status.split_whitespace().next().unwrap_or_default();
        step.expected = status
            .parse()
            .map_err(|_| format!("`{comment}` names no status"))?;
    } else if let Some(awaited) = comment.strip_prefix("until ") {
        let (path, word) = awaited.split_once('=').ok_or("`until` without `=`")?;
        step.until = Some((path.trim().to_owned(), word.trim().to_owned()));
    }
    Ok(())
}

/// Returns the value at a path such as `$.data.plans[1].id`.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let path = path.strip_prefix('$')?;
    let mut names = path.split(['.', '[', ']']).filter(|name| !name.is_empty());
    names.try_fold(value, |found, name| match found {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

/// True when a path with variables is of an operation's path, such as `/api/instances/{id}`.
pub(super) fn is_of(template: &str, path: &str) -> bool {
    let (mut wanted, mut parts) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part)) if wanted == part => {}
            (Some(wanted), Some(part)) if wanted.starts_with('{') && !part.is_empty() => {}
            _ => return false,
        }
    }
}

#[test]
fn a_collection_is_read() {
    let text = "@base = http://127.0.0.1:3000\n\n### Log in\n# @name login\n# expect 201\n\
                POST {{base}}/api/auth/login\nContent-Type: application/json\n\n{ \"a\": 1 }\n\n\
                ### Wait\n@token = {{login.response.body.$.data.accessToken}}\n# until $.data.status = PAID\n\
                GET {{base}}/api/x\nAuthorization: Bearer {{token}}\n";
    let read = Collection::read(text).unwrap();
    assert_eq!(read.variables[0].0, "base");
    let [first, second] = &read.steps[..] else {
        panic!("{read:?}");
    };
    assert_eq!(
        (first.line, first.expected, first.title.as_str()),
        (3, 201, "Log in")
    );
    assert_eq!(first.name.as_deref(), Some("login"));
    assert_eq!(first.body.as_deref(), Some("{ \"a\": 1 }"));
    assert_eq!(
        (second.line, second.expected, &*second.method),
        (11, 200, "GET")
    );
    assert_eq!(second.until, Some(("$.data.status".into(), "PAID".into())));
    assert_eq!(second.headers[0].1, "Bearer {{token}}");
    let value = serde_json::json!({ "data": [{ "id": 7 }] });
    assert_eq!(at(&value, "$.data[0].id"), Some(&serde_json::json!(7)));
    assert!(is_of("/api/x/{id}", "/api/x/{{id}}") && !is_of("/api/x/{id}", "/api/x"));
    assert!(Collection::read("### Nothing\n# no request\n").is_err());
}
