//! A broker as one host sees it: one connection that can be cut, or stand still
//! until both ends give it up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::incarnation::Incarnation;
use holdfast_core::settle::Confirmed;
use holdfast_embedded::EmbeddedBroker;
use holdfast_history::What;
use holdfast_ports::broker::{
    Broker, Finding, Keep, PublishError, Subscribe, Subscription, Topology,
};
use holdfast_ports::error::PortError;
use holdfast_ports::look::{Counts, Look};
use holdfast_ports::message::{Incoming, Outgoing, Target};
use tokio_util::sync::CancellationToken;

use crate::life::Life;
use crate::net::{Fate, Link, PATIENCE, Way, fate, latency, pass};
use crate::setup::EFFECTS;
use crate::wire::{Channel, Ends};
use crate::world::World;

/// One host's client of a broker.
pub(crate) struct SimBroker {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
    pub(crate) link: Arc<Link>,
    pub(crate) name: &'static str,
    pub(crate) closed: CancellationToken,
}

/// What a publish is, for the record.
#[derive(Clone)]
struct Told {
    who: String,
    what: String,
    event: Option<What>,
    nameless_letter: bool,
    /// It goes to a delay queue, which may hand it over twice.
    delayed: bool,
}

impl SimBroker {
    fn server(&self) -> &EmbeddedBroker {
        &self.world.brokers[self.name]
    }

    async fn reach(&self, what: &str) -> Result<(), PortError> {
        self.life.point().await;
        let wait = latency(&mut self.world.dice());
        pass(wait).await;
        let away = match self.link.way() {
            Way::Open => self.closed.is_cancelled(),
            Way::Refused => true,
            Way::Swallowed => {
                pass(PATIENCE).await;
                true
            }
        };
        if away {
            return Err(PortError::transient(format!("{what}: the broker is away")));
        }
        Ok(())
    }

    /// Publishes, as far as the way lets it.
    async fn send<F, Fut>(&self, told: Told, make: F) -> Result<Confirmed, PublishError>
    where
        F: Fn(EmbeddedBroker) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Confirmed, PublishError>> + Send,
    {
        self.life.point().await;
        let away = |why: &str| Err(PublishError::Away(PortError::transient(why)));
        if self.closed.is_cancelled() {
            return away("the client is closed");
        }
        let (fate, twice) = {
            let mut dice = self.world.dice();
            let odds = self.world.plan.publish_odds;
            let twice = told.delayed && dice.per_mille(odds);
            (fate(&mut dice, &self.link, odds), twice)
        };
        let (world, server) = (Arc::clone(&self.world), self.server().client());
        let answer = match fate {
            Fate::Refused(after) => {
                pass(after).await;
                world.note(&told.who, format_args!("{} ✗ refused", told.what));
                Err(PublishError::Nacked)
            }
            Fate::Lost(after) => {
                pass(after).await;
                world.note(&told.who, format_args!("{} ✗ never arrived", told.what));
                Err(PublishError::Deadline(PATIENCE))
            }
            Fate::Late(after, there) => {
                let late = told.clone();
                tokio::spawn(async move {
                    pass(there).await;
                    let _ = arrive(&world, &late, make(server)).await;
                });
                pass(after).await;
                Err(PublishError::Deadline(PATIENCE))
            }
            Fate::Unheard(there, after) => {
                pass(there).await;
                let _ = arrive(&world, &told, make(server)).await;
                self.life.point().await;
                pass(after).await;
                away("the connection is gone")
            }
            Fate::Fine(there, back) => {
                pass(there).await;
                let answer = arrive(&world, &told, make(server.client())).await;
                if twice {
                    let _ = arrive(&world, &told, make(server)).await;
                }
                self.life.point().await;
                pass(back).await;
                answer
            }
        };
        self.life.point().await;
        answer
    }
}

async fn arrive(
    world: &World,
    told: &Told,
    made: impl Future<Output = Result<Confirmed, PublishError>>,
) -> Result<Confirmed, PublishError> {
    let answer = made.await;
    match &answer {
        Ok(_) => {
            world.note(&told.who, format_args!("{} arrived", told.what));
            if let Some(event) = told.event.clone() {
                world.happened(event);
            }
            if told.nameless_letter {
                world.known().nameless_letters += 1;
            }
        }
        Err(error) => world.note(&told.who, format_args!("{} ✗ {error}", told.what)),
    }
    answer
}

/// What the arrival of a published message means.
fn meaning(message: &Outgoing) -> (Option<What>, bool) {
    let Target::Queue(queue) = &message.to else {
        return (None, false);
    };
    let header = |name: &str| {
        let found = message.headers.iter().find(|header| header.name == name)?;
        String::from_utf8(found.value.clone()).ok()
    };
    if queue == EFFECTS {
        let effect = What::Effect {
            key: header("of").unwrap_or_default(),
            id: message.id.clone().unwrap_or_default(),
            fence: header("fence")
                .and_then(|fence| fence.parse().ok())
                .unwrap_or(0),
        };
        return (Some(effect), false);
    }
    if queue.ends_with(".dead") {
        let key = header("x-holdfast-key");
        let nameless = key.is_none();
        let reason = header("x-holdfast-reason").unwrap_or_default();
        return (Some(What::Letter { key, reason }), nameless);
    }
    (None, false)
}

#[async_trait]
impl Broker for SimBroker {
    async fn prepare(&self, topology: &Topology) -> Result<Vec<Finding>, PortError> {
        self.reach("prepare").await?;
        self.server().prepare(topology).await
    }

    async fn subscribe(&self, request: &Subscribe) -> Result<Box<dyn Subscription>, PortError> {
        self.reach("subscribe").await?;
        let inner = self.server().subscribe(request).await?;
        self.world.note(&self.life.name, format_args!("subscribed"));
        let ends = Ends {
            world: Arc::clone(&self.world),
            life: Arc::clone(&self.life),
            link: Arc::clone(&self.link),
            connection: self.link.connection(&mut self.world.dice()),
            side: self.name,
        };
        let channel = Channel::open(ends, inner);
        self.life.point().await;
        Ok(Box::new(channel))
    }

    async fn publish(&self, message: Outgoing) -> Result<Confirmed, PublishError> {
        let (event, nameless_letter) = meaning(&message);
        let told = Told {
            who: self.life.name.clone(),
            what: format!(
                "publish {} to {}",
                message.id.as_deref().unwrap_or("-"),
                message.to
            ),
            event,
            nameless_letter,
            delayed: false,
        };
        self.send(told, move |server| {
            let message = message.clone();
            async move { server.publish(message).await }
        })
        .await
    }

    async fn delay(
        &self,
        queue: &str,
        message: &Incoming,
        step: Duration,
        left: Duration,
    ) -> Result<Confirmed, PublishError> {
        let key = message.id.clone().unwrap_or_default();
        let told = Told {
            who: self.life.name.clone(),
            what: format!("delay {key} by {step:?}"),
            event: Some(What::Deferred {
                key,
                side: self.name.to_owned(),
            }),
            nameless_letter: false,
            delayed: true,
        };
        let (queue, message) = (queue.to_owned(), message.clone());
        self.send(told, move |server| {
            let (queue, message) = (queue.clone(), message.clone());
            async move { server.delay(&queue, &message, step, left).await }
        })
        .await
    }

    async fn counts(&self, queue: &str) -> Result<Option<Counts>, PortError> {
        self.reach("count").await?;
        self.server().counts(queue).await
    }

    async fn look(&self, queue: &str, limit: usize) -> Result<Option<Box<dyn Look>>, PortError> {
        self.reach("look").await?;
        self.server().look(queue, limit).await
    }

    async fn incarnation(
        &self,
        _service: &str,
        keep: Keep,
    ) -> Result<Option<Incarnation>, PortError> {
        self.reach("keep the incarnation").await?;
        let mut known = self.world.known();
        let copy = known.incarnations.get(self.name).cloned();
        let written = keep.decide(copy.as_ref());
        if let Some(written) = &written {
            known.incarnations.insert(self.name, written.clone());
        }
        Ok(written.or(copy))
    }

    fn is_up(&self) -> bool {
        self.link.way() == Way::Open && !self.closed.is_cancelled()
    }

    async fn close(&self) {
        self.life.point().await;
        self.closed.cancel();
        self.link.cut();
    }
}
