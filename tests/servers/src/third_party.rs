//! A server that handlers ask over HTTP, and that answers as a test wants it.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};

/// What the server was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query, as in the request line.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The values of all headers of this name.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// An HTTP server on loopback. Each connection has a thread of its own and
/// serves one request, so an answer may take its time. Dropping it cuts all
/// connections.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use holdfast_servers::{ThirdParty, answer};
///
/// let sink = ThirdParty::start(|asked, socket| answer(socket, 200, &asked.path))?;
/// assert!(sink.url("/pay").ends_with("/pay"));
/// assert!(sink.asked().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ThirdParty {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

type Answers = dyn Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync;

struct Shared {
    answers: Box<Answers>,
    keeps: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: bool,
    connections: usize,
    asked: Vec<Asked>,
    /// Those that are open, by the number of their connection.
    sockets: BTreeMap<usize, TcpStream>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl ThirdParty {
    /// Listens on a free port. `answers` writes the whole answer, or as much of
    /// one as it wants to; then the connection is closed.
    ///
    /// # Errors
    /// Fails when no port can be had.
    pub fn start(
        answers: impl Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::serve(Box::new(answers), true)
    }

    /// The same, but [`ThirdParty::asked`] stays empty: for runs so long that
    /// `answers` keeps what it needs itself.
    ///
    /// # Errors
    /// Fails when no port can be had.
    pub fn forgetful(
        answers: impl Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::serve(Box::new(answers), false)
    }

    fn serve(answers: Box<Answers>, keeps: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("failed to open a port for a third party")?;
        let address = listener.local_addr().context("failed to read the port")?;
        let shared = Arc::new(Shared {
            answers,
            keeps,
            state: Mutex::default(),
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every whole request so far, in the order of their arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }
}

/// Writes a whole answer.
///
/// # Errors
/// When the other side has hung up.
pub fn answer(socket: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        socket,
        "HTTP/1.1 {status} Test\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

impl Drop for ThirdParty {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.ended = true;
            for socket in state.sockets.values() {
                // Already closed by its peer is just as well.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
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

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for socket in listener.incoming().flatten() {
            let mut state = self.lock();
            if state.ended {
                return;
            }
            state.connections += 1;
            let number = state.connections;
            if let Ok(socket) = socket.try_clone() {
                state.sockets.insert(number, socket);
            }
            drop(state);
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // A client that hangs up in the middle is no error of the test.
                let _ = shared.serve(socket);
                shared.lock().sockets.remove(&number);
            });
        }
    }

    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        let asked = read(&mut BufReader::new(socket.try_clone()?))?;
        if self.keeps {
            self.lock().asked.push(asked.clone());
        }
        let answered = (self.answers)(&asked, &mut socket);
        let _ = socket.shutdown(Shutdown::Both);
        answered
    }
}

fn read(from: &mut BufReader<TcpStream>) -> io::Result<Asked> {
    let mut asked = Asked::default();
    let first = line(from)?;
    let mut words = first.split(' ').map(str::to_owned);
    asked.method = words.next().unwrap_or_default();
    asked.path = words.next().unwrap_or_default();
    loop {
        let header = line(from)?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        asked.headers.push(header);
    }
    let length = asked.header("content-length");
    let length = length.first().and_then(|length| length.parse().ok());
    asked.body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut asked.body)?;
    Ok(asked)
}

fn line(from: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
