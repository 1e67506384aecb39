//! The servers behind a store: one, the one that sentinels name, or a cluster.

use std::sync::Arc;
use std::time::Duration;

use holdfast_ports::error::PortError;
use redis::{Client, TlsCertificates, Value};

use crate::call::Call;
use crate::cluster::slots::slot;
use crate::cluster::{Cluster, Primary};
use crate::error::LinkError;
use crate::link::{Ask, Link, Plain, Settings, Target};
use crate::options::{RedisOptions, address};

/// The servers, each behind a link.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Arc<Link>),
    Cluster(Cluster),
}

impl Servers {
    /// Makes the links; nothing is connected yet. Also gives the servers that
    /// may be listened to for news.
    pub(crate) fn new(options: &RedisOptions) -> Result<(Self, Vec<Target>), PortError> {
        let certificates = certificates(options)?;
        let maker = Maker {
            options: options.clone(),
            certificates,
        };
        // The reason is about the address, without what stands in it.
        let wrong = |error: LinkError| {
            let what = format!("use the store {}", options.shown_url());
            match error {
                LinkError::Away(error) => {
                    PortError::permanent(what).because(error.category().to_owned())
                }
                other => PortError::permanent(what).because(other),
            }
        };
        let own = maker.client(&options.url).map_err(wrong)?;
        if options.cluster {
            let mut seeds = vec![options.place().map_err(bad_address)?];
            for node in &options.nodes {
                seeds.push(address(node).map_err(bad_address)?);
            }
            let mut targets = Vec::new();
            for (host, port) in &seeds {
                let url = maker.options.url_at(host, *port);
                targets.push(Target::server(maker.client(&url).map_err(wrong)?));
            }
            let cluster = Cluster::new(&seeds, move |host, port| maker.link(host, port));
            return Ok((Self::Cluster(cluster.map_err(wrong)?), targets));
        }
        let target = if options.sentinels.is_empty() {
            Target::server(own)
        } else {
            let (name, _) = options.place().map_err(bad_address)?;
            let mut sentinels = Vec::new();
            for sentinel in &options.sentinels {
                let (host, port) = address(sentinel).map_err(bad_address)?;
                sentinels.push(
                    maker
                        .client(&maker.options.sentinel_at(&host, port))
                        .map_err(wrong)?,
                );
            }
            let maker = maker.clone();
            Target::sentinels(name, sentinels, move |host, port| {
                maker.client(&maker.options.url_at(host, port))
            })
        };
        let settings = Settings::new(options, target.clone(), options.shown_url());
        Ok((Self::One(Arc::new(Link::start(settings))), vec![target]))
    }

    /// Runs a script at the server of its first key. An error as an answer is an
    /// error here.
    pub(crate) async fn call(&self, call: Call) -> Result<Value, LinkError> {
        match self {
            Self::One(link) => link.ask(call.into()).await,
            Self::Cluster(cluster) => {
                let slot = slot(call.first_key());
                Box::pin(cluster.ask(slot, call.into())).await
            }
        }
    }

    /// Takes a step together with those of others; [`Value::Nil`] when it was
    /// not taken and has to be asked for by a call of its own.
    pub(crate) async fn plain(&self, step: Plain) -> Result<Value, LinkError> {
        match self {
            Self::One(link) => link.ask(Ask::Plain(step)).await,
            Self::Cluster(cluster) => {
                let slot = slot(step.claim.as_bytes());
                Box::pin(cluster.ask(slot, Ask::Plain(step))).await
            }
        }
    }

    /// The primaries of a cluster, each known by its lowest slot; none for one
    /// server.
    pub(crate) async fn primaries(&self) -> Result<Option<Vec<Primary>>, LinkError> {
        match self {
            Self::One(_) => Ok(None),
            Self::Cluster(cluster) => cluster.primaries().await.map(Some),
        }
    }

    /// Every server that has claims.
    pub(crate) async fn links(&self) -> Result<Vec<Arc<Link>>, LinkError> {
        match self {
            Self::One(link) => Ok(vec![Arc::clone(link)]),
            Self::Cluster(cluster) => {
                let primaries = cluster.primaries().await?.into_iter();
                Ok(primaries.map(|primary| primary.link).collect())
            }
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    pub(crate) fn is_up(&self) -> bool {
        match self {
            Self::One(link) => link.is_up(),
            Self::Cluster(cluster) => cluster.is_up(),
        }
    }

    pub(crate) fn ping_time(&self) -> Duration {
        match self {
            Self::One(link) => link.ping_time(),
            Self::Cluster(cluster) => cluster.ping_time(),
        }
    }
}

/// Makes clients and links for several addresses with the same settings.
#[derive(Clone)]
struct Maker {
    options: RedisOptions,
    certificates: Option<TlsCertificates>,
}

impl Maker {
    fn client(&self, url: &str) -> Result<Client, LinkError> {
        let client = match &self.certificates {
            None => Client::open(url),
            Some(certificates) => Client::build_with_tls(url, certificates.clone()),
        };
        client.map_err(LinkError::Away)
    }

    fn link(&self, host: &str, port: u16) -> Result<Link, LinkError> {
        let url = self.options.url_at(host, port);
        let target = Target::server(self.client(&url)?);
        let shown = format!("{host}:{port}");
        Ok(Link::start(Settings::new(&self.options, target, shown)))
    }
}

fn bad_address(why: String) -> PortError {
    PortError::permanent("use the addresses of the store").because(why)
}

/// What to trust instead of the system's certificates, when a file is named.
fn certificates(options: &RedisOptions) -> Result<Option<TlsCertificates>, PortError> {
    // Both ends of the workspace's TLS use ring; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(path) = &options.ca else {
        return Ok(None);
    };
    let read = std::fs::read(path);
    let root = read.map_err(|why| {
        PortError::permanent(format!("read the certificates {}", path.display())).because(why)
    })?;
    Ok(Some(TlsCertificates {
        client_tls: None,
        root_cert: Some(root),
    }))
}
