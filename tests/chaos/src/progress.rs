//! How a run goes on, in one line.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::run::Options;
use crate::sampler::Sampler;
use crate::watch::Watch;

/// How often a line is printed where none can be drawn over.
const PRINTED: Duration = Duration::from_secs(15);

/// A line that changes, or lines where standard error is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    length: Duration,
    drawn: bool,
    live: bool,
    state: Mutex<State>,
}

struct State {
    printed: Instant,
    fault: String,
}

impl Progress {
    pub(crate) fn new(options: &Options) -> Self {
        let drawn = options.live && std::io::stderr().is_terminal();
        let bar = if drawn {
            ProgressBar::new(options.length.as_secs())
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("chaos {bar:20} {msg}");
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            length: options.length,
            drawn,
            live: options.live,
            state: Mutex::new(State {
                printed: Instant::now(),
                fault: String::new(),
            }),
        }
    }

    /// Something that takes a while begins.
    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        if self.live && !self.drawn {
            eprintln!("chaos: {text}");
        }
    }

    /// How far it is. An empty fault is the one before.
    pub(crate) fn tell(&self, watch: &Watch, sampler: &Sampler, faults: usize, fault: &str) {
        let mut state = self.state.lock().unwrap_or_else(|bad| bad.into_inner());
        if !fault.is_empty() {
            fault.clone_into(&mut state.fault);
        }
        let passed = Duration::from_micros(watch.now());
        let (published, effects) = (watch.all_targets(), watch.effects());
        let line = format!(
            "{} of {}  {published} published, {effects} effects, {} in flight, {} calls  {faults} faults, last {}",
            minutes(passed),
            minutes(self.length),
            sampler.now(),
            watch.calls(),
            if state.fault.is_empty() {
                "none"
            } else {
                &state.fault
            },
        );
        self.bar.set_position(passed.as_secs());
        if self.live && !self.drawn && state.printed.elapsed() >= PRINTED {
            state.printed = Instant::now();
            eprintln!("chaos: {line}");
        }
        self.bar.set_message(line);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// `12:05`.
pub(crate) fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
