//! What guests say: their log lines, and what they print.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::guest::Work;
use crate::text::{escape, head, size};

/// Where the lines of guests go.
pub trait LogSink: Send + Sync + 'static {
    /// Takes one line. Called on the threads that guests run on, so it must
    /// not wait.
    fn line(&self, line: &Line<'_>);
}

/// One line of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The consumer whose message is handled, if any.
    pub consumer: &'a str,
    /// The claim key of the message; empty for a batch.
    pub key: &'a str,
    /// The attempt at the message.
    pub attempt: u32,
    /// How much it matters, as the guest says.
    pub level: Level,
    /// How it came.
    pub source: Source,
    /// What it says: cut to the limit, control characters escaped.
    pub text: &'a str,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details of details.
    Trace,
    /// Details.
    Debug,
    /// Usual events.
    Info,
    /// Something odd.
    Warn,
    /// Something failed.
    Error,
}

/// How a line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By the import `log`.
    Log,
    /// Printed to standard output.
    Stdout,
    /// Printed to standard error.
    Stderr,
    /// By the host, about the guest's lines.
    Host,
}

/// Writes lines as events of the target `guest`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingLog;

impl LogSink for TracingLog {
    fn line(&self, line: &Line<'_>) {
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "guest",
                    tracing::Level::$level,
                    plugin = line.plugin,
                    consumer = line.consumer,
                    key = line.key,
                    attempt = line.attempt,
                    "{}",
                    line.text
                )
            };
        }
        match line.level {
            Level::Trace => event!(TRACE),
            Level::Debug => event!(DEBUG),
            Level::Info => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error => event!(ERROR),
        }
    }
}

/// The log of one call. Shared between the import and the standard streams.
#[derive(Clone)]
pub(crate) struct CallLog(Arc<Mutex<Inner>>);

struct Inner {
    sink: Arc<dyn LogSink>,
    plugin: Arc<str>,
    work: Arc<Work>,
    limit: usize,
    left: usize,
    cut: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// The longest line that is put together from what a guest prints.
const PRINTED_LINE: usize = 8 << 10;

impl CallLog {
    pub(crate) fn new(
        sink: Arc<dyn LogSink>,
        plugin: Arc<str>,
        work: Arc<Work>,
        limit: usize,
    ) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            sink,
            plugin,
            work,
            limit,
            left: limit,
            cut: false,
            stdout: Vec::new(),
            stderr: Vec::new(),
        })))
    }

    /// Begins another call, with a whole limit.
    pub(crate) fn begin(&self, work: Arc<Work>) {
        let mut inner = self.lock();
        inner.work = work;
        inner.left = inner.limit;
        inner.cut = false;
    }

    /// A line by the import.
    pub(crate) fn write(&self, level: Level, text: &str) {
        self.lock().write(level, Source::Log, text);
    }

    /// Bytes printed by the guest; given on by lines.
    pub(crate) fn print(&self, source: Source, bytes: &[u8]) {
        let mut inner = self.lock();
        if inner.cut {
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            inner.print(source, piece);
        }
    }

    /// Gives on what was printed without a line break at its end.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.flush(Source::Stdout);
        inner.flush(Source::Stderr);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, level: Level, source: Source, text: &str) {
        if self.cut {
            return;
        }
        let kept = head(text, self.left);
        self.left -= kept.len();
        if !kept.is_empty() || text.is_empty() {
            // Empty lines count too, or they would be without limit.
            self.left = self.left.saturating_sub(1);
            self.emit(level, source, &escape(kept));
        }
        if kept.len() < text.len() || self.left == 0 {
            self.cut = true;
            let note = format!(
                "the rest of what the guest says in this call is cut, after {}",
                size(self.limit as u64)
            );
            self.emit(Level::Warn, Source::Host, &note);
        }
    }

    fn print(&mut self, source: Source, piece: &[u8]) {
        if self.cut {
            return;
        }
        let partial = self.partial(source);
        let room = PRINTED_LINE.saturating_sub(partial.len());
        let (text, ends) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        let now = text.len().min(room);
        partial.extend_from_slice(&text[..now]);
        if ends || partial.len() >= PRINTED_LINE {
            self.flush_line(source);
        }
        if now < text.len() {
            self.print(source, &piece[now..]);
        }
    }

    fn flush(&mut self, source: Source) {
        if !self.partial(source).is_empty() {
            self.flush_line(source);
        }
    }

    fn flush_line(&mut self, source: Source) {
        let bytes = std::mem::take(self.partial(source));
        let level = match source {
            Source::Stderr => Level::Warn,
            _ => Level::Info,
        };
        self.write(level, source, &String::from_utf8_lossy(&bytes));
    }

    fn partial(&mut self, source: Source) -> &mut Vec<u8> {
        match source {
            Source::Stderr => &mut self.stderr,
            _ => &mut self.stdout,
        }
    }

    fn emit(&self, level: Level, source: Source, text: &str) {
        emit(&*self.sink, &self.plugin, &self.work, level, source, text);
    }
}

/// Gives one line to where lines go, beside any limit.
pub(crate) fn emit(
    sink: &dyn LogSink,
    plugin: &str,
    work: &Work,
    level: Level,
    source: Source,
    text: &str,
) {
    let call = work.first();
    sink.line(&Line {
        plugin,
        consumer: call.map_or("", |call| &call.consumer),
        key: work.single().map_or("", |call| &call.key),
        attempt: call.map_or(0, |call| call.attempt),
        level,
        source,
        text,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<(Source, String)>>);

    impl LogSink for Kept {
        fn line(&self, line: &Line<'_>) {
            let mut kept = self.0.lock().expect("no test panics here");
            kept.push((line.source, line.text.to_owned()));
        }
    }

    fn log(limit: usize) -> (CallLog, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let log = CallLog::new(kept.clone(), "p".into(), Arc::new(Work::Nothing), limit);
        (log, kept)
    }

    fn lines(kept: &Kept) -> Vec<(Source, String)> {
        std::mem::take(&mut kept.0.lock().expect("no test panics here"))
    }

    #[test]
    fn what_is_over_the_limit_is_cut_and_said_once() {
        let (log, kept) = log(10);
        for _ in 0..1000 {
            log.write(Level::Info, "123456");
        }
        let lines = lines(&kept);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[1], (Source::Log, "123".to_owned()));
        assert_eq!(lines[2].0, Source::Host);
        log.begin(Arc::new(Work::Nothing));
        log.write(Level::Info, "again");
        assert_eq!(kept.0.lock().expect("no test panics here").len(), 1);
    }

    #[test]
    fn empty_lines_are_not_without_limit() {
        let (log, kept) = log(100);
        for _ in 0..1000 {
            log.write(Level::Info, "");
        }
        assert!(lines(&kept).len() <= 101);
    }

    #[test]
    fn printed_bytes_are_given_on_by_lines() {
        let (log, kept) = log(1 << 20);
        log.print(Source::Stdout, b"one\ntw");
        log.print(Source::Stderr, b"odd \xff\n");
        log.print(Source::Stdout, b"o\nrest");
        log.end();
        let expected = [
            (Source::Stdout, "one"),
            (Source::Stderr, "odd \u{fffd}"),
            (Source::Stdout, "two"),
            (Source::Stdout, "rest"),
        ];
        let got = lines(&kept);
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for (got, expected) in got.iter().zip(expected) {
            assert_eq!((got.0, got.1.as_str()), expected);
        }
    }

    #[test]
    fn a_line_that_never_ends_is_given_on_in_pieces() {
        let (log, kept) = log(1 << 20);
        log.print(Source::Stdout, &vec![b'x'; 3 * PRINTED_LINE]);
        assert_eq!(lines(&kept).len(), 3);
    }
}
