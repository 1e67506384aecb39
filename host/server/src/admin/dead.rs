//! Dead letters: looking at them, replaying and dropping them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdfast_core::claim::bounded;
use holdfast_runtime::consumer::Consumer;
use holdfast_runtime::dead::{Changed, DeadLetters, Did, Letter, Looked, Reason, Replaying, Which};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{self, CHANGE_LIMIT, Limited};
use super::problem::{Path, Problem, Query};
use super::{Admin, consumers, shown};

/// Letters that are looked at, when the query names no number, and at most.
const LOOKED_AT: usize = 10_000;
const MOST_LOOKED_AT: usize = 100_000;
/// Letters in one answer, and with bodies and claims.
const SHOWN: usize = 1_000;
const SHOWN_WHOLE: usize = 100;
/// Letters that one request changes, when it names no number, and at most.
const CHANGED: usize = 1_000;
const MOST_CHANGED: usize = 10_000;
/// Bytes of a body that are shown.
const BODY: usize = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    reason: Option<String>,
    key: Option<String>,
    limit: Option<usize>,
    /// With bodies and claims.
    #[serde(default)]
    whole: bool,
}

/// Dead letters by reason, and the first of them.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    let which = which(asked.reason.as_deref(), asked.key)?;
    let limit = asked.limit.unwrap_or(LOOKED_AT).clamp(1, MOST_LOOKED_AT);
    let show = match asked.whole {
        true => SHOWN_WHOLE,
        false => SHOWN,
    };
    let mut answer = Whole::new(&name);
    for consumer in consumers::running(&admin.app, &name)? {
        let context = consumer.context();
        let letters = DeadLetters::of(context);
        let left = show.saturating_sub(answer.letters.len());
        let looked = letters.list(&which, limit, left, asked.whole).await?;
        let looked = looked.ok_or_else(|| no_queue(&consumer))?;
        for letter in &looked.letters {
            let mut row = row(&consumer, letter);
            if asked.whole {
                row.extend(contents(letter));
                let claim = letters.claim(letter).await;
                let claim = claim.ok().flatten();
                let claim = claim.map(|claim| shown::claim(&context.spec.group, &claim));
                row.insert("claim".to_owned(), claim.into());
            }
            answer.letters.push(Value::Object(row));
        }
        answer.add(&looked);
    }
    Ok(Json(answer.json()))
}

/// What the queues of all partitions of a consumer hold.
struct Whole<'n> {
    name: &'n str,
    queues: Vec<Value>,
    ready: u64,
    looked_at: u64,
    groups: Map<String, Value>,
    letters: Vec<Value>,
}

impl<'n> Whole<'n> {
    fn new(name: &'n str) -> Self {
        Self {
            name,
            queues: Vec::new(),
            ready: 0,
            looked_at: 0,
            groups: Map::new(),
            letters: Vec::new(),
        }
    }

    fn add(&mut self, looked: &Looked) {
        self.queues.push(looked.queue.as_str().into());
        self.ready += looked.ready;
        self.looked_at += looked.looked_at;
        for (reason, group) in &looked.groups {
            let known = self.groups.entry(*reason).or_insert_with(|| {
                json!({"reason": reason, "count": 0, "oldest": null, "newest": null, "error": null})
            });
            let (oldest, newest) = (group.oldest.as_str(), group.newest.as_str());
            known["count"] = (known["count"].as_u64().unwrap_or(0) + group.count).into();
            let is = |name: &str| known[name].as_str().map(str::to_owned);
            if !oldest.is_empty() && is("oldest").is_none_or(|known| *oldest < *known) {
                known["oldest"] = oldest.into();
            }
            let is = |name: &str| known[name].as_str().map(str::to_owned);
            if !newest.is_empty() && is("newest").is_none_or(|known| *newest >= *known) {
                known["newest"] = newest.into();
                known["error"] = group.error.as_str().into();
            }
        }
    }

    fn json(self) -> Value {
        let groups: Vec<Value> = self.groups.into_iter().map(|(_, group)| group).collect();
        json!({
            "consumer": self.name,
            "queues": self.queues,
            "count": self.ready,
            "looked_at": self.looked_at,
            "reasons": groups,
            "letters": self.letters,
        })
    }
}

/// A letter without its body.
fn row(consumer: &Consumer, letter: &Letter) -> Map<String, Value> {
    let spec = &consumer.context().spec;
    let told = letter.told.as_ref();
    let text = |of: fn(&holdfast_runtime::dead::Told) -> &String| told.map(of);
    let fields = [
        (
            "queue",
            holdfast_ports::broker::dead_queue(&spec.queue).into(),
        ),
        ("id", letter.message.id.as_deref().into()),
        ("reason", letter.reason().as_str().into()),
        (
            "key",
            told.and_then(|told| told.key.as_ref())
                .map(|key| key.as_str())
                .into(),
        ),
        ("error", text(|told| &told.error).map(|e| bounded(e)).into()),
        ("attempts", told.map(|told| told.attempts).into()),
        ("first_seen", text(|told| &told.first_seen).cloned().into()),
        ("dead_at", text(|told| &told.dead_at).cloned().into()),
        ("consumer", text(|told| &told.consumer).cloned().into()),
        ("side", text(|told| &told.side).cloned().into()),
        ("plugin", text(|told| &told.plugin).cloned().into()),
        ("digest", text(|told| &told.digest).cloned().into()),
        ("exchange", text(|told| &told.exchange).cloned().into()),
        (
            "routing_key",
            text(|told| &told.routing_key).cloned().into(),
        ),
        ("size", letter.size.into()),
    ];
    fields
        .map(|(name, value): (&str, Value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// What only the whole letter has.
fn contents(letter: &Letter) -> Map<String, Value> {
    let headers = |headers: &[holdfast_ports::message::Header]| -> Map<String, Value> {
        let row = |h: &holdfast_ports::message::Header| {
            let value = String::from_utf8_lossy(&h.value).into_owned();
            (h.name.clone(), value.into())
        };
        headers.iter().map(row).collect()
    };
    let told = letter.told.as_ref();
    let body = &letter.message.body;
    let cut = body.len() > BODY;
    let first = &body[..body.len().min(BODY)];
    // A character that is cut in two does not make a text binary.
    let is_text = match std::str::from_utf8(first) {
        Ok(_) => true,
        Err(error) => cut && error.error_len().is_none(),
    };
    let mut whole = Map::new();
    if is_text {
        let text = String::from_utf8_lossy(first);
        whole.insert("body".to_owned(), text.trim_end_matches('\u{fffd}').into());
    } else {
        whole.insert("body_hex".to_owned(), hex(first).into());
    }
    whole.insert("body_cut".to_owned(), cut.into());
    let kind = letter.message.content_type.as_deref();
    whole.insert("content_type".to_owned(), kind.into());
    whole.insert(
        "headers".to_owned(),
        headers(&letter.message.headers).into(),
    );
    let aside = told.map(|told| headers(&told.aside)).unwrap_or_default();
    whole.insert("aside".to_owned(), aside.into());
    let unsent = told.map(|told| told.unsent.clone()).unwrap_or_default();
    whole.insert("unsent".to_owned(), unsent.into());
    whole
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    reason: Option<String>,
    key: Option<String>,
    new_key: Option<String>,
    #[serde(default)]
    dry_run: bool,
    limit: Option<usize>,
}

/// Runs dead letters again.
pub(super) async fn replay(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Limited(body): Limited<CHANGE_LIMIT>,
) -> Result<Json<Value>, Problem> {
    let change: Change = body::json(&body)?;
    if let Some(key) = &change.new_key {
        if key.is_empty() {
            return Err(Problem::bad("a claim key is not empty"));
        }
        if change.key.is_none() && change.reason.is_none() {
            return Err(Problem::bad(
                "a new key is for one letter: name it by its key (its message id, if it has no \
                 key), or by its reason",
            ));
        }
    }
    change_all(admin, name, change, true).await
}

/// Throws dead letters away.
pub(super) async fn drop(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Limited(body): Limited<CHANGE_LIMIT>,
) -> Result<Json<Value>, Problem> {
    let change: Change = body::json(&body)?;
    if change.new_key.is_some() {
        return Err(Problem::bad("a letter that is dropped gets no new key"));
    }
    change_all(admin, name, change, false).await
}

async fn change_all(
    admin: Arc<Admin>,
    name: String,
    change: Change,
    replays: bool,
) -> Result<Json<Value>, Problem> {
    let which = which(change.reason.as_deref(), change.key.clone())?;
    let running = consumers::running(&admin.app, &name)?;
    // On its own, so that a client that goes away does not end it half-way.
    let work = tokio::spawn(async move {
        let mut answer = Answer::default();
        let mut left = change.limit.unwrap_or(CHANGED).clamp(1, MOST_CHANGED);
        for consumer in running {
            let letters = DeadLetters::of(consumer.context());
            let changed = if replays {
                let how = Replaying {
                    new_key: change.new_key.clone(),
                    dry_run: change.dry_run,
                    limit: left,
                };
                letters.replay(&which, &how).await?
            } else {
                letters.drop_letters(&which, change.dry_run, left).await?
            };
            let changed = changed.ok_or_else(|| no_queue(&consumer))?;
            let ends = changed.stopped.is_some();
            left = left.saturating_sub(answer.add(&consumer, changed));
            let given = change.new_key.is_some() && !answer.letters.is_empty();
            if ends || given || left == 0 {
                break;
            }
        }
        Ok(answer)
    });
    let answer: Result<Answer, Problem> = work.await.unwrap_or_else(|error| {
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        Err(Problem::new(status, format!("it ended early: {error}")))
    });
    let answer = answer?;
    if let (Some(key), true, None) = (&change.key, answer.letters.is_empty(), &answer.stopped) {
        return Err(Problem::not_found(format!(
            "{name} has no dead letter with the key {key:?}{}",
            match &change.reason {
                Some(reason) => format!(" and the reason {reason}"),
                None => String::new(),
            }
        )));
    }
    Ok(Json(answer.json(&name, change.dry_run)))
}

#[derive(Default)]
struct Answer {
    letters: Vec<Value>,
    counts: Map<String, Value>,
    more: bool,
    stopped: Option<String>,
}

impl Answer {
    /// Gives the number of letters that were changed.
    fn add(&mut self, consumer: &Consumer, changed: Changed) -> usize {
        let mut done = 0;
        for (letter, did) in changed.letters {
            if !matches!(did, Did::Refused(_)) {
                done += 1;
            }
            let count = self.counts.entry(did.as_str()).or_insert(0.into());
            *count = (count.as_u64().unwrap_or(0) + 1).into();
            let mut row = row(consumer, &letter);
            row.insert("did".to_owned(), did.as_str().into());
            row.insert("why".to_owned(), did.why().into());
            if let Did::Replayed { reopened } = did {
                row.insert("reopened".to_owned(), reopened.into());
            }
            self.letters.push(Value::Object(row));
        }
        self.more |= changed.more;
        self.stopped = self.stopped.take().or(changed.stopped);
        done
    }

    fn json(self, name: &str, dry_run: bool) -> Value {
        let count = |did: &str| self.counts.get(did).cloned().unwrap_or(0.into());
        json!({
            "consumer": name,
            "dry_run": dry_run,
            "replayed": count("replayed"),
            "removed": count("removed"),
            "dropped": count("dropped"),
            "refused": count("refused"),
            "letters": self.letters,
            "more": self.more,
            "stopped": self.stopped,
        })
    }
}

fn which(reason: Option<&str>, key: Option<String>) -> Result<Which, Problem> {
    let reason = reason.map(|name| {
        Reason::parse(name).ok_or_else(|| {
            let all = Reason::all().join(", ");
            Problem::bad(format!("no reason is named {name:?}; there are {all}"))
        })
    });
    let reason = reason.transpose()?;
    if key.as_ref().is_some_and(String::is_empty) {
        return Err(Problem::bad("a claim key is not empty"));
    }
    Ok(Which { reason, key })
}

fn no_queue(consumer: &Consumer) -> Problem {
    let spec = &consumer.context().spec;
    let queue = holdfast_ports::broker::dead_queue(&spec.queue);
    Problem::not_found(format!(
        "the broker {} has no queue {queue}; it is declared when {} consumes for the first time",
        spec.broker, spec.name
    ))
}
