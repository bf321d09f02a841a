//! What a reader can do to the ring: read it.

use super::clients::running;
use super::daemon::Daemon;
use super::raw::Raw;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use serde_json::json;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};

#[expect(unsafe_code, reason = "tries to map what must not be mapped")]
fn map_for_writing(fd: impl AsFd) -> nix::Result<()> {
    let page = NonZeroUsize::new(4096).expect("not zero");
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping that nobody touches.
    unsafe { mmap(None, page, protection, MapFlags::MAP_SHARED, fd, 0) }.map(drop)
}

#[test]
fn a_viewer_can_read_and_not_write() {
    let daemon = Daemon::start();
    let mut owner = daemon.client();
    let session = running(&mut owner, false);
    let mut viewer = Raw::connect(daemon.socket());
    let fds = viewer.call_for_fds(
        "org.kstrace.Control.Subscribe",
        json!({ "session": session, "recorder": false }),
    );
    assert_eq!(fds.len(), 2, "the ring and the wake-up line");
    let ring = &fds[0];
    assert_eq!(nix::unistd::write(ring, b"x"), Err(Errno::EBADF));
    assert_eq!(map_for_writing(ring), Err(Errno::EACCES));
    assert_eq!(nix::unistd::ftruncate(ring, 0), Err(Errno::EINVAL));
    // Root can open it anew for writing: the seal holds even so.
    let anew = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", ring.as_raw_fd()))
        .expect("open anew");
    assert_eq!(nix::unistd::write(&anew, b"x"), Err(Errno::EPERM));
    assert_eq!(map_for_writing(&anew), Err(Errno::EPERM));
    assert_eq!(nix::unistd::ftruncate(&anew, 0), Err(Errno::EPERM));
    let reader = kstrace_ring::RingReader::open(ring.try_clone().expect("dup")).expect("readable");
    assert!(reader.lanes() > 1);
    owner.stop_session(&session).expect("stop");
}

#[test]
fn what_a_recorder_writes_on_its_page_hurts_only_itself() {
    let daemon = Daemon::start();
    let mut owner = daemon.client();
    let session = running(&mut owner, false);
    let mut liar = Raw::connect(daemon.socket());
    let fds = liar.call_for_fds(
        "org.kstrace.Control.Subscribe",
        json!({ "session": session, "recorder": true }),
    );
    assert_eq!(fds.len(), 3, "the ring, the page, the wake-up line");
    let page = File::from(fds[1].try_clone().expect("dup"));
    let bytes = usize::try_from(page.metadata().expect("stat").len()).expect("a size");
    std::os::unix::fs::FileExt::write_all_at(&page, &vec![0xff; bytes], 0).expect("lies");
    assert!(page.set_len(0).is_err(), "its size is sealed");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let stopped = owner.stop_session(&session).expect("stop");
    assert!(stopped.problems.is_empty(), "{:?}", stopped.problems);
    let honest = owner.record(&session).expect("another recorder");
    assert!(honest.reader().lanes() > 1);
}
