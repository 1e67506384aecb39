//! Which server a link connects to.

use std::fmt;
use std::sync::Arc;

use redis::{AsyncConnectionConfig, Client, Value};

use crate::error::LinkError;

/// A client for an address.
type Make = dyn Fn(&str, u16) -> Result<Client, LinkError> + Send + Sync;

/// A server, or whoever sentinels say is the primary now.
#[derive(Clone)]
pub(crate) enum Target {
    Server(Box<Client>),
    Sentinels(Arc<Sentinels>),
}

/// Who knows the primary.
pub(crate) struct Sentinels {
    name: String,
    sentinels: Vec<Client>,
    make: Box<Make>,
}

impl Target {
    pub(crate) fn server(client: Client) -> Self {
        Self::Server(Box::new(client))
    }

    pub(crate) fn sentinels(
        name: String,
        sentinels: Vec<Client>,
        make: impl Fn(&str, u16) -> Result<Client, LinkError> + Send + Sync + 'static,
    ) -> Self {
        Self::Sentinels(Arc::new(Sentinels {
            name,
            sentinels,
            make: Box::new(make),
        }))
    }

    /// The server as it is now.
    pub(crate) async fn client(&self, limits: &AsyncConnectionConfig) -> Result<Client, LinkError> {
        match self {
            Self::Server(client) => Ok(Client::clone(client)),
            Self::Sentinels(known) => known.primary(limits).await,
        }
    }
}

impl Sentinels {
    /// Asks one after the other.
    async fn primary(&self, limits: &AsyncConnectionConfig) -> Result<Client, LinkError> {
        let mut last = LinkError::NoPrimary(self.name.clone());
        for sentinel in &self.sentinels {
            match self.ask(sentinel, limits).await {
                Ok(Some((host, port))) => return (self.make)(&host, port),
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        sentinel: &Client,
        limits: &AsyncConnectionConfig,
    ) -> Result<Option<(String, u16)>, LinkError> {
        let connection = sentinel.get_multiplexed_async_connection_with_config(limits);
        let mut connection = connection.await.map_err(LinkError::connecting)?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&self.name);
        let answer = connection.send_packed_command(&command).await;
        Ok(place(&answer.map_err(LinkError::Away)?))
    }
}

fn place(answer: &Value) -> Option<(String, u16)> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    match parts.as_slice() {
        [host, port] => Some((text(host)?, text(port)?.parse().ok()?)),
        _ => None,
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client shows its password.
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Sentinels(_) => "Sentinels",
        })
    }
}
