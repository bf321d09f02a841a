//! A client of the daemon, blocking: each call waits for its answer.

use super::types::{
    ControlError, Created, SessionList, SessionState, SourceList, SourceState, Stopped,
    Subscription, Welcome,
};
use super::{MAJORS, socket_path};
use crate::engine::request::RecordRequest;
use kstrace_ring::{RemoteRecorder, RingReader};
use kstrace_schema::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use zlink::Connection;
use zlink::tokio::unix::Stream;

#[zlink::proxy("org.kstrace.Control")]
trait ControlProxy {
    async fn hello(
        &mut self,
        client: &str,
        majors: &[i64],
    ) -> zlink::Result<std::result::Result<Welcome, ControlError>>;
    async fn get_sources(&mut self)
    -> zlink::Result<std::result::Result<SourceList, ControlError>>;
    async fn create_session(
        &mut self,
        request: serde_json::Value,
        workload: &[String],
        detached: bool,
    ) -> zlink::Result<std::result::Result<Created, ControlError>>;
    async fn start_session(
        &mut self,
        session: &str,
    ) -> zlink::Result<std::result::Result<(), ControlError>>;
    async fn stop_session(
        &mut self,
        session: &str,
    ) -> zlink::Result<std::result::Result<Stopped, ControlError>>;
    async fn snapshot(
        &mut self,
        session: &str,
    ) -> zlink::Result<std::result::Result<(), ControlError>>;
    async fn destroy_session(
        &mut self,
        session: &str,
    ) -> zlink::Result<std::result::Result<(), ControlError>>;
    async fn list_sessions(
        &mut self,
    ) -> zlink::Result<std::result::Result<SessionList, ControlError>>;
    #[zlink(return_fds)]
    async fn subscribe(
        &mut self,
        session: &str,
        recorder: bool,
    ) -> zlink::Result<(
        std::result::Result<Subscription, ControlError>,
        Vec<OwnedFd>,
    )>;
}

/// How the message begins when no daemon can be reached.
pub const CANNOT_CONNECT: &str = "cannot connect to kstraced";
/// A daemon that systemd has yet to start answers within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    connection: Connection<Stream>,
    welcome: Welcome,
}

impl Client {
    /// Connects to the daemon of this machine and agrees on a version.
    ///
    /// # Errors
    /// `ErrorKind::NotFound` if none is running; `Unsupported` if it speaks other majors.
    pub fn connect() -> Result<Client> {
        Self::connect_to(&socket_path())
    }

    /// The same at another socket.
    ///
    /// # Errors
    /// As [`connect`](Client::connect).
    pub fn connect_to(path: &Path) -> Result<Client> {
        // First by hand: what connect(2) says is the best explanation.
        let stream = std::os::unix::net::UnixStream::connect(path)
            .map_err(|e| Error::io(format!("{CANNOT_CONNECT} at {}", path.display()), e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("start the client's runtime", e))?;
        let mut connection = runtime.block_on(async {
            stream
                .set_nonblocking(true)
                .map_err(|e| Error::io("the daemon's socket", e))?;
            Stream::try_from(stream)
                .map(Connection::new)
                .map_err(transport)
        })?;
        let name = concat!("kstrace ", env!("CARGO_PKG_VERSION"));
        let hello = runtime.block_on(async {
            tokio::time::timeout(HELLO_TIMEOUT, connection.hello(name, MAJORS)).await
        });
        let welcome = answer(hello.map_err(|_| {
            Error::new(
                ErrorKind::Io,
                format!("{CANNOT_CONNECT}: no answer in {HELLO_TIMEOUT:?}"),
            )
        })?)?;
        Ok(Client {
            runtime,
            connection,
            welcome,
        })
    }

    /// Version and capabilities of the daemon.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Which kernel interfaces the daemon can use.
    ///
    /// # Errors
    /// The daemon's refusal, or the loss of the connection; so for all methods.
    pub fn sources(&mut self) -> Result<Vec<SourceState>> {
        Ok(answer(self.runtime.block_on(self.connection.get_sources()))?.sources)
    }

    /// Opens a session; it ends with this connection unless detached.
    ///
    /// # Errors
    /// What the kernel or the daemon refused.
    pub fn create_session(
        &mut self,
        request: &RecordRequest,
        workload: &[String],
        detached: bool,
    ) -> Result<Created> {
        let request = serde_json::to_value(request)
            .map_err(|e| Error::with_source(ErrorKind::InvalidData, "request to JSON", e))?;
        answer(
            self.runtime
                .block_on(self.connection.create_session(request, workload, detached)),
        )
    }

    /// Begins to record.
    ///
    /// # Errors
    /// As for all methods.
    pub fn start_session(&mut self, session: &str) -> Result<()> {
        answer(
            self.runtime
                .block_on(self.connection.start_session(session)),
        )
    }

    /// Stops recording and gives the accounts.
    ///
    /// # Errors
    /// As for all methods.
    pub fn stop_session(&mut self, session: &str) -> Result<Stopped> {
        answer(self.runtime.block_on(self.connection.stop_session(session)))
    }

    /// Closes the open packets while recording goes on.
    ///
    /// # Errors
    /// As for all methods.
    pub fn snapshot(&mut self, session: &str) -> Result<()> {
        answer(self.runtime.block_on(self.connection.snapshot(session)))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// As for all methods.
    pub fn destroy_session(&mut self, session: &str) -> Result<()> {
        answer(
            self.runtime
                .block_on(self.connection.destroy_session(session)),
        )
    }

    /// All sessions of the daemon.
    ///
    /// # Errors
    /// As for all methods.
    pub fn list_sessions(&mut self) -> Result<Vec<SessionState>> {
        Ok(answer(self.runtime.block_on(self.connection.list_sessions()))?.sessions)
    }

    /// A recorder on a session's ring: gets every packet.
    ///
    /// # Errors
    /// As for all methods, and when the descriptors are not those of a ring.
    pub fn record(&mut self, session: &str) -> Result<RemoteRecorder> {
        let (subscription, mut fds) = self.subscribe(session, true)?;
        let wake = take(&mut fds, subscription.wake_fd)?;
        let page = take(&mut fds, subscription.page_fd)?;
        let ring = take(&mut fds, subscription.ring_fd)?;
        RemoteRecorder::open(ring, page, wake).map_err(ring_error)
    }

    /// A view on a session's ring, and the descriptor to poll for news.
    ///
    /// # Errors
    /// As for all methods, and when the descriptors are not those of a ring.
    pub fn view(&mut self, session: &str) -> Result<(RingReader, OwnedFd)> {
        let (subscription, mut fds) = self.subscribe(session, false)?;
        let wake = take(&mut fds, subscription.wake_fd)?;
        let ring = take(&mut fds, subscription.ring_fd)?;
        Ok((RingReader::open(ring).map_err(ring_error)?, wake))
    }

    fn subscribe(
        &mut self,
        session: &str,
        recorder: bool,
    ) -> Result<(Subscription, Vec<Option<OwnedFd>>)> {
        let (reply, fds) = self
            .runtime
            .block_on(self.connection.subscribe(session, recorder))
            .map_err(transport)?;
        let subscription = answer(Ok(reply))?;
        Ok((subscription, fds.into_iter().map(Some).collect()))
    }
}

fn take(fds: &mut [Option<OwnedFd>], index: i64) -> Result<OwnedFd> {
    usize::try_from(index)
        .ok()
        .and_then(|i| fds.get_mut(i)?.take())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidData,
                format!("the daemon named descriptor {index} and did not send it"),
            )
        })
}

fn ring_error(error: kstrace_ring::Error) -> Error {
    Error::with_source(ErrorKind::InvalidData, "the daemon's ring", error)
}

fn transport(error: zlink::Error) -> Error {
    Error::with_source(ErrorKind::Io, "the connection to kstraced", error)
}

fn answer<T>(reply: zlink::Result<std::result::Result<T, ControlError>>) -> Result<T> {
    reply.map_err(transport)?.map_err(|refusal| {
        let kind = match refusal {
            ControlError::NotAllowed { .. } => ErrorKind::PermissionDenied,
            ControlError::NoCommonMajor { .. } => ErrorKind::Unsupported,
            ControlError::BadRequest { .. } => ErrorKind::InvalidInput,
            ControlError::NoSuchSession { .. } => ErrorKind::NotFound,
            ControlError::WrongState { .. } | ControlError::Refused { .. } => ErrorKind::Io,
        };
        Error::new(kind, format!("kstraced: {refusal}"))
    })
}
