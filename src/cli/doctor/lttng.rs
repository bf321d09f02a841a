//! Whether LTTng is here.

use super::finding::{Finding, State};
use kstrace_lttng::kernel::Tracer;
use kstrace_schema::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const AREA: &str = "lttng";

pub(super) fn examine() -> Vec<Finding> {
    vec![modules(), session_daemon()]
}

fn modules() -> Finding {
    let what = "kernel modules";
    if Path::new("/proc/lttng").exists() {
        return usable(what);
    }
    let release = crate::engine::host::host_info().os_release;
    let installed = ["extra", "updates", "updates/dkms", "kernel"]
        .iter()
        .any(|dir| {
            let dir = Path::new("/lib/modules").join(&release).join(dir);
            dir.join("lttng-tracer.ko").exists()
                || dir.join("lttng-tracer.ko.xz").exists()
                || dir.join("lttng").exists()
        });
    if installed {
        Finding::new(AREA, what, State::Denied, "installed, not loaded")
            .fix("as root: modprobe lttng-tracer")
    } else {
        Finding::new(
            AREA,
            what,
            State::Absent,
            "not installed; perf and ftrace do not need them",
        )
    }
}

/// Whether the modules that are loaded can be used by us.
fn usable(what: &'static str) -> Finding {
    match Tracer::open() {
        Ok(tracer) => {
            let count = tracer.tracepoints().map_or(0, |names| names.len());
            let text = format!("{}, {count} tracepoints (lttng:NAME)", tracer.version());
            let finding = Finding::new(AREA, what, State::Ok, text);
            match count {
                0 => finding.fix("as root: modprobe -a lttng-probe-sched lttng-probe-irq ..."),
                _ => finding,
            }
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Finding::new(
            AREA,
            what,
            State::Denied,
            "loaded, for root only (/proc/lttng)",
        )
        .fix("run kstrace as root, or record through kstraced"),
        Err(e) => Finding::new(AREA, what, State::Denied, e.to_string()),
    }
}

/// Where the session daemons listen: root's, and this user's own.
fn sockets() -> Vec<PathBuf> {
    let mut paths = vec![
        PathBuf::from("/run/lttng/client-lttng-sessiond"),
        PathBuf::from("/var/run/lttng/client-lttng-sessiond"),
    ];
    for home in ["LTTNG_HOME", "HOME"].iter().filter_map(std::env::var_os) {
        paths.push(Path::new(&home).join(".lttng/client-lttng-sessiond"));
    }
    paths
}

fn session_daemon() -> Finding {
    let what = "session daemon";
    let mut denied = None;
    for path in sockets() {
        match UnixStream::connect(&path) {
            Ok(_) => {
                let text = format!("listens on {}", path.display());
                return Finding::new(AREA, what, State::Ok, text);
            }
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => denied = Some(path),
            Err(_) => {}
        }
    }
    match denied {
        Some(path) => {
            let text = format!("listens on {}, not for you", path.display());
            Finding::new(AREA, what, State::Denied, text)
                .fix("as root: usermod -aG tracing USER, then log in again")
        }
        None => Finding::new(
            AREA,
            what,
            State::Absent,
            "not running; perf and ftrace do not need it",
        ),
    }
}
