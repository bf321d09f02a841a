//! Who is at the other end, and what they may do.

use super::peer_groups::peer_groups;
use crate::control::types::ControlError;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Group, Uid, User};
use std::os::fd::AsFd;

/// The group whose members may do everything.
pub(super) const GROUP: &str = "tracing";

/// The process that connected, as the kernel vouches for it (`SO_PEERCRED`,
/// `SO_PEERGROUPS`): as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: Uid,
    /// The primary group and the supplementary ones.
    groups: Vec<Gid>,
}

impl Peer {
    pub(super) fn of(socket: &impl AsFd) -> std::io::Result<Self> {
        let credentials = getsockopt(socket, PeerCredentials)?;
        let mut groups = peer_groups(socket.as_fd())?;
        groups.push(Gid::from_raw(credentials.gid()));
        Ok(Peer {
            uid: Uid::from_raw(credentials.uid()),
            groups,
        })
    }

    /// Root, the daemon's own user, and members of the group may.
    pub(super) fn may_trace(&self) -> Result<(), ControlError> {
        if self.is_trusted_user() || self.is_member_of(Group::from_name(GROUP).ok().flatten()) {
            return Ok(());
        }
        let name = User::from_uid(self.uid).ok().flatten().map_or_else(
            || format!("user {}", self.uid),
            |u| format!("user '{}'", u.name),
        );
        Err(ControlError::NotAllowed {
            reason: format!(
                "{name} may not trace: only root and members of the group '{GROUP}' may \
                 (as root: usermod -aG {GROUP} USER, then log in anew)"
            ),
        })
    }

    fn is_trusted_user(&self) -> bool {
        self.uid.is_root() || self.uid == nix::unistd::geteuid()
    }

    /// By what the process is, not by what the user database would let its user
    /// become: a process that gave up its groups has given up this right too.
    fn is_member_of(&self, group: Option<Group>) -> bool {
        group.is_some_and(|g| self.groups.contains(&g.gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracing() -> Option<Group> {
        let gid = Gid::from_raw(777);
        Some(Group {
            name: GROUP.into(),
            passwd: c"x".into(),
            gid,
            mem: Vec::new(),
        })
    }

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        let groups = groups.iter().copied().map(Gid::from_raw).collect();
        Peer {
            uid: Uid::from_raw(uid),
            groups,
        }
    }

    #[test]
    fn members_by_any_of_their_groups() {
        assert!(peer(1000, &[777]).is_member_of(tracing()));
        assert!(peer(1000, &[5, 777, 9]).is_member_of(tracing()));
        assert!(!peer(1000, &[5, 9]).is_member_of(tracing()));
        assert!(!peer(1000, &[]).is_member_of(tracing()));
    }

    #[test]
    fn without_the_group_there_are_no_members() {
        assert!(!peer(1000, &[0, 777]).is_member_of(None));
    }

    #[test]
    fn root_and_the_daemons_own_user_are_trusted() {
        assert!(peer(0, &[]).is_trusted_user());
        assert!(peer(nix::unistd::geteuid().as_raw(), &[]).is_trusted_user());
        assert!(!peer(65_534, &[0]).is_trusted_user());
    }

    #[test]
    fn the_kernel_tells_our_own_groups() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
        let peer = Peer::of(&ours).expect("credentials");
        drop(theirs);
        let mut expected = nix::unistd::getgroups().expect("getgroups");
        expected.push(nix::unistd::getegid());
        assert_eq!(peer.uid, nix::unistd::geteuid());
        assert_eq!(peer.groups, expected);
    }
}
