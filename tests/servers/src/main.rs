//! Runs a private Redis and a private RabbitMQ for trying things by hand:
//! prints where they are and what they consist of, and ends them when its
//! input ends (Ctrl-D) or it is killed.

use std::io::{Read, Write};

use anyhow::Result;
use holdfast_servers::{RabbitMq, Redis};

fn main() -> Result<()> {
    let redis = Redis::start()?;
    let rabbitmq = RabbitMq::start()?;
    let mut out = std::io::stdout().lock();
    let lines = [
        ("redis", redis.url(), redis.pid(), redis.folder()),
        (
            "rabbitmq",
            rabbitmq.url(),
            rabbitmq.pid()?,
            rabbitmq.folder(),
        ),
    ];
    for (name, url, pid, folder) in lines {
        writeln!(out, "{name}\t{url}\t{pid}\t{}", folder.display())?;
    }
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
