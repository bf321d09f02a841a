//! A session of a relay daemon as an input, while it is recorded.

use super::client::Client;
use super::hub::{Beginning, SessionSummary};
use super::stream::LiveStream;
use super::url::LiveUrl;
use kstrace_schema::{
    ClassRegistry, Error, ErrorKind, FileInput, RecordStream, Result, SessionInfo, Sink, Source,
    SourceId, SourceInfo,
};
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A relay daemon that says nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(10);
/// How often one looks for news where there are none.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// The sessions of a relay daemon.
///
/// # Errors
/// When it cannot be reached, or speaks another protocol.
pub fn sessions(url: &LiveUrl) -> Result<Vec<SessionSummary>> {
    connect(url)?.sessions()
}

/// Connects to the relay daemon.
pub(super) fn connect(url: &LiveUrl) -> Result<Client<TcpStream>> {
    let name = format!("relay daemon at {}:{}", url.host, url.port);
    let failed = |e| Error::io(format!("{name} cannot be reached"), e);
    let mut last = None;
    let places = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(failed)?;
    for place in places {
        match TcpStream::connect_timeout(&place, SILENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
                stream.set_write_timeout(Some(SILENCE)).map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                return Client::new(stream, &name);
            }
            Err(e) => last = Some(e),
        }
    }
    Err(failed(last.unwrap_or_else(|| {
        std::io::ErrorKind::AddrNotAvailable.into()
    })))
}

/// The session that the URL names.
pub(super) fn find(client: &mut Client<TcpStream>, url: &LiveUrl) -> Result<u64> {
    let Some((traced, name)) = &url.session else {
        let what = format!("{url} names no session");
        return Err(Error::new(ErrorKind::InvalidInput, what));
    };
    let sessions = client.sessions()?;
    let found = sessions
        .iter()
        .find(|s| s.host == *traced && s.name == *name);
    found.map(|s| s.id).ok_or_else(|| {
        let there = sessions.iter().map(|s| format!("{}/{}", s.host, s.name));
        let there = there.collect::<Vec<_>>().join(", ");
        Error::new(
            ErrorKind::NotFound,
            format!(
                "{url}: no such session; there are: {}",
                if there.is_empty() { "none" } else { &there }
            ),
        )
    })
}

/// A trace that a relay daemon has, LTTng's own or kstraced's, read while it is recorded.
///
/// It ends with its session, or when it is told to. Of all its traces it is one source, and
/// of all their streams one stream, sorted by time.
pub struct LiveInput {
    session: SessionInfo,
    stream: Option<LiveStream>,
    damages: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for LiveInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveInput")
            .field("session", &self.session.uuid)
            .finish_non_exhaustive()
    }
}

impl LiveInput {
    /// Attaches to the session that `url` names, and waits until its first trace has begun.
    /// Once `stop` is set, the trace ends as if the session did.
    ///
    /// # Errors
    /// When the relay daemon cannot be reached, has no such session, or gives what makes no
    /// sense; when it is stopped before anything came.
    pub fn open(url: &LiveUrl, from: Beginning, stop: Arc<AtomicBool>) -> Result<LiveInput> {
        let mut client = connect(url)?;
        let id = find(&mut client, url)?;
        let damages = Arc::new(Mutex::new(Vec::new()));
        let mut stream = LiveStream::attach(
            client,
            url.clone(),
            id,
            from,
            Arc::clone(&stop),
            Arc::clone(&damages),
            Arc::new(ClassRegistry::default()),
        )?;
        loop {
            if let Some(mut session) = stream.look_for_session()? {
                if let Some((traced, name)) = &url.session
                    && let Some(source) = session.sources.first_mut()
                {
                    source.description = format!("session {name} of {traced}, live");
                }
                return Ok(LiveInput {
                    session,
                    stream: Some(stream),
                    damages,
                });
            }
            if stop.load(Ordering::Relaxed) || stream.has_ended() {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("{url}: the session ended before anything was traced"),
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Source for LiveInput {
    fn info(&self) -> &SourceInfo {
        // There is one.
        &self.session.sources[0]
    }

    fn streams(&mut self, sink: &mut dyn Sink) -> Result<Vec<Box<dyn RecordStream>>> {
        let mut streams: Vec<Box<dyn RecordStream>> = Vec::new();
        if let Some(mut stream) = self.stream.take() {
            stream.tell_classes(sink)?;
            streams.push(Box::new(stream));
        }
        Ok(streams)
    }
}

impl FileInput for LiveInput {
    fn session(&self) -> &SessionInfo {
        &self.session
    }

    fn misfits(&self) -> Vec<Error> {
        let damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |what: &String| Error::new(ErrorKind::InvalidData, what.as_str());
        damages.iter().map(error).collect()
    }
}

/// The source of a live session.
pub(super) const SOURCE: SourceId = SourceId(1);
