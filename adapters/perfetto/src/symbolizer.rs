//! Names for addresses, which the caller may know how to find.

use std::sync::Arc;

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFunction {
    /// Its name.
    pub name: Arc<str>,
    /// The module it belongs to, without brackets; `None` for the kernel itself.
    pub module: Option<Arc<str>>,
}

/// Finds the functions that addresses lie in.
///
/// Each is asked once for a place, and once more when the tables of what was written
/// have grown so large that they begin anew.
pub trait Symbolizer {
    /// The trace says that its kernel has this symbol at this address (perf records one with
    /// the kernel's own mapping): whether the kernel at hand is the same can be told by it.
    fn kernel_has(&mut self, name: &str, address: u64) {
        let _ = (name, address);
    }

    /// The function at an address of the kernel.
    fn kernel(&mut self, address: u64) -> Option<KernelFunction>;

    /// The function at an offset in a file, in bytes. `build_id` is empty where the trace does not
    /// tell it; where it does, a file with another one is not the file meant.
    fn file(&mut self, path: &str, build_id: &[u8], file_offset: u64) -> Option<Arc<str>>;

    /// The function at an address of a process that no file is mapped at: code made at run time.
    fn process(&mut self, pid: i32, address: u64) -> Option<Arc<str>> {
        let _ = (pid, address);
        None
    }
}

/// Knows nothing: frames are files and offsets then.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSymbols;

impl Symbolizer for NoSymbols {
    fn kernel(&mut self, _: u64) -> Option<KernelFunction> {
        None
    }

    fn file(&mut self, _: &str, _: &[u8], _: u64) -> Option<Arc<str>> {
        None
    }
}
