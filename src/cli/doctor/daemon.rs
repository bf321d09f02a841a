//! Whether kstraced is here.

use super::finding::{Finding, State};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

const AREA: &str = "kstraced";
/// Where the daemon listens, as its socket unit has it.
const SOCKET: &str = "/run/kstrace/control.sock";

pub(super) fn examine() -> Vec<Finding> {
    let what = "control socket";
    vec![match UnixStream::connect(SOCKET) {
        Ok(_) => Finding::new(AREA, what, State::Ok, format!("{SOCKET} takes clients")),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            Finding::new(AREA, what, State::Denied, format!("{SOCKET}: {e}"))
                .fix("as root: usermod -aG tracing USER, then log in again")
        }
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            let text = format!("{SOCKET} is there, but nobody listens");
            Finding::new(AREA, what, State::Absent, text)
                .fix("systemctl start kstraced.socket, or start kstraced")
        }
        Err(_) => {
            let text = "not running; kstrace then records in its own process";
            Finding::new(AREA, what, State::Absent, text)
        }
    }]
}
