//! A command that waits at a gate until recording has begun.
#![expect(
    unsafe_code,
    reason = "CommandExt::pre_exec is unsafe: its closure runs between fork and exec"
)]

use kstrace_schema::{Error, ErrorKind, Result};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread::JoinHandle;

/// A forked process that has not yet become its command.
#[derive(Debug)]
pub struct Workload {
    pid: i32,
    name: String,
    gate: File,
    spawner: JoinHandle<std::io::Result<Child>>,
}

impl Workload {
    /// Forks; the child waits before its `execve`.
    ///
    /// # Errors
    /// When the process cannot be made. That the command does not exist is only
    /// known at [`release`](Workload::release).
    pub fn prepare(argv: &[OsString]) -> Result<Workload> {
        Self::prepare_as(argv, "kstrace-spawn")
    }

    /// As [`prepare`](Workload::prepare); until its `execve` the process is called `waiting_name`.
    ///
    /// # Errors
    /// As [`prepare`](Workload::prepare).
    pub fn prepare_as(argv: &[OsString], waiting_name: &str) -> Result<Workload> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "no command to run"))?;
        let name = program.to_string_lossy().into_owned();
        let (pid_read, pid_write) = pipe()?;
        let (gate_read, gate_write) = pipe()?;
        let mut command = Command::new(program);
        command.args(arguments);
        let (write_fd, read_fd) = (pid_write.as_raw_fd(), gate_read.as_raw_fd());
        // The parent's end must not keep the gate open in the child.
        let close_fd = gate_write.as_raw_fd();
        // SAFETY: the closure only calls getpid, sigprocmask, write, read, close
        // and _exit, all of which are async-signal-safe, on descriptors that outlive the fork.
        unsafe { command.pre_exec(move || wait_at_gate(write_fd, read_fd, close_fd)) };
        // Command::spawn returns only after the execve, so it runs beside.
        let spawner = std::thread::Builder::new()
            .name(waiting_name.into())
            .spawn(move || {
                let outcome = command.spawn();
                drop((pid_write, gate_read));
                outcome
            })
            .map_err(|e| Error::io("start a thread", e))?;
        let mut bytes = [0; 4];
        if File::from(pid_read).read_exact(&mut bytes).is_err() {
            let cause = match spawner.join() {
                Ok(Err(e)) => e,
                _ => std::io::Error::other("the child process vanished"),
            };
            return Err(Error::io(format!("cannot start '{name}'"), cause));
        }
        Ok(Workload {
            pid: i32::from_ne_bytes(bytes),
            name,
            gate: File::from(gate_write),
            spawner,
        })
    }

    /// The child's process id, which it keeps.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the child become its command.
    ///
    /// # Errors
    /// `ErrorKind::NotFound` or `PermissionDenied` when it cannot be executed.
    pub fn release(mut self) -> Result<Child> {
        self.gate
            .write_all(&[1])
            .map_err(|e| Error::io("start the command", e))?;
        match self.spawner.join() {
            Ok(Ok(child)) => Ok(child),
            Ok(Err(e)) => Err(Error::io(format!("cannot run '{}'", self.name), e)),
            Err(_) => Err(Error::new(
                ErrorKind::Io,
                format!("cannot run '{}'", self.name),
            )),
        }
    }

    /// The child's process id as nix wants it.
    pub fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.pid)
    }
}

/// A descriptor that becomes readable when a process ends. Linux 5.3, `pidfd_open(2)`.
///
/// # Errors
/// `ErrorKind::NotFound` if there is no such process.
pub fn exit_of(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        let mut cause = std::io::Error::last_os_error();
        if cause.raw_os_error() == Some(libc::ESRCH) {
            cause = std::io::Error::new(std::io::ErrorKind::NotFound, cause);
        }
        return Err(Error::io(format!("watch process {pid}"), cause));
    }
    // SAFETY: the kernel just gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map_err(|e| Error::io("make a pipe", std::io::Error::from(e)))
}

fn wait_at_gate(pid_fd: RawFd, gate_fd: RawFd, close_fd: RawFd) -> std::io::Result<()> {
    // SAFETY: closes this process's copy of a descriptor that the parent owns.
    unsafe { libc::close(close_fd) };
    // The recorder blocks signals to read them from a descriptor; the command must not inherit that.
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is room for a signal set, which the call fills in.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` was initialised by sigemptyset; the old mask is not asked for.
    if unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let pid = std::process::id().to_ne_bytes();
    // SAFETY: `pid` is four readable bytes.
    if unsafe { libc::write(pid_fd, pid.as_ptr().cast(), pid.len()) } != 4 {
        return Err(std::io::Error::last_os_error());
    }
    let mut go = 0u8;
    loop {
        // SAFETY: `go` is one writable byte.
        match unsafe { libc::read(gate_fd, (&raw mut go).cast(), 1) } {
            1 => return Ok(()),
            // The recorder went away without saying go: the command must not run, and
            // nobody is left to be told why.
            0 => {
                // SAFETY: ends this process without running anything of the parent's.
                unsafe { libc::_exit(127) }
            }
            _ => {
                let error = std::io::Error::last_os_error();
                if error.kind() != std::io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_gate_and_keeps_its_pid() {
        let workload = Workload::prepare(&["sh".into(), "-c".into(), "exit 7".into()]).unwrap();
        let pid = workload.pid();
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        assert_ne!(comm.trim(), "sh");
        let mut child = workload.release().unwrap();
        assert_eq!(child.id(), u32::try_from(pid).unwrap());
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn the_end_of_a_process_can_be_waited_for() {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let exit = exit_of(pid).unwrap();
        let mut fds = [PollFd::new(exit.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0));
        child.kill().unwrap();
        assert_eq!(poll(&mut fds, PollTimeout::from(5000u16)), Ok(1));
        child.wait().unwrap();
        assert_eq!(exit_of(pid).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_command_that_does_not_exist() {
        let workload = Workload::prepare(&["/no/such/program".into()]).unwrap();
        let error = workload.release().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/no/such/program"));
    }
}
