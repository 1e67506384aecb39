//! A TCP proxy on loopback that can break a connection in the ways networks do.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Forwards connections to a server until told otherwise. Dropping it cuts
/// them all.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    mode: Mode,
    delay: Duration,
    /// Both ends of every connection since the last cut.
    sockets: Vec<TcpStream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Bytes flow.
    Open,
    /// Connections stay and are accepted, but no byte gets through.
    Silent,
    /// No connection lives longer than its acceptance.
    Cut,
    /// The proxy is being dropped.
    Ended,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    ///
    /// # Errors
    /// Fails when no port can be had.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("failed to open a port for the proxy")?;
        let address = listener.local_addr().context("failed to read the port")?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                target,
                mode: Mode::Open,
                delay: Duration::ZERO,
                sockets: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`Proxy::address`], for `url_at` of a server.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Closes every connection, and each new one as soon as it is made.
    pub fn cut(&self) {
        self.shared.change(Mode::Cut);
    }

    /// Keeps the connections and accepts new ones, but lets no byte through:
    /// what a client sees when the other machine has lost its power.
    pub fn half_open(&self) {
        self.shared.change(Mode::Silent);
    }

    /// Back to forwarding; bytes held by [`Proxy::half_open`] go on their way.
    pub fn restore(&self) {
        self.shared.change(Mode::Open);
    }

    /// Leads new connections to another server from now on, and closes those to
    /// the one before: what a stable address does at a failover.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.lock().target = target;
        self.shared.change(Mode::Cut);
        self.shared.change(Mode::Open);
    }

    /// From now on every byte arrives this much later, in each direction.
    /// The rate is not limited.
    pub fn delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(Mode::Ended);
        // Wakes the accepting thread, which then sees that it has ended.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            // A panic in it has been printed already.
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain data, whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, mode: Mode) {
        let mut state = self.lock();
        state.mode = mode;
        if matches!(mode, Mode::Cut | Mode::Ended) {
            for socket in state.sockets.drain(..) {
                // Already closed by its peer is just as well.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let mode = self.lock().mode;
            match (mode, client) {
                (Mode::Ended, _) => return,
                // Dropping the socket closes it; a failed accept has none.
                (Mode::Cut, _) | (_, Err(_)) => {}
                // A server that is down looks like one that hangs up.
                (_, Ok(client)) => drop(self.connect(client)),
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let target = self.lock().target;
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        {
            let mut state = self.lock();
            if matches!(state.mode, Mode::Cut | Mode::Ended) || state.target != target {
                return Ok(());
            }
            state.sockets.push(client.try_clone()?);
            state.sockets.push(server.try_clone()?);
        }
        self.forward(client.try_clone()?, server.try_clone()?);
        self.forward(server, client);
        Ok(())
    }

    /// Two threads for one direction: one reads and notes when each piece may
    /// go on, the other waits for that and writes.
    fn forward(self: &Arc<Self>, from: TcpStream, to: TcpStream) {
        let (sender, receiver) = sync_channel(64);
        let reader = Arc::clone(self);
        thread::spawn(move || reader.read(from, &sender));
        let writer = Arc::clone(self);
        thread::spawn(move || writer.write(&receiver, to));
    }

    fn read(&self, mut from: TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; 64 * 1024];
        // An error and the end of the stream are the same to the other side.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + self.lock().delay;
            if pieces.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }

    fn write(&self, pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.wait_while_silent();
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        self.wait_while_silent();
        // Passes on that the other side has finished; it may be gone already.
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait_while_silent(&self) {
        let state = self.lock();
        drop(
            self.changed
                .wait_while(state, |state| state.mode == Mode::Silent)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}
