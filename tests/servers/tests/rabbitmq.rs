//! Every step in the life of a private RabbitMQ, and what is left when the
//! process that started the servers is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use common::alive;
use holdfast_servers::{RabbitMq, wait_for};

mod common;

const SOON: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_broker_comes_back_after_a_kill_with_its_port_name_and_data() -> Result<()> {
    let mut broker = RabbitMq::start()?;
    let (url, pid) = (broker.url(), broker.pid()?);
    assert!(greets(broker.address(), LIMIT));
    broker.ctl(&["add_vhost", "kept"])?;

    broker.kill()?;
    assert!(!alive(pid));
    assert!(!greets(broker.address(), SOON));

    broker.restart()?;
    assert_eq!(broker.url(), url);
    assert_ne!(broker.pid()?, pid);
    let vhosts = broker.ctl(&["list_vhosts", "-q"])?;
    assert!(vhosts.lines().any(|line| line == "kept"), "{vhosts}");
    Ok(())
}

#[test]
fn a_frozen_broker_is_silent_until_thawed_and_a_dropped_one_is_gone() -> Result<()> {
    let broker = RabbitMq::start()?;
    broker.freeze()?;
    assert!(!greets(broker.address(), SOON));
    broker.thaw()?;
    assert!(greets(broker.address(), LIMIT));

    let (pid, folder) = (broker.pid()?, broker.folder().to_owned());
    drop(broker);
    assert!(!alive(pid) && !folder.exists());
    Ok(())
}

#[test]
fn settings_reach_the_broker_and_no_plugin_runs() -> Result<()> {
    let broker = RabbitMq::builder()
        .consumer_timeout(Duration::from_secs(60))
        .config("heartbeat = 7")
        .start()?;
    let read = |name: &str| {
        broker.ctl(&[
            "eval",
            &format!("element(2, application:get_env(rabbit, {name}))."),
        ])
    };
    assert_eq!(read("consumer_timeout")?.trim(), "60000");
    assert_eq!(read("heartbeat")?.trim(), "7");
    let plugins = broker.ctl(&["eval", "rabbit_plugins:active()."])?;
    assert_eq!(plugins.trim(), "[]");
    let refusal = broker.ctl(&["no_such_command"]).unwrap_err();
    assert!(refusal.to_string().contains("no_such_command"), "{refusal}");
    Ok(())
}

#[test]
fn nothing_is_left_when_the_process_that_started_them_is_killed() -> Result<()> {
    let mut starter = Command::new(env!("CARGO_BIN_EXE_holdfast-servers"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = starter.stdout.take().context("no output")?;
    let mut servers = Vec::new();
    for line in BufReader::new(out).lines().take(2) {
        let line = line?;
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, _, pid, folder] = fields[..] else {
            anyhow::bail!("unexpected line {line:?}");
        };
        servers.push((pid.parse::<u32>()?, PathBuf::from(folder)));
    }
    assert_eq!(servers.len(), 2);
    assert!(
        servers
            .iter()
            .all(|(pid, folder)| alive(*pid) && folder.exists())
    );

    starter.kill()?;
    starter.wait()?;
    wait_for("every server and folder gone", LIMIT, || {
        let gone = |(pid, folder): &(u32, PathBuf)| !alive(*pid) && !folder.exists();
        Ok(servers.iter().all(gone).then_some(()))
    })
}

/// Whether the broker greets a new connection within `limit`.
fn greets(address: SocketAddr, limit: Duration) -> bool {
    let mut first = [0; 1];
    TcpStream::connect(address).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(limit)).is_ok()
            && stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
            && stream.read_exact(&mut first).is_ok()
    })
}
