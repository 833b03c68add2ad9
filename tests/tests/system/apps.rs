//! Tests that what is sold really runs: applications are started from the manifests that their
//! plans render, as processes of packages of Debian and npm under the limits, users and probes stated
//! there. Uptime Kuma is not among them: Debian has no package and npm no release of it.
//!
//! `DERMAGA_TEST_APP_RUNNER` names the folder of the runner, see `tests/apps/check.py`;
//! `DERMAGA_TEST_APP_TREES` a folder in which trees of packages are kept, `DERMAGA_TEST_APP_PYTHON` a
//! Python that can read YAML.

use std::{path::PathBuf, process::Command, sync::Mutex};

use dermaga_runtime::{Plugin, Runtime, RuntimeConfig};
use dermaga_tests::{checkout, plugins_folder, skip};
use dermaga_toolkit::{
    render::{self, Verdict},
    template::Template,
};
use serde_json::{Value, json};

/// Runs one application at a time, since each is measured.
static ALONE: Mutex<()> = Mutex::new(());
/// Address and port at which `tests/apps/instance.py` listens, as a relay or as a customer's own server, the sender
/// of the former, and the login and the sender of the latter.
const MAIL_HOST: &str = "10.213.7.1";
const MAIL_PORT: u16 = 2525;
const RELAY_SENDER: &str = "noreply@example.com";
const OWN_USER: &str = "customer";
const OWN_SENDER: &str = "site@example.com";
/// Plan of instances whose customer has a mail server.
const OWN_MAIL: &str = "own-mail";
/// Plan with the least memory that a plugin takes.
const LEAST: &str = "least";

/// Names a relay of the operator in the template of an application that sends mail.
fn name_relay(template: &mut Template) {
    let settings = &mut template.settings;
    match template.slug.as_str() {
        "ghost" | "n8n" => {
            let relay = json!({"host": MAIL_HOST, "port": MAIL_PORT, "from": RELAY_SENDER});
            settings.insert("relay".to_owned(), relay);
        }
        "wordpress" => {
            let env = &mut settings["workloads"][0]["env"];
            env["RELAY_HOST"] = json!(MAIL_HOST);
            env["RELAY_PORT"] = json!(MAIL_PORT.to_string());
            env["RELAY_FROM"] = json!(RELAY_SENDER);
        }
        _ => {}
    }
}

/// Returns WordPress on one plan for a customer who has a mail server.
fn wordpress_with_own_mail(templates: &[Template]) -> Template {
    let sold = templates.iter().find(|one| one.slug == "wordpress");
    let mut wordpress = sold.unwrap().clone();
    for (field, value) in [
        ("mail_host", json!(MAIL_HOST)),
        ("mail_port", json!(MAIL_PORT)),
        ("mail_user", json!(OWN_USER)),
        ("mail_from", json!(OWN_SENDER)),
    ] {
        wordpress.settings["config"][field]["default"] = value;
    }
    wordpress.plans.truncate(1);
    OWN_MAIL.clone_into(&mut wordpress.plans[0].slug);
    wordpress
}

/// Returns N8N on one plan with the least memory that its plugin takes.
fn n8n_with_least_memory(templates: &[Template]) -> Template {
    let sold = templates.iter().find(|one| one.slug == "n8n");
    let mut n8n = sold.unwrap().clone();
    let case = checkout().join("plugins/service-n8n/cases/check-plan-too-small.json");
    let case = std::fs::read_to_string(case).unwrap();
    let case = serde_json::from_str::<Value>(&case).unwrap();
    let refusal = case["output"]["problems"][0]["message"].as_str().unwrap();
    let least = refusal.strip_prefix("N8N needs ").unwrap();
    n8n.plans.truncate(1);
    LEAST.clone_into(&mut n8n.plans[0].slug);
    n8n.plans[0].resources.memory_mib = least.split(' ').next().unwrap().parse().unwrap();
    n8n
}

/// Renders every plan of a plugin, as `dermaga plugin render` prints it, with a relay of the operator
/// for what sends mail, and an instance whose customer has a mail server; of N8N one with the least memory, too.
fn rendered(plugin: &str) -> String {
    let mut templates = Template::load_dir(&checkout().join("service-templates")).unwrap();
    templates.iter_mut().for_each(name_relay);
    templates.push(wordpress_with_own_mail(&templates));
    templates.push(n8n_with_least_memory(&templates));
    let component = plugins_folder().join(format!("{plugin}.wasm"));
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let loaded = runtime.load(&std::fs::read(component).unwrap()).unwrap();
    let renderings = render::render(&loaded, &templates, &[], None).unwrap();
    for one in &renderings {
        let admitted = matches!(one.verdict, Verdict::Admitted { .. });
        assert!(admitted, "{plugin} {}: {:?}", one.plan, one.verdict);
    }
    let texts: Vec<String> = renderings.iter().map(|one| format!("---\n{one}")).collect();
    texts.concat() + &with_own_mail(plugin, &loaded)
}

/// Renders the instance of the plugin's golden case whose customer has a mail server, which is here; nothing
/// without such a case.
fn with_own_mail(plugin: &str, loaded: &Plugin) -> String {
    let case = format!("plugins/{plugin}/cases/manifests-own-mail.json");
    let Ok(case) = std::fs::read_to_string(checkout().join(case)) else {
        return String::new();
    };
    let mut input = serde_json::from_str::<Value>(&case).unwrap()["input"].take();
    input["config"]["mail"] = json!({
        "host": MAIL_HOST, "port": MAIL_PORT, "user": OWN_USER, "password": "given", "from": OWN_SENDER,
    });
    let made = loaded.call_json("manifests", &input).unwrap().value;
    let template = plugin.trim_start_matches("service-");
    let mut text = format!("---\n# plan: {OWN_MAIL}\n# template: {template}\n");
    for object in made["ok"].as_array().unwrap() {
        text += &format!("---\n{}", serde_norway::to_string(object).unwrap());
    }
    text
}

/// Runs an application on a plan and checks it; skipped without a runner.
fn check(plugin: &str, application: &str, plan: &str) {
    let Ok(runner) = std::env::var("DERMAGA_TEST_APP_RUNNER") else {
        let why = "name the folder of the runner with DERMAGA_TEST_APP_RUNNER";
        skip(&format!("the application {application}"), why);
        return;
    };
    let alone = ALONE.lock();
    let folder = std::env::var_os("DERMAGA_TEST_APP_TREES").map_or_else(
        || std::env::temp_dir().join("dermaga-test-apps"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).unwrap();
    let manifests = folder.join(format!("{plugin}.yaml"));
    std::fs::write(&manifests, rendered(plugin)).unwrap();
    let python = std::env::var("DERMAGA_TEST_APP_PYTHON");
    let output = Command::new(python.unwrap_or_else(|_| "python3".to_owned()))
        .arg(checkout().join("tests/apps/check.py"))
        .args([application, plan])
        .arg(&manifests)
        .arg(&folder)
        .env("DERMAGA_TEST_APP_RUNNER", runner)
        .output()
        .unwrap();
    drop(alone);
    let said = String::from_utf8_lossy(&output.stdout);
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{fault}");
}

#[test]
fn postgresql_runs_as_it_is_sold() {
    check("service-postgresql", "postgresql", "basic");
}

#[test]
fn valkey_runs_as_it_is_sold() {
    check("service-container", "valkey", "free");
}

#[test]
fn postgresql_keeps_its_data_over_a_move_to_a_larger_plan() {
    check("service-postgresql", "postgresql-move", "basic");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn valkey_keeps_its_data_over_an_upgrade() {
    check("service-container", "valkey-upgrade", "free");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn the_database_of_a_site_keeps_its_data_over_a_move_to_a_larger_plan() {
    check("service-container", "wordpress-database-move", "basic");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn wordpress_runs_as_it_is_sold() {
    check("service-container", "wordpress", "basic");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn the_databases_of_sites_run_as_they_are_sold() {
    check("service-container", "wordpress-database", "basic");
    check("service-ghost", "ghost-database", "free");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn n8n_runs_as_it_is_sold() {
    check("service-n8n", "n8n", "free");
    check("service-n8n", "n8n", "basic");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn n8n_runs_with_the_least_memory_that_its_plugin_takes() {
    check("service-n8n", "n8n-least", LEAST);
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn ghost_runs_as_it_is_sold() {
    check("service-ghost", "ghost", "free");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn a_large_upload_to_wordpress_passes_and_one_that_is_cut_off_leaves_nothing() {
    check("service-container", "wordpress-uploads", "basic");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn n8n_and_ghost_send_mail_by_the_customers_own_server() {
    check("service-n8n", "n8n-mail", OWN_MAIL);
    check("service-ghost", "ghost-mail", OWN_MAIL);
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn wordpress_sends_mail_by_the_customers_own_server() {
    check("service-container", "wordpress-mail", OWN_MAIL);
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn n8n_keeps_its_data_over_an_upgrade() {
    check("service-n8n", "n8n-upgrade", "basic");
}

/// The next line is not sold, since this has to hold on the least plan first.
#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn n8n_2_runs_from_the_manifests_that_are_sold() {
    check("service-n8n", "n8n-next", "free");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn ghost_keeps_its_data_over_an_upgrade() {
    check("service-ghost", "ghost-upgrade", "basic");
}

#[test]
#[ignore = "takes minutes and needs more packages; .ci/long runs it"]
fn wordpress_keeps_its_data_over_an_upgrade() {
    check("service-container", "wordpress-upgrade", "basic");
}
