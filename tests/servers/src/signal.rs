//! Signals to a process group: the one place in the crate that needs `unsafe`.

use std::io;

/// A signal that a server can be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ends at once, nothing is flushed.
    Kill,
    /// Asks for an orderly end.
    Terminate,
    /// Asks to load the configuration again.
    HangUp,
    /// Stops being scheduled; its sockets stay open.
    Stop,
    /// Goes on after [`Signal::Stop`].
    Continue,
}

/// Sends `signal` to every process of the group led by `leader`.
pub(crate) fn send_to_group(leader: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
        Signal::HangUp => libc::SIGHUP,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    let group = libc::pid_t::try_from(leader).map_err(io::Error::other)?;
    // Zero and one would mean "my own group" and "everything".
    if group <= 1 {
        return Err(io::Error::other(format!("{group} is not a process group")));
    }
    #[expect(
        unsafe_code,
        reason = "a call with two integers; std can only kill a single process"
    )]
    let sent = unsafe { libc::killpg(group, number) };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
