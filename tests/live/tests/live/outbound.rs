//! Handlers that ask a third party over HTTP, on real servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Rabbit, Setup, Stand};
use holdfast_servers::{Asked, PATIENCE, Redis, ThirdParty, answer, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_slow_calls_are_under_way_at_once() -> Result<()> {
    const CALLS: usize = 64;
    let arrived = Arc::new((Mutex::new(0), Condvar::new()));
    let crowd = arrived.clone();
    // Nobody is answered before all have asked.
    let slow = ThirdParty::start(move |_, socket| {
        let (count, all_here) = &*crowd;
        let mut count = count.lock().map_err(|_| std::io::ErrorKind::Other)?;
        *count += 1;
        all_here.notify_all();
        let waited = all_here.wait_timeout_while(count, PATIENCE, |count| *count < CALLS);
        let (count, timed_out) = waited.map_err(|_| std::io::ErrorKind::Other)?;
        drop(count);
        answer(socket, if timed_out.timed_out() { 500 } else { 200 }, "")
    })?;
    let rabbit = Rabbit::shared()?;
    let redis = Redis::builder().durable(true).start()?;
    let tables = format!(
        r#"
service = "live"
[store]
kind = "redis"
url = "{}"
[brokers.main]
kind = "rabbitmq"
url = "{}"
[plugins.probe]
timeout = "2s"
deadline = "100s"
allow-hosts = ["{}"]
[consumers.work]
broker = "main"
queue = "work"
plugin = "probe"
concurrency = {CALLS}
retry = {{ attempts = 1 }}
"#,
        redis.url(),
        rabbit.url(),
        slow.address()
    );
    let stand = Stand {
        setup: Setup::new(&tables, &["probe"])?,
        rabbit,
        redis,
    };
    let client = stand.client().await?;
    client.declare("out").await?;
    let host = stand.setup.start()?;
    let body = format!(
        r#"{{"http_get":"{}","publish_to":"out"}}"#,
        slow.url("/slow")
    );
    let messages = (0..CALLS).map(|n| (format!("m-{n}"), body.clone().into_bytes()));
    client.publish("work", messages).await?;
    wait_for("all of them to be answered", PATIENCE, || {
        let completed = host.metric("holdfast_messages_total", &["ending=\"completed\""])?;
        Ok((completed >= CALLS as f64).then_some(()))
    })
    .with_context(|| host.output())?;
    ensure!(client.take_all("out").await?.len() == CALLS);
    ensure!(slow.asked().len() == CALLS);
    let answered = host.metric("holdfast_http_requests_total", &["result=\"answered\""])?;
    ensure!(answered == CALLS as f64, "{answered}");
    // What waited did not run.
    ensure!(host.metric("holdfast_handler_seconds_sum", &[])? < 2.0 * CALLS as f64);
    ensure!(host.stop()?.success());
    Ok(())
}

/// Pays every reward it is asked for, as often as it is asked, and keeps a
/// second book in which it looks at what the host sends along.
#[derive(Default)]
struct Payer {
    /// For each message: from which side it was asked for, in order.
    raw: BTreeMap<String, Vec<(String, u64)>>,
    /// For each claim: what was paid once, and the highest fence seen.
    careful: BTreeMap<String, (u32, u64)>,
    refused: u32,
}

impl Payer {
    fn pay(&mut self, asked: &Asked) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&asked.body).ok()?;
        let message = body["message"].as_str()?.to_owned();
        let [fence] = asked.header("holdfast-fence")[..] else {
            return None;
        };
        let [claim] = asked.header("idempotency-key")[..] else {
            return None;
        };
        let fence = fence.parse().ok()?;
        let side = asked.path.trim_start_matches('/').to_owned();
        let raw = self.raw.entry(message.clone()).or_default();
        raw.push((side, fence));
        let (paid, highest) = self.careful.entry(claim.to_owned()).or_default();
        if fence < *highest {
            self.refused += 1;
        } else if *paid == 0 {
            *paid = 1;
        }
        *highest = fence.max(*highest);
        Some(message)
    }
}

/// The first request for every third message is paid and answered too late; the
/// first for every fifth other is not paid and answered with 503.
fn third_party(payer: &Arc<Mutex<Payer>>) -> Result<ThirdParty> {
    let payer = payer.clone();
    ThirdParty::start(move |asked: &Asked, socket: &mut TcpStream| {
        let number = |message: &str| message.trim_start_matches("r-").parse::<usize>().ok();
        let (seen, number) = {
            let payer = payer.lock().map_err(|_| std::io::ErrorKind::Other)?;
            let body: serde_json::Value = serde_json::from_slice(&asked.body)?;
            let message = body["message"].as_str().unwrap_or_default();
            let seen = payer.raw.contains_key(message);
            (seen, number(message).unwrap_or_default())
        };
        if !seen && number % 5 == 1 && number % 3 != 0 {
            let mut payer = payer.lock().map_err(|_| std::io::ErrorKind::Other)?;
            payer.raw.entry(format!("r-{number}")).or_default();
            drop(payer);
            return answer(socket, 503, "not today");
        }
        let paid = payer
            .lock()
            .map_err(|_| std::io::ErrorKind::Other)?
            .pay(asked);
        if !seen && number.is_multiple_of(3) {
            // Until the other side has given up.
            let _ = std::io::Read::read(socket, &mut [0]);
            return Ok(());
        }
        answer(socket, if paid.is_some() { 201 } else { 400 }, "")
    })
}

fn reward_tables(rabbit: &Rabbit, redis: &Redis, payer: &ThirdParty, side: &str) -> String {
    format!(
        r#"
service = "rewards"
[store]
kind = "redis"
url = "{}"
[brokers.main]
kind = "rabbitmq"
url = "{}"
[plugins.reward]
allow-hosts = ["{}"]
vars = {{ url = "{}", timeout_ms = "700", paid = "paid" }}
[consumers.rewards]
broker = "main"
queue = "rewards.{side}"
plugin = "reward"
concurrency = 32
retry = {{ initial = "100ms", attempts = 20 }}
[consumers.rewards.claim]
group = "rewards"
side = "{side}"
[cutover.rewards]
from = "old"
to = "new"
enabled = true
percent = 50.0
allow = []
assign-timeout = "60s"
"#,
        redis.url(),
        rabbit.url(),
        payer.address(),
        payer.url(&format!("/{side}")),
    )
}

/// Hazard: Redis and leases | a time-out that lifts the claim moves money twice | the claim stays with its side
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reward_whose_answer_came_too_late_is_never_asked_for_by_the_other_side() -> Result<()> {
    const REWARDS: usize = 120;
    let book = Arc::new(Mutex::new(Payer::default()));
    let payer = third_party(&book)?;
    let rabbit = Rabbit::shared()?;
    let redis = Redis::builder().durable(true).start()?;
    let client = holdfast_live::Client::connect(&rabbit.url()).await?;
    client.declare("paid").await?;
    let sides = ["old", "new"];
    let setups: Vec<Setup> = sides
        .iter()
        .map(|side| Setup::new(&reward_tables(&rabbit, &redis, &payer, side), &["reward"]))
        .collect::<Result<_>>()?;
    let hosts = [setups[0].start()?, setups[1].start()?];

    // Both sides receive every message, and the rule moves meanwhile.
    let message = |n: usize| {
        let body = format!(r#"{{"customer":"c-{}","points":{}}}"#, n % 7, n + 1);
        (format!("r-{n}"), body.into_bytes())
    };
    for (part, percent) in ["90", "10", "100", "0"].into_iter().enumerate() {
        let range = part * REWARDS / 4..(part + 1) * REWARDS / 4;
        client
            .publish("rewards.old", range.clone().map(message))
            .await?;
        client.publish("rewards.new", range.map(message)).await?;
        let words = ["cutover", "set", "rewards", "--percent", percent];
        let (code, _, why) = setups[0].command(&words)?;
        ensure!(code == 0, "{why}");
    }

    let ended = || -> Result<f64> {
        let mut ended = 0.0;
        for host in &hosts {
            for ending in ["completed", "left_to_owner"] {
                let ending = format!("ending=\"{ending}\"");
                ended += host.metric("holdfast_messages_total", &[&ending])?;
            }
        }
        Ok(ended)
    };
    wait_for("every reward to be settled on both sides", PATIENCE, || {
        Ok((ended()? >= 2.0 * REWARDS as f64).then_some(()))
    })
    .with_context(|| format!("{}\n---\n{}", hosts[0].output(), hosts[1].output()))?;

    let paid = client.take_all("paid").await?;
    let ids: BTreeSet<&str> = paid.iter().map(|told| told.id.as_str()).collect();
    ensure!(
        ids.len() == REWARDS && paid.len() == REWARDS,
        "{}",
        paid.len()
    );
    ensure!(client.depth("rewards.old.dead").await? == 0);
    ensure!(client.depth("rewards.new.dead").await? == 0);
    {
        let book = book
            .lock()
            .map_err(|_| anyhow::anyhow!("the book is torn"))?;
        let (mut both, mut repeats) = ([0, 0], 0);
        ensure!(book.raw.len() == REWARDS, "{}", book.raw.len());
        for (message, asked) in &book.raw {
            let of: BTreeSet<&str> = asked.iter().map(|(side, _)| side.as_str()).collect();
            ensure!(of.len() == 1, "{message} was asked for by both: {asked:?}");
            let at = usize::from(of.contains("new"));
            both[at] += 1;
            ensure!(
                asked.is_sorted_by(|(_, one), (_, next)| one < next),
                "fences of {message}: {asked:?}"
            );
            repeats += asked.len() - 1;
        }
        // A third party that looks at nothing pays again, on the same side.
        ensure!(repeats >= REWARDS / 3, "{repeats} raw repeats");
        // One that looks at the key pays once.
        let once = book.careful.values().all(|(paid, _)| *paid == 1);
        ensure!(once && book.careful.len() == REWARDS);
        let own = |claim: &String| claim.starts_with("rewards/r-");
        ensure!(book.careful.keys().all(own), "{:?}", book.careful);
        ensure!(both.iter().all(|count| *count > 0), "{both:?}");
    }
    for host in hosts {
        ensure!(host.stop()?.success());
    }
    Ok(())
}
