//! News from other hosts: a lease given back, a rule set, a flag changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::AsyncConnectionConfig;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::error::LinkError;
use crate::link::Target;

/// Longest wait for news: whoever waits looks for himself this often, so that a
/// word that got lost costs no more.
const LONGEST: Duration = Duration::from_secs(1);

/// Longest time to reach a server.
const CONNECT: Duration = Duration::from_secs(5);

/// Pause before subscribing again.
const PAUSE: Duration = Duration::from_millis(500);

/// A subscription on a connection of its own, renewed for ever. It ends when
/// this value is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    news: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(targets: Vec<Target>, channel: String) -> Self {
        let news = Arc::new(Notify::new());
        let task = tokio::spawn(run(targets, channel, Arc::clone(&news)));
        Self { news, task }
    }

    /// Returns at news, after a new connection, or after a second.
    pub(crate) async fn changed(&self) {
        drop(tokio::time::timeout(LONGEST, self.news.notified()).await);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(targets: Vec<Target>, channel: String, news: Arc<Notify>) {
    // Any server of a cluster has all news, so one after the other is tried.
    for target in targets.iter().cycle() {
        if let Err(error) = listen(target, &channel, &news).await {
            tracing::debug!(%error, "failed to wait for news from Redis");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(target: &Target, channel: &str, news: &Notify) -> Result<(), LinkError> {
    let limits = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT));
    let client = target.client(&limits).await?;
    let mut subscription = client.get_async_pubsub().await.map_err(LinkError::Away)?;
    let subscribed = subscription.subscribe(channel).await;
    subscribed.map_err(LinkError::Away)?;
    // Something may have been said while nobody listened.
    news.notify_waiters();
    let mut messages = subscription.into_on_message();
    while messages.next().await.is_some() {
        news.notify_waiters();
    }
    Ok(())
}
