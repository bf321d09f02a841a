//! Private instances: made, removed, and cleaned up after crashes.

use crate::directory::Directory;
use crate::owner::Owner;
use crate::root::is_busy;
use crate::trace_array::TraceArray;
use crate::{Error, Result};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A trace array of one's own: its own events, buffers, clock and filters.
///
/// All operations are [`TraceArray`]'s. Dropping it stops its tracing and
/// removes it; the pipes opened from it must be closed before.
#[derive(Debug)]
pub struct Instance {
    array: TraceArray,
    instances: Directory,
    name: String,
    removed: bool,
}

/// Numbers the instances of this process.
static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);

/// How often removal is tried again while the kernel says that it is in use,
/// and how long at first: the waits double, 2 s in all.
const REMOVE_ATTEMPTS: u32 = 11;
const FIRST_WAIT: Duration = Duration::from_millis(1);

pub(crate) fn create(top: &Directory, prefix: &str) -> Result<Instance> {
    let instances = top.subdirectory("instances")?;
    let owner = Owner::this_process().ok_or_else(|| {
        Error::malformed(
            std::path::Path::new("/proc/self/stat"),
            "cannot read this process's start",
        )
    })?;
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = owner.instance_name(prefix, number);
    instances.make(&name)?;
    let mut instance = Instance {
        array: TraceArray::new(instances.subdirectory(&name)?),
        instances,
        name,
        removed: false,
    };
    // A new instance has its switch on; from here on dropping it cleans up.
    if let Err(e) = instance.array.set_tracing_on(false) {
        let _ = instance.take_down();
        return Err(e);
    }
    Ok(instance)
}

/// Removes the instances whose makers are gone, calling `before_each` before each.
pub(crate) fn reap_orphans(
    top: &Directory,
    prefix: &str,
    before_each: impl Fn(),
) -> Result<Vec<String>> {
    let instances = top.subdirectory("instances")?;
    let mut reaped = Vec::new();
    for name in instances.directories(".")? {
        if Owner::of_name(&name, prefix).is_some_and(|owner| owner.is_gone()) {
            before_each();
            match quiesce_and_remove(&instances, &name) {
                Ok(()) => reaped.push(name),
                // Somebody else removed it, or still reads it: not ours to insist.
                Err(e) if e.is_not_found() || is_busy(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(reaped)
}

/// Stops what an instance does and removes it, once.
fn quiesce_and_remove(instances: &Directory, name: &str) -> Result<()> {
    // Each may fail on an instance that is half gone; only the removal counts.
    let _ = instances.write(&format!("{name}/tracing_on"), "0");
    let _ = instances.write(&format!("{name}/events/enable"), "0");
    let tracer = instances.read(&format!("{name}/current_tracer"));
    if tracer.is_ok_and(|tracer| tracer.trim() != "nop") {
        let _ = instances.write(&format!("{name}/current_tracer"), "nop");
    }
    instances.remove(name)
}

impl Instance {
    /// Its name among the instances.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stops its tracing and removes it.
    ///
    /// # Errors
    /// `EBUSY` when somebody still has one of its files open after 2 s.
    pub fn remove(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        if self.removed {
            return Ok(());
        }
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            match quiesce_and_remove(&self.instances, &self.name) {
                Err(e) if is_busy(&e) && attempt < REMOVE_ATTEMPTS => {
                    std::thread::sleep(wait);
                    wait *= 2;
                }
                Err(e) if !e.is_not_found() => {
                    return Err(e.or_hint("is one of its files still open?"));
                }
                _ => break,
            }
        }
        self.removed = true;
        Ok(())
    }
}

impl Deref for Instance {
    type Target = TraceArray;

    fn deref(&self) -> &TraceArray {
        &self.array
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nobody to tell; what stays behind is reaped by the next start.
        let _ = self.take_down();
    }
}
