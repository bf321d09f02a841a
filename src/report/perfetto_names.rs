//! Names of functions for the frames in a Perfetto trace.

use super::kallsyms::Kallsyms;
use super::perf_map::PerfMap;
use kstrace_perfetto::{KernelFunction, Symbolizer};
use kstrace_schema::address_space::MappedFile;
use std::collections::HashMap;
use std::sync::Arc;

/// Finds functions as the report does: in the kernel's symbols, in files by build id, in
/// the maps that JIT compilers leave.
pub struct FunctionNames {
    kernel: Kallsyms,
    jit: HashMap<i32, PerfMap>,
    #[cfg(feature = "symbolize")]
    files: super::user_symbols::UserSymbols,
}

impl std::fmt::Debug for FunctionNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionNames").finish_non_exhaustive()
    }
}

impl FunctionNames {
    /// `kernel` must be that of the boot the trace was made in; empty if there is none.
    pub fn new(kernel: Kallsyms) -> Self {
        FunctionNames {
            kernel,
            jit: HashMap::new(),
            #[cfg(feature = "symbolize")]
            files: super::user_symbols::UserSymbols::new(),
        }
    }
}

impl Symbolizer for FunctionNames {
    fn kernel_has(&mut self, name: &str, address: u64) {
        self.kernel.confirm(name, address);
    }

    fn kernel(&mut self, address: u64) -> Option<KernelFunction> {
        let frame = self.kernel.resolve(address)?;
        Some(KernelFunction {
            name: frame.name.into(),
            module: frame.module.map(|m| m.trim_matches(['[', ']']).into()),
        })
    }

    #[cfg(feature = "symbolize")]
    fn file(&mut self, path: &str, build_id: &[u8], file_offset: u64) -> Option<Arc<str>> {
        let file = MappedFile {
            path: path.into(),
            build_id: build_id.into(),
        };
        let (name, _) = self.files.resolve(&file, file_offset)?;
        Some(name)
    }

    #[cfg(not(feature = "symbolize"))]
    fn file(&mut self, _: &str, _: &[u8], _: u64) -> Option<Arc<str>> {
        None
    }

    fn process(&mut self, pid: i32, address: u64) -> Option<Arc<str>> {
        // After a reboot, or elsewhere, the same id is another process.
        let of_this_boot = self.kernel.is_running();
        let map = self.jit.entry(pid).or_insert_with(|| match of_this_boot {
            true => PerfMap::of_process(pid),
            false => PerfMap::default(),
        });
        map.resolve(address).map(|(name, _)| name.into())
    }
}
