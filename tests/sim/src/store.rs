//! The store as one host sees it; how its calls fare is in [`crate::call`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, Look, ParkReason, ReleaseAnswer, StateName, StepAnswer,
    UndeliverableAnswer,
};
use holdfast_core::cutover::Rule;
use holdfast_core::incarnation::Incarnation;
use holdfast_core::name::{Group, Side};
use holdfast_embedded::EmbeddedStore;
use holdfast_history::What;
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot};
use holdfast_ports::store::{
    Addition, Agreement, Begin, ClaimView, Commit, GroupRules, LeaseAnswer, LeaseName, LeaseView,
    Open, Opened, Place, Present, Store,
};

use crate::life::Life;
use crate::net::{Link, Way};
use crate::world::World;

/// One host's client of the store.
pub(crate) struct SimStore {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
    pub(crate) link: Arc<Link>,
}

/// The fence of an attempt, for the commit that follows.
fn granted(world: &World, token: u64, answer: &BeginAnswer<Snapshot, Outbox>) {
    if let BeginAnswer::Granted { fence, .. } = answer {
        world.known().fences.insert(token, *fence);
    }
}

fn committed(world: &World, at: &Place, side: &str, shown: Shown, answer: &CommitAnswer) {
    if !matches!(answer, CommitAnswer::Done | CommitAnswer::Committed { .. }) {
        return;
    }
    let token = shown.token.0;
    let (fence, first) = {
        let mut known = world.known();
        let fence = known.fences.get(&token).copied().unwrap_or(0);
        (fence, known.committed.insert(token))
    };
    if first {
        world.happened(What::Committed {
            key: at.key.as_str().to_owned(),
            side: side.to_owned(),
            fence,
            lease: at.lease.as_ref().map(ToString::to_string),
            epoch: shown.epoch,
        });
    }
}

#[async_trait]
impl Store for SimStore {
    async fn begin(&self, begin: Begin) -> Result<BeginAnswer<Snapshot, Outbox>, PortError> {
        let token = begin.facts.token.0;
        let sent = self.sent("begin", begin.at.key.as_str(), true);
        self.call(
            sent,
            move |store| async move { store.begin(begin).await },
            move |world, answer| granted(world, token, answer),
        )
        .await
    }

    async fn look_at(
        &self,
        held: &[Place],
        side: &Side,
        assign_timeout: Duration,
    ) -> Result<Vec<Look>, PortError> {
        let (held, side) = (held.to_vec(), side.clone());
        self.quiet("look at", move |store| async move {
            store.look_at(&held, &side, assign_timeout).await
        })
        .await
    }

    async fn commit(
        &self,
        at: &Place,
        shown: Shown,
        commit: &Commit,
    ) -> Result<CommitAnswer, PortError> {
        let sent = self.sent("commit", at.key.as_str(), true);
        let side = self.life.name.split('.').next().unwrap_or("").to_owned();
        let (at, commit) = (at.clone(), commit.clone());
        let place = at.clone();
        self.call(
            sent,
            move |store| async move { store.commit(&at, shown, &commit).await },
            move |world, answer| committed(world, &place, &side, shown, answer),
        )
        .await
    }

    async fn fail(&self, at: &Place, shown: Shown, error: &str) -> Result<StepAnswer, PortError> {
        let error = error.to_owned();
        self.about("fail", at, move |store, at| async move {
            store.fail(&at, shown, &error).await
        })
        .await
    }

    async fn park(
        &self,
        at: &Place,
        shown: Shown,
        reason: ParkReason,
        error: Option<&str>,
    ) -> Result<StepAnswer, PortError> {
        let error = error.map(str::to_owned);
        self.about("park", at, move |store, at| async move {
            store.park(&at, shown, reason, error.as_deref()).await
        })
        .await
    }

    async fn abandon(&self, at: &Place, shown: Shown) -> Result<StepAnswer, PortError> {
        self.about("abandon", at, move |store, at| async move {
            store.abandon(&at, shown).await
        })
        .await
    }

    async fn published(&self, at: &Place) -> Result<StepAnswer, PortError> {
        self.about("published", at, move |store, at| async move {
            store.published(&at).await
        })
        .await
    }

    async fn buried(&self, at: &Place, fence: u64) -> Result<StepAnswer, PortError> {
        self.about("buried", at, move |store, at| async move {
            store.buried(&at, fence).await
        })
        .await
    }

    async fn undeliverable(
        &self,
        at: &Place,
        error: &str,
        limit: u32,
    ) -> Result<UndeliverableAnswer, PortError> {
        let error = error.to_owned();
        self.about("undeliverable", at, move |store, at| async move {
            store.undeliverable(&at, &error, limit).await
        })
        .await
    }

    async fn release(
        &self,
        at: &Place,
        to: Option<&Side>,
        force: bool,
    ) -> Result<ReleaseAnswer, PortError> {
        let to = to.cloned();
        self.about("release", at, move |store, at| async move {
            store.release(&at, to.as_ref(), force).await
        })
        .await
    }

    async fn replay(&self, at: &Place) -> Result<ReleaseAnswer, PortError> {
        self.about("replay", at, move |store, at| async move {
            store.replay(&at).await
        })
        .await
    }

    async fn show(&self, at: &Place) -> Result<Option<ClaimView>, PortError> {
        let at = at.clone();
        self.quiet("show", move |store| async move { store.show(&at).await })
            .await
    }

    async fn list(
        &self,
        group: &Group,
        state: Option<StateName>,
        limit: usize,
    ) -> Result<Vec<ClaimView>, PortError> {
        let group = group.clone();
        self.quiet("list", move |store| async move {
            store.list(&group, state, limit).await
        })
        .await
    }

    async fn agree(&self, group: &Group, rules: &GroupRules) -> Result<Agreement, PortError> {
        let (group, rules) = (group.clone(), rules.clone());
        self.quiet("agree", move |store| async move {
            store.agree(&group, &rules).await
        })
        .await
    }

    async fn acquire(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        let sent = self.sent("acquire", of.consumer.as_str(), true);
        let (of, lease) = (of.clone(), of.consumer.to_string());
        self.call(
            sent,
            move |store| async move { store.acquire(&of, owner, ttl).await },
            move |world, answer| {
                if let LeaseAnswer::Ours { epoch } = *answer {
                    world.happened(What::Leads { lease, epoch });
                }
            },
        )
        .await
    }

    async fn renew(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        let sent = self.sent("renew", of.consumer.as_str(), true);
        let of = of.clone();
        let make =
            move |store: Arc<EmbeddedStore>| async move { store.renew(&of, owner, ttl).await };
        self.call(sent, make, |_, _| {}).await
    }

    async fn give_back(&self, of: &LeaseName, owner: u64) -> Result<LeaseAnswer, PortError> {
        let sent = self.sent("give back", of.consumer.as_str(), true);
        let of = of.clone();
        let make =
            move |store: Arc<EmbeddedStore>| async move { store.give_back(&of, owner).await };
        self.call(sent, make, |_, _| {}).await
    }

    async fn leader(&self, of: &LeaseName) -> Result<Option<LeaseView>, PortError> {
        let of = of.clone();
        self.quiet(
            "leader",
            move |store| async move { store.leader(&of).await },
        )
        .await
    }

    async fn attend(
        &self,
        roster: &str,
        instance: u64,
        stay: Option<Duration>,
    ) -> Result<Vec<Present>, PortError> {
        let roster = roster.to_owned();
        self.quiet("attend", move |store| async move {
            store.attend(&roster, instance, stay).await
        })
        .await
    }

    async fn rule(&self, group: &Group) -> Result<Option<Rule>, PortError> {
        let group = group.clone();
        self.quiet("rule", move |store| async move { store.rule(&group).await })
            .await
    }

    async fn set_rule(
        &self,
        group: &Group,
        rule: &Rule,
        expected: u64,
    ) -> Result<Result<Rule, Rule>, PortError> {
        let (group, rule) = (group.clone(), rule.clone());
        self.quiet("set rule", move |store| async move {
            store.set_rule(&group, &rule, expected).await
        })
        .await
    }

    async fn open(&self, mode: Open) -> Result<Option<Opened>, PortError> {
        self.quiet("open", move |store| async move { store.open(mode).await })
            .await
    }

    async fn pulse(&self, remembered: &Incarnation) -> Result<Option<Incarnation>, PortError> {
        let remembered = remembered.clone();
        self.quiet("pulse", move |store| async move {
            store.pulse(&remembered).await
        })
        .await
    }

    async fn set_flag(&self, name: &str, value: Option<&str>) -> Result<(), PortError> {
        let sent = self.sent("set flag", name, true);
        let (name, value) = (name.to_owned(), value.map(str::to_owned));
        let make = move |store: Arc<EmbeddedStore>| async move {
            store.set_flag(&name, value.as_deref()).await
        };
        self.call(sent, make, |_, _| {}).await
    }

    async fn flags(&self, prefix: &str) -> Result<Vec<(String, String)>, PortError> {
        let prefix = prefix.to_owned();
        self.quiet(
            "flags",
            move |store| async move { store.flags(&prefix).await },
        )
        .await
    }

    async fn add_totals(
        &self,
        name: &str,
        of: Addition,
        counts: &[(String, u64)],
    ) -> Result<(), PortError> {
        let (name, counts) = (name.to_owned(), counts.to_vec());
        self.quiet("add totals", move |store| async move {
            store.add_totals(&name, of, &counts).await
        })
        .await
    }

    async fn totals(&self, name: &str) -> Result<Vec<(String, u64)>, PortError> {
        let name = name.to_owned();
        self.quiet(
            "totals",
            move |store| async move { store.totals(&name).await },
        )
        .await
    }

    /// News does not come through a way that is closed.
    async fn changed(&self) {
        loop {
            self.world.store.changed().await;
            if self.link.way() == Way::Open {
                return;
            }
        }
    }

    fn is_up(&self) -> bool {
        self.link.way() == Way::Open
    }
}
