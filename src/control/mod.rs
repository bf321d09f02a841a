//! The control interface `org.kstrace.Control`: what daemon and clients share.
//!
//! It is Varlink, so that any Varlink tool can speak it and ask for its
//! description; `schema/v1/org.kstrace.Control.varlink` is the frozen text. A
//! break would be a new interface name, served beside this one.

pub mod client;
pub mod recording;
pub mod types;

/// The name of the interface.
pub const INTERFACE: &str = "org.kstrace.Control";
/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kstrace/control.sock";
/// Environment variable that names another socket, for daemon and clients.
pub const SOCKET_VARIABLE: &str = "KSTRACE_SOCKET";
/// The major versions of the ABI that this build speaks, best first.
pub const MAJORS: &[i64] = &[1];

/// The socket to use: what the environment says, else the default.
pub fn socket_path() -> std::path::PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| DEFAULT_SOCKET.into(), Into::into)
}
