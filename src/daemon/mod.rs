//! `kstraced`: sessions for many clients, behind one Unix socket.

mod peer;
mod service;
mod sessions;

use crate::control;
use anyhow::{Context, Result};
use clap::Parser;
use peer::Peer;
use service::Control;
use sessions::Sessions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use zlink::{ReadyListener, Server};

/// The kstrace daemon: tracing sessions for local clients.
#[derive(Debug, Parser)]
#[command(name = "kstraced", version)]
struct Options {
    /// The socket to listen on, unless systemd passes one [default: /run/kstrace/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Runs the daemon until SIGTERM or SIGINT. Exit status 0 then, 1 if it cannot begin.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kstraced: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    reap_orphans();
    let (listener, bound) = listen(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, serve(listener));
    if let Some(path) = bound {
        // Left behind it would only be in the next start's way, which replaces it.
        let _ = std::fs::remove_file(path);
    }
    outcome
}

/// What a daemon or recorder that was killed left enabled in the kernel goes.
fn reap_orphans() {
    let removed = tracefs::Tracefs::discover()
        .and_then(|t| t.reap_orphans(kstrace_ftrace::INSTANCE_PREFIX));
    match removed {
        Ok(names) => {
            for name in names {
                eprintln!("kstraced: removed the tracefs instance {name}, whose owner is gone");
            }
        }
        Err(error) => eprintln!("kstraced: cannot look for leftovers: {error}"),
    }
}

/// The socket that systemd passed, or one of our own and its path.
fn listen(options: &Options) -> Result<(UnixListener, Option<PathBuf>)> {
    let mut passed = sd_notify::listen_fds().context("look for a socket from systemd")?;
    if let Some(fd) = passed.next() {
        return Ok((socket_from_systemd(fd), None));
    }
    let path = options.socket.clone().unwrap_or_else(control::socket_path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("make the directory {}", parent.display()))?;
    }
    refuse_second(&path)?;
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    // Anybody may connect and be told no by name; what they may do is decided by peer.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))
        .with_context(|| format!("set the mode of {}", path.display()))?;
    Ok((listener, Some(path)))
}

#[expect(unsafe_code, reason = "sd_listen_fds(3) passes bare descriptor numbers")]
fn socket_from_systemd(fd: std::os::fd::RawFd) -> UnixListener {
    use std::os::fd::FromRawFd;
    // SAFETY: the service manager passed this descriptor to this process, and
    // this is the only place that takes it.
    unsafe { UnixListener::from_raw_fd(fd) }
}

/// A socket nobody answers on is a dead daemon's and goes; one that answers is in use.
fn refuse_second(path: &Path) -> Result<()> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("{} is in use: another kstraced is running", path.display());
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove the old socket {}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn serve(listener: UnixListener) -> Result<()> {
    listener.set_nonblocking(true).context("the socket")?;
    let listener = tokio::net::UnixListener::from_std(listener).context("the socket")?;
    let sessions = Arc::new(Sessions::default());
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    // Nobody may be listening; then there is nothing to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut clients = 0u64;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients += 1;
                    begin(stream, &sessions, clients);
                }
                Err(error) => {
                    // Out of descriptors, say: others may end and free some.
                    eprintln!("kstraced: accept: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    for state in sessions.list() {
        let _ = sessions.destroy(&state.session);
    }
    Ok(())
}

/// Serves one connection in a task of its own: its end is the end of what belongs to it.
fn begin(stream: tokio::net::UnixStream, sessions: &Arc<Sessions>, client: u64) {
    let served = Peer::of(&stream)
        .map_err(anyhow::Error::from)
        .and_then(|peer| Ok((peer, zlink::tokio::unix::Stream::try_from(stream)?)));
    match served {
        Ok((peer, stream)) => {
            let service = Control::new(Arc::clone(sessions), peer, client);
            tokio::task::spawn_local(async move {
                if let Err(error) = Server::new(ReadyListener::new(stream), service).run().await {
                    eprintln!("kstraced: client {client}: {error}");
                }
            });
        }
        Err(error) => eprintln!("kstraced: client {client}: {error:#}"),
    }
}
