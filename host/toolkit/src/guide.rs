//! Tests that docs/PLUGINS.md agrees with the runtime's rules and limits and with the examples.

use std::{fmt::Write as _, fs, path::Path};

use dermaga_runtime::{CallLimits, Limits, gate::Rule};

use crate::{check::report::grouped, new};

const GUIDE: &str = include_str!("../../../docs/PLUGINS.md");

#[test]
fn the_guide_lists_every_rule_of_the_gate() {
    let mut table = String::from("| rule | what to do |\n|---|---|\n");
    for rule in Rule::ALL {
        writeln!(table, "| `{}` | {} |", rule.code(), rule.fix()).unwrap();
    }
    assert!(
        GUIDE.contains(&table),
        "docs/PLUGINS.md must contain this table:\n\n{table}"
    );
}

#[test]
fn the_guide_states_the_limits_in_force() {
    let Limits {
        quick,
        heavy,
        stack_bytes,
        component_bytes,
        large,
        log_lines,
        log_line_bytes,
    } = Limits::default();
    let mut table = String::from(
        "| limit | check, price, access, plan-change, every coupon function | manifests, health |\n|---|---|---|\n",
    );
    let mut row = |name: &str, unit: &str, of: fn(&CallLimits) -> u64| {
        let (quick, heavy) = (grouped(of(&quick)), grouped(of(&heavy)));
        writeln!(table, "| {name} | {quick} {unit} | {heavy} {unit} |").unwrap();
    };
    row("work (fuel)", "units", |limits| limits.fuel);
    row("memory", "bytes", |limits| limits.memory_bytes as u64);
    row("answer", "bytes", |limits| limits.output_bytes as u64);
    row("time, a second fence", "ms", |limits| {
        u64::try_from(limits.deadline.as_millis()).unwrap()
    });
    let sentence = format!(
        "A component has at most {} bytes and {} bytes of stack; of a call's log, {log_lines} lines of {log_line_bytes} bytes are kept.",
        grouped(component_bytes as u64),
        grouped(stack_bytes as u64),
    );
    let class = format!(
        "the large class: a component of at most {} bytes, and {} bytes of memory for every call",
        grouped(large.component_bytes as u64),
        grouped(large.memory_bytes as u64),
    );
    for part in [&table, &sentence, &class] {
        assert!(
            GUIDE.contains(part.as_str()),
            "docs/PLUGINS.md must contain:\n\n{part}"
        );
    }
}

/// The guide's patches turn the files of a new plugin into those of the example.
#[test]
fn the_guide_makes_the_examples() {
    use dermaga_runtime::contract::Kind::{Coupon, Service};
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/examples");
    for (kind, name, file) in [
        (Service, "uptime-kuma", "src/lib.rs"),
        (Service, "uptime-kuma", "service-templates/uptime-kuma.toml"),
        (Coupon, "first-purchase", "src/lib.rs"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = new::Options {
            kind,
            language: new::Language::Rust,
            name: name.to_owned(),
            path: Some(folder.path().to_owned()),
        };
        let id = new::scaffold(&options).unwrap().id;
        let made = fs::read_to_string(folder.path().join(file)).unwrap();
        let wanted = fs::read_to_string(examples.join(&id).join(file)).unwrap();
        let begin = format!("patch {file} <<'DIFF'\n");
        let section = GUIDE
            .split_once(&format!("plugin new --{kind} {name}"))
            .unwrap()
            .1;
        let hunks = section.split_once(&begin).unwrap().1;
        let hunks = hunks.split_once("\nDIFF\n").unwrap().0;
        assert_eq!(patched(made, hunks), wanted, "{id}: {file}");
    }
}

fn patched(mut text: String, hunks: &str) -> String {
    for hunk in hunks.split("@@ ").filter(|hunk| hunk.contains('\n')) {
        let side = |without: char| {
            let lines = hunk
                .lines()
                .skip(1)
                .filter(|line| !line.starts_with(without));
            lines
                .map(|line| format!("{}\n", line.get(1..).unwrap_or("")))
                .collect::<String>()
        };
        let (old, new) = (side('+'), side('-'));
        assert_eq!(text.matches(&old).count(), 1, "{old}");
        text = text.replace(&old, &new);
    }
    text
}
