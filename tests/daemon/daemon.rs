//! A daemon of a test's own.

use super::support::{kstrace, scratch, wait_for};
use kstrace::control::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

pub(crate) fn kstraced_path() -> &'static str {
    env!("CARGO_BIN_EXE_kstraced")
}

/// kstraced on a socket in a directory of its own; ends with the value.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    dir: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Self::start_by(|_| Command::new(kstraced_path()))
    }

    /// Started by a command of the caller's, who is told the directory.
    pub(crate) fn start_by(command: impl FnOnce(&Path) -> Command) -> Daemon {
        let dir = scratch();
        // For those of other users.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))
            .expect("chmod");
        let command = command(dir.path());
        Self::start_in(dir, command)
    }

    pub(crate) fn start_in(dir: tempfile::TempDir, mut command: Command) -> Daemon {
        let socket = dir.path().join("control.sock");
        let child = command
            .env("KSTRACE_SOCKET", &socket)
            .stdin(Stdio::null())
            .spawn()
            .expect("kstraced");
        wait_for(|| UnixStream::connect(&socket).is_ok());
        Daemon { child, socket, dir }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect_to(&self.socket).expect("a client")
    }

    /// The command line, for this daemon.
    pub(crate) fn kstrace<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = kstrace(args);
        command.env("KSTRACE_SOCKET", &self.socket);
        command
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid_of(&self.child), signal).expect("kill");
    }

    /// Waits for its end; gives the directory back.
    pub(crate) fn wait(mut self) -> (ExitStatus, tempfile::TempDir) {
        let status = self.child.wait().expect("wait");
        let dir = std::mem::replace(&mut self.dir, scratch());
        (status, dir)
    }

    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("fds")
            .count()
    }

    /// What this daemon has in tracefs.
    pub(crate) fn instances(&self) -> Vec<String> {
        instances_of(self.child.id())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(pid_of(&self.child), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn instances_of(pid: u32) -> Vec<String> {
    let mut names = tracefs::Tracefs::discover()
        .expect("tracefs")
        .instances()
        .expect("instances");
    names.retain(|n| n.starts_with(&format!("kstrace-{pid}-")));
    names
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

pub(crate) fn interrupt(child: &Child) {
    kill(pid_of(child), Signal::SIGINT).expect("kill");
}

/// A child that is killed if the test fails.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
