//! `dermaga compile-component`, the process in which a server compiles what is uploaded.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use dermaga_runtime::{
    Compiler, Plugin, Runtime, RuntimeConfig,
    fixtures::{CouponFixture, compile_bomb, slow_to_compile},
};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    push,
    site::{Patient, Server, Site},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dermaga");
const COMMAND: &str = "compile-component";
const MIB: u64 = 1 << 20;
/// More than the process takes to begin, less than it takes for the slow component.
const LITTLE_MEMORY: u64 = 450 * MIB;

fn compiler(memory_bytes: u64, cpu_seconds: u32) -> Compiler {
    Compiler {
        program: PathBuf::from(PROGRAM),
        arguments: vec![COMMAND.to_owned()],
        memory_bytes,
        cpu_seconds,
    }
}

/// A number in the status of a process.
fn status(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// A process that compiles, other than one that has ended and is not waited for yet.
fn compiles(process: u32) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|argument| argument == COMMAND.as_bytes())
}

/// The process that compiles for this server.
fn compiling_for(server: u32) -> Option<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|process| status(*process, "PPid:") == Some(server.into()) && compiles(*process))
}

/// Looks until something is found, for as long as a busy machine may take.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A run's end, its duration, and the most address space it had.
struct Run {
    status: ExitStatus,
    took: Duration,
    peak_bytes: u64,
}

/// Compiles what no server would: the bomb comes straight to the process, past all counts.
fn compile(component: &[u8], memory_bytes: u64, cpu_seconds: u64) -> Run {
    let started = Instant::now();
    let mut child = Command::new(PROGRAM)
        .arg(COMMAND)
        .args(["--memory-bytes", &memory_bytes.to_string()])
        .args(["--cpu-seconds", &cpu_seconds.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(component).unwrap();
    let mut peak_bytes = 0;
    loop {
        let peak = status(child.id(), "VmPeak:").unwrap_or_default();
        peak_bytes = peak_bytes.max(peak * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            let took = started.elapsed();
            return Run {
                status,
                took,
                peak_bytes,
            };
        }
        if started.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("the process has no end");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_bomb_takes_no_more_memory_and_time_than_the_process_may() {
    let bomb = compile_bomb(10_000, 6_500);
    let memory = 2048 * MIB;
    let run = compile(&bomb, memory, 120);
    assert!(!run.status.success(), "it runs out of memory");
    let peak = run.peak_bytes;
    assert!(peak > 100 * MIB, "it was measured: {peak}");
    assert!(peak <= memory, "{peak} bytes");

    let run = compile(&bomb, 64 * 1024 * MIB, 1);
    assert!(!run.status.success(), "it runs out of time");
    assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
}

#[test]
fn machine_code_of_the_process_is_kept_and_runs_here() {
    let folder = TempDir::new().unwrap();
    let load = |compiler: Compiler| -> Plugin {
        let config = RuntimeConfig {
            compiler: Some(compiler),
            cache_dir: Some(folder.path().to_owned()),
            ..RuntimeConfig::default()
        };
        let component = CouponFixture::default().component();
        Runtime::new(config).unwrap().load(&component).unwrap()
    };
    load(compiler(2048 * MIB, 120));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // This one compiles nothing: the machine code can only come from the cache.
    load(Compiler {
        program: PathBuf::from("/bin/sh"),
        arguments: vec![
            "-c".to_owned(),
            "echo 'dermaga compiler'; exit 1".to_owned(),
        ],
        ..compiler(0, 0)
    });
}

/// The status and the body of an upload's answer.
async fn upload(shop: &Path, compiler: Compiler) -> (u16, Value) {
    let running = Box::pin(push::shop(shop, Some(compiler))).await;
    let server = format!("http://{}", running.address);
    let token = push::api_token(&server, "PLUGINS").await;
    let form = Form::new().part("component", Part::bytes(slow_to_compile()));
    let answer = reqwest::Client::new()
        .post(format!("{server}/api/admin/plugins"))
        .header("Accept-Language", "en")
        .bearer_auth(token)
        .multipart(form)
        .send()
        .await
        .unwrap();
    let answer = (answer.status().as_u16(), answer.json().await.unwrap());
    running.stop().await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_costs_too_much_is_refused() {
    for (limits, said) in [
        (compiler(LITTLE_MEMORY, 120), "450 MiB of memory"),
        (compiler(2048 * MIB, 1), "1 s of processor time"),
    ] {
        let folder = TempDir::new().unwrap();
        let (status, body) = Box::pin(upload(folder.path(), limits)).await;
        assert_eq!(status, 400, "{body:#}");
        let body = body.to_string();
        for part in ["COMPONENT_REFUSED", "COMPONENT_TOO_COSTLY", said] {
            assert!(body.contains(part), "{part}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_ends_with_its_request_and_with_its_server() {
    let mut site = Site::new(false).await.unwrap();
    let sign_in = async |site: &Site| Patient::new(site).administrator(site).await;
    let admin = site.opened(sign_in).await;
    let server = Server::start(&site);
    let waiting = tokio::spawn({
        let admin = admin.clone();
        async move { admin.upload(slow_to_compile(), "wait=60").await }
    });
    let process = eventually("nothing is compiled", || compiling_for(server.id())).await;
    waiting.abort();
    eventually("it outlives its request", || {
        (!compiles(process)).then_some(())
    })
    .await;
    admin.get("/api/catalog/services").await;

    let accepted = admin.upload(slow_to_compile(), "respond-async").await;
    let accepted = accepted.unwrap();
    assert_eq!(accepted.status().as_u16(), 202);
    let upload = accepted.headers()["location"].to_str().unwrap().to_owned();
    let process = eventually("nothing is compiled", || compiling_for(server.id())).await;
    drop(server);
    eventually("it outlives its server", || {
        (!compiles(process)).then_some(())
    })
    .await;

    // The next run of the server says at once that the upload is lost.
    let server = Server::start(&site);
    let lost = admin.get(&upload).await;
    assert_eq!(
        (&lost["state"], &lost["failure"]["code"]),
        (&json!("REFUSED"), &json!("UNAVAILABLE")),
        "{lost:#}"
    );
    drop(server);
}
