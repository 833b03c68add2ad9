//! Small files that would cause much work are refused by a count, before compilation.

#![allow(clippy::unwrap_used, reason = "what cannot go on must stop")]

use dermaga_runtime::{
    LoadError, Runtime, RuntimeConfig,
    fixtures::{CouponFixture, around},
};

fn refused(module: &str) -> LoadError {
    let config = RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    let component = around(module);
    Runtime::new(config).unwrap().load(&component).unwrap_err()
}

fn locals(count: usize) -> String {
    format!("(func (local {}))", "i64 ".repeat(count))
}

#[test]
fn each_bound_holds_to_the_one_and_is_named() {
    let functions = |count: usize| "(func)".repeat(count);
    let globals = |count: usize| "(global i32 (i32.const 0))".repeat(count);
    let types = |count: usize| "(type (func))".repeat(count);
    let segments = |count: usize| format!("(memory 1){}", r#"(data "")"#.repeat(count));
    let memory = |pages: usize| format!("(memory {pages})");
    let table = |elements: usize| format!("(table {elements} funcref)");
    let body = |bytes: usize| format!("(func {})", "nop ".repeat(bytes));
    for (what, most, module) in [
        (
            "locals in one function",
            10_000,
            &locals as &dyn Fn(usize) -> String,
        ),
        ("functions", 100_000, &functions),
        ("globals", 10_000, &globals),
        ("types", 50_000, &types),
        ("segments", 100_000, &segments),
        ("table elements", 100_000, &table),
        ("bytes of memory to begin with", 1024, &memory),
        // Two bytes of the body are the count of locals and the end of the function.
        ("bytes in one function", 1_000_000 - 2, &body),
    ] {
        match refused(&module(most + 1)) {
            LoadError::TooComplex {
                what: named,
                found,
                limit,
            } => {
                assert_eq!(named, what);
                assert!(found > limit, "{what}");
            }
            other => assert_eq!(other.code(), "COMPONENT_TOO_COMPLEX", "{what}: {other}"),
        }
        // At the bound the only fault is that it is no plugin.
        let at_most = refused(&module(most)).code();
        assert_eq!(at_most, "COMPONENT_WRONG_WORLD", "{what}");
    }
    assert_eq!(refused(&locals(10_001)).code(), "COMPONENT_TOO_COMPLEX");
}

#[test]
fn a_component_of_many_parts_is_refused() {
    let module = "(core module)".repeat(201);
    let component = around(&format!(") {module} (core module"));
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    assert_eq!(
        runtime.load(&component).unwrap_err().code(),
        "COMPONENT_TOO_COMPLEX"
    );
    runtime.load(&CouponFixture::default().component()).unwrap();
}
