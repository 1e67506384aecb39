//! The draft interface `wasi:messaging` 0.2.0 on top of Holdfast's own: a
//! received message is a resource, its headers are the metadata, and `send` is
//! the outbox.

use bytes::Bytes;
use holdfast_ports::message::{Header, Staged, Target};
use holdfast_ports::plugins::Call;
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::messaging::wasi::messaging::producer;
use crate::bindings::messaging::wasi::messaging::types::{
    self, Error, Host, HostClient, HostMessage, Metadata,
};
use crate::guest::{Guest, Stop};
use crate::stage::queue_target;

/// A broker that a guest connected to; none is the consumer's own.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Client {
    broker: Option<String>,
}

/// A message that was received, or one that is to be sent.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Message {
    topic: Option<String>,
    content_type: Option<String>,
    data: Bytes,
    metadata: Option<Metadata>,
}

/// Adds the imports to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    producer::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

/// The resource for the message of a call.
pub(crate) fn incoming(guest: &mut Guest, call: &Call) -> wasmtime::Result<Resource<Message>> {
    let message = &call.message;
    let metadata = message.headers.iter().map(|header| {
        let value = String::from_utf8_lossy(&header.value).into_owned();
        (header.name.clone(), value)
    });
    let metadata: Metadata = metadata.collect();
    let resource = Message {
        topic: Some(message.routing_key.clone()).filter(|topic| !topic.is_empty()),
        content_type: message.content_type.clone(),
        data: message.body.clone(),
        metadata: (!metadata.is_empty()).then_some(metadata),
    };
    Ok(guest.wasi().table.push(resource)?)
}

/// What an error of the guest says, for the log and the claim.
pub(crate) fn error_text(error: &Error) -> String {
    match error {
        Error::Timeout => "timeout".to_owned(),
        Error::Connection(text) => format!("connection: {text}"),
        Error::PermissionDenied(text) => format!("permission denied: {text}"),
        Error::Other(text) => text.clone(),
    }
}

impl Guest {
    fn message(&mut self, message: &Resource<Message>) -> wasmtime::Result<&mut Message> {
        self.count()?;
        Ok(self.wasi().table.get_mut(message)?)
    }
}

impl Host for Guest {}

impl HostClient for Guest {
    fn connect(&mut self, name: String) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        self.count()?;
        let call = self
            .work
            .single()
            .ok_or(Stop::NoMessage("client.connect"))?;
        let broker = if name.is_empty() {
            None
        } else if call.brokers.contains(&name) {
            Some(name)
        } else {
            let text = format!("no broker named {name:?} is configured");
            return Ok(Err(Error::Connection(text)));
        };
        Ok(Ok(self.wasi().table.push(Client { broker })?))
    }

    fn disconnect(&mut self, _: Resource<Client>) -> wasmtime::Result<Result<(), Error>> {
        self.count()?;
        Ok(Ok(()))
    }

    fn drop(&mut self, client: Resource<Client>) -> wasmtime::Result<()> {
        self.wasi().table.delete(client)?;
        Ok(())
    }
}

impl HostMessage for Guest {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<Message>> {
        self.count()?;
        let message = Message {
            topic: None,
            content_type: None,
            data: data.into(),
            metadata: None,
        };
        self.hold(&message)?;
        Ok(self.wasi().table.push(message)?)
    }

    fn topic(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        Ok(self.message(&message)?.topic.clone())
    }

    fn content_type(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        Ok(self.message(&message)?.content_type.clone())
    }

    fn set_content_type(
        &mut self,
        message: Resource<Message>,
        content_type: String,
    ) -> wasmtime::Result<()> {
        self.change(&message, |message| {
            message.content_type = Some(content_type);
        })
    }

    fn data(&mut self, message: Resource<Message>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.message(&message)?.data.to_vec())
    }

    fn set_data(&mut self, message: Resource<Message>, data: Vec<u8>) -> wasmtime::Result<()> {
        self.change(&message, |message| message.data = data.into())
    }

    fn metadata(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<Metadata>> {
        Ok(self.message(&message)?.metadata.clone())
    }

    fn add_metadata(
        &mut self,
        message: Resource<Message>,
        key: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.change(&message, |message| {
            let metadata = message.metadata.get_or_insert_default();
            match metadata.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = value,
                None => metadata.push((key, value)),
            }
        })
    }

    fn set_metadata(
        &mut self,
        message: Resource<Message>,
        metadata: Metadata,
    ) -> wasmtime::Result<()> {
        self.change(&message, |message| message.metadata = Some(metadata))
    }

    fn remove_metadata(&mut self, message: Resource<Message>, key: String) -> wasmtime::Result<()> {
        self.change(&message, |message| {
            if let Some(metadata) = &mut message.metadata {
                metadata.retain(|(known, _)| *known != key);
            }
        })
    }

    fn drop(&mut self, message: Resource<Message>) -> wasmtime::Result<()> {
        let message = self.wasi().table.delete(message)?;
        self.messages = self.messages.saturating_sub(message.weight());
        Ok(())
    }
}

impl producer::Host for Guest {
    fn send(
        &mut self,
        client: Resource<Client>,
        topic: String,
        message: Resource<Message>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.count()?;
        let message = self.wasi().table.delete(message)?;
        self.messages = self.messages.saturating_sub(message.weight());
        let broker = self.wasi().table.get(&client)?.broker.clone();
        let call = self.work.single().ok_or(Stop::NoMessage("producer.send"))?;
        let (broker, to) = match broker {
            Some(broker) => (Some(broker), Target::Queue(topic)),
            None => queue_target(&call.brokers, &topic),
        };
        let headers = message.metadata.unwrap_or_default().into_iter();
        let staged = Staged {
            broker,
            to,
            body: message.data.to_vec(),
            content_type: message.content_type,
            headers: headers
                .map(|(name, value)| Header::text(name, value))
                .collect(),
            lane: None,
        };
        let limits = *self.limits();
        Ok(self.stage.publish(&limits, staged).map_err(Error::Other))
    }
}

impl Message {
    /// Bytes that the guest has the host keep for this message.
    fn weight(&self) -> usize {
        let metadata = self.metadata.iter().flatten();
        self.data.len()
            + self.content_type.as_ref().map_or(0, String::len)
            + metadata
                .map(|(key, value)| key.len() + value.len() + 48)
                .sum::<usize>()
    }
}

impl Guest {
    /// Counts what a message makes the host keep.
    fn hold(&mut self, message: &Message) -> Result<(), Stop> {
        self.messages += message.weight();
        if self.messages > self.limits().outbox_total {
            Err(Stop::Held(self.limits().outbox_total))
        } else {
            Ok(())
        }
    }

    /// Changes a message within the limit of what a guest has the host keep.
    fn change(
        &mut self,
        message: &Resource<Message>,
        change: impl FnOnce(&mut Message),
    ) -> wasmtime::Result<()> {
        let message = self.message(message)?;
        let before = message.weight();
        change(message);
        let after = message.weight();
        self.messages = (self.messages + after).saturating_sub(before);
        if self.messages > self.limits().outbox_total {
            return Err(Stop::Held(self.limits().outbox_total).into());
        }
        Ok(())
    }
}
