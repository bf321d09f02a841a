//! Symbols of ELF files, by blazesym.

use super::elf_layout::ElfLayout;
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use kstrace_schema::address_space::MappedFile;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where distributions put debug files, by build id.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug/.build-id";

/// Resolves offsets in files to symbols.
pub(super) struct UserSymbols {
    symbolizer: Symbolizer,
    files: HashMap<MappedFile, Option<Known>>,
}

/// A file whose symbols can be asked for.
struct Known {
    path: PathBuf,
    /// The debug file that belongs to it, and how to find an offset's address in that.
    debug: Option<(PathBuf, ElfLayout)>,
}

impl UserSymbols {
    pub(super) fn new() -> Self {
        UserSymbols {
            symbolizer: Symbolizer::builder()
                .enable_code_info(false)
                .enable_inlined_fns(false)
                .enable_auto_reload(false)
                .build(),
            files: HashMap::new(),
        }
    }

    pub(super) fn resolve(
        &mut self,
        file: &MappedFile,
        file_offset: u64,
    ) -> Option<(Arc<str>, u64)> {
        if !self.files.contains_key(file) {
            self.files.insert(file.clone(), Known::open(file));
        }
        let known = self.files.get(file)?.as_ref()?;
        // The debug file's symbol table has all functions; a stripped program's own only
        // those it exports. Debug information itself costs most and comes last.
        let in_debug_file = known.debug.as_ref().and_then(|(path, layout)| {
            let address = layout.address_of(file_offset)?;
            self.ask(path, false, Input::VirtOffset(address))
        });
        in_debug_file
            .or_else(|| self.ask(&known.path, false, Input::FileOffset(file_offset)))
            .or_else(|| self.ask(&known.path, true, Input::FileOffset(file_offset)))
    }

    fn ask(&self, path: &Path, debug_syms: bool, input: Input<u64>) -> Option<(Arc<str>, u64)> {
        let mut elf = Elf::new(path);
        elf.debug_syms = debug_syms;
        match self.symbolizer.symbolize_single(&Source::Elf(elf), input) {
            Ok(Symbolized::Sym(symbol)) => {
                Some((symbol.name.as_ref().into(), symbol.offset as u64))
            }
            _ => None,
        }
    }
}

impl Known {
    /// Only regular files are opened (a trace may name a FIFO), and not if the
    /// trace's build id says that the file has changed since.
    fn open(file: &MappedFile) -> Option<Self> {
        let path = Path::new(&*file.path);
        if !path.metadata().is_ok_and(|m| m.is_file()) {
            return None;
        }
        let build_id = blazesym::helper::read_elf_build_id(path).ok().flatten();
        let expected = &*file.build_id;
        let is_expected = build_id
            .as_ref()
            .is_some_and(|found| found.starts_with(expected));
        if !expected.is_empty() && !is_expected {
            return None;
        }
        let debug = build_id
            .and_then(|id| debug_file(&id))
            .map(|debug| (debug, ElfLayout::read(path)));
        Some(Known {
            path: path.to_owned(),
            debug,
        })
    }
}

fn debug_file(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let path = Path::new(DEBUG_DIRECTORY)
        .join(hex(&[*first]))
        .join(format!("{}.debug", hex(rest)));
    path.is_file().then_some(path)
}
