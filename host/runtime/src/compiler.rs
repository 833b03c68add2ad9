//! Compilation in a process of its own, under limits of the operating system: a component that
//! costs too much ends that process and nothing else.
//!
//! The program is this server's own binary, called with a hidden command that leads to
//! [`compile_stdin`]. It has no environment, reads the component, writes machine code, and dies
//! with its parent. Without such a program, as in a test's binary, this process compiles by itself,
//! one component at a time; the counts of [`crate::complexity`] bound what that takes.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Config, Engine, OptLevel, WasmFeatures};

use crate::error::LoadError;

/// First bytes of the child's output; without them the program is not a compiler.
const GREETING: &[u8] = b"dermaga compiler\n";
/// The child's exit code for a component that does not compile; the reason is on stderr.
const REFUSED: i32 = 65;
/// Maximum of bytes of machine code, some ten times those of the largest component.
const MAX_CODE: u64 = 512 << 20;
const MAX_REASON: u64 = 4_000;
/// Time between two checks for the child's end.
const POLL: Duration = Duration::from_millis(5);
/// Wall time allowed for one second of processor time, as on a busy machine.
const SLOWEST: u32 = 4;
/// Threads of the child; each takes address space beyond that of the compilation.
const THREADS: &str = "2";
/// Address space that the server's allocator reserves at a time; the default is a gibibyte.
const RESERVE: &str = "64MiB";

/// Returns the settings that machine code depends on, the same in the server and in the compiler.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(accepted_features(), true)
        .cranelift_opt_level(OptLevel::Speed)
        // One bit pattern of NaN, so that an answer is the same on every processor.
        .cranelift_nan_canonicalization(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .memory_init_cow(true);
    config
}

/// Returns the features that stable Rust emits for `wasm32-unknown-unknown`, and nothing else: each
/// further proposal is code of the compiler that a hostile component could reach.
fn accepted_features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FLOATS
        | WasmFeatures::COMPONENT_MODEL
}

/// The program that compiles components, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    pub program: PathBuf,
    /// Arguments that lead to [`compile_stdin`]; the limits follow as `--memory-bytes N --cpu-seconds N`.
    pub arguments: Vec<String>,
    /// Address space. A component of 12 MiB takes half of the default.
    pub memory_bytes: u64,
    pub cpu_seconds: u32,
}

impl Compiler {
    /// Returns this process's own binary with the default limits; `None` when its path is unknown.
    /// It stays the same binary when the file is replaced by a newer one.
    pub fn own(arguments: Vec<String>) -> Option<Self> {
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().ok()?
        };
        Some(Self {
            program,
            arguments,
            memory_bytes: 2 << 30,
            cpu_seconds: 120,
        })
    }
}

/// Tells a load that its result is no longer wanted.
#[derive(Debug, Clone, Default)]
pub struct GiveUp(Arc<AtomicBool>);

impl GiveUp {
    /// Ends the load soon; its child is killed.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns a guard that ends the load when dropped, so that the load ends with its request.
    #[must_use = "dropping the guard gives up"]
    pub fn on_drop(&self) -> GiveUpGuard {
        GiveUpGuard(self.clone())
    }

    fn check(&self) -> Result<(), LoadError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(LoadError::GivenUp);
        }
        Ok(())
    }
}

/// Ends a load when it is dropped; see [`GiveUp::on_drop`].
#[derive(Debug)]
pub struct GiveUpGuard(GiveUp);

impl Drop for GiveUpGuard {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// The compiler of a runtime, which compiles one component at a time.
#[derive(Debug)]
pub(crate) struct Workshop {
    compiler: Option<Compiler>,
    turn: Mutex<()>,
}

impl Workshop {
    pub(crate) const fn new(compiler: Option<Compiler>) -> Self {
        Self {
            compiler,
            turn: Mutex::new(()),
        }
    }

    /// Waits until no other component is being compiled.
    pub(crate) fn turn(&self, give_up: &GiveUp) -> Result<MutexGuard<'_, ()>, LoadError> {
        loop {
            give_up.check()?;
            match self.turn.try_lock() {
                Ok(turn) => return Ok(turn),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(POLL),
            }
        }
    }

    /// Returns machine code for a component that has been counted and inspected. The caller holds the
    /// turn.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
        give_up: &GiveUp,
    ) -> Result<Vec<u8>, LoadError> {
        if let Some(compiler) = &self.compiler {
            match outside(compiler, component, give_up) {
                Ok(answered) => return answered,
                Err(error) => {
                    let program = compiler.program.display();
                    tracing::warn!(%program, %error, "plugin.compiler_absent");
                }
            }
        }
        give_up.check()?;
        engine
            .precompile_component(component)
            .map_err(|error| LoadError::malformed(format!("{error:#}")))
    }
}

/// Runs the program. The outer error means that the program cannot be started or is not a compiler.
fn outside(
    compiler: &Compiler,
    component: &[u8],
    give_up: &GiveUp,
) -> io::Result<Result<Vec<u8>, LoadError>> {
    let Compiler {
        program,
        arguments,
        memory_bytes,
        cpu_seconds,
    } = compiler;
    let mut child = Command::new(program)
        .args(arguments)
        .args(["--memory-bytes", &memory_bytes.to_string()])
        .args(["--cpu-seconds", &cpu_seconds.to_string()])
        .env_clear()
        .env("RAYON_NUM_THREADS", THREADS)
        .env("MIMALLOC_ARENA_RESERVE", RESERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let limit = Duration::from_secs((*cpu_seconds).into()) * SLOWEST;
    thread::scope(|scope| {
        // A child that ends early does not read to the end; its exit code says why.
        scope.spawn(move || input.map(|mut input| input.write_all(component)));
        let output = scope.spawn(move || read(output, MAX_CODE));
        let errors = scope.spawn(move || read(errors, MAX_REASON));
        let ended = wait(&mut child, limit, give_up);
        let output = output.join().unwrap_or_default();
        let errors = errors.join().unwrap_or_default();
        answer(compiler, ended?, output, &errors)
    })
}

fn read(from: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // The bytes read before an error are judged by the exit code.
        let _ = from.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

/// Waits for the child's exit; kills it when it takes too long or the load is given up.
fn wait(
    child: &mut Child,
    limit: Duration,
    give_up: &GiveUp,
) -> io::Result<Result<ExitStatus, LoadError>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        let given_up = give_up.check();
        if given_up.is_err() || started.elapsed() > limit {
            child.kill()?;
            let status = child.wait()?;
            return Ok(given_up.map(|()| status));
        }
        thread::sleep(POLL);
    }
}

fn answer(
    compiler: &Compiler,
    ended: Result<ExitStatus, LoadError>,
    mut output: Vec<u8>,
    errors: &[u8],
) -> io::Result<Result<Vec<u8>, LoadError>> {
    let status = match ended {
        Ok(status) => status,
        Err(given_up) => return Ok(Err(given_up)),
    };
    if !output.starts_with(GREETING) {
        return Err(io::Error::other(format!("it is no compiler: {status}")));
    }
    if status.success() {
        return Ok(Ok(output.split_off(GREETING.len())));
    }
    if status.code() == Some(REFUSED) {
        let reason = String::from_utf8_lossy(errors).trim().to_owned();
        return Ok(Err(LoadError::malformed(reason)));
    }
    let said = String::from_utf8_lossy(errors);
    tracing::warn!(%status, stderr = said.trim(), "plugin.compile_ended");
    Ok(Err(LoadError::TooCostly {
        memory_bytes: compiler.memory_bytes,
        cpu_seconds: compiler.cpu_seconds,
    }))
}

/// Runs the child's side: confines this process, compiles the component on stdin, writes machine
/// code to stdout and returns the exit code.
///
/// # Errors
/// When the process cannot be confined, or its pipes are closed.
pub fn compile_stdin(memory_bytes: u64, cpu_seconds: u32) -> io::Result<u8> {
    confine(memory_bytes, cpu_seconds)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(GREETING)?;
    stdout.flush()?;
    let mut component = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_CODE)
        .read_to_end(&mut component)?;
    let compiled =
        Engine::new(&config()).and_then(|engine| engine.precompile_component(&component));
    match compiled {
        Ok(code) => {
            stdout.write_all(&code)?;
            stdout.flush()?;
            Ok(0)
        }
        Err(error) => {
            eprintln!("{error:#}");
            // Not `REFUSED`: the parent takes any other code for a limit that was reached.
            if error.is::<wasmtime::OutOfMemory>() {
                return Ok(1);
            }
            Ok(u8::try_from(REFUSED).unwrap_or(1))
        }
    }
}

#[cfg(target_os = "linux")]
fn confine(memory_bytes: u64, cpu_seconds: u32) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    let at_most = |limit: u64| Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    // If the parent has died before this line, writing the greeting fails.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setrlimit(Resource::As, at_most(memory_bytes))?;
    setrlimit(Resource::Cpu, at_most(cpu_seconds.into()))?;
    // A process that runs out of memory must not leave a core file behind.
    setrlimit(Resource::Core, at_most(0))?;
    // If the machine or the container has less memory than the limit, the kernel should end this
    // process and not the server. A system that forbids the setting loses only this preference.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Does nothing: on other systems the parent's clock is the only limit.
#[cfg(not(target_os = "linux"))]
fn confine(_memory_bytes: u64, _cpu_seconds: u32) -> io::Result<()> {
    Ok(())
}
