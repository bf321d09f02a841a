//! The text of a tracepoint's entry, by its print format.

use super::fields_text::{escaped, has_control};
use super::kallsyms::Kallsyms;
use kstrace_schema::ByteOrder;
use kstrace_tracepoint::Entry;
use std::sync::OnceLock;
use tracefs::print_fmt::PrintFmt;

/// An event's print format, compiled when first needed: most classes of a trace are never shown.
/// And whether its text needs no look at what is in it.
#[derive(Default)]
pub(super) struct EntryText(OnceLock<(PrintFmt, bool)>);

impl EntryText {
    /// Writes the event's own text, as the kernel itself would.
    pub(super) fn write(&self, out: &mut Vec<u8>, of: &Entry, entry: &[u8], symbols: &Kallsyms) {
        let (print, is_tame) = self.0.get_or_init(|| {
            let print = PrintFmt::compile_or_fields_with(of.format(), &symbols.constants).0;
            let is_tame = print.is_tame();
            (print, is_tame)
        });
        let start = out.len();
        if of.byte_order() == ByteOrder::NATIVE {
            print.render(entry, symbols, out);
        } else {
            let mut entry = entry.to_vec();
            of.format().reverse_byte_order(&mut entry);
            print.render(&entry, symbols, out);
        }
        if *is_tame {
            // To look at what was written a moment ago would cost as much as to write it.
            return;
        }
        // What is written to trace_marker ends with a newline of its own.
        while out.len() > start && out.last() == Some(&b'\n') {
            out.pop();
        }
        if has_control(out.get(start..).unwrap_or_default()) {
            let text = out.split_off(start);
            escaped(out, &text);
        }
    }
}
