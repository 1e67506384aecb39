//! A call to the store on its way: it takes time, gets lost, or comes late.

use std::fmt::Debug;
use std::sync::Arc;

use holdfast_embedded::EmbeddedStore;
use holdfast_ports::error::PortError;
use holdfast_ports::store::Place;

use crate::net::{Fate, Way, fate, pass};
use crate::record::Short;
use crate::store::SimStore;
use crate::world::World;

/// A call on its way: what the trace calls it, and whether it is in the trace.
pub(crate) struct Sent {
    world: Arc<World>,
    who: String,
    step: &'static str,
    about: String,
    shown: bool,
}

impl Sent {
    fn note(&self, what: &str) {
        if self.shown {
            let Self { step, about, .. } = self;
            self.world
                .note(&self.who, format_args!("{step} {about} {what}"));
        }
    }

    async fn arrive<T: Debug>(
        &self,
        made: impl Future<Output = Result<T, PortError>>,
        seen: impl FnOnce(&World, &T),
    ) -> Result<T, PortError> {
        let answer = made.await;
        if let Ok(answer) = &answer {
            seen(&self.world, answer);
        }
        match &answer {
            Ok(answer) => self.note(&format!("→ {}", Short(answer))),
            Err(error) => self.note(&format!("→ {error}")),
        }
        answer
    }

    fn failed<T>(&self, why: &str) -> Result<T, PortError> {
        self.note(&format!("✗ {why}"));
        Err(PortError::transient(format!("{}: {why}", self.step)))
    }
}

impl SimStore {
    pub(crate) fn sent(&self, step: &'static str, about: impl Into<String>, shown: bool) -> Sent {
        Sent {
            world: Arc::clone(&self.world),
            who: self.life.name.clone(),
            step,
            about: about.into(),
            shown,
        }
    }

    pub(crate) async fn call<T, F, Fut>(
        &self,
        sent: Sent,
        make: F,
        seen: impl FnOnce(&World, &T) + Send + 'static,
    ) -> Result<T, PortError>
    where
        T: Debug + Send + 'static,
        F: FnOnce(Arc<EmbeddedStore>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, PortError>> + Send,
    {
        self.life.point().await;
        let odds = self.world.plan.store_odds;
        let fate = fate(&mut self.world.dice(), &self.link, odds);
        let store = Arc::clone(&self.world.store);
        let answer = match fate {
            Fate::Refused(after) => {
                pass(after).await;
                sent.failed("refused")
            }
            Fate::Lost(after) => {
                pass(after).await;
                sent.failed("no answer; it never arrived")
            }
            Fate::Late(after, there) => {
                let late = Sent {
                    world: Arc::clone(&sent.world),
                    who: sent.who.clone(),
                    about: sent.about.clone(),
                    ..sent
                };
                tokio::spawn(async move {
                    pass(there).await;
                    late.note("arrives late");
                    let _ = late.arrive(make(store), seen).await;
                });
                pass(after).await;
                sent.failed("no answer; it is under way")
            }
            Fate::Unheard(there, after) => {
                pass(there).await;
                let _ = sent.arrive(make(store), seen).await;
                self.life.point().await;
                pass(after).await;
                sent.failed("no answer; it arrived")
            }
            Fate::Fine(there, back) => {
                pass(there).await;
                if self.link.way() != Way::Open {
                    pass(crate::net::PATIENCE).await;
                    return sent.failed("no answer; the way was closed");
                }
                let answer = sent.arrive(make(store), seen).await;
                self.life.point().await;
                pass(back).await;
                answer
            }
        };
        self.life.point().await;
        answer
    }

    /// A call that belongs to one message.
    pub(crate) async fn about<T, F, Fut>(
        &self,
        step: &'static str,
        at: &Place,
        make: F,
    ) -> Result<T, PortError>
    where
        T: Debug + Send + 'static,
        F: FnOnce(Arc<EmbeddedStore>, Place) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, PortError>> + Send,
    {
        let sent = self.sent(step, at.key.as_str(), true);
        let at = at.clone();
        self.call(sent, move |store| make(store, at), |_, _| {})
            .await
    }

    /// A call that keeps house.
    pub(crate) async fn quiet<T, F, Fut>(&self, step: &'static str, make: F) -> Result<T, PortError>
    where
        T: Debug + Send + 'static,
        F: FnOnce(Arc<EmbeddedStore>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, PortError>> + Send,
    {
        let sent = self.sent(step, "", false);
        self.call(sent, make, |_, _| {}).await
    }
}
