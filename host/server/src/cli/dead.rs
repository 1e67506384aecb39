//! `dead`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::args::{Dead, Global, Letters, LettersChange};
use super::client::Client;
use super::failure::Failure;
use super::operate::rows;
use super::output::{self, cell};

/// `dead`.
pub(super) fn dead(global: &Global, command: &Dead) -> Result<(), Failure> {
    let client = Client::find(global)?;
    match command {
        Dead::List(letters) => list(global, &client, letters),
        Dead::Show(letters) => show(global, &client, letters),
        Dead::Replay(replay) => {
            let new_key = replay.new_key.as_deref();
            let letters = &replay.change.letters;
            if new_key.is_some() && letters.key.is_none() && letters.reason.is_none() {
                let why = "--new-key is for one letter: name it with --key or --reason";
                return Err(Failure::Usage(why.to_owned()));
            }
            change(global, &client, &replay.change, "replay", new_key)
        }
        Dead::Drop(drop) => {
            if !sure(global, &client, drop)? {
                output::notice("nothing was dropped");
                return Ok(());
            }
            change(global, &client, drop, "drop", None)
        }
    }
}

fn ask(client: &Client, letters: &Letters, whole: bool) -> Result<Value, Failure> {
    let limit = letters.limit.map(|limit| limit.to_string());
    let query: Vec<(&str, &str)> = [
        ("reason", letters.reason.as_deref()),
        ("key", letters.key.as_deref()),
        ("limit", limit.as_deref()),
        ("whole", whole.then_some("true")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    client.get(&["dead", &letters.consumer], &query)
}

fn list(global: &Global, client: &Client, letters: &Letters) -> Result<(), Failure> {
    let found = ask(client, letters, false)?;
    if global.json {
        return output::json(&found);
    }
    output::table(
        ["reason", "count", "oldest", "newest", "last error"],
        rows(&found["reasons"]).map(|group| {
            [
                cell(&group["reason"]),
                cell(&group["count"]),
                cell(&group["oldest"]),
                cell(&group["newest"]),
                cell(&group["error"]).chars().take(80).collect(),
            ]
        }),
    )?;
    tell_the_rest(&found);
    Ok(())
}

/// Says when not all letters were looked at.
fn tell_the_rest(found: &Value) {
    let (count, looked_at) = (found["count"].as_u64(), found["looked_at"].as_u64());
    if looked_at < count {
        output::notice(&format!(
            "looked at the first {} of {} letters; see more with --limit",
            looked_at.unwrap_or(0),
            count.unwrap_or(0)
        ));
    }
}

fn show(global: &Global, client: &Client, letters: &Letters) -> Result<(), Failure> {
    let found = ask(client, letters, true)?;
    if global.json {
        return output::json(&found);
    }
    if rows(&found["letters"]).next().is_none() {
        let what = match &letters.key {
            Some(key) => format!("no dead letter of {} has the key {key:?}", letters.consumer),
            None => format!("{} has no such dead letter", letters.consumer),
        };
        return Err(Failure::Failed(what));
    }
    for (at, letter) in rows(&found["letters"]).enumerate() {
        if at > 0 {
            output::line(&format!("\n{}\n", "─".repeat(72)))?;
        }
        print(letter)?;
    }
    tell_the_rest(&found);
    Ok(())
}

fn print(letter: &Value) -> Result<(), Failure> {
    let named = |value: &Value| {
        let named = value.as_object().into_iter().flatten();
        let named: Vec<String> = named
            .map(|(name, value)| format!("{}: {}", output::shown(name), cell(value)))
            .collect();
        match named.is_empty() {
            true => "-".to_owned(),
            false => named.join("\n"),
        }
    };
    let from = format!(
        "exchange {}, routing key {}",
        cell(&letter["exchange"]),
        cell(&letter["routing_key"])
    );
    let lines = |value: &Value| rows(value).map(cell).collect::<Vec<_>>().join("\n");
    let unsent = lines(&letter["unsent"]);
    output::pairs([
        ("key", cell(&letter["key"])),
        ("message id", cell(&letter["id"])),
        ("reason", cell(&letter["reason"])),
        ("error", cell(&letter["error"])),
        ("attempts", cell(&letter["attempts"])),
        ("first seen", cell(&letter["first_seen"])),
        ("given up", cell(&letter["dead_at"])),
        (
            "by",
            format!(
                "{}, side {}",
                cell(&letter["consumer"]),
                cell(&letter["side"])
            ),
        ),
        (
            "plugin",
            format!("{} {}", cell(&letter["plugin"]), cell(&letter["digest"])),
        ),
        ("came from", from),
        ("content type", cell(&letter["content_type"])),
        ("headers", named(&letter["headers"])),
        ("kept aside", named(&letter["aside"])),
        (
            "not sent",
            if unsent.is_empty() {
                "-".to_owned()
            } else {
                unsent
            },
        ),
        ("body", format!("{} bytes", cell(&letter["size"]))),
    ])?;
    match (&letter["body"], &letter["body_hex"]) {
        (Value::String(text), _) if text.is_empty() => {}
        (Value::String(text), _) => output::line(&output::shown(text))?,
        (_, hex) => output::line(&format!("{} (hexadecimal)", cell(hex)))?,
    }
    if letter["body_cut"] == true {
        output::notice("the body is longer; what is shown is its beginning");
    }
    if letter["claim"].is_object() {
        output::line("")?;
        super::claims::print(&letter["claim"])?;
    }
    Ok(())
}

/// Replays or drops; a host does a limited number at once, so it is asked again
/// as long as that brings anything about.
fn change(
    global: &Global,
    client: &Client,
    change: &LettersChange,
    verb: &str,
    new_key: Option<&str>,
) -> Result<(), Failure> {
    let letters = &change.letters;
    let body = json!({
        "reason": letters.reason,
        "key": letters.key,
        "new_key": new_key,
        "dry_run": change.dry_run,
        "limit": letters.limit,
    });
    let mut all = Value::Null;
    loop {
        let answer = client.post(&["dead", &letters.consumer, verb], &body)?;
        let done = ["replayed", "removed", "dropped"];
        let progress = done.iter().any(|did| answer[did] != 0);
        let again = progress
            && answer["more"] == true
            && answer["stopped"].is_null()
            && letters.limit.is_none()
            && new_key.is_none()
            && !change.dry_run;
        all = added(all, answer);
        if !again {
            break;
        }
    }
    if global.json {
        output::json(&all)?;
    } else {
        tell(&all, verb)?;
    }
    let refused = all["refused"].as_u64().unwrap_or(0);
    match (&all["stopped"], refused) {
        (Value::String(why), _) => Err(Failure::Failed(format!(
            "it ended early, and what is left is as it was: {why}"
        ))),
        (_, 0) => Ok(()),
        _ if change.dry_run => Ok(()),
        (_, refused) => Err(Failure::Failed(format!(
            "{refused} of the letters stay where they are"
        ))),
    }
}

/// The answers together. Letters that are refused are so in every answer.
fn added(all: Value, answer: Value) -> Value {
    if all.is_null() {
        return answer;
    }
    let mut sum = answer;
    for did in ["replayed", "removed", "dropped"] {
        let count = |of: &Value| of[did].as_u64().unwrap_or(0);
        sum[did] = (count(&all) + count(&sum)).into();
    }
    let before = rows(&all["letters"]).filter(|letter| letter["did"] != "refused");
    let letters = before.chain(rows(&sum["letters"])).cloned().collect();
    sum["letters"] = Value::Array(letters);
    sum
}

fn tell(answer: &Value, verb: &str) -> Result<(), Failure> {
    output::table(
        ["key", "message id", "reason", "did", "why"],
        rows(&answer["letters"]).map(|letter| {
            [
                cell(&letter["key"]),
                cell(&letter["id"]),
                cell(&letter["reason"]),
                cell(&letter["did"]),
                cell(&letter["why"]),
            ]
        }),
    )?;
    let would = match answer["dry_run"] == true {
        true => "dry run, nothing was done: ",
        false => "",
    };
    let counts = match verb {
        "drop" => ["dropped", "refused"].as_slice(),
        _ => ["replayed", "removed", "refused"].as_slice(),
    };
    let counts: Vec<String> = counts
        .iter()
        .map(|did| format!("{} {did}", cell(&answer[did])))
        .collect();
    output::line(&format!("\n{would}{}", counts.join(", ")))?;
    if answer["more"] == true && answer["stopped"].is_null() {
        output::notice("there may be more of them");
    }
    Ok(())
}

/// At a terminal, asks before letters are thrown away.
fn sure(global: &Global, client: &Client, drop: &LettersChange) -> Result<bool, Failure> {
    let person = io::stdin().is_terminal() && io::stderr().is_terminal();
    if drop.yes || drop.dry_run || global.json || !person {
        return Ok(true);
    }
    let letters = &drop.letters;
    let found = ask(client, letters, false)?;
    let count: u64 = rows(&found["reasons"])
        .filter_map(|group| group["count"].as_u64())
        .sum();
    let mut stderr = io::stderr();
    write!(
        stderr,
        "Drop {count} dead letters of {}? [y/N] ",
        letters.consumer
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_added_up_and_refused_letters_are_told_once() {
        let answer = |done: u64, letters: Value| json!({"replayed": done, "removed": 0, "dropped": 0, "refused": 1, "letters": letters, "more": true});
        let refused = json!({"key": "r", "did": "refused"});
        let one = json!({"key": "a", "did": "replayed"});
        let two = json!({"key": "b", "did": "replayed"});
        let all = added(Value::Null, answer(1, json!([refused, one])));
        let all = added(all, answer(1, json!([refused, two])));
        assert_eq!((&all["replayed"], &all["refused"]), (&json!(2), &json!(1)));
        let keys: Vec<String> = rows(&all["letters"]).map(|l| cell(&l["key"])).collect();
        assert_eq!(keys, ["a", "r", "b"]);
    }
}
