//! Lines of the log. Those about requests wait for each other, so that one call of the kernel writes several.

use std::{
    io::{self, ErrorKind, Write},
    panic,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Module whose lines may wait: one for each request.
pub(crate) const REQUESTS: &str = "dermaga::api::observe";
/// Longest time for which a line waits.
const LONGEST: Duration = Duration::from_millis(100);
/// Bytes of waiting lines that are written without waiting for more.
const MOST_BYTES: usize = 16 * 1024;
/// Most bytes that are kept for an output that takes no more at present.
const MOST_KEPT: usize = 256 * 1024;

/// A log. Clones are the same one.
#[derive(Debug)]
pub(super) struct Lines<W>(Arc<Log<W>>);

#[derive(Debug)]
struct Log<W> {
    waiting: Mutex<Waiting<W>>,
    /// Wakes the thread that writes what has waited.
    news: Condvar,
    /// True once that thread runs.
    is_watched: AtomicBool,
}

#[derive(Debug)]
struct Waiting<W> {
    bytes: Vec<u8>,
    output: W,
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write> Waiting<W> {
    fn write_out(&mut self) -> io::Result<()> {
        let (written, outcome) = self.write_what_goes();
        let left = self.bytes.len().saturating_sub(written);
        let is_full = matches!(&outcome, Err(error) if error.kind() == ErrorKind::WouldBlock);
        if is_full && left <= MOST_KEPT {
            // The rest of a line must not be lost behind its beginning. A later call writes it.
            self.bytes.drain(..written);
            return Ok(());
        }
        // Lines that cannot be written are lost, as one by itself would be.
        self.bytes.clear();
        outcome
    }

    /// Writes until all is written, or no more can be; returns the number of bytes that were.
    fn write_what_goes(&mut self) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some(rest) = self.bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

impl<W: Write> Lines<W> {
    /// Returns a log whose lines do not wait yet.
    pub(super) fn new(output: W) -> Self {
        let bytes = Vec::new();
        Self(Arc::new(Log {
            waiting: Mutex::new(Waiting { bytes, output }),
            news: Condvar::new(),
            is_watched: AtomicBool::new(false),
        }))
    }

    /// Writes the lines that wait.
    pub(super) fn write_out(&self) {
        // There is no other place to report it.
        let _ = self.waiting().write_out();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<W>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the same, unless a thread is writing right now.
    fn waiting_unless_held(&self) -> Option<MutexGuard<'_, Waiting<W>>> {
        match self.0.waiting.try_lock() {
            Ok(waiting) => Some(waiting),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn add(&self, line: &[u8], may_wait: bool) -> io::Result<()> {
        let mut waiting = self.waiting();
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        let waits = may_wait && self.0.is_watched.load(Ordering::Relaxed);
        let writes = !waits || waiting.bytes.len() >= MOST_BYTES;
        let outcome = if writes { waiting.write_out() } else { Ok(()) };
        let has_rest = !waiting.bytes.is_empty();
        drop(waiting);
        if has_rest && (is_first || writes) {
            self.0.news.notify_one();
        }
        outcome
    }

    /// Writes what has waited, as long as the process runs.
    fn watch(&self) {
        loop {
            let waiting = self.waiting();
            let is_empty = |waiting: &mut Waiting<W>| waiting.bytes.is_empty();
            let waiting = self.0.news.wait_while(waiting, is_empty);
            drop(waiting);
            thread::sleep(LONGEST);
            self.write_out();
        }
    }
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Lets lines about requests wait from now on. A panic writes them before its own.
    pub(super) fn wait(&self) {
        let watched = self.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        if thread.spawn(move || watched.watch()).is_err() {
            return;
        }
        let (lines, next) = (self.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            // It may have happened within a write.
            if let Some(mut waiting) = lines.waiting_unless_held() {
                let _ = waiting.write_out();
            }
            next(panic);
        }));
        self.0.is_watched.store(true, Ordering::Relaxed);
    }
}

/// Place of one line.
#[derive(Debug)]
pub(super) struct Line<'a, W> {
    lines: &'a Lines<W>,
    may_wait: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.add(bytes, self.may_wait)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.waiting().write_out()
    }
}

impl<'a, W: Write + 'static> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Line<'a, W> {
        Line {
            lines: self,
            may_wait: false,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a, W> {
        Line {
            lines: self,
            may_wait: *metadata.level() == Level::INFO && metadata.target() == REQUESTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Keeps what is written, by calls.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<String>>>);

    impl Calls {
        /// Words of each call.
        fn so_far(&self) -> Vec<String> {
            let calls = self.0.lock().unwrap();
            let words = |call: &String| call.split_whitespace().collect::<Vec<_>>().join(" ");
            calls.iter().map(words).collect()
        }

        fn logging(&self, log: impl FnOnce(&Lines<Self>)) {
            let lines = Lines::new(self.clone());
            let events = tracing_subscriber::fmt()
                .with_ansi(false)
                .without_time()
                .with_target(false)
                .with_level(false)
                .with_writer(lines.clone());
            tracing::subscriber::with_default(events.finish(), || log(&lines));
        }
    }

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.0.lock().unwrap().push(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lets lines wait without the thread that ends their wait.
    fn wait_for_ever(lines: &Lines<Calls>) {
        lines.0.is_watched.store(true, Ordering::Relaxed);
    }

    #[test]
    fn lines_about_requests_wait_for_any_other() {
        let calls = Calls::default();
        calls.logging(|lines| {
            wait_for_ever(lines);
            for warn in [false, true] {
                tracing::info!(target: REQUESTS, "first");
                tracing::info!(target: REQUESTS, "second");
                assert_eq!(calls.so_far().len(), usize::from(warn));
                if warn {
                    tracing::warn!(target: REQUESTS, "third");
                } else {
                    tracing::info!("third");
                }
            }
        });
        assert_eq!(calls.so_far(), ["first second third"; 2]);
    }

    /// Also where some of them wait and others do not.
    #[test]
    fn lines_of_several_threads_keep_the_order_in_which_they_came() {
        let calls = Calls::default();
        let lines = Lines::new(calls.clone());
        wait_for_ever(&lines);
        for number in 0..20 {
            let (lines, may_wait) = (lines.clone(), number % 7 != 6);
            let line = format!("{number}\n");
            let added = thread::spawn(move || lines.add(line.as_bytes(), may_wait));
            added.join().unwrap().unwrap();
        }
        lines.write_out();
        let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(calls.so_far().join(" "), numbers.join(" "));
    }

    #[test]
    fn many_bytes_do_not_wait() {
        let calls = Calls::default();
        calls.logging(|lines| {
            wait_for_ever(lines);
            let long = "a".repeat(MOST_BYTES / 2);
            for _ in 0..2 {
                tracing::info!(target: REQUESTS, "{long}");
            }
        });
        assert_eq!(calls.so_far().len(), 1);
    }

    #[test]
    fn no_line_waits_without_the_thread_that_ends_its_wait() {
        let calls = Calls::default();
        calls.logging(|_| tracing::info!(target: REQUESTS, "alone"));
        assert_eq!(calls.so_far(), ["alone"]);
    }

    /// Takes so many bytes, and no more until there is room again.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_an_output_does_not_take_is_kept_within_bounds() {
        let narrow = |room| Narrow {
            room,
            taken: Vec::new(),
        };
        let lines = Lines::new(narrow(4));
        for line in ["one\n", "two\n"] {
            lines.add(line.as_bytes(), false).unwrap();
        }
        lines.waiting().output.room = 2;
        lines.write_out();
        lines.waiting().output.room = 100;
        lines.add(b"three\n", false).unwrap();
        assert_eq!(lines.waiting().output.taken, b"one\ntwo\nthree\n");

        let lines = Lines::new(narrow(0));
        lines.add("a".repeat(MOST_KEPT).as_bytes(), false).unwrap();
        assert_eq!(lines.waiting().bytes.len(), MOST_KEPT);
        lines.add(b"a", false).unwrap_err();
        assert_eq!(lines.waiting().bytes.len(), 0);
    }

    /// A panic within a write must not keep what waits from being written.
    #[test]
    fn a_poisoned_log_is_written_and_a_held_one_is_not_waited_for() {
        let lines = Lines::new(Calls::default());
        let poisoned = lines.clone();
        let panicked = thread::spawn(move || {
            let _held = poisoned.waiting();
            panic!("within a write");
        });
        assert!(panicked.join().is_err());
        assert!(lines.0.waiting.is_poisoned());
        assert!(lines.waiting_unless_held().is_some());
        let held = lines.waiting();
        assert!(lines.waiting_unless_held().is_none());
        drop(held);
    }

    #[test]
    fn a_line_that_waits_is_written_soon() {
        let calls = Calls::default();
        let lines = Lines::new(calls.clone());
        lines.wait();
        let deadline = Instant::now() + Duration::from_secs(20);
        for number in 1..=2 {
            lines.add(b"a line\n", true).unwrap();
            while calls.so_far().len() < number {
                assert!(Instant::now() < deadline, "it is not written");
                thread::sleep(LONGEST / 10);
            }
        }
        assert_eq!(calls.so_far(), ["a line"; 2]);
    }
}
