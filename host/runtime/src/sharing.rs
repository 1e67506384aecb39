//! Spreads the leases of a row of partitions over the instances that are there.
//!
//! Each instance says in the store that it is there, again and again. From the
//! list of all it knows its share (`holdfast-core`'s `share`): partitions beyond
//! it are given back in order, and only up to it are free ones taken. An
//! instance that fails at its whole share leaves the list for a while, so that
//! the others take it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::lease::Terms;
use holdfast_core::share::{share, surplus};
use holdfast_ports::store::SharedStore;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The list is looked at this long after an entry in it has run out.
const RUN_OUT: Duration = Duration::from_millis(5);

/// The longest time for which an instance that fails stays away.
const AWAY_AT_MOST: Duration = Duration::from_mins(10);

/// One row of partitions in this instance.
pub struct Sharing {
    store: SharedStore,
    roster: String,
    me: u64,
    terms: Terms,
    state: Mutex<State>,
    /// Something changed that the list should show at once.
    look: Notify,
}

#[derive(Default)]
struct State {
    /// Who is there, as of the last look.
    instances: Vec<u64>,
    /// The partitions that this instance campaigns for, by name.
    seats: BTreeMap<String, Place>,
    /// Not on the list before this.
    away_until: Option<Instant>,
    /// How often it stayed away without a success in between.
    absences: u32,
}

#[derive(Default)]
struct Place {
    /// It leads this partition, or asks for it.
    taken: bool,
    /// It was not asked for, since others were that are as many as the share.
    passed_over: bool,
    /// It was told to give it back.
    giving_back: bool,
    /// Messages flow.
    consuming: bool,
    /// It could not be led here, the last time.
    failed: bool,
    call: Arc<Notify>,
}

impl State {
    fn share(&self, me: u64) -> usize {
        share(self.seats.len(), &self.instances, me)
    }

    fn taken(&self) -> usize {
        self.seats.values().filter(|seat| seat.taken).count()
    }

    /// Calls those who have to do something about their share.
    fn balance(&mut self, me: u64) {
        let share = self.share(me);
        let kept = |seat: &Place| seat.taken && !seat.giving_back;
        let held = self.seats.values().filter(|seat| kept(seat)).count();
        let last_first = self.seats.values_mut().rev();
        for seat in last_first
            .filter(|seat| kept(seat))
            .take(surplus(held, share))
        {
            seat.giving_back = true;
            seat.call.notify_one();
        }
        if held < share {
            for seat in self.seats.values().filter(|seat| !seat.taken) {
                seat.call.notify_one();
            }
        }
    }
}

impl Sharing {
    /// The row with this name; `me` is this instance's random value.
    #[must_use]
    pub fn new(store: SharedStore, roster: &str, me: u64, terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            store,
            roster: roster.to_owned(),
            me,
            terms,
            state: Mutex::default(),
            look: Notify::new(),
        })
    }

    /// The place of one partition.
    #[must_use]
    pub fn seat(self: &Arc<Self>, partition: &str) -> Seat {
        Seat {
            row: Arc::clone(self),
            partition: partition.to_owned(),
        }
    }

    /// Keeps this instance on the list until `stop`, then takes it off.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut news = self.store.changed();
        loop {
            let wait = self.look().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.look.notified() => {}
                () = news.as_mut() => news = self.store.changed(),
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.state().instances.clear();
        if let Err(error) = self.store.attend(&self.roster, self.me, None).await {
            tracing::debug!(row = self.roster, %error, "this instance stays on the list until it expires");
        }
    }

    /// Says that this instance is there, if it is; gives when to do so again.
    async fn look(&self) -> Duration {
        let there = {
            let state = self.state();
            let away = state.away_until.is_some_and(|until| until > Instant::now());
            !away && !state.seats.is_empty()
        };
        let stay = there.then_some(self.terms.ttl);
        let present = match self.store.attend(&self.roster, self.me, stay).await {
            Ok(present) => present,
            Err(error) => {
                tracing::debug!(row = self.roster, %error, "the list of instances was not read");
                return self.terms.retry;
            }
        };
        let others = present.iter().filter(|other| other.instance != self.me);
        let soonest = others.map(|other| other.left + RUN_OUT).min();
        let mut state = self.state();
        let instances: Vec<u64> = present.iter().map(|other| other.instance).collect();
        if state.instances != instances {
            tracing::info!(
                row = self.roster,
                instances = instances.len(),
                "instances that share this row"
            );
            state.instances = instances;
        }
        state.balance(self.me);
        soonest.map_or(self.terms.renew, |soonest| self.terms.renew.min(soonest))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one partition in a row.
pub struct Seat {
    row: Arc<Sharing>,
    partition: String,
}

impl Seat {
    /// This instance campaigns for the partition from now on.
    pub(crate) fn enter(&self) {
        let mut state = self.row.state();
        state.seats.entry(self.partition.clone()).or_default();
        drop(state);
        self.row.look.notify_one();
    }

    /// It does not any more: the consumer is paused or ends.
    pub(crate) fn exit(&self) {
        let mut state = self.row.state();
        state.seats.remove(&self.partition);
        drop(state);
        self.row.look.notify_one();
    }

    /// May the partition be asked for? If so it counts as taken until
    /// [`Seat::left`].
    pub(crate) fn may_take(&self) -> bool {
        let mut state = self.row.state();
        let room = state.taken() < state.share(self.row.me);
        match state.seats.get_mut(&self.partition) {
            Some(seat) => {
                seat.taken |= room;
                seat.passed_over = !seat.taken;
                seat.taken
            }
            None => false,
        }
    }

    /// Was the list of instances read, so that the share follows from it?
    pub(crate) fn knows_its_share(&self) -> bool {
        !self.row.state().instances.is_empty()
    }

    /// Another leads it, or it was given back. It is the turn of one that was
    /// passed over, which may be free.
    pub(crate) fn left(&self) {
        let mut state = self.row.state();
        let Some(seat) = state.seats.get_mut(&self.partition) else {
            return;
        };
        let was_taken = seat.taken;
        (seat.taken, seat.giving_back, seat.consuming) = (false, false, false);
        let mut others = state.seats.values_mut();
        if was_taken && let Some(next) = others.find(|other| other.passed_over) {
            next.passed_over = false;
            next.call.notify_one();
        }
    }

    /// Messages flow.
    pub(crate) fn consuming(&self) {
        let mut state = self.row.state();
        state.absences = 0;
        if let Some(seat) = state.seats.get_mut(&self.partition) {
            (seat.consuming, seat.failed) = (true, false);
        }
    }

    /// It could not be led. When this instance leads no partition, and has failed
    /// at as many as are its share, it is likely to be at fault, and stays off
    /// the list for a while. (One partition that nobody can lead is no reason.)
    pub(crate) fn failed(&self) {
        let mut state = self.row.state();
        if let Some(seat) = state.seats.get_mut(&self.partition) {
            (seat.consuming, seat.failed) = (false, true);
        }
        let failed = state.seats.values().filter(|seat| seat.failed).count();
        let consuming = state.seats.values().any(|seat| seat.consuming);
        if consuming || failed < state.share(self.row.me).max(1) {
            return;
        }
        let away = self.row.terms.ttl * 4 * 2_u32.saturating_pow(state.absences.min(10));
        state.absences += 1;
        state.away_until = Some(Instant::now() + away.min(AWAY_AT_MOST));
        drop(state);
        self.row.look.notify_one();
    }

    /// Waits until the row wants something of this partition.
    pub(crate) async fn called(&self) {
        let call = self
            .row
            .state()
            .seats
            .get(&self.partition)
            .map(|seat| Arc::clone(&seat.call));
        match call {
            Some(call) => call.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Does this instance lead more than its share, and this one is to go?
    pub(crate) fn is_to_give_back(&self) -> bool {
        let state = self.row.state();
        let seat = state.seats.get(&self.partition);
        seat.is_some_and(|seat| seat.giving_back)
    }
}
