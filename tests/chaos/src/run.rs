//! One run, from the first server to the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::check::{Verdict, Violation, check};
use crate::dice::Dice;
use crate::drain;
use crate::fault::{self, Done, Family, Kind};
use crate::flow;
use crate::history::{Fault, History, Sent};
use crate::load::{Fate, LOADS};
use crate::progress::Progress;
use crate::promises;
use crate::sampler::Sampler;
use crate::stand::Stand;
use crate::watch::Watch;

/// How long everything may take to work again after a fault.
const RECOVERY: Duration = Duration::from_secs(120);
/// How long messages flow before the first fault.
const CALM: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults are made.
    pub length: Duration,
    /// Which.
    pub kinds: Vec<Kind>,
    /// The same faults for the same seed.
    pub seed: u64,
    /// Messages published in a second, all loads together.
    pub rate: u64,
    /// Hosts.
    pub hosts: usize,
    /// Where logs go.
    pub folder: PathBuf,
    /// Says how it goes on standard error.
    pub live: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was done.
    pub options: Options,
    /// What was seen.
    pub history: History,
    /// What that means.
    pub verdict: Verdict,
    /// Messages confirmed in each second.
    pub published: Vec<u64>,
    /// What each host's audit said.
    pub audits: Vec<String>,
    /// From the first message to the last ending.
    pub elapsed: Duration,
}

impl Outcome {
    /// Whether everything was as it has to be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdict.violations.is_empty()
    }
}

/// Runs it.
///
/// # Errors
/// When a server or a host does not start in the first place, and when the
/// harness itself fails. What hosts do wrong is in the outcome.
pub async fn run(options: Options) -> Result<Outcome> {
    let progress = Progress::new(&options);
    progress.say("starting two brokers, Redis and the hosts");
    let watch = Watch::new();
    let recorder = watch.recorder()?;
    let address = recorder.address().to_string();
    let stand = Stand::start(options.hosts, &address, &options.folder.join("logs")).await?;

    let mut publishers = Vec::new();
    let mut helpers = Vec::new();
    for (place, load) in LOADS.iter().enumerate() {
        for end in load.ends {
            let (url, recorder) = (stand.brokers[end.broker].url(), recorder.url(""));
            let publish =
                flow::publish(Arc::clone(&watch), place, end, url, recorder, options.seed);
            publishers.push(tokio::spawn(publish));
        }
    }
    for broker in &stand.brokers {
        helpers.push(tokio::spawn(flow::collect(
            Arc::clone(&watch),
            broker.url(),
        )));
    }
    // As much as the hosts work off in some seconds.
    let most = options.rate * 20;
    let pace = tokio::spawn(flow::pace(
        Arc::clone(&watch),
        options.rate,
        most,
        options.seed,
    ));

    let sampler = Sampler::start(stand.glances());
    let mut injector = Injector {
        stand,
        watch: Arc::clone(&watch),
        sampler,
        progress,
        dice: Dice::new(options.seed),
        kinds: options.kinds.clone(),
        bag: Vec::new(),
        faults: Vec::new(),
        wrong: Vec::new(),
    };
    let length = options.length;
    let injector = tokio::task::spawn_blocking(move || {
        injector.inject(length);
        injector
    });
    let Injector {
        mut stand,
        sampler,
        progress,
        faults,
        mut wrong,
        ..
    } = injector.await?;

    progress.say("waiting until everything has ended");
    watch.end();
    pace.await?;
    watch.fix_targets();
    for publisher in publishers {
        publisher.await?;
    }
    if let Err(error) = drain::settle(&stand, &watch, &sampler).await {
        wrong.push(format!("{error:#}"));
    }
    let elapsed = Duration::from_micros(watch.now());
    progress.say("auditing");
    let audits = drain::audit(&stand, &mut wrong);
    let letters = drain::letters(&stand).await?;
    drop(sampler);
    drain::stop(&mut stand, &mut wrong);
    for helper in helpers {
        helper.abort();
    }
    progress.end();

    let taken = watch.take();
    wrong.extend(taken.strange);
    let mut history = History {
        calls: taken.calls,
        effects: taken.effects,
        copies: taken.copies,
        letters,
        faults,
        ..History::default()
    };
    for (place, load) in LOADS.iter().enumerate() {
        for number in 0..watch.target(place) {
            let fate = Fate::of(options.seed, load, number);
            let sent = Sent {
                lane: load.lane(number),
                calls: fate.calls(),
                reason: fate.reason(),
            };
            history.sent.insert((load.group, number), sent);
        }
    }
    let mut verdict = check(&history);
    let broken = promises::findings(&history).into_iter();
    verdict.violations.extend(broken.map(Violation::Broken));
    let wrong = wrong.into_iter().map(Violation::Misbehaved);
    verdict.violations.extend(wrong);
    Ok(Outcome {
        options,
        history,
        verdict,
        published: taken.published,
        audits,
        elapsed,
    })
}

/// Makes faults, one after another and sometimes two at once.
struct Injector {
    stand: Stand,
    watch: Arc<Watch>,
    sampler: Sampler,
    progress: Progress,
    dice: Dice,
    kinds: Vec<Kind>,
    /// Those that are left of this round. Each kind occurs once in a round.
    bag: Vec<Kind>,
    faults: Vec<Fault>,
    wrong: Vec<String>,
}

impl Injector {
    fn inject(&mut self, length: Duration) {
        let started = Instant::now();
        self.rest(CALM);
        while started.elapsed() < length {
            let kinds = self.next();
            if let Err(error) = self.round(&kinds) {
                let names: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
                self.wrong
                    .push(format!("after {}: {error:#}", names.join(" and ")));
                // Nothing that follows would mean anything.
                return;
            }
            let pause = Duration::from_millis(self.dice.between(100, 700));
            self.rest(pause);
        }
    }

    /// The next kind; once in three times with one of another family.
    fn next(&mut self) -> Vec<Kind> {
        let first = self.draw(|_| true);
        let mut kinds: Vec<Kind> = first.into_iter().collect();
        if let Some(first) = first
            && self.dice.once_in(3)
        {
            kinds.extend(self.draw(|second| may_meet(first.family(), second.family())));
        }
        kinds
    }

    fn draw(&mut self, fits: impl Fn(Kind) -> bool) -> Option<Kind> {
        if self.bag.is_empty() {
            self.bag = self.kinds.clone();
            self.dice.shuffle(&mut self.bag);
        }
        let place = self.bag.iter().position(|kind| fits(*kind))?;
        Some(self.bag.remove(place))
    }

    /// Makes these faults, undoes them, and waits until everything works again.
    fn round(&mut self, kinds: &[Kind]) -> Result<()> {
        let alone = kinds.len() == 1;
        self.sampler.begin();
        let first = self.faults.len();
        let mut pending: Vec<(usize, Done)> = Vec::new();
        let mut made = Ok(());
        for kind in kinds {
            match self.make(*kind, alone) {
                Ok(done) => pending.push((self.faults.len() - 1, done)),
                Err(error) => made = Err(error),
            }
            if !alone {
                let apart = Duration::from_millis(self.dice.below(1_000));
                self.rest(apart);
            }
        }
        pending.sort_by_key(|(_, done)| done.until);
        for (place, done) in &pending {
            self.rest(done.until.saturating_duration_since(Instant::now()));
            made = made.and(fault::undo(&mut self.stand, &done.undo));
            self.faults[*place].over = self.watch.now();
        }
        let recovered = made.and_then(|()| self.recover(self.watch.now()));
        for fault in &mut self.faults[first..] {
            fault.recovered = recovered.as_ref().ok().copied();
            fault.in_flight = self.sampler.peak();
        }
        recovered.map(|_| ())
    }

    fn make(&mut self, kind: Kind, alone: bool) -> Result<Done> {
        self.progress
            .tell(&self.watch, &self.sampler, self.faults.len(), &kind.name());
        let begin = self.watch.now();
        self.faults.push(Fault {
            kind: kind.name(),
            family: kind.family().name(),
            target: String::new(),
            begin,
            over: begin,
            recovered: None,
            in_flight: 0,
            paired: !alone,
        });
        let done = fault::make(&mut self.stand, kind, alone, &mut self.dice)?;
        self.wrong.extend(done.wrong.iter().cloned());
        if let Some(fault) = self.faults.last_mut() {
            fault.target.clone_from(&done.target);
        }
        Ok(done)
    }

    /// Waits until every host is ready and every load has had effects since.
    fn recover(&mut self, over: u64) -> Result<u64> {
        let until = Instant::now() + RECOVERY;
        while !(self.watch.flows_since(over) && self.sampler.all_ready()) {
            let dead = self.stand.look_for_dead()?;
            self.wrong.extend(dead);
            if Instant::now() > until {
                let waiting = self.watch.stalled(over);
                anyhow::bail!(
                    "not everything works again after {RECOVERY:?}: no effects of {waiting:?}; {}",
                    self.stand.readiness()
                );
            }
            self.rest(Duration::from_millis(20));
        }
        Ok(self.watch.now())
    }

    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.progress
                .tell(&self.watch, &self.sampler, self.faults.len(), "");
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(200)));
        }
    }
}

/// Whether faults of two families can be made at once. An operator needs the
/// store, and a host that is there.
fn may_meet(one: Family, other: Family) -> bool {
    use Family::{Broker, Host, Operator, Store};
    matches!(
        (one, other),
        (Host | Store, Broker)
            | (Broker, Host | Store)
            | (Host, Store)
            | (Store, Host)
            | (Operator, Broker)
            | (Broker, Operator)
    )
}
