//! Kernel symbols, in the form of `/proc/kallsyms`.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use tracefs::print_fmt::{KernelSymbol, Symbols};

/// Kernels have about 200,000 symbols in 15 MiB of text; more than this is not one.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// More is not kept of what a trace says of its kernel before a symbol is wanted.
const MAX_CLAIMS: usize = 64;

/// Names of the address where the kernel's text begins; the table keeps one of them.
const SAME_PLACE: [&str; 2] = ["_text", "_stext"];

/// The kernel's symbols by address, and the strings and constants that its print formats name.
#[derive(Debug, Default)]
pub struct Kallsyms {
    table: OnceLock<Table>,
    /// Whether the table is that of the running kernel, read when first needed.
    running: bool,
    /// Set until it is known that the traced kernel lay where the running one lies.
    unconfirmed: AtomicBool,
    /// What the trace said of its kernel, to be looked at when the first symbol is wanted: most
    /// traces never want any.
    claims: Mutex<Vec<(Box<str>, u64)>>,
    strings: HashMap<u64, Box<str>>,
    /// Constants that print formats name, by name.
    pub(super) constants: BTreeMap<String, i64>,
}

#[derive(Debug, Default)]
struct Table {
    /// Sorted by address.
    symbols: Vec<Symbol>,
    names: String,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    address: u64,
    name: (u32, u16),
    /// Place of the module's name; empty for the kernel itself.
    module: (u32, u16),
}

/// A resolved kernel address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelFrame<'a> {
    pub(super) name: &'a str,
    /// Distance of the address from the symbol's.
    pub(super) offset: u64,
    /// `[module]`, or `None` for the kernel itself.
    pub(super) module: Option<&'a str>,
}

impl Kallsyms {
    /// The running kernel's, read when the first address is to be resolved. Without
    /// the right to see addresses (`kptr_restrict`) there will be no symbol.
    pub fn of_running_kernel() -> Self {
        Kallsyms {
            running: true,
            ..Kallsyms::default()
        }
    }

    /// The running kernel's, for a trace that is of the same release but does not say of which
    /// boot. No symbol is given before the trace has told where its kernel's text begins and
    /// that is the same place: after a reboot it is another one (KASLR).
    pub fn of_running_kernel_if_confirmed() -> Self {
        Kallsyms {
            running: true,
            unconfirmed: AtomicBool::new(true),
            ..Kallsyms::default()
        }
    }

    /// The trace's kernel had this symbol at this address.
    pub(super) fn confirm(&self, name: &str, address: u64) {
        if self.unconfirmed.load(Ordering::Relaxed) {
            let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
            if claims.len() < MAX_CLAIMS {
                claims.push((name.into(), address));
            }
        }
    }

    /// Whether the traced kernel lay where the table's does, as far as is known.
    fn is_confirmed(&self) -> bool {
        if !self.unconfirmed.load(Ordering::Relaxed) {
            return true;
        }
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |(name, address): (Box<str>, u64)| {
            let here = self.table().resolve(address);
            here.is_some_and(|s| {
                s.offset == 0 && (s.name == &*name || SAME_PLACE.contains(&&*name))
            })
        };
        // Those that do not hold need not be looked at again.
        let confirmed = claims.drain(..).any(holds);
        if confirmed {
            self.unconfirmed.store(false, Ordering::Relaxed);
        }
        confirmed
    }

    /// Takes the symbols that a trace brought along, where there are none.
    pub(super) fn add_symbols(&mut self, text: &str) {
        if !self.running {
            self.table.get_or_init(|| Table::parse(text));
        }
    }

    /// From text in the form of `/proc/kallsyms`: address, type, name, `[module]`.
    /// Lines of another form are passed over.
    pub fn parse(text: &str) -> Self {
        let table = OnceLock::new();
        let _ = table.set(Table::parse(text));
        Kallsyms {
            table,
            ..Kallsyms::default()
        }
    }

    /// Adds the strings of tracefs's `printk_formats`.
    pub fn add_printk_formats(&mut self, text: &str) {
        for line in text.lines() {
            let entry = line.split_once(" : ").and_then(|(address, text)| {
                let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
                Some((address, text.trim().strip_prefix('"')?.strip_suffix('"')?))
            });
            if let Some((address, text)) = entry {
                self.strings.insert(address, text.into());
            }
        }
    }

    /// Whether there is no symbol at all.
    pub fn is_empty(&self) -> bool {
        !self.is_confirmed() || self.table().symbols.is_empty()
    }

    /// Whether the table is that of the running kernel: the trace is of this boot,
    /// and what its processes left on this machine is theirs.
    pub(super) fn is_running(&self) -> bool {
        self.running && self.is_confirmed()
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| {
            if self.running {
                Table::of_running_kernel()
            } else {
                Table::default()
            }
        })
    }

    /// The symbol that an address lies in.
    pub(super) fn resolve(&self, address: u64) -> Option<KernelFrame<'_>> {
        if !self.is_confirmed() {
            return None;
        }
        self.table().resolve(address)
    }
}

impl Symbols for Kallsyms {
    fn kernel_symbol(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let frame = self.resolve(address)?;
        Some(KernelSymbol {
            name: frame.name,
            offset: frame.offset,
            size_bytes: self.table().size_after(address - frame.offset),
            module: frame.module.map(|m| m.trim_matches(['[', ']'])),
        })
    }

    fn printk_string(&self, address: u64) -> Option<&str> {
        self.strings.get(&address).map(|s| &**s)
    }
}

impl Table {
    fn of_running_kernel() -> Self {
        let mut text = Vec::new();
        let read = std::fs::File::open("/proc/kallsyms")
            .and_then(|f| f.take(MAX_TEXT_BYTES).read_to_end(&mut text));
        match read {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Self::default(),
        }
    }

    fn parse(text: &str) -> Self {
        let mut table = Table::default();
        let mut last_module = (String::new(), (0, 0));
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            // A hidden address is 0; names with $ are mapping marks of some architectures.
            if address == 0 || name.starts_with('$') {
                continue;
            }
            let module = words.next().unwrap_or("");
            if module != last_module.0 {
                last_module = (module.to_owned(), table.intern(module));
            }
            let name = table.intern(name);
            table.symbols.push(Symbol {
                address,
                name,
                module: last_module.1,
            });
        }
        // Stable: of several names for one address the kernel takes the first.
        table.symbols.sort_by_key(|s| s.address);
        table.symbols.dedup_by_key(|s| s.address);
        table
    }

    fn intern(&mut self, text: &str) -> (u32, u16) {
        let start = self.names.len() as u32;
        let mut len = text.len().min(usize::from(u16::MAX));
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        self.names.push_str(&text[..len]);
        (start, len as u16)
    }

    fn text(&self, (start, len): (u32, u16)) -> &str {
        self.names
            .get(start as usize..start as usize + usize::from(len))
            .unwrap_or_default()
    }

    fn resolve(&self, address: u64) -> Option<KernelFrame<'_>> {
        let after = self.symbols.partition_point(|s| s.address <= address);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        // Behind the last symbol of the kernel or of a module nothing names the
        // end; no function is as long as this.
        let offset = address - symbol.address;
        if offset >= 1 << 20 {
            return None;
        }
        Some(KernelFrame {
            name: self.text(symbol.name),
            offset,
            module: Some(self.text(symbol.module)).filter(|m| !m.is_empty()),
        })
    }

    /// Distance of the symbol at `address` to the next one.
    fn size_after(&self, address: u64) -> Option<u64> {
        let next = self.symbols.partition_point(|s| s.address <= address);
        self.symbols.get(next).map(|s| s.address - address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_resolve_to_the_function_before_them() {
        let table = Kallsyms::parse(
            "ffffffff81000000 T _text\nffffffff81000000 T _stext\nffffffff81000100 t do_it\n\
             ffffffffc0000000 t init\t[ext4]\nffffffffc0000040 t exit\t[ext4]\nbad\n",
        );
        let at = |a| table.resolve(a).map(|s| (s.name, s.offset, s.module));
        assert_eq!(at(0xffff_ffff_8100_0010), Some(("_text", 0x10, None)));
        assert_eq!(at(0xffff_ffff_8100_0123), Some(("do_it", 0x23, None)));
        assert_eq!(at(0xffff_ffff_c000_0041), Some(("exit", 1, Some("[ext4]"))));
        assert_eq!(at(0x1000), None);
        assert_eq!(at(0xffff_ffff_9100_0123), None);
    }

    #[test]
    fn symbols_wait_until_the_kernel_is_known_to_be_this_one() {
        let table = Kallsyms {
            unconfirmed: AtomicBool::new(true),
            ..Kallsyms::parse("ffffffff81000000 T _text\nffffffff81000100 t do_it\n")
        };
        let at = |a| table.resolve(a).map(|s| s.offset);
        assert_eq!(at(0xffff_ffff_8100_0101), None);
        table.confirm("_text", 0xffff_ffff_8200_0000);
        assert_eq!(at(0xffff_ffff_8100_0101), None);
        table.confirm("_text", 0xffff_ffff_8100_0000);
        assert_eq!(at(0xffff_ffff_8100_0101), Some(1));
    }

    #[test]
    fn strings_of_print_formats() {
        let mut table = Kallsyms::default();
        table.add_printk_formats("0xffffffff82000000 : \"Rescheduling interrupts\"\nnonsense\n");
        assert_eq!(
            table.printk_string(0xffff_ffff_8200_0000),
            Some("Rescheduling interrupts")
        );
        assert_eq!(table.printk_string(1), None);
    }

    #[test]
    fn hidden_addresses_make_an_empty_table() {
        assert!(Kallsyms::parse("0000000000000000 T _text\n0000000000000000 t do_it\n").is_empty());
    }
}
