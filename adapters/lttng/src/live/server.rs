//! Listening, and a thread for each viewer.

use super::connection::Connection;
use super::hub::Hub;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many viewers there can be at a time; one more is turned away.
const MOST_VIEWERS: usize = 32;
/// A viewer that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves viewers.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens there. The protocol knows no users: whoever can connect sees all that the hub has.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Server {
            listener: TcpListener::bind(address)?,
        })
    }

    /// Begins to serve, in threads of its own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(self, hub: Arc<dyn Hub>) -> io::Result<ServerHandle> {
        let address = self.listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("lttng-live".into())
            .spawn(move || accept(&self.listener, &hub, &theirs))?;
        Ok(ServerHandle {
            address,
            shared,
            thread: Some(thread),
        })
    }
}

/// A server that runs; dropped, it ends with all its connections.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Where it listens: with the port that was chosen, where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release); // pairs with accept
        // Nothing but a connection wakes the listener.
        let mut to = self.address;
        if to.ip().is_unspecified() {
            to.set_ip(match to {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let woken = TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_ok();
        for stream in self.shared.lock().values() {
            // It may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    ending: AtomicBool,
    viewers: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, hub: &Arc<dyn Hub>, shared: &Arc<Shared>) {
    let mut number = 0;
    loop {
        let accepted = listener.accept();
        if shared.ending.load(Ordering::Acquire) {
            return;
        }
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, say: others may end and free some.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        number += 1;
        // One that cannot be served is closed, which its viewer sees.
        let _ = begin(stream, number, hub, shared);
    }
}

fn begin(
    stream: TcpStream,
    number: u64,
    hub: &Arc<dyn Hub>,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let connection = Connection::new(stream.try_clone()?, stream.try_clone()?, Arc::clone(hub));
    {
        let mut viewers = shared.lock();
        if viewers.len() >= MOST_VIEWERS {
            return Ok(());
        }
        viewers.insert(number, stream);
    }
    let place = Place {
        number,
        shared: Arc::clone(shared),
    };
    std::thread::Builder::new()
        .name("lttng-live-view".into())
        .spawn(move || {
            let _place = place;
            // Its end is the viewer's: there is nobody else to tell.
            let _ = connection.serve();
        })?;
    Ok(())
}

/// A viewer's place among the others.
struct Place {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(stream) = self.shared.lock().remove(&self.number) {
            // The viewer learns at once; the other halves of it are going too.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
