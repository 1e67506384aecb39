//! A process is killed in the middle of its work. What it was told to be safe is
//! there afterwards, in order; what it had in hand comes again and says so.
//!
//! Run with an argument this program is the process to be killed: it publishes,
//! claims, commits and acknowledges, and prints each step once it is confirmed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{self, BeginAnswer, BeginFacts, CommitAnswer, Token};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_core::settle::{Confirmed, Settlement};
use holdfast_embedded::{EmbeddedBroker, EmbeddedStore};
use holdfast_ports::broker::{Broker, Subscribe, Subscription};
use holdfast_ports::message::{Effects, Outgoing, Target};
use holdfast_ports::store::{Begin, Commit, Place, Slot, Store};

/// The folder in which the process to be killed works.
const FOLDER: &str = "HOLDFAST_CRASH_FOLDER";
/// Steps that are seen before the kill.
const STEPS: [usize; 4] = [1, 30, 200, 700];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        work(Path::new(&folder)).await;
        return;
    }
    for steps in STEPS {
        let folder = tempfile::tempdir().unwrap();
        let seen = kill_after(folder.path(), steps);
        println!("killed after {} confirmed steps", seen.len());
        check(folder.path(), &seen).await;
    }
    println!("what was confirmed survived each kill");
}

fn open(folder: &Path) -> (EmbeddedBroker, EmbeddedStore) {
    let broker = EmbeddedBroker::open(Some(folder.join("queues.redb"))).unwrap();
    let store = EmbeddedStore::open(Some(folder.join("claims.redb"))).unwrap();
    (broker, store)
}

async fn consume(broker: &EmbeddedBroker) -> Box<dyn Subscription> {
    let request = Subscribe {
        queue: "q".to_owned(),
        consumer: "test".to_owned(),
        prefetch: 1000,
        exclusive: false,
    };
    broker.subscribe(&request).await.unwrap()
}

fn message(n: usize) -> Outgoing {
    Outgoing {
        to: Target::Queue("q".to_owned()),
        body: Bytes::from(n.to_string()),
        id: None,
        content_type: None,
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

fn begin(n: usize, token: u64) -> Begin {
    let side = Side::new("new").unwrap();
    let facts = BeginFacts {
        side: side.clone(),
        owner_if_new: side,
        token: Token(token),
        fingerprint: None,
        lane: None,
        sequence: None,
        epoch: None,
        lock: Duration::from_secs(600),
        assign_timeout: Duration::from_secs(60),
        rule: None,
    };
    let at = Place {
        group: Group::new("orders").unwrap(),
        key: ClaimKey::from_known(&n.to_string()),
        slot: Slot::Group,
        lease: None,
        keep: Duration::from_secs(600),
    };
    Begin {
        at,
        facts,
        state: false,
    }
}

/// Works until it is killed. Every third message is left unacknowledged.
async fn work(folder: &Path) {
    let (broker, store) = open(folder);
    broker.declare_queue("q").await.unwrap();
    let mut consumer = consume(&broker).await;
    let say = |step: &str, n: usize| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{step} {n}").unwrap();
        out.flush().unwrap();
    };
    for n in 0.. {
        broker.publish(message(n)).await.unwrap();
        say("published", n);
        let delivery = consumer.next().await.unwrap();
        let begin = begin(n, 1);
        let (at, shown) = (
            begin.at.clone(),
            Shown {
                token: Token(1),
                epoch: None,
            },
        );
        store.begin(begin).await.unwrap();
        say("begun", n);
        let commit = Commit {
            lane: None,
            sequence: None,
            effects: Effects::default(),
        };
        let committed = store.commit(&at, shown, &commit).await.unwrap();
        assert_eq!(committed, CommitAnswer::Done);
        say("committed", n);
        if n % 3 != 2 {
            let proof = claim::buried_without_claim(Confirmed::by_broker());
            let settler = consumer.settler();
            settler
                .settle(delivery.ticket, Settlement::Ack(proof))
                .unwrap();
            settler.flush().await;
            say("acknowledged", n);
        }
    }
}

/// Starts the process, kills it when it has confirmed so many steps, and gives
/// all that it said.
fn kill_after(folder: &Path, steps: usize) -> BTreeSet<(String, usize)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = BTreeSet::new();
    let mut keep = |line: String| {
        // The last line may have been cut by the kill.
        if let Some((step, n)) = line.split_once(' ')
            && let Ok(n) = n.parse()
        {
            seen.insert((step.to_owned(), n));
        }
    };
    lines
        .by_ref()
        .take(steps)
        .for_each(|line| keep(line.unwrap()));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.map_while(Result::ok).for_each(keep);
    assert!(seen.len() >= steps, "it ended by itself");
    seen
}

async fn check(folder: &Path, seen: &BTreeSet<(String, usize)>) {
    let (broker, store) = open(folder);
    let said = |step: &str, n: usize| seen.contains(&(step.to_owned(), n));
    let last = seen.iter().map(|(_, n)| *n).max().unwrap();

    let mut there = Vec::new();
    for read in broker.read("q", usize::MAX).unwrap() {
        let text = std::str::from_utf8(&read.message.body).unwrap();
        there.push(text.parse::<usize>().unwrap());
    }
    assert!(there.is_sorted(), "the order is kept: {there:?}");
    for n in 0..=last {
        let queued = there.contains(&n);
        if said("published", n) && n % 3 == 2 {
            assert!(queued, "{n} was published and not acknowledged");
        }
        if said("acknowledged", n) {
            assert!(!queued, "{n} was acknowledged");
        }
        if said("committed", n) {
            let answer = store.begin(begin(n, 2)).await.unwrap();
            assert_eq!(answer, BeginAnswer::Done, "{n} was committed");
        } else if said("begun", n) {
            let answer = store.begin(begin(n, 2)).await.unwrap();
            let known = matches!(answer, BeginAnswer::Busy { .. } | BeginAnswer::Done);
            assert!(known, "{n} was begun, but {answer:?}");
        }
    }

    // Whatever was begun had been delivered, and the next flush made that safe.
    let mut consumer = consume(&broker).await;
    for n in there {
        let delivery = consumer.next().await.unwrap();
        if (n + 1..=last).any(|later| said("acknowledged", later)) {
            assert!(delivery.message.redelivered, "{n} had been delivered");
        }
    }
}
