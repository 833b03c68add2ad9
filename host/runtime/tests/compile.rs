//! Compilation of one component at a time, in a program of its own if there is one, until its
//! request ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot go on must stop"
)]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use dermaga_runtime::{
    Compiler, GiveUp, LoadError, Plugin, Runtime, RuntimeConfig, SizeClass, fixtures::CouponFixture,
};

fn runtime(compiler: Option<Compiler>) -> Runtime {
    let config = RuntimeConfig {
        compiler,
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    Runtime::new(config).unwrap()
}

/// Returns a shell that plays the compiler.
fn playing(script: &str) -> Compiler {
    Compiler {
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        memory_bytes: 1 << 30,
        cpu_seconds: 30,
    }
}

fn load(runtime: &Runtime, give_up: &GiveUp) -> Result<Plugin, LoadError> {
    let component = CouponFixture::default().component();
    runtime.load_unless(&component, SizeClass::Standard, give_up)
}

#[test]
fn without_the_program_this_process_compiles() {
    let nowhere = Compiler {
        program: PathBuf::from("/nowhere/dermaga"),
        ..playing("")
    };
    for compiler in [
        nowhere,
        playing("cat >/dev/null"),
        playing("echo hello"),
        playing("exit 65"),
    ] {
        load(&runtime(Some(compiler)), &GiveUp::default()).unwrap();
    }
}

#[test]
fn the_end_of_the_program_is_the_answer() {
    let greeting = "echo 'dermaga compiler'";
    for (script, code) in [
        (format!("{greeting}; kill -KILL $$"), "COMPONENT_TOO_COSTLY"),
        (format!("{greeting}; kill -ABRT $$"), "COMPONENT_TOO_COSTLY"),
        (format!("{greeting}; exit 1"), "COMPONENT_TOO_COSTLY"),
        (
            format!("{greeting}; cat >/dev/null; exit 0"),
            "COMPONENT_UNSUPPORTED",
        ),
    ] {
        let error = load(&runtime(Some(playing(&script))), &GiveUp::default()).unwrap_err();
        assert_eq!(error.code(), code, "{script}");
    }
    let script = format!("{greeting}; cat >/dev/null; echo 'no good' >&2; exit 65");
    assert_eq!(
        load(&runtime(Some(playing(&script))), &GiveUp::default()).unwrap_err(),
        LoadError::malformed("no good".to_owned())
    );
}

/// Waits for a file and returns its lines.
fn written(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => assert!(
                Instant::now() < deadline,
                "{} is not written",
                path.display()
            ),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_program_is_killed_with_its_request_and_runs_once_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let script = format!(
        "echo 'dermaga compiler'; echo $$ >>{}; exec sleep 60",
        started.display()
    );
    let runtime = runtime(Some(playing(&script)));
    let (first, second) = (GiveUp::default(), GiveUp::default());
    thread::scope(|scope| {
        let compiling = scope.spawn(|| load(&runtime, &first).unwrap_err());
        let process = written(&started);
        let waiting = scope.spawn(|| load(&runtime, &second).unwrap_err());
        thread::sleep(Duration::from_millis(100));
        assert_eq!(written(&started), process, "the second waits for its turn");
        drop(second.on_drop());
        assert_eq!(waiting.join().unwrap(), LoadError::GivenUp);
        assert!(!compiling.is_finished());

        let given_up = Instant::now();
        drop(first.on_drop());
        assert_eq!(compiling.join().unwrap(), LoadError::GivenUp);
        assert!(given_up.elapsed() < Duration::from_secs(5));
        assert!(
            !Path::new(&format!("/proc/{process}")).exists(),
            "it is dead and reaped"
        );
    });
}

#[test]
fn components_are_compiled_in_turn_and_all_of_them() {
    let runtime = runtime(None);
    thread::scope(|scope| {
        let loads = [(); 4].map(|()| scope.spawn(|| load(&runtime, &GiveUp::default())));
        for load in loads {
            load.join().unwrap().unwrap();
        }
    });
}

/// A component compiles in this process while another one keeps every thread of the pool that compilations could
/// share.
#[test]
fn a_component_does_not_wait_for_those_of_others() {
    let (end, ends) = mpsc::channel::<()>();
    let ends = Arc::new(Mutex::new(ends));
    for _ in 0..rayon::current_num_threads() {
        let ends = Arc::clone(&ends);
        rayon::spawn(move || {
            let _ = ends.lock().unwrap().recv();
        });
    }
    let (done, loaded) = mpsc::channel();
    thread::spawn(move || done.send(load(&runtime(None), &GiveUp::default())));
    let loaded = loaded.recv_timeout(Duration::from_secs(60));
    drop(end);
    loaded.expect("the component is compiled").unwrap();
}
