//! `org.kstrace.Control`, served to one connection.

use super::peer::Peer;
use super::places::Place;
use super::sessions::Sessions;
use crate::control::MAJORS;
use crate::control::types::{
    Capability, ControlError, Created, EventList, SessionList, SessionState, SourceList,
    SourceState, Statistics, Stopped, Subscription, Welcome,
};
use crate::engine::request::RecordRequest;
use crate::engine::resolve::EventNames;
use crate::engine::{LiveNames, facts};
use futures_util::Stream;
use kstrace_ring::{RecorderOptions, Ring, Start, WakeKind};
use kstrace_schema::Capture;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use zlink::Reply;

/// How often statistics may be asked for at most.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// And at least: that a client is gone shows when it is sent something.
const LONGEST_INTERVAL: Duration = Duration::from_millis(500);

/// One connection's view of the daemon. Dropped with the connection.
pub(super) struct Control {
    sessions: Arc<Sessions>,
    peer: Peer,
    client: u64,
    /// Ends with the connection.
    _place: Place,
}

impl Control {
    pub(super) fn new(sessions: Arc<Sessions>, peer: Peer, client: u64, place: Place) -> Self {
        sessions.client_here(client);
        Control {
            sessions,
            peer,
            client,
            _place: place,
        }
    }

    /// Work that blocks goes to a thread, so that other clients are served meanwhile.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sessions) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let (sessions, peer) = (Arc::clone(&self.sessions), self.peer.clone());
        tokio::task::spawn_blocking(move || {
            // The user database may be far away: asked here, where waiting hurts nobody.
            peer.may_trace()?;
            work(&sessions)
        })
        .await
        .unwrap_or_else(|e| {
            Err(ControlError::Refused {
                reason: format!("the daemon failed: {e}"),
            })
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let (sessions, client) = (Arc::clone(&self.sessions), self.client);
        // Stopping takes a moment; nobody waits for it.
        std::thread::spawn(move || sessions.client_gone(client));
    }
}

/// Varlink's `org.kstrace.Control`.
#[zlink::service(
    interface = "org.kstrace.Control",
    types = [
        Capability, Welcome, SourceState, SourceList, EventList, SessionState, SessionList, Created,
        Stopped, Subscription, Statistics
    ],
    vendor = "kstrace",
    product = "kstraced",
    version = env!("CARGO_PKG_VERSION"),
    url = "https://github.com/kstrace/kstrace"
)]
impl Control {
    /// The client offers the majors it speaks; the daemon takes the highest it knows.
    async fn hello(&self, client: String, majors: Vec<i64>) -> Result<Welcome, ControlError> {
        let _ = client;
        let major = MAJORS
            .iter()
            .copied()
            .filter(|m| majors.contains(m))
            .max()
            .ok_or_else(|| ControlError::NoCommonMajor {
                spoken: MAJORS.to_vec(),
            })?;
        let capability = |name: &str| Capability {
            name: name.to_owned(),
            minor: 0,
        };
        Ok(Welcome {
            major,
            server: format!("kstraced {}", env!("CARGO_PKG_VERSION")),
            capabilities: [
                "ring",
                "recorder",
                "viewer",
                "overwrite",
                "statistics",
                "detached",
            ]
            .map(capability)
            .to_vec(),
        })
    }

    /// Which kernel interfaces can be used.
    async fn get_sources(&self) -> Result<SourceList, ControlError> {
        self.blocking(|_| {
            let facts = facts();
            let state = |name: &str, usable: Result<(), String>| SourceState {
                name: name.to_owned(),
                usable: usable.is_ok(),
                reason: usable.err().unwrap_or_default(),
            };
            let sources = vec![
                state("perf", facts.perf_tracepoints),
                state("ftrace", facts.tracefs),
            ];
            Ok(SourceList { sources })
        })
        .await
    }

    /// The events whose names match a pattern with `*` and `?`.
    async fn list_events(&self, pattern: String) -> Result<EventList, ControlError> {
        self.blocking(move |_| {
            let names = LiveNames::read();
            let mut all: Vec<String> = names
                .tracepoints()
                .iter()
                .map(ToString::to_string)
                .collect();
            all.extend(names.perf_names());
            all.retain(|name| tracefs::glob::matches(&pattern, name));
            Ok(EventList { events: all })
        })
        .await
    }

    /// Opens a session: `request` is a `RecordRequest` of the event model. Without `detached` it
    /// ends with this connection.
    async fn create_session(
        &self,
        request: serde_json::Value,
        workload: Vec<String>,
        detached: bool,
    ) -> Result<Created, ControlError> {
        let request: RecordRequest =
            serde_json::from_value(request).map_err(|e| ControlError::BadRequest {
                reason: format!("request: {e}"),
            })?;
        let (owner, client) = (self.peer.uid, self.client);
        self.blocking(move |sessions| {
            let mut request = request;
            request
                .exclude_pids
                .extend(i32::try_from(std::process::id()));
            let capture = Capture {
                command_line: Vec::new(),
                workload,
                pids: Vec::new(),
            };
            let (session, plan, notes) =
                sessions.create(&request, capture, owner, client, detached)?;
            Ok(Created {
                session,
                plan,
                notes,
            })
        })
        .await
    }

    /// Begins to record.
    async fn start_session(&self, session: String) -> Result<(), ControlError> {
        self.blocking(move |s| s.start(&session)).await
    }

    /// Stops recording and gives the accounts; so again if it was stopped before. The ring keeps
    /// what it has until the session is destroyed.
    async fn stop_session(&self, session: String) -> Result<Stopped, ControlError> {
        self.blocking(move |s| s.stop(&session)).await
    }

    /// Closes the open packets, so that every reader has all there is now, while recording goes on.
    async fn snapshot(&self, session: String) -> Result<(), ControlError> {
        self.blocking(move |s| s.flush(&session)).await
    }

    /// Ends a session.
    async fn destroy_session(&self, session: String) -> Result<(), ControlError> {
        self.blocking(move |s| s.destroy(&session)).await
    }

    /// All sessions.
    async fn list_sessions(&self) -> Result<SessionList, ControlError> {
        self.blocking(|s| Ok(SessionList { sessions: s.list() }))
            .await
    }

    /// Descriptors to read a session's ring by. A recorder is never overrun and holds space until
    /// it moves on; a viewer holds nothing and may be lapped.
    #[zlink(return_fds)]
    async fn subscribe(
        &self,
        session: String,
        recorder: bool,
    ) -> (Result<Subscription, ControlError>, Vec<OwnedFd>) {
        let client = self.client;
        let outcome = self
            .blocking(move |s| {
                let ring = s.ring(&session)?;
                if recorder {
                    subscribe_recorder(s, &ring, &session, client)
                } else {
                    subscribe_viewer(s, &ring, &session, client)
                }
            })
            .await;
        match outcome {
            Ok((subscription, fds)) => (Ok(subscription), fds),
            Err(error) => (Err(error), Vec::new()),
        }
    }

    /// Running totals, once, or with `more` every `interval_ms` until the session stops.
    #[zlink(more)]
    async fn monitor(
        &self,
        more: bool,
        session: String,
        interval_ms: i64,
    ) -> impl Stream<Item = Result<Reply<Statistics>, ControlError>> + Unpin {
        let interval = Duration::from_millis(u64::try_from(interval_ms).unwrap_or(0))
            .clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        let allowed = self.blocking(|_| Ok(())).await;
        let sessions = Arc::clone(&self.sessions);
        let read = move || {
            allowed.clone()?;
            let stats = sessions.statistics(&session)?;
            let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            Ok(Statistics {
                records: count(stats.records),
                lost: count(stats.lost),
                rounds: count(stats.rounds),
            })
        };
        Box::pin(futures_util::stream::unfold(
            Some((read, false)),
            move |state| async move {
                let (read, begun) = state?;
                if begun {
                    tokio::time::sleep(interval).await;
                }
                match read() {
                    Ok(now) => {
                        let item = Ok(Reply::new(Some(now)).set_continues(Some(more)));
                        Some((item, more.then_some((read, true))))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            },
        ))
    }
}

type Subscribed = Result<(Subscription, Vec<OwnedFd>), ControlError>;

fn subscribe_recorder(s: &Sessions, ring: &Ring, session: &str, client: u64) -> Subscribed {
    let options = RecorderOptions {
        start: Start::Oldest,
        watermark_packets: 1,
        wake: WakeKind::Socket,
    };
    let slot = ring.attach_recorder(options).map_err(|e| refused(&e))?;
    let fds = vec![
        read_only(ring.fd()).map_err(|e| refused(&e))?,
        slot.page_fd()
            .try_clone_to_owned()
            .map_err(|e| refused(&e))?,
        slot.wake_fd()
            .try_clone_to_owned()
            .map_err(|e| refused(&e))?,
    ];
    s.keep_recorder(session, client, slot)?;
    Ok((
        Subscription {
            ring_fd: 0,
            page_fd: 1,
            wake_fd: 2,
        },
        fds,
    ))
}

fn subscribe_viewer(s: &Sessions, ring: &Ring, session: &str, client: u64) -> Subscribed {
    let wake = ring
        .attach_viewer_wake(WakeKind::Socket)
        .map_err(|e| refused(&e))?;
    let fds = vec![
        read_only(ring.fd()).map_err(|e| refused(&e))?,
        wake.fd().try_clone_to_owned().map_err(|e| refused(&e))?,
    ];
    s.keep_viewer(session, client, wake)?;
    Ok((
        Subscription {
            ring_fd: 0,
            page_fd: -1,
            wake_fd: 1,
        },
        fds,
    ))
}

/// The ring's memory is sealed against writing by others; a descriptor that
/// cannot write makes that plain.
fn read_only(fd: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?.into())
}

fn refused(error: &dyn std::error::Error) -> ControlError {
    ControlError::Refused {
        reason: error.to_string(),
    }
}
