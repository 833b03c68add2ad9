//! Processes that this one starts, and ends before it ends itself.
//!
//! One that is killed (SIGKILL) ends nothing any more: a server that it started runs on and has to be
//! ended by hand. A floor notices that its input has ended.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// Longest time until a process says that it is ready: a first start compiles the plugins.
const LONGEST_START: Duration = Duration::from_secs(180);
const LONGEST_STOP: Duration = Duration::from_secs(60);

/// A server that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `127.0.0.1:port`
    address: String,
}

impl Process {
    /// Starts a server and waits until it prints its address.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let child = command.stdout(Stdio::piped()).spawn()?;
        // From here on, whatever fails drops the process, which ends it.
        let mut process = Self {
            child,
            address: String::new(),
        };
        let line = process.first_line()?;
        process.address = address_in(&line)
            .ok_or_else(|| format!("the server did not say that it is ready: `{}`", line.trim()))?
            .to_owned();
        Ok(process)
    }

    /// Reads the first line of the output, and the rest of it without an end, so that the process never
    /// waits for a reader.
    fn first_line(&mut self) -> Outcome<String> {
        let output = self.child.stdout.take().ok_or("a process without output")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            // A line that cannot be read is empty, which is no address.
            let _ = output.read_line(&mut line);
            let _ = sender.send(line);
            let _ = std::io::copy(&mut output, &mut std::io::sink());
        });
        Ok(receiver.recv_timeout(LONGEST_START)?)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + LONGEST_STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("the server ended with {status}").into())
                };
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("the server does not stop".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns `host:port` of the first address in a line.
fn address_in(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("http://")?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_first_in_the_line() {
        let line =
            "Dermaga is ready at http://127.0.0.1:3000 (API: http://127.0.0.1:3000/api/docs)\n";
        assert_eq!(address_in(line), Some("127.0.0.1:3000"));
        assert_eq!(address_in("Error: no\n"), None);
    }

    #[test]
    fn a_process_that_says_nothing_is_not_ready() {
        let failed = Process::start(&mut Command::new("true")).unwrap_err();
        assert!(failed.to_string().contains("did not say"), "{failed}");
    }
}
