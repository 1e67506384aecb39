//! Do the books close, and does every unfinished claim have its message?
//!
//! The claims that are unfinished at the beginning are looked for in the order
//! of what it costs: what hosts have in hand, delay queues, dead letters, and at
//! last the work queue. A claim that was found, or that moved, is done with.
//! What is nowhere in look after look is a claim without a message.

mod evidence;
pub(crate) mod muster;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::audit::{Mark, Suspects, Whereabouts, whereabouts};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::Group;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{ClaimView, Place};
use tokio::time::Instant;

use self::evidence::{Effort, Evidence, subscribed};
use self::muster::Answer;
pub use self::report::{BooksReport, Claim, GroupReport, Report};
use crate::host::Host;
use crate::session::Context;
use crate::totals;

/// How long a message may be on its way between two places: a delay queue hands
/// over in the background.
const SETTLE: Duration = Duration::from_secs(5);

/// Claims of a group that are looked for.
const CLAIMS: usize = 10_000;

/// Left of the wait, busy queues are looked through too.
const AT_LAST: Duration = Duration::from_secs(8);

/// One claim that is looked for.
struct Wanted {
    claim: ClaimView,
    mark: Mark,
}

/// The claims of one group that are looked for.
struct Search {
    group: Group,
    consumers: Vec<Arc<Context>>,
    wanted: BTreeMap<ClaimKey, Wanted>,
    suspects: Suspects<ClaimKey>,
    report: GroupReport,
    /// Nothing more is to be found out.
    settled: bool,
}

/// Audits the books of this host and the claims of its groups (or of one), for
/// about as long as `wait` if need be.
///
/// # Errors
/// [`PortError`] when the store or a broker does not answer.
pub async fn audit(host: &Host, only: Option<&Group>, wait: Duration) -> Result<Report, PortError> {
    let start = Instant::now();
    let mut searches = begin(host, only).await?;
    let mut books = books(host).await?;
    loop {
        let left = wait.saturating_sub(start.elapsed());
        if searches.iter().any(|search| !search.settled) {
            let answers = call_the_roll(host, &searches).await?;
            let effort = Effort {
                busy: left <= AT_LAST,
            };
            for search in searches.iter_mut().filter(|search| !search.settled) {
                search
                    .round(host, &answers, effort, start.elapsed())
                    .await?;
            }
        }
        let balanced = books.iter().all(BooksReport::closes);
        let settled = searches.iter().all(|search| search.settled);
        if (balanced && settled) || start.elapsed() >= wait {
            break;
        }
        if !balanced {
            tokio::time::sleep(Duration::from_millis(100)).await;
            books = self::books(host).await?;
        }
    }
    let groups = searches.into_iter().map(|search| search.report).collect();
    Ok(Report { books, groups })
}

async fn begin(host: &Host, only: Option<&Group>) -> Result<Vec<Search>, PortError> {
    let mut groups: BTreeMap<Group, Vec<Arc<Context>>> = BTreeMap::new();
    for (consumer, _) in host.status() {
        let context = Arc::clone(consumer.context());
        if only.is_none_or(|only| *only == context.spec.group) {
            let group = context.spec.group.clone();
            groups.entry(group).or_default().push(context);
        }
    }
    let mut searches = Vec::new();
    for (group, consumers) in groups {
        searches.push(Search::begin(host, group, consumers).await?);
    }
    Ok(searches)
}

/// Asks all hosts what they have in hand.
async fn call_the_roll(host: &Host, searches: &[Search]) -> Result<Vec<Answer>, PortError> {
    let mut consumers = Vec::new();
    for context in searches.iter().flat_map(|search| &search.consumers) {
        let counts = context.broker.counts(&context.spec.queue).await?;
        consumers.push((context, counts.unwrap_or_default().consumers));
    }
    let nonce = (host.parts().surroundings.random)();
    let enough = |answers: &[Answer]| {
        let all = |(context, count): &(&Arc<Context>, u64)| subscribed(answers, context) >= *count;
        consumers.iter().all(all)
    };
    muster::ask(host.parts().store.as_ref(), nonce, enough).await
}

async fn books(host: &Host) -> Result<Vec<BooksReport>, PortError> {
    host.write_totals().await?;
    let mut reports = Vec::new();
    for (consumer, side, books) in host.books() {
        let name = totals::name(&consumer, &side);
        let totals = host.parts().store.totals(&name).await?;
        reports.push(BooksReport {
            run: books.at_rest(),
            sums: totals::sums(&totals),
            consumer,
            side,
            totals,
        });
    }
    Ok(reports)
}

fn mark(claim: &ClaimView) -> Mark {
    Mark {
        state: claim.state,
        attempt: claim.attempt,
        fence: claim.fence,
    }
}

impl Search {
    async fn begin(
        host: &Host,
        group: Group,
        consumers: Vec<Arc<Context>>,
    ) -> Result<Self, PortError> {
        let store = &host.parts().store;
        let mut claims = store.list(&group, None, CLAIMS + 1).await?;
        let report = GroupReport {
            group: group.clone(),
            unfinished: claims.len() as u64,
            found: BTreeMap::new(),
            lost: Vec::new(),
            unknown: Vec::new(),
            unseen: Vec::new(),
            more: claims.len() > CLAIMS,
        };
        claims.truncate(CLAIMS);
        let wanted = |claim: ClaimView| {
            let mark = mark(&claim);
            (claim.key.clone(), Wanted { claim, mark })
        };
        let wanted: BTreeMap<_, _> = claims.into_iter().map(wanted).collect();
        Ok(Self {
            settled: wanted.is_empty(),
            group,
            consumers,
            wanted,
            suspects: Suspects::new(SETTLE),
            report,
        })
    }

    /// Looks for what was not found yet.
    async fn round(
        &mut self,
        host: &Host,
        answers: &[Answer],
        effort: Effort,
        now: Duration,
    ) -> Result<(), PortError> {
        let mut evidence = Evidence::default();
        evidence.hands(&self.group, host.id(), answers);
        self.forget_moved(host).await?;
        self.wanted.retain(|key, wanted| {
            let seen = evidence.seen.get(key);
            let ours =
                seen.and_then(|seen| seen.iter().find(|(side, _)| *side == wanted.claim.side));
            match ours {
                Some((_, spot)) => {
                    *self.report.found.entry(spot.as_str()).or_default() += 1;
                    false
                }
                None => true,
            }
        });
        if !self.wanted.is_empty() {
            for context in &self.consumers {
                evidence.queues(context, answers, effort).await?;
            }
        }
        let (mut nowhere, mut unknown) = (Vec::new(), Vec::new());
        let nothing = Vec::new();
        self.wanted.retain(|key, wanted| {
            let side = &wanted.claim.side;
            let seen = evidence.seen.get(key).unwrap_or(&nothing);
            let found = match whereabouts(side, seen, evidence.sight(side)) {
                Whereabouts::At(spot) => spot.as_str(),
                Whereabouts::OtherSide(_) => "at the other side only",
                Whereabouts::NotLookedAt => "of a side that this host does not consume",
                Whereabouts::Unknown => {
                    unknown.push(key.clone());
                    return true;
                }
                Whereabouts::Nowhere => {
                    nowhere.push((key.clone(), wanted.mark));
                    return true;
                }
            };
            *self.report.found.entry(found).or_default() += 1;
            false
        });
        let suspected = nowhere.len();
        let lost = self.suspects.look(now, nowhere);
        self.settled = unknown.is_empty() && lost.len() == suspected;
        let claims = |keys: &[ClaimKey]| -> Vec<Claim> {
            let wanted = keys.iter().filter_map(|key| self.wanted.get(key));
            wanted.map(|wanted| shown(&wanted.claim)).collect()
        };
        self.report.lost = claims(&lost);
        unknown.extend(
            self.suspects
                .suspected()
                .filter(|key| !lost.contains(key))
                .cloned(),
        );
        self.report.unknown = claims(&unknown);
        self.report.unseen = evidence.unseen.into_values().flatten().collect();
        Ok(())
    }

    /// Claims that are finished by now, or that something was done about, have
    /// their message.
    async fn forget_moved(&mut self, host: &Host) -> Result<(), PortError> {
        let mut moved = Vec::new();
        for (key, wanted) in &self.wanted {
            let at = Place {
                group: self.group.clone(),
                key: key.clone(),
                slot: self
                    .consumers
                    .first()
                    .map(|c| c.spec.slot)
                    .unwrap_or_default(),
                lease: None,
                keep: Duration::ZERO,
            };
            let claim = host.parts().store.show(&at).await?;
            if claim.as_ref().map(mark) != Some(wanted.mark) {
                moved.push(key.clone());
            }
        }
        for key in moved {
            self.wanted.remove(&key);
            *self.report.found.entry("moved on meanwhile").or_default() += 1;
        }
        Ok(())
    }
}

fn shown(claim: &ClaimView) -> Claim {
    Claim {
        key: claim.key.clone(),
        side: claim.side.clone(),
        state: claim.state,
        attempt: claim.attempt,
        error: claim.error.clone(),
    }
}
