//! RabbitMQ as Holdfast's broker.
//!
//! - Three connections: one consumes, one publishes, one makes waiting copies.
//!   The broker blocks a connection that publishes when it runs out of memory
//!   or disk; a blocked one must not hold up the others. A fourth, made when it
//!   is first needed, looks through queues.
//! - Each subscription has a channel and a generation of its own; a ticket of
//!   an older one is worthless and is given back.
//! - Acknowledgements are manual, coalesced, and never waited for.
//! - Publishes are persistent, mandatory, confirmed and bounded in time. Each
//!   queue has a channel of its own for them.
//!
//! ```no_run
//! use std::sync::Arc;
//! use holdfast_ports::broker::{Broker, Subscribe};
//! use holdfast_rabbitmq::{Options, RabbitMq};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new("amqp://guest:guest@127.0.0.1:5672/%2f", "orders");
//! let broker: Arc<dyn Broker> = Arc::new(RabbitMq::connect(options)?);
//! let mut orders = broker
//!     .subscribe(&Subscribe {
//!         queue: "orders".to_owned(),
//!         consumer: "orders".to_owned(),
//!         prefetch: 256,
//!         exclusive: false,
//!     })
//!     .await?;
//! let delivery = orders.next().await?;
//! println!("{:?}", delivery.message);
//! # Ok(())
//! # }
//! ```

mod acks;
mod alone;
mod answers;
mod aside;
mod coalesce;
mod consume;
mod convert;
mod drain;
mod error;
mod incarnation;
#[doc(hidden)]
pub mod inputs;
mod link;
mod look;
mod options;
mod pending;
mod publish;
mod publishers;
mod topology;
mod version;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use holdfast_core::settle::Confirmed;
use holdfast_ports::broker::{
    Broker, Finding, Incarnation, Keep, PublishError, Subscribe, Subscription, Topology,
    delay_queue,
};
use holdfast_ports::error::PortError;
use holdfast_ports::look::{Counts, Look};
use holdfast_ports::message::{Incoming, Outgoing};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::OnceCell;

use crate::acks::Acks;
use crate::convert::Parcel;
use crate::link::Link;
use crate::look::Looking;
pub use crate::options::Options;
use crate::publish::Publisher;
use crate::publishers::Publishers;
use crate::version::Version;

/// A RabbitMQ broker.
pub struct RabbitMq {
    options: Arc<Options>,
    consuming: Arc<Link>,
    publishing: Arc<Link>,
    delaying: Arc<Link>,
    looking: Arc<Link>,
    /// Queues always have their exchange; named exchanges may be missing, and
    /// a publish to a missing one ends its channel.
    to_queues: Publishers,
    to_exchanges: Publisher,
    to_delays: Publishers,
    exchanges: Mutex<HashSet<String>>,
    /// Queues that were seen to have a single active consumer.
    single_active: Mutex<HashSet<String>>,
    version: OnceCell<Version>,
    generations: AtomicU64,
    subscriptions: Mutex<Vec<Weak<Acks>>>,
    /// One at a time of this process; the broker sees to the others.
    incarnation: tokio::sync::Mutex<()>,
}

impl RabbitMq {
    /// A client that connects in the background, and again whenever it has to.
    /// It does not fail while the broker is away. To be called where a tokio
    /// runtime runs; everything then runs there.
    ///
    /// # Errors
    /// Permanent when the address is none.
    pub fn connect(options: Options) -> Result<Self, PortError> {
        options.uri()?;
        let options = Arc::new(options);
        let link = |purpose| Arc::new(Link::new(options.clone(), purpose));
        let (consuming, publishing) = (link("consume"), link("publish"));
        let (delaying, looking) = (link("delay"), link("look"));
        let deadline = options.publish_deadline;
        consuming.start();
        Ok(Self {
            to_queues: Publishers::new(publishing.clone(), deadline),
            to_exchanges: Publisher::new(publishing.clone(), deadline),
            to_delays: Publishers::new(delaying.clone(), deadline),
            options,
            consuming,
            publishing,
            delaying,
            looking,
            exchanges: Mutex::default(),
            single_active: Mutex::default(),
            version: OnceCell::new(),
            generations: AtomicU64::new(1),
            subscriptions: Mutex::default(),
            incarnation: tokio::sync::Mutex::default(),
        })
    }

    /// The broker's version, asked once it can be reached.
    async fn version(&self) -> Option<Version> {
        let ask = async || version::ask(&self.options).await.ok_or(());
        self.version.get_or_try_init(ask).await.ok().copied()
    }

    fn links(&self) -> [&Arc<Link>; 4] {
        [
            &self.consuming,
            &self.publishing,
            &self.delaying,
            &self.looking,
        ]
    }

    fn exchanges(&self) -> MutexGuard<'_, HashSet<String>> {
        let exchanges = self.exchanges.lock();
        exchanges.unwrap_or_else(PoisonError::into_inner)
    }

    fn single_active(&self) -> MutexGuard<'_, HashSet<String>> {
        let known = self.single_active.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, acks: &Arc<Acks>) {
        let subscriptions = self.subscriptions.lock();
        let mut subscriptions = subscriptions.unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|known| known.strong_count() > 0);
        subscriptions.push(Arc::downgrade(acks));
    }

    fn forget_subscriptions(&self) -> Vec<Arc<Acks>> {
        let subscriptions = self.subscriptions.lock();
        let mut subscriptions = subscriptions.unwrap_or_else(PoisonError::into_inner);
        subscriptions
            .drain(..)
            .filter_map(|acks| acks.upgrade())
            .collect()
    }

    /// Looks for an exchange before the first publish to it.
    async fn must_exist(&self, parcel: &Parcel) -> Result<(), PublishError> {
        let name = parcel.exchange.as_str();
        if self.exchanges().contains(name) {
            return Ok(());
        }
        let look = async {
            let channel = self.publishing.channel().await?;
            let passive = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            let none = FieldTable::default();
            let declare =
                channel.exchange_declare(name.into(), ExchangeKind::Direct, passive, none);
            let what = format!("find exchange {name:?}");
            self.publishing.within(what, declare).await
        };
        match look.await {
            Ok(()) => {
                self.exchanges().insert(name.to_owned());
                Ok(())
            }
            Err(error) if error.is_transient() => Err(PublishError::Away(error)),
            Err(error) => Err(PublishError::Returned(error.to_string())),
        }
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn prepare(&self, topology: &Topology) -> Result<Vec<Finding>, PortError> {
        self.consuming.connection().await?;
        let version = self.version().await;
        let (findings, single_active) =
            topology::prepare(&self.consuming, version, topology).await?;
        let mut known = self.single_active();
        if single_active {
            known.insert(topology.queue.clone());
        } else {
            known.remove(&topology.queue);
        }
        Ok(findings)
    }

    async fn subscribe(&self, request: &Subscribe) -> Result<Box<dyn Subscription>, PortError> {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let options = self.options.clone();
        let single_active = self.single_active().contains(&request.queue);
        let (link, single) = (&self.consuming, single_active);
        let consuming = consume::subscribe(link, options, request, single, generation).await?;
        self.remember(consuming.acks());
        Ok(Box::new(consuming))
    }

    async fn publish(&self, message: Outgoing) -> Result<Confirmed, PublishError> {
        let parcel = Parcel::new(message).map_err(PublishError::Invalid)?;
        if parcel.exchange.as_str().is_empty() {
            let publisher = self.to_queues.to(parcel.routing_key.as_str());
            return publisher.publish(parcel).await;
        }
        self.must_exist(&parcel).await?;
        let exchange = parcel.exchange.clone();
        let answer = self.to_exchanges.publish(parcel).await;
        if matches!(answer, Err(PublishError::Returned(_))) {
            self.exchanges().remove(exchange.as_str());
        }
        answer
    }

    async fn delay(
        &self,
        queue: &str,
        message: &Incoming,
        step: Duration,
        left: Duration,
    ) -> Result<Confirmed, PublishError> {
        let copy = convert::waiting_copy(message, delay_queue(queue, step), left.as_millis());
        let parcel = Parcel::new(copy).map_err(PublishError::Invalid)?;
        let publisher = self.to_delays.to(parcel.routing_key.as_str());
        publisher.publish(parcel).await
    }

    async fn counts(&self, queue: &str) -> Result<Option<Counts>, PortError> {
        topology::counts(&self.consuming, queue).await
    }

    async fn look(&self, queue: &str, limit: usize) -> Result<Option<Box<dyn Look>>, PortError> {
        self.looking.connection().await?;
        let version = self.version().await;
        let looking = Looking::begin(self.looking.clone(), version, queue, limit).await?;
        Ok(looking.map(|looking| Box::new(looking) as Box<dyn Look>))
    }

    async fn incarnation(
        &self,
        service: &str,
        keep: Keep,
    ) -> Result<Option<Incarnation>, PortError> {
        let _turn = self.incarnation.lock().await;
        self.publishing.connection().await?;
        incarnation::keep(&self.publishing, self.version().await, service, &keep).await
    }

    fn is_up(&self) -> bool {
        self.consuming.is_up() && self.links().iter().all(|link| link.is_fine())
    }

    async fn close(&self) {
        let subscriptions = self.forget_subscriptions();
        join_all(subscriptions.iter().map(|acks| acks.end())).await;
        self.to_queues.stop();
        self.to_exchanges.stop();
        self.to_delays.stop();
        join_all(self.links().map(|link| link.close())).await;
    }
}
