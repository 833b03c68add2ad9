//! Components that would cost too much are refused by their counts, before compilation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot go on must stop"
)]

use std::time::{Duration, Instant};

use dermaga_runtime::{
    LoadError, Runtime, RuntimeConfig,
    fixtures::{around, compile_bomb},
};

fn runtime() -> Runtime {
    let config = RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    Runtime::new(config).unwrap()
}

fn refused(component: &[u8]) -> (&'static str, u64) {
    match runtime().load(component).unwrap_err() {
        LoadError::TooComplex { what, found, .. } => (what, found),
        other => panic!("{other}"),
    }
}

#[test]
fn the_product_of_values_and_bytes_is_bounded_for_a_function_and_for_all() {
    let started = Instant::now();
    let bomb = compile_bomb(10_000, 6_500);
    assert!((90_000..130_000).contains(&bomb.len()), "{}", bomb.len());
    let (what, found) = refused(&bomb);
    assert_eq!(what, "values times bytes in one function");
    assert!(found > 900_000_000, "{found}");

    let values = |count: usize| "i64 ".repeat(count);
    let large = format!("(func (local {}) {})", values(4_000), "nop ".repeat(10_000));
    let (what, _) = refused(&around(&large.repeat(20)));
    assert_eq!(what, "values times bytes in all functions");
    let code = runtime().load(&around(&large)).unwrap_err().code();
    assert_eq!(
        code, "COMPONENT_WRONG_WORLD",
        "one of them is only no plugin"
    );

    // A branch carries as many values as a type has, so that locals are not the only width.
    for wide in [
        format!("(type (func (param {0}) (result {0})))", values(500)),
        format!("(type (func (param {})))", values(1_000)),
    ] {
        let body = "nop ".repeat(60_000);
        let (what, _) = refused(&around(&format!("{wide} (func {body})")));
        assert_eq!(what, "values times bytes in one function");
    }
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}
