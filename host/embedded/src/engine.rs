//! Runs jobs on a file, many in one transaction.
//!
//! A file has a thread of its own: it takes every job that waits, runs them all,
//! commits once, and only then answers. In memory there is nothing to wait for,
//! so the caller's thread does the same for all who wait at that moment; that
//! keeps a simulation free of threads.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use holdfast_core::time::Micros;
use holdfast_ports::error::PortError;
use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, Durability, StorageError};

use crate::clock::Clock;
use crate::rows::{Rows, Stop};

/// Jobs in one transaction at most, so that nobody waits for too long.
const BATCH: usize = 1024;
/// Pages kept in memory.
const CACHE: usize = 64 << 20;
/// Between two looks for rows whose time has passed, unless there are many.
const SWEEP_EVERY: u64 = 1_000_000;

/// Tells a caller its answer, once that is safe.
type Reply = Box<dyn FnOnce() + Send>;
/// Decides and writes. An error undoes the transaction, with all its jobs.
type Job = Box<dyn FnOnce(&mut Rows<'_>) -> Result<Reply, redb::StorageError> + Send>;

/// Kinds of rows whose end takes another row with it.
pub(crate) type Companion = fn(u8) -> Option<u8>;

pub(crate) struct Engine {
    runner: Runner,
    up: Arc<AtomicBool>,
}

enum Runner {
    Here {
        waiting: Mutex<Vec<Job>>,
        file: Mutex<File>,
    },
    Thread {
        jobs: Mutex<Option<mpsc::Sender<Job>>>,
        thread: Mutex<Option<JoinHandle<()>>>,
    },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Opens the file, or a place in memory.
    ///
    /// # Errors
    /// Permanent, naming the path, when it cannot be opened or another process
    /// has it open.
    pub(crate) fn open(
        path: Option<PathBuf>,
        clock: Clock,
        companion: Companion,
    ) -> Result<Self, PortError> {
        let up = Arc::new(AtomicBool::new(true));
        let mut file = File {
            db: None,
            path,
            clock,
            companion,
            swept: Micros::default(),
            up: up.clone(),
        };
        file.db = Some(file.connect()?);
        let runner = match &file.path {
            None => Runner::Here {
                waiting: Mutex::default(),
                file: Mutex::new(file),
            },
            Some(path) => {
                let (sender, receiver) = mpsc::channel();
                let what = format!("start a thread for {}", path.display());
                let thread = std::thread::Builder::new()
                    .name("holdfast-embedded".to_owned())
                    .spawn(move || file.serve(&receiver))
                    .map_err(|error| PortError::permanent(what).because(error))?;
                Runner::Thread {
                    jobs: Mutex::new(Some(sender)),
                    thread: Mutex::new(Some(thread)),
                }
            }
        };
        Ok(Self { runner, up })
    }

    /// Runs one decision and waits until it is safe.
    ///
    /// # Errors
    /// What the decision says; transient when it could not be written.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        decide: impl FnOnce(&mut Rows<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, PortError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(decide, move |answer| {
            // Nobody may be waiting any more: the call was given up.
            let _ = sender.send(answer);
        });
        receiver
            .await
            .unwrap_or_else(|_| Err(PortError::transient(format!("{what} in the embedded file"))))
    }

    /// Runs one decision some time; `then` is called once it is safe, and
    /// dropped uncalled when it could not be written.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Rows<'_>) -> Result<T, Stop> + Send + 'static,
        then: impl FnOnce(Result<T, PortError>) + Send + 'static,
    ) {
        let job: Job = Box::new(move |rows| {
            let answer = match decide(rows) {
                Ok(answer) => Ok(answer),
                Err(Stop::Refused(error)) => Err(error),
                Err(Stop::Storage(error)) => return Err(error),
            };
            Ok(Box::new(move || then(answer)))
        });
        match &self.runner {
            Runner::Here { waiting, file } => {
                lock(waiting).push(job);
                let mut file = lock(file);
                let jobs = std::mem::take(&mut *lock(waiting));
                let replies = file.run(jobs);
                // An answer may lead to the next job.
                drop(file);
                replies.into_iter().for_each(|reply| reply());
            }
            Runner::Thread { jobs, .. } => {
                if let Some(jobs) = &*lock(jobs) {
                    // The thread has ended: dropping the job tells the caller.
                    let _ = jobs.send(job);
                }
            }
        }
    }

    /// Did the last transaction succeed?
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

impl Drop for Engine {
    /// Runs what waits, then closes the file.
    fn drop(&mut self) {
        if let Runner::Thread { jobs, thread } = &self.runner {
            lock(jobs).take();
            if let Some(thread) = lock(thread).take()
                && thread.thread().id() != std::thread::current().id()
            {
                // A panic of the thread has been reported by the panic itself.
                let _ = thread.join();
            }
        }
    }
}

struct File {
    db: Option<Database>,
    path: Option<PathBuf>,
    clock: Clock,
    companion: Companion,
    swept: Micros,
    up: Arc<AtomicBool>,
}

impl File {
    fn connect(&self) -> Result<Database, PortError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        match &self.path {
            None => builder
                .create_with_backend(InMemoryBackend::new())
                .map_err(|error| PortError::permanent("open a store in memory").because(error)),
            Some(path) => open_file(&builder, path),
        }
    }

    fn serve(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(BATCH - 1));
            self.run(batch).into_iter().for_each(|reply| reply());
        }
    }

    /// Runs jobs in one transaction and gives their answers, none when it could
    /// not be committed.
    fn run(&mut self, jobs: Vec<Job>) -> Vec<Reply> {
        if jobs.is_empty() {
            return Vec::new();
        }
        let done = match &self.path {
            None => self.transact(jobs),
            Some(_) => self.transact_on_disk(jobs),
        };
        match done {
            Ok(replies) => {
                self.up.store(true, Ordering::Relaxed);
                replies
            }
            Err(error) => {
                tracing::error!(path = ?self.path, %error, "the embedded file cannot be written");
                self.up.store(false, Ordering::Relaxed);
                if self.path.is_some() {
                    // After such an error the file has to be opened anew.
                    self.db = None;
                }
                Vec::new()
            }
        }
    }

    /// The same on a file that may be damaged, where redb panics at what it finds.
    fn transact_on_disk(&mut self, jobs: Vec<Job>) -> Result<Vec<Reply>, PortError> {
        catch_unwind(AssertUnwindSafe(|| self.transact(jobs))).unwrap_or_else(|_| {
            // Nor may its end stop the thread.
            let broken = self.db.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
            Err(PortError::transient("write: the file is damaged"))
        })
    }

    fn transact(&mut self, jobs: Vec<Job>) -> Result<Vec<Reply>, PortError> {
        let failed = |error: redb::Error| PortError::transient("write").because(error);
        let db = match self.db.take() {
            Some(db) => db,
            None => self.connect()?,
        };
        let db = self.db.insert(db);
        let mut txn = db.begin_write().map_err(|error| failed(error.into()))?;
        if self.path.is_none() {
            txn.set_durability(Durability::None)
                .map_err(|error| failed(error.into()))?;
        }
        let mut replies = Vec::with_capacity(jobs.len());
        let wrote;
        {
            let mut rows = Rows::open(&txn).map_err(|error| failed(error.into()))?;
            for job in jobs {
                rows.set_now((self.clock)());
                replies.push(job(&mut rows).map_err(|error| failed(error.into()))?);
            }
            let now = rows.now();
            if now.0.saturating_sub(self.swept.0) >= SWEEP_EVERY {
                let more = rows
                    .sweep(self.companion)
                    .map_err(|error| failed(error.into()))?;
                if !more {
                    self.swept = now;
                }
            }
            wrote = rows.wrote();
        }
        // What was only looked at need not reach the disk.
        let ended = if wrote {
            txn.commit().map_err(Into::into)
        } else {
            txn.abort().map_err(Into::into)
        };
        ended.map_err(failed)?;
        Ok(replies)
    }
}

fn open_file(builder: &redb::Builder, path: &Path) -> Result<Database, PortError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            PortError::permanent(format!("create the folder {}", folder.display())).because(error)
        })?;
    }
    let shown = path.display();
    if path.is_dir() {
        return Err(PortError::permanent(format!(
            "open {shown}: it is a folder; name a file in it"
        )));
    }
    let damaged = || {
        PortError::permanent(format!(
            "open {shown}: it is damaged. Put a copy of it back, or move it aside and begin \
             anew, which forgets all that was in it"
        ))
    };
    // In a damaged file redb panics at some of what it finds.
    match catch_unwind(AssertUnwindSafe(|| builder.create(path))) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(PortError::permanent(format!(
            "open {shown}: it is open already, and only one process can have an embedded file open"
        ))),
        Ok(Err(error @ DatabaseError::Storage(StorageError::Corrupted(_)))) => {
            Err(damaged().because(error))
        }
        Ok(Err(error)) => Err(PortError::permanent(format!("open {shown}")).because(error)),
        Err(_) => Err(damaged()),
    }
}
