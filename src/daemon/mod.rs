//! `kstraced`: sessions for many clients, behind one Unix socket.

mod limited;
mod live;
mod peer;
mod peer_groups;
mod places;
mod service;
mod sessions;

use crate::control;
use anyhow::{Context, Result};
use clap::Parser;
use kstrace_lttng::live::ServerHandle;
use limited::Limited;
use nix::fcntl::{Flock, FlockArg};
use peer::Peer;
use places::Places;
use service::Control;
use sessions::Sessions;
use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
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

    /// Let LTTng's viewers follow the sessions: babeltrace2 -i lttng-live net://HOST[:PORT].
    /// The protocol knows no users, so whoever can connect there sees everything that is
    /// recorded [ADDRESS without a value: 127.0.0.1:5344]
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:5344",
        value_parser = live_address
    )]
    lttng_live: Option<SocketAddr>,
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
    // First: a second daemon is to touch nothing.
    let socket = listen(options)?;
    reap_orphans();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let sessions = Arc::new(Sessions::default());
    let live = options
        .lttng_live
        .map(|address| serve_live(address, &sessions))
        .transpose()?;
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, serve(socket.listener, sessions));
    drop(live);
    if let Some(bound) = socket.bound {
        // Left behind it would only be in the next start's way, which replaces it.
        let _ = fs::remove_file(bound.path);
    }
    outcome
}

/// An address with or without a port.
fn live_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let with_port = text.to_socket_addrs();
    with_port
        .or_else(|_| (text, kstrace_lttng::live::DEFAULT_PORT).to_socket_addrs())
        .map_err(|e| e.to_string())?
        .next()
        .ok_or_else(|| "no address of that name".to_owned())
}

/// Opens the door for LTTng's viewers.
fn serve_live(address: SocketAddr, sessions: &Arc<Sessions>) -> Result<ServerHandle> {
    let hub = Arc::new(live::LiveHub(Arc::clone(sessions)));
    let server = kstrace_lttng::live::Server::bind(address)
        .and_then(|server| server.start(hub))
        .with_context(|| format!("serve LTTng's viewers at {address}"))?;
    eprintln!(
        "kstraced: LTTng's viewers are served at {}",
        server.address()
    );
    Ok(server)
}

/// What a daemon or recorder that was killed left enabled in the kernel goes.
fn reap_orphans() {
    let removed =
        tracefs::Tracefs::discover().and_then(|t| t.reap_orphans(kstrace_ftrace::INSTANCE_PREFIX));
    match removed {
        Ok(names) => {
            for name in names {
                eprintln!("kstraced: removed the tracefs instance {name}, whose owner is gone");
            }
        }
        Err(error) => eprintln!("kstraced: cannot look for leftovers: {error}"),
    }
}

/// Where clients come in.
struct ControlSocket {
    listener: UnixListener,
    /// None if systemd passed it.
    bound: Option<Bound>,
}

/// A socket of our own.
struct Bound {
    path: PathBuf,
    /// Held as long as the socket is ours.
    _lock: Flock<File>,
}

/// The socket that systemd passed, or one of our own.
fn listen(options: &Options) -> Result<ControlSocket> {
    let mut passed = sd_notify::listen_fds().context("look for a socket from systemd")?;
    if passed.len() > 1 {
        anyhow::bail!(
            "systemd passed {} sockets; kstraced listens on one",
            passed.len()
        );
    }
    if let Some(fd) = passed.next() {
        return Ok(ControlSocket {
            listener: socket_from_systemd(fd),
            bound: None,
        });
    }
    let path = options.socket.clone().unwrap_or_else(control::socket_path);
    if let Some(parent) = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty() && !p.exists())
    {
        fs::create_dir_all(parent)
            .with_context(|| format!("make the directory {}", parent.display()))?;
        fs::set_permissions(parent, Permissions::from_mode(0o755))
            .with_context(|| format!("set the mode of {}", parent.display()))?;
    }
    let lock = lock_beside(&path)?;
    remove_stale(&path)?;
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    // Anybody may connect and be told no by name; what they may do is decided by peer.
    fs::set_permissions(&path, Permissions::from_mode(0o666))
        .with_context(|| format!("set the mode of {}", path.display()))?;
    Ok(ControlSocket {
        listener,
        bound: Some(Bound { path, _lock: lock }),
    })
}

/// Two daemons that start at once must not remove each other's socket.
fn lock_beside(socket: &Path) -> Result<Flock<File>> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => in_use(socket),
        other => anyhow::Error::from(other).context(format!("lock {}", path.display())),
    })
}

fn in_use(socket: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is in use: another kstraced is running",
        socket.display()
    )
}

#[expect(
    unsafe_code,
    reason = "sd_listen_fds(3) passes bare descriptor numbers"
)]
fn socket_from_systemd(fd: std::os::fd::RawFd) -> UnixListener {
    use std::os::fd::FromRawFd;
    // SAFETY: the service manager passed this descriptor to this process, and
    // this is the only place that takes it.
    unsafe { UnixListener::from_raw_fd(fd) }
}

/// A socket nobody answers on is a dead daemon's and goes; one that answers is in use.
fn remove_stale(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("look at {}", path.display())),
        Ok(found) if !found.file_type().is_socket() => {
            anyhow::bail!("{} is there and no socket", path.display())
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .with_context(|| format!("remove the old socket {}", path.display())),
        Err(e) => Err(e).with_context(|| format!("ask who listens on {}", path.display())),
        Ok(_) => Err(in_use(path)),
    }
}

async fn serve(listener: UnixListener, sessions: Arc<Sessions>) -> Result<()> {
    listener.set_nonblocking(true).context("the socket")?;
    let listener = tokio::net::UnixListener::from_std(listener).context("the socket")?;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    // Nobody may be listening; then there is nothing to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let places = Places::default();
    let mut clients = 0u64;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients += 1;
                    begin(stream, &sessions, &places, clients);
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
    sessions.close();
    Ok(())
}

/// Serves one connection in a task of its own: its end is the end of what belongs to it.
fn begin(stream: tokio::net::UnixStream, sessions: &Arc<Sessions>, places: &Places, client: u64) {
    let served = Peer::of(&stream)
        .map_err(anyhow::Error::from)
        .and_then(|peer| Ok((peer, zlink::tokio::unix::Stream::try_from(stream)?)));
    match served {
        Ok((peer, stream)) => {
            // One too many is closed without a word: the log is not theirs to fill.
            let Some(place) = places.take(peer.uid) else {
                return;
            };
            let service = Control::new(Arc::clone(sessions), peer, client, place);
            tokio::task::spawn_local(async move {
                let listener = ReadyListener::new(Limited(stream));
                if let Err(error) = Server::new(listener, service).run().await {
                    eprintln!("kstraced: client {client}: {error}");
                }
            });
        }
        Err(error) => eprintln!("kstraced: client {client}: {error:#}"),
    }
}
