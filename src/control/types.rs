//! The types of `org.kstrace.Control`.

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, ReplyError as IntrospectError};

/// A named feature with its own minor version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Capability {
    /// Its name; unknown ones are to be ignored.
    pub name: String,
    /// Counts additions to it.
    pub minor: i64,
}

/// What a daemon is, answered to `Hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Welcome {
    /// The major version chosen: the highest both know.
    pub major: i64,
    /// Name and version of the daemon, for people.
    pub server: String,
    /// What it can do.
    pub capabilities: Vec<Capability>,
}

/// An interface of this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct SourceState {
    /// `perf`, `ftrace`
    pub name: String,
    /// Whether it can be used.
    pub usable: bool,
    /// Why not, or empty.
    pub reason: String,
}

/// The interfaces of this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct SourceList {
    /// One entry each.
    pub sources: Vec<SourceState>,
}

/// Events by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct EventList {
    /// `sched:sched_switch`, `cpu-clock`, ...
    pub events: Vec<String>,
}

/// The sessions of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct SessionList {
    /// One entry each.
    pub sessions: Vec<SessionState>,
}

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct SessionState {
    /// Its id, which names it in all methods.
    pub session: String,
    /// `created`, `busy` (on the way to the next), `running`, `ended` (by itself, by an error
    /// that stopping it tells) or `stopped`.
    pub state: String,
    /// Whether it outlives the client that made it.
    pub detached: bool,
    /// User id of the client that made it.
    pub owner: i64,
}

/// A session just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Created {
    /// Its id.
    pub session: String,
    /// The capture plan: what is recorded through which interface, and why.
    pub plan: String,
    /// Things the user should know.
    pub notes: Vec<String>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomType)]
pub struct Stopped {
    /// The account of every hop: `HopAccount` of the event model.
    pub accounts: Vec<serde_json::Value>,
    /// What went wrong with single sources while the others went on.
    pub problems: Vec<String>,
}

/// How to read the ring: the descriptors that come with the reply, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Subscription {
    /// Index of the ring's memory, which can only be read.
    pub ring_fd: i64,
    /// Index of the recorder's own page; -1 for a viewer.
    pub page_fd: i64,
    /// Index of the socket that says when to look, and hangs up at the session's end.
    pub wake_fd: i64,
}

/// Running totals of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Statistics {
    /// Records taken from the sources.
    pub records: i64,
    /// Records known to be lost, at any hop.
    pub lost: i64,
    /// Times the engine woke up and looked.
    pub rounds: i64,
}

/// What a method answers when it does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, zlink::ReplyError, IntrospectError)]
#[zlink(interface = "org.kstrace.Control")]
pub enum ControlError {
    /// The peer may not do this.
    NotAllowed {
        /// Why, and what would help.
        reason: String,
    },
    /// None of the majors offered is spoken here.
    NoCommonMajor {
        /// Those that are.
        spoken: Vec<i64>,
    },
    /// The request makes no sense.
    BadRequest {
        /// Why.
        reason: String,
    },
    /// The kernel, or a limit of this machine, refused.
    Refused {
        /// What, with its causes.
        reason: String,
    },
    /// There is no such session.
    NoSuchSession {
        /// The id asked for.
        session: String,
    },
    /// The session is not in a state for this.
    WrongState {
        /// The id asked for.
        session: String,
        /// The state it is in.
        state: String,
    },
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ControlError::NotAllowed { reason }
            | ControlError::BadRequest { reason }
            | ControlError::Refused { reason } => f.write_str(reason),
            ControlError::NoCommonMajor { spoken } => {
                write!(f, "no common major version: the daemon speaks {spoken:?}")
            }
            ControlError::NoSuchSession { session } => write!(f, "there is no session '{session}'"),
            ControlError::WrongState { session, state } => {
                write!(f, "session '{session}' is {state}")
            }
        }
    }
}

impl std::error::Error for ControlError {}
