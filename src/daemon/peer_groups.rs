//! The supplementary groups of the process at the other end of a Unix socket.
#![expect(unsafe_code, reason = "nix has no SO_PEERGROUPS")]

use nix::unistd::Gid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// As many as the kernel lets a process have (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

/// The groups it had when it connected.
///
/// Minimum kernel version: 4.13 (`SO_PEERGROUPS`).
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<Gid>> {
    let mut groups = vec![0; 64];
    loop {
        match read_into(socket, &mut groups) {
            Err(e) if e.raw_os_error() == Some(libc::ERANGE) && groups.len() < MOST_GROUPS => {
                groups.resize(MOST_GROUPS, 0);
            }
            Err(e) => return Err(e),
            Ok(count) => {
                return Ok(groups
                    .iter()
                    .take(count)
                    .copied()
                    .map(Gid::from_raw)
                    .collect());
            }
        }
    }
}

/// Says how many there are; `ERANGE` if they are more than have room.
fn read_into(socket: BorrowedFd<'_>, groups: &mut [libc::gid_t]) -> io::Result<usize> {
    let gid_bytes = size_of::<libc::gid_t>();
    let mut bytes = libc::socklen_t::try_from(size_of_val(groups))
        .map_err(|_| io::Error::from_raw_os_error(libc::ERANGE))?;
    // SAFETY: the kernel writes at most `bytes` bytes to `groups`, which has as many, and the
    // count to `bytes`; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0) / gid_bytes)
}
