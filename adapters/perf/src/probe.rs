//! Asking the kernel whether it would let an event be opened.

use crate::attr::Attr;
use crate::sys;
use std::io;

/// Opens an event as `perf_event_open(2)` would, and closes it at once.
///
/// `pid` and `cpu` as there: a `pid` of 0 is the calling thread, -1 everybody.
///
/// # Errors
/// The kernel's own answer.
pub fn probe(attr: &Attr, pid: i32, cpu: i32) -> io::Result<()> {
    let mut attr = *attr;
    sys::open_event(&mut attr, pid, cpu).map(drop)
}
