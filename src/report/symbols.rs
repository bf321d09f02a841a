//! Addresses to symbols, each worked out once.

use super::kallsyms::Kallsyms;
use super::perf_map::PerfMap;
use kstrace_schema::address_space::{AddressSpaces, FileId, MappedFile};
use std::collections::HashMap;
use std::sync::Arc;

/// The kernel's own `PERF_CONTEXT_*` marks are the last 4095 addresses.
pub(super) const FIRST_CONTEXT_MARK: u64 = (-4095i64) as u64;
const CONTEXT_HYPERVISOR: u64 = (-32i64) as u64;
const CONTEXT_KERNEL: u64 = (-128i64) as u64;
const CONTEXT_USER: u64 = (-512i64) as u64;
const CONTEXT_USER_DEFERRED: u64 = (-640i64) as u64;

/// Frames kept resolved; a trace of a whole machine has some 100,000 different ones.
const MAX_CACHED: usize = 1 << 20;

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Kernel,
    User,
    /// A guest's, a hypervisor's.
    Other,
}

impl Context {
    /// What a mark in a callchain says of the addresses after it.
    pub(super) fn of_mark(mark: u64) -> Self {
        match mark {
            CONTEXT_KERNEL => Context::Kernel,
            CONTEXT_USER | CONTEXT_USER_DEFERRED => Context::User,
            CONTEXT_HYPERVISOR => Context::Other,
            _ => Context::Other,
        }
    }

    /// For an address without a mark: the kernel has the upper half.
    pub(super) fn of_address(address: u64) -> Self {
        if address >> 63 == 1 {
            Context::Kernel
        } else {
            Context::User
        }
    }
}

/// A resolved address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The function and the distance from its start, if known.
    pub(super) symbol: Option<(Arc<str>, u64)>,
    /// The file, `[kernel.kallsyms]`, `[module]`; `None` if nothing is mapped there.
    pub(super) dso: Option<Arc<str>>,
}

const NOTHING: Frame = Frame {
    symbol: None,
    dso: None,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Kernel(u64),
    File(FileId, u64),
    Process(i32, u64),
}

/// Resolves addresses of the kernel and of the traced processes.
pub(super) struct Symbols {
    pub(super) spaces: AddressSpaces,
    pub(super) kernel: Arc<Kallsyms>,
    enabled: bool,
    kernel_name: Arc<str>,
    jit: HashMap<i32, PerfMap>,
    /// Places in `frames`.
    cache: HashMap<Key, usize>,
    frames: Vec<Frame>,
    /// The one that was asked for last.
    last: Option<(Key, usize)>,
    #[cfg(feature = "symbolize")]
    files: super::user_symbols::UserSymbols,
}

impl Symbols {
    pub(super) fn new(kernel: Kallsyms, enabled: bool) -> Self {
        Symbols {
            spaces: AddressSpaces::default(),
            kernel: Arc::new(kernel),
            enabled,
            kernel_name: "[kernel.kallsyms]".into(),
            jit: HashMap::new(),
            cache: HashMap::new(),
            frames: Vec::new(),
            last: None,
            #[cfg(feature = "symbolize")]
            files: super::user_symbols::UserSymbols::new(),
        }
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// What an address of a process, or of the kernel, is.
    pub(super) fn frame(&mut self, context: Context, pid: i32, address: u64) -> &Frame {
        let place = match context {
            Context::User => self.spaces.find(pid, address),
            _ => None,
        };
        let key = match (context, place) {
            (Context::User, Some(place))
                if self.spaces.file(place.0).is_some_and(MappedFile::is_file) =>
            {
                Key::File(place.0, place.1)
            }
            (Context::User, _) => Key::Process(pid, address),
            _ => Key::Kernel(address),
        };
        // Tracepoints tell the same address again and again.
        let known = match self.last {
            Some((last, index)) if last == key => Some(index),
            _ => self.cache.get(&key).copied(),
        };
        let index = match known {
            Some(index) => index,
            None => {
                if self.frames.len() >= MAX_CACHED {
                    self.cache.clear();
                    self.frames.clear();
                }
                let dso = place.and_then(|p| self.spaces.file(p.0)).cloned();
                let frame = self.resolve(context, key, dso);
                self.frames.push(frame);
                self.cache.insert(key, self.frames.len() - 1);
                self.frames.len() - 1
            }
        };
        self.last = Some((key, index));
        self.frames.get(index).unwrap_or(const { &NOTHING })
    }

    fn resolve(&mut self, context: Context, key: Key, dso: Option<MappedFile>) -> Frame {
        match key {
            Key::Kernel(_) if context == Context::Other => Frame {
                symbol: None,
                dso: None,
            },
            Key::Kernel(address) => match self.kernel.resolve(address) {
                Some(s) => Frame {
                    symbol: Some((s.name.into(), s.offset)),
                    dso: Some(
                        s.module
                            .map_or_else(|| self.kernel_name.clone(), Into::into),
                    ),
                },
                None => Frame {
                    symbol: None,
                    dso: Some(self.kernel_name.clone()),
                },
            },
            Key::File(_, offset) => {
                let symbol = dso.as_ref().and_then(|d| self.in_file(d, offset));
                Frame {
                    symbol,
                    dso: dso.map(|d| d.path),
                }
            }
            Key::Process(pid, address) => {
                // After a reboot, or elsewhere, the same id is another process.
                let of_this_boot = self.kernel.is_running();
                let map = self.jit.entry(pid).or_insert_with(|| match of_this_boot {
                    true => PerfMap::of_process(pid),
                    false => PerfMap::default(),
                });
                let symbol = map
                    .resolve(address)
                    .map(|(name, offset)| (name.into(), offset));
                Frame {
                    symbol,
                    dso: dso.map(|d| d.path),
                }
            }
        }
    }

    #[cfg(feature = "symbolize")]
    fn in_file(&mut self, dso: &MappedFile, offset: u64) -> Option<(Arc<str>, u64)> {
        self.files.resolve(dso, offset)
    }

    #[cfg(not(feature = "symbolize"))]
    fn in_file(&mut self, _: &MappedFile, _: u64) -> Option<(Arc<str>, u64)> {
        None
    }
}
