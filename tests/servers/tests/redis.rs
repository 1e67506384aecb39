//! Every step in the life of a private Redis, and faults through the proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use common::alive;
use holdfast_servers::{Proxy, Redis, shared_redis, unique, wait_for};

mod common;

const SOON: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_durable_redis_keeps_its_data_over_a_kill() -> Result<()> {
    let mut redis = Redis::builder().durable(true).start()?;
    redis.cli(&["SET", "colour", "green"])?;
    let (url, pid) = (redis.url(), redis.pid());

    redis.kill()?;
    assert!(!alive(pid));
    assert!(!pings(redis.address(), SOON));

    redis.restart()?;
    assert_eq!(redis.url(), url);
    assert_ne!(redis.pid(), pid);
    assert_eq!(redis.cli(&["GET", "colour"])?, "green");
    Ok(())
}

#[test]
fn a_redis_in_memory_loses_its_data_with_a_restart() -> Result<()> {
    let mut redis = Redis::start()?;
    redis.cli(&["SET", "colour", "green"])?;
    redis.restart()?;
    assert_eq!(redis.cli(&["GET", "colour"])?, "");
    Ok(())
}

#[test]
fn a_frozen_redis_keeps_its_connections_and_answers_after_the_thaw() -> Result<()> {
    let redis = Redis::start()?;
    let mut stream = TcpStream::connect(redis.address())?;
    redis.freeze()?;
    assert!(!ping(&mut stream, SOON));
    redis.thaw()?;
    // The first PING was only waiting; the answers to both arrive.
    assert!(ping(&mut stream, LIMIT));
    Ok(())
}

#[test]
fn a_dropped_redis_leaves_no_process_and_no_folder() -> Result<()> {
    let redis = Redis::start()?;
    let (pid, folder) = (redis.pid(), redis.folder().to_owned());
    assert!(alive(pid) && folder.exists());
    // A frozen one as well: it cannot react to anything but SIGKILL.
    redis.freeze()?;
    drop(redis);
    assert!(!alive(pid) && !folder.exists());
    Ok(())
}

#[test]
fn a_panic_ends_the_server_of_its_test() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let redis = Redis::start().unwrap();
        sender.send(redis.pid()).unwrap();
        panic!("as a failed assertion does");
    });
    let pid = receiver.recv().unwrap();
    assert!(test.join().is_err());
    assert!(!alive(pid));
}

#[test]
fn a_chosen_port_is_used_and_a_taken_one_is_an_error() -> Result<()> {
    let first = Redis::start()?;
    let port = first.port();
    let refusal = Redis::builder().port(port).start().unwrap_err();
    assert!(refusal.to_string().contains("in use"), "{refusal}");
    drop(first);
    assert_eq!(Redis::builder().port(port).start()?.port(), port);

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let foreign = listener.local_addr()?.port();
    assert!(Redis::builder().port(foreign).start().is_err());
    Ok(())
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let error = Redis::builder().config("maxmemory", "lots").start();
    let message = format!("{:#}", error.unwrap_err());
    assert!(message.contains("maxmemory"), "{message}");
}

#[test]
fn tests_of_one_process_share_one_redis() -> Result<()> {
    let (one, two) = (shared_redis()?, shared_redis()?);
    assert_eq!(one.pid(), two.pid());
    let key = unique("key");
    one.cli(&["SET", &key, "here"])?;
    assert_eq!(two.cli(&["GET", &key])?, "here");
    Ok(())
}

#[test]
fn a_cut_proxy_closes_connections_until_restored() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = Proxy::start(redis.address())?;
    let mut stream = TcpStream::connect(proxy.address())?;
    assert!(ping(&mut stream, LIMIT));

    proxy.cut();
    let asked = Instant::now();
    assert!(!ping(&mut stream, LIMIT));
    assert!(!pings(proxy.address(), LIMIT));
    assert!(asked.elapsed() < LIMIT, "closed, not silent");

    proxy.restore();
    assert!(!ping(&mut stream, SOON), "a cut connection stays dead");
    assert!(pings(proxy.address(), LIMIT));
    Ok(())
}

#[test]
fn a_half_open_proxy_keeps_connections_silent_until_restored() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = Proxy::start(redis.address())?;
    let mut stream = TcpStream::connect(proxy.address())?;
    assert!(ping(&mut stream, LIMIT));

    proxy.half_open();
    let asked = Instant::now();
    assert!(!ping(&mut stream, SOON));
    assert!(!pings(proxy.address(), SOON));
    assert!(asked.elapsed() >= SOON * 2, "silent, not closed");

    proxy.restore();
    assert!(ping(&mut stream, LIMIT), "the held bytes went on");
    Ok(())
}

#[test]
fn a_delay_holds_each_direction_back() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = Proxy::start(redis.address())?;
    let mut stream = TcpStream::connect(proxy.address())?;
    proxy.delay(Duration::from_millis(50));
    let asked = Instant::now();
    assert!(ping(&mut stream, LIMIT));
    assert!(asked.elapsed() >= Duration::from_millis(100));
    Ok(())
}

#[test]
fn a_dropped_proxy_closes_its_port() -> Result<()> {
    let redis = Redis::start()?;
    let proxy = Proxy::start(redis.address())?;
    let address = proxy.address();
    let mut stream = TcpStream::connect(address)?;
    assert!(ping(&mut stream, LIMIT));
    drop(proxy);
    assert!(!ping(&mut stream, SOON));
    wait_for("the port closed", LIMIT, || {
        Ok(TcpStream::connect(address).is_err().then_some(()))
    })
}

/// Asks a new Redis connection for a PONG within `limit`.
fn pings(address: SocketAddr, limit: Duration) -> bool {
    TcpStream::connect(address).is_ok_and(|mut stream| ping(&mut stream, limit))
}

/// Asks an open Redis connection for a PONG within `limit`.
fn ping(stream: &mut TcpStream, limit: Duration) -> bool {
    let mut answer = [0; 7];
    stream.set_read_timeout(Some(limit)).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"+PONG\r\n"
}
