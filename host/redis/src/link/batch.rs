//! One pipeline: sent, answered, and those repeated whose script the server
//! had forgotten.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};

use super::plain::{Shared, share_out};
use super::{Ask, Job, Reply, Settings};
use holdfast_ports::error::Kind;

use crate::error::LinkError;
use crate::script::Which;

/// What an exchange says about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It does its work.
    Good,
    /// It answers, but cannot work now: it is loading, full or busy.
    Poor,
    /// It is a replica now; the primary may be behind the same name.
    Demoted,
}

impl Health {
    pub(super) fn of(answer: Result<&Value, &LinkError>) -> Self {
        match answer {
            Err(LinkError::Server(error)) if error.code() == "READONLY" => Self::Demoted,
            Err(error) if error.kind() == Kind::Transient => Self::Poor,
            _ => Self::Good,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Demoted, _) | (_, Self::Demoted) => Self::Demoted,
            (Self::Poor, _) | (_, Self::Poor) => Self::Poor,
            (Self::Good, Self::Good) => Self::Good,
        }
    }
}

/// A command on its way, and who waits for its answer.
struct Sending {
    command: Cmd,
    script: Option<Which>,
    replicated: bool,
    to: To,
}

enum To {
    One(Reply),
    /// Steps that share a call.
    Many(Vec<Reply>),
}

impl Sending {
    /// One command for each job that needs its own, and one for all plain steps
    /// that can share it.
    fn all(jobs: Vec<Job>) -> Vec<Self> {
        let room = jobs.len();
        let mut sendings = Vec::with_capacity(room);
        let mut shared: Vec<Shared> = Vec::new();
        for Job { ask, reply } in jobs {
            match ask {
                Ask::Alone {
                    command,
                    script,
                    replicated,
                } => sendings.push(Self {
                    command,
                    script,
                    replicated,
                    to: To::One(reply),
                }),
                Ask::Plain(step) => {
                    let mut rest = Some((step, reply));
                    for call in &mut shared {
                        rest = rest.and_then(|(step, reply)| call.add(step, reply).err());
                    }
                    shared.extend(rest.map(|(step, reply)| Shared::new(step, reply, room)));
                }
            }
        }
        sendings.extend(shared.into_iter().map(|shared| {
            let (call, replies) = shared.into_call();
            Self {
                command: call.command,
                script: Some(call.which),
                replicated: call.replicated,
                to: To::Many(replies),
            }
        }));
        sendings
    }

    fn answer(self, answer: Result<Value, LinkError>) -> Health {
        let health = Health::of(answer.as_ref());
        match self.to {
            To::One(reply) => drop(reply.send(answer)),
            To::Many(replies) => share_out(answer, replies),
        }
        health
    }
}

/// Sends what all jobs ask at once and answers them. An error means that the
/// connection gave no answers; the jobs have been told.
pub(super) async fn exchange(
    connection: &mut MultiplexedConnection,
    mut jobs: Vec<Job>,
    settings: &Settings,
) -> Result<Health, LinkError> {
    // Whoever gave up waiting asks again with the same token if it matters.
    jobs.retain(|job| !job.reply.is_closed());
    if jobs.is_empty() {
        return Ok(Health::Good);
    }
    let mut sendings = Sending::all(jobs);
    let mut pipeline = Pipeline::with_capacity(sendings.len() + 1);
    for sending in &mut sendings {
        pipeline.add_command(std::mem::take(&mut sending.command));
    }
    let answers = match send(connection, &mut pipeline, &sendings, settings).await {
        Ok(answers) => answers,
        Err(error) => return Err(tell_all(sendings, error)),
    };

    let mut forgotten = Vec::new();
    let mut health = Health::Good;
    let mut commands = pipeline.cmd_iter();
    for (sending, answer) in sendings.into_iter().zip(answers) {
        let command = commands.next();
        match (&answer, command) {
            (Err(LinkError::Server(error)), Some(command))
                if error.kind() == Some(ServerErrorKind::NoScript) && sending.script.is_some() =>
            {
                let command = command.clone();
                forgotten.push(Sending { command, ..sending });
            }
            _ => health = health.and(sending.answer(answer)),
        }
    }
    if forgotten.is_empty() {
        return Ok(health);
    }
    Ok(health.and(repeat(connection, forgotten, settings).await?))
}

/// Loads the scripts and repeats the commands that failed for want of them; the
/// others of the pipeline have run.
async fn repeat(
    connection: &mut MultiplexedConnection,
    mut sendings: Vec<Sending>,
    settings: &Settings,
) -> Result<Health, LinkError> {
    let mut missing: Vec<Which> = Vec::new();
    for which in sendings.iter().filter_map(|sending| sending.script) {
        if !missing.contains(&which) {
            missing.push(which);
        }
    }
    let mut pipeline = Pipeline::with_capacity(missing.len() + sendings.len() + 1);
    for which in &missing {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(&which.text().code);
    }
    for sending in &mut sendings {
        pipeline.add_command(std::mem::take(&mut sending.command));
    }
    match send(connection, &mut pipeline, &sendings, settings).await {
        Ok(answers) => {
            let answered = sendings.into_iter().zip(answers);
            Ok(answered.fold(Health::Good, |health, (sending, answer)| {
                health.and(sending.answer(answer))
            }))
        }
        Err(error) => Err(tell_all(sendings, error)),
    }
}

/// Sends a pipeline whose last commands are these, and gives their answers.
/// Where commits have to be on replicas, one `WAIT` at the end covers them all.
async fn send(
    connection: &mut MultiplexedConnection,
    pipeline: &mut Pipeline,
    sendings: &[Sending],
    settings: &Settings,
) -> Result<Vec<Result<Value, LinkError>>, LinkError> {
    let before = pipeline.len() - sendings.len();
    let wait = settings.wait_replicas > 0 && sendings.iter().any(|sending| sending.replicated);
    if wait {
        pipeline.add_command(wait_command(settings));
    }
    let count = pipeline.len();
    let mut values = connection
        .send_packed_commands(pipeline, 0, count)
        .await
        .map_err(|error| {
            if error.is_timeout() {
                LinkError::TimedOut(settings.response_timeout)
            } else {
                LinkError::Away(error)
            }
        })?;
    if values.len() != count {
        let short = (redis::ErrorKind::Io, "too few answers to a pipeline");
        return Err(LinkError::Away(short.into()));
    }
    let acknowledged = match wait.then(|| values.pop()).flatten() {
        Some(Value::Int(count)) => count,
        _ => 0,
    };
    let enough = !wait || acknowledged >= i64::from(settings.wait_replicas);
    let answers = values.into_iter().skip(before).zip(sendings);
    Ok(answers
        .map(|(value, sending)| match value {
            Value::ServerError(error) => Err(LinkError::Server(error)),
            _ if sending.replicated && !enough => Err(LinkError::Replicas {
                acknowledged,
                wanted: settings.wait_replicas,
            }),
            value => Ok(value),
        })
        .collect())
}

/// Waits for at most half the time that an answer may take.
fn wait_command(settings: &Settings) -> Cmd {
    let limit = (settings.response_timeout / 2).as_millis();
    let mut command = redis::cmd("WAIT");
    command
        .arg(settings.wait_replicas)
        .arg(u64::try_from(limit).unwrap_or(u64::MAX).max(1));
    command
}

/// Tells all who wait why there is no answer.
pub(super) fn tell(jobs: impl IntoIterator<Item = Job>, error: LinkError) -> LinkError {
    for job in jobs {
        drop(job.reply.send(Err(error.clone())));
    }
    error
}

fn tell_all(sendings: Vec<Sending>, error: LinkError) -> LinkError {
    for sending in sendings {
        sending.answer(Err(error.clone()));
    }
    error
}
