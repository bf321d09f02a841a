//! Symbols of ELF files, by blazesym.

use super::address_space::Dso;
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Resolves offsets in files to symbols.
pub(super) struct UserSymbols {
    symbolizer: Symbolizer,
    /// Whether a file is what was mapped when the trace was made, as far as can be told.
    usable: HashMap<Dso, bool>,
}

impl UserSymbols {
    pub(super) fn new() -> Self {
        UserSymbols {
            symbolizer: Symbolizer::builder()
                .enable_code_info(false)
                .enable_inlined_fns(false)
                .enable_auto_reload(false)
                .build(),
            usable: HashMap::new(),
        }
    }

    pub(super) fn resolve(&mut self, dso: &Dso, file_offset: u64) -> Option<(Arc<str>, u64)> {
        let usable = match self.usable.get(dso) {
            Some(usable) => *usable,
            None => {
                let usable = is_what_was_mapped(dso);
                self.usable.insert(dso.clone(), usable);
                usable
            }
        };
        if !usable {
            return None;
        }
        // The symbol table first: it costs little. Debug information, which may lie in
        // another file, only for what is not in there.
        [false, true].into_iter().find_map(|debug| {
            let mut elf = Elf::new(&*dso.path);
            elf.debug_syms = debug;
            let found = self
                .symbolizer
                .symbolize_single(&Source::Elf(elf), Input::FileOffset(file_offset));
            match found {
                Ok(Symbolized::Sym(symbol)) => {
                    Some((symbol.name.as_ref().into(), symbol.offset as u64))
                }
                _ => None,
            }
        })
    }
}

/// Only regular files are opened (a trace may name a FIFO), and not if the
/// trace's build id says that the file has changed since.
fn is_what_was_mapped(dso: &Dso) -> bool {
    let path = Path::new(&*dso.path);
    if !path.metadata().is_ok_and(|m| m.is_file()) {
        return false;
    }
    match &dso.build_id {
        None => true,
        Some(expected) => match blazesym::helper::read_elf_build_id(path) {
            Ok(Some(found)) => found.as_ref().starts_with(expected.as_ref()),
            _ => false,
        },
    }
}
