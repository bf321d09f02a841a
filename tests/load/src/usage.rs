//! CPU time of this process and its children.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::io;

/// CPU time used so far, ns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user_ns: u64,
    pub(crate) sys_ns: u64,
}

impl Cpu {
    /// Of this process, all its threads.
    pub(crate) fn own() -> io::Result<Self> {
        Self::of(UsageWho::RUSAGE_SELF)
    }

    /// Of this process and the children it has waited for.
    pub(crate) fn tree_ns() -> io::Result<u64> {
        let (own, children) = (Self::own()?, Self::of(UsageWho::RUSAGE_CHILDREN)?);
        Ok(own.user_ns + own.sys_ns + children.user_ns + children.sys_ns)
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Cpu) -> Cpu {
        Cpu {
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            sys_ns: self.sys_ns.saturating_sub(before.sys_ns),
        }
    }

    fn of(who: UsageWho) -> io::Result<Self> {
        let usage = getrusage(who)?;
        let ns = |t: nix::sys::time::TimeVal| t.num_microseconds().cast_unsigned() * 1000;
        Ok(Cpu {
            user_ns: ns(usage.user_time()),
            sys_ns: ns(usage.system_time()),
        })
    }
}
