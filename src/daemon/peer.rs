//! Who is at the other end, and what they may do.

use crate::control::types::ControlError;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Group, Uid, User};
use std::os::fd::AsFd;

/// The group whose members may do everything.
pub(super) const GROUP: &str = "tracing";

/// The process that connected, as the kernel vouches for it (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: Uid,
    gid: Gid,
}

impl Peer {
    pub(super) fn of(socket: &impl AsFd) -> std::io::Result<Self> {
        let credentials = getsockopt(socket, PeerCredentials)?;
        Ok(Peer { uid: Uid::from_raw(credentials.uid()), gid: Gid::from_raw(credentials.gid()) })
    }

    /// Root, the daemon's own user, and members of the group may.
    pub(super) fn may_trace(&self) -> Result<(), ControlError> {
        if self.uid.is_root() || self.uid == nix::unistd::geteuid() || self.is_member() {
            return Ok(());
        }
        let name = User::from_uid(self.uid)
            .ok()
            .flatten()
            .map_or_else(|| format!("user {}", self.uid), |u| format!("user '{}'", u.name));
        Err(ControlError::NotAllowed {
            reason: format!(
                "{name} may not trace: only root and members of the group '{GROUP}' may \
                 (as root: usermod -aG {GROUP} USER, then log in anew)"
            ),
        })
    }

    /// By the user database: a connected socket tells only the primary group.
    fn is_member(&self) -> bool {
        let Ok(Some(group)) = Group::from_name(GROUP) else { return false };
        if group.gid == self.gid {
            return true;
        }
        match User::from_uid(self.uid) {
            Ok(Some(user)) => user.gid == group.gid || group.mem.contains(&user.name),
            _ => false,
        }
    }
}
