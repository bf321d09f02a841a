//! Kernel symbols, in the form of `/proc/kallsyms`.

use std::io::{self, Read};

/// Kernels have about 200,000 symbols in 15 MiB of text; more than this is not one.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// The kernel's functions by address.
#[derive(Debug, Default)]
pub struct Kallsyms {
    /// Address and place of the name in `names`, sorted by address.
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
pub(super) struct KernelSymbol<'a> {
    pub(super) name: &'a str,
    /// Distance of the address from the symbol's.
    pub(super) offset: u64,
    /// `[module]`, or `None` for the kernel itself.
    pub(super) module: Option<&'a str>,
}

impl Kallsyms {
    /// The running kernel's. Without the right to see addresses (`kptr_restrict`)
    /// the table is empty.
    ///
    /// # Errors
    /// Those of reading `/proc/kallsyms`.
    pub fn of_running_kernel() -> io::Result<Self> {
        let mut text = Vec::new();
        std::fs::File::open("/proc/kallsyms")?
            .take(MAX_TEXT_BYTES)
            .read_to_end(&mut text)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// From text in the form of `/proc/kallsyms`: address, type, name, `[module]`.
    /// Lines of another form are passed over, as are data.
    pub fn parse(text: &str) -> Self {
        let mut table = Kallsyms::default();
        let mut last_module = (String::new(), (0, 0));
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            // A hidden address is 0; names with $ are mapping marks of some architectures.
            if address == 0 || !matches!(kind, "t" | "T" | "w" | "W") || name.starts_with('$') {
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
        table.symbols.sort_by_key(|s| s.address);
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

    /// Whether there is no symbol at all.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The function that an address lies in.
    pub(super) fn resolve(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let after = self.symbols.partition_point(|s| s.address <= address);
        let last = self.symbols.get(after.checked_sub(1)?)?;
        // Several names for one address: the first one, as the kernel itself prefers.
        let first = self.symbols.partition_point(|s| s.address < last.address);
        let symbol = self.symbols.get(first)?;
        // Behind the last function of the kernel or a module there is nothing
        // that names the end; no function is as long as this.
        let offset = address - symbol.address;
        if offset >= 1 << 20 {
            return None;
        }
        Some(KernelSymbol {
            name: self.text(symbol.name),
            offset,
            module: Some(self.text(symbol.module)).filter(|m| !m.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_resolve_to_the_function_before_them() {
        let table = Kallsyms::parse(
            "ffffffff81000000 T _text\nffffffff81000000 T _stext\nffffffff81000100 t do_it\n\
             ffffffff82000000 D data\nffffffffc0000000 t init\t[ext4]\nffffffffc0000040 t exit\t[ext4]\nbad\n",
        );
        let at = |a| table.resolve(a).map(|s| (s.name, s.offset, s.module));
        assert_eq!(at(0xffff_ffff_8100_0010), Some(("_text", 0x10, None)));
        assert_eq!(at(0xffff_ffff_8100_0123), Some(("do_it", 0x23, None)));
        assert_eq!(at(0xffff_ffff_c000_0041), Some(("exit", 1, Some("[ext4]"))));
        assert_eq!(at(0x1000), None);
        assert_eq!(at(0xffff_ffff_9100_0123), None);
    }

    #[test]
    fn hidden_addresses_make_an_empty_table() {
        assert!(Kallsyms::parse("0000000000000000 T _text\n0000000000000000 t do_it\n").is_empty());
    }
}
