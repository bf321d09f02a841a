//! Interned stacks: each frame, file and name is written once and then known by a number.

use crate::symbolizer::Symbolizer;
use crate::wire::Proto;
use kstrace_schema::address_space::{AddressSpaces, FileId};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Fields of `InternedData`.
const FUNCTION_NAMES: u32 = 5;
const FRAMES: u32 = 6;
const CALLSTACKS: u32 = 7;
const BUILD_IDS: u32 = 16;
const MAPPING_PATHS: u32 = 17;
const MAPPINGS: u32 = 19;

/// Field 1 of every interned message: its number.
const IID: u32 = 1;
/// `InternedString.str`.
const STR: u32 = 2;
/// `Callstack.frame_ids`.
const FRAME_IDS: u32 = 2;
/// `Frame.function_name_id`, `.mapping_id`, `.rel_pc`, `.kind`.
const FUNCTION_NAME_ID: u32 = 2;
const MAPPING_ID: u32 = 3;
const REL_PC: u32 = 4;
const KIND: u32 = 7;
/// `Frame.KIND_NATIVE`, `KIND_KERNEL`, `KIND_JIT`.
const KIND_NATIVE: u64 = 1;
const KIND_KERNEL: u64 = 2;
const KIND_JIT: u64 = 4;
/// `Mapping.build_id`, `.path_string_ids`.
const BUILD_ID: u32 = 2;
const PATH_STRING_IDS: u32 = 7;

/// Above so many frames or stacks a sequence forgets all and begins anew, so that
/// neither this program's memory nor its reader's grows with the trace.
const MAX_FRAMES: usize = 1 << 18;
const MAX_CALLSTACKS: usize = 1 << 16;
/// Deepest stack; the kernel's limit is 127 unless an administrator raised it.
const MAX_DEPTH: usize = 1 << 12;

/// The kernel's own `PERF_CONTEXT_*` marks are the last 4095 addresses.
const FIRST_CONTEXT_MARK: u64 = (-4095i64) as u64;
const CONTEXT_KERNEL: u64 = (-128i64) as u64;
const CONTEXT_USER: u64 = (-512i64) as u64;
const CONTEXT_USER_DEFERRED: u64 = (-640i64) as u64;

/// What the kernel itself is called where files have a path.
const KERNEL_PATH: &str = "[kernel.kallsyms]";

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    Kernel,
    User,
    /// A guest's, a hypervisor's.
    Other,
}

impl Context {
    fn of_mark(mark: u64) -> Self {
        match mark {
            CONTEXT_KERNEL => Context::Kernel,
            CONTEXT_USER | CONTEXT_USER_DEFERRED => Context::User,
            _ => Context::Other,
        }
    }

    /// For an address without a mark: the kernel has the upper half.
    pub(crate) fn of_address(address: u64) -> Self {
        if address >> 63 == 1 {
            Context::Kernel
        } else {
            Context::User
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FrameKey {
    Kernel(u64),
    File(FileId, u64),
    Process(i32, u64),
    Other(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum MappingKey {
    File(FileId),
    Kernel(Option<Arc<str>>),
}

/// What of stacks has been written to one sequence.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    functions: FxHashMap<Arc<str>, u64>,
    mappings: FxHashMap<MappingKey, u64>,
    frames: FxHashMap<FrameKey, u64>,
    callstacks: FxHashMap<Box<[u64]>, u64>,
    /// `InternedData` that the next packet has to carry.
    pub(crate) news: Proto,
    /// Frames of the stack at hand, outermost last.
    frame_ids: Vec<u64>,
}

/// What frames are looked up in.
pub(crate) struct Lookup<'a> {
    pub(crate) spaces: &'a AddressSpaces,
    pub(crate) symbolizer: &'a mut dyn Symbolizer,
}

impl Stacks {
    /// Whether it has become time to forget everything.
    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= MAX_FRAMES || self.callstacks.len() >= MAX_CALLSTACKS
    }

    /// The number of a stack of a process, innermost address first, with the kernel's
    /// marks. `None` for one without frames.
    pub(crate) fn callstack(
        &mut self,
        pid: i32,
        mut context: Option<Context>,
        addresses: impl Iterator<Item = u64>,
        lookup: &mut Lookup<'_>,
    ) -> Option<u64> {
        let mut frames = std::mem::take(&mut self.frame_ids);
        frames.clear();
        for address in addresses {
            // ftrace ends its stacks of fixed size with this.
            if address == u64::MAX || frames.len() >= MAX_DEPTH {
                break;
            }
            if address >= FIRST_CONTEXT_MARK {
                context = Some(Context::of_mark(address));
                continue;
            }
            let context = context.unwrap_or_else(|| Context::of_address(address));
            frames.push(self.frame(context, pid, address, lookup));
        }
        // Perfetto has the outermost first.
        frames.reverse();
        let id = (!frames.is_empty()).then(|| self.known_callstack(&frames));
        self.frame_ids = frames;
        id
    }

    fn known_callstack(&mut self, frames: &[u64]) -> u64 {
        if let Some(id) = self.callstacks.get(frames) {
            return *id;
        }
        let id = self.callstacks.len() as u64 + 1;
        self.callstacks.insert(frames.into(), id);
        let message = self.news.open(CALLSTACKS);
        self.news.uint(IID, id);
        for frame in frames {
            self.news.uint(FRAME_IDS, *frame);
        }
        self.news.close(message);
        id
    }

    fn frame(&mut self, context: Context, pid: i32, address: u64, lookup: &mut Lookup<'_>) -> u64 {
        let place = match context {
            Context::User => lookup.spaces.find(pid, address),
            _ => None,
        };
        let file = place.and_then(|(id, _)| lookup.spaces.file(id));
        let key = match (context, place) {
            (Context::Kernel, _) => FrameKey::Kernel(address),
            (Context::Other, _) => FrameKey::Other(address),
            (Context::User, Some((id, offset))) if file.is_some_and(|f| f.is_file()) => {
                FrameKey::File(id, offset)
            }
            (Context::User, _) => FrameKey::Process(pid, address),
        };
        if let Some(id) = self.frames.get(&key) {
            return *id;
        }
        let (function, mapping, kind, rel_pc) = match key {
            FrameKey::Kernel(_) => {
                let function = lookup.symbolizer.kernel(address);
                let module = function.as_ref().and_then(|f| f.module.clone());
                let mapping = MappingKey::Kernel(module);
                (
                    function.map(|f| f.name),
                    Some(mapping),
                    KIND_KERNEL,
                    address,
                )
            }
            FrameKey::File(id, offset) => {
                let function =
                    file.and_then(|f| lookup.symbolizer.file(&f.path, &f.build_id, offset));
                (function, Some(MappingKey::File(id)), KIND_NATIVE, offset)
            }
            FrameKey::Process(..) => {
                let function = lookup.symbolizer.process(pid, address);
                let kind = if function.is_some() {
                    KIND_JIT
                } else {
                    KIND_NATIVE
                };
                let mapping = place.map(|(id, _)| MappingKey::File(id));
                (function, mapping, kind, address)
            }
            FrameKey::Other(_) => (None, None, KIND_NATIVE, address),
        };
        let function_id = function.map(|name| self.function(name));
        let mapping_id = mapping.map(|key| self.mapping(key, lookup.spaces));
        let id = self.frames.len() as u64 + 1;
        self.frames.insert(key, id);
        let message = self.news.open(FRAMES);
        self.news.uint(IID, id);
        if let Some(function_id) = function_id {
            self.news.uint(FUNCTION_NAME_ID, function_id);
        }
        if let Some(mapping_id) = mapping_id {
            self.news.uint(MAPPING_ID, mapping_id);
        }
        self.news.uint(REL_PC, rel_pc);
        self.news.uint(KIND, kind);
        self.news.close(message);
        id
    }

    fn function(&mut self, name: Arc<str>) -> u64 {
        if let Some(id) = self.functions.get(&name) {
            return *id;
        }
        let id = self.functions.len() as u64 + 1;
        self.string(FUNCTION_NAMES, id, name.as_bytes());
        self.functions.insert(name, id);
        id
    }

    fn mapping(&mut self, key: MappingKey, spaces: &AddressSpaces) -> u64 {
        if let Some(id) = self.mappings.get(&key) {
            return *id;
        }
        // One path and one build id for each mapping: they can share its number.
        let id = self.mappings.len() as u64 + 1;
        let mut build_id: &[u8] = &[];
        match &key {
            MappingKey::Kernel(None) => self.string(MAPPING_PATHS, id, KERNEL_PATH.as_bytes()),
            MappingKey::Kernel(Some(module)) => {
                self.string(MAPPING_PATHS, id, format!("[{module}]").as_bytes());
            }
            MappingKey::File(file) => {
                if let Some(file) = spaces.file(*file) {
                    self.string(MAPPING_PATHS, id, file.path.as_bytes());
                    build_id = &file.build_id;
                }
            }
        }
        if !build_id.is_empty() {
            self.string(BUILD_IDS, id, build_id);
        }
        let message = self.news.open(MAPPINGS);
        self.news.uint(IID, id);
        if !build_id.is_empty() {
            self.news.uint(BUILD_ID, id);
        }
        self.news.uint(PATH_STRING_IDS, id);
        self.news.close(message);
        self.mappings.insert(key, id);
        id
    }

    fn string(&mut self, field: u32, id: u64, bytes: &[u8]) {
        let message = self.news.open(field);
        self.news.uint(IID, id);
        self.news.bytes(STR, bytes);
        self.news.close(message);
    }
}
