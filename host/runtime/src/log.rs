//! Log of a call: written by the plugin, bounded, never read by it.

use crate::call::{LogLevel, LogLine};

/// The lines of one call.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    lines: Vec<LogLine>,
    dropped: usize,
    max_lines: usize,
    max_line_bytes: usize,
}

impl LogBuffer {
    pub(crate) const fn new(max_lines: usize, max_line_bytes: usize) -> Self {
        Self {
            lines: Vec::new(),
            dropped: 0,
            max_lines,
            max_line_bytes,
        }
    }

    /// Returns the last line of this level.
    pub(crate) fn last(&self, level: LogLevel) -> Option<&str> {
        self.lines
            .iter()
            .rev()
            .find(|line| line.level == level)
            .map(|line| line.message.as_str())
    }

    /// Returns the lines kept, and a last one with the number of those dropped.
    pub(crate) fn into_lines(mut self) -> Vec<LogLine> {
        if self.dropped > 0 {
            let message = match self.dropped {
                1 => "1 further line was dropped".to_owned(),
                many => format!("{many} further lines were dropped"),
            };
            self.lines.push(LogLine {
                level: LogLevel::Warn,
                message,
            });
        }
        self.lines
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lines.len() >= self.max_lines
    }

    /// Counts a line that found the buffer full.
    pub(crate) const fn drop_line(&mut self) {
        self.dropped += 1;
    }

    pub(crate) fn keep(&mut self, level: LogLevel, message: &str) {
        let end = message.floor_char_boundary(self.max_line_bytes);
        let (kept, _) = message.split_at_checked(end).unwrap_or((message, ""));
        self.lines.push(LogLine {
            level,
            message: kept.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_line_between_characters_and_counts_what_it_drops() {
        let mut buffer = LogBuffer::new(1, 4);
        buffer.keep(LogLevel::Info, "abcé");
        assert!(buffer.is_full());
        buffer.drop_line();
        buffer.drop_line();
        let lines = buffer.into_lines();
        let texts: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(texts, ["abc", "2 further lines were dropped"]);
    }
}
