//! What a print format needs to know of the kernel that traced.

use std::collections::HashMap;

/// A kernel address with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// Name of the function or object.
    pub name: &'a str,
    /// Bytes from its start.
    pub offset: u64,
    /// Its size in bytes, if known.
    pub size_bytes: Option<u64>,
    /// The module it belongs to, `None` for the kernel itself.
    pub module: Option<&'a str>,
}

/// Names for addresses of the kernel that traced.
pub trait Symbols {
    /// The symbol that an address lies in.
    fn kernel_symbol(&self, address: u64) -> Option<KernelSymbol<'_>>;

    /// The text at an address of the kernel, from tracefs's `printk_formats`.
    fn printk_string(&self, address: u64) -> Option<&str>;
}

/// Knows nothing: addresses stay numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSymbols;

impl Symbols for NoSymbols {
    fn kernel_symbol(&self, _: u64) -> Option<KernelSymbol<'_>> {
        None
    }

    fn printk_string(&self, _: u64) -> Option<&str> {
        None
    }
}

/// Symbols from the text of `/proc/kallsyms`, and strings from that of tracefs's
/// `printk_formats`.
#[derive(Clone, Debug, Default)]
pub struct KernelText {
    /// Sorted by address, one symbol an address: (address, name, module).
    symbols: Vec<(u64, Box<str>, Option<Box<str>>)>,
    strings: HashMap<u64, Box<str>>,
}

impl KernelText {
    /// From the two texts; lines that make no sense are passed over, as are the
    /// zero addresses that an unprivileged reader of kallsyms gets.
    pub fn new(kallsyms: &str, printk_formats: &str) -> Self {
        let mut symbols: Vec<_> = kallsyms
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let address = u64::from_str_radix(words.next()?, 16).ok()?;
                let _type = words.next()?;
                let name = words.next()?;
                let module = words.next().map(|m| m.trim_matches(['[', ']']).into());
                (address != 0).then(|| (address, name.into(), module))
            })
            .collect();
        // Stable: of several names for one address the kernel takes the first.
        symbols.sort_by_key(|(address, _, _)| *address);
        symbols.dedup_by_key(|(address, _, _)| *address);
        let strings = printk_formats
            .lines()
            .filter_map(|line| {
                let (address, text) = line.split_once(" : ")?;
                let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
                let text = text.trim().strip_prefix('"')?.strip_suffix('"')?;
                Some((address, text.into()))
            })
            .collect();
        KernelText { symbols, strings }
    }

    /// How many symbols are known.
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }
}

impl Symbols for KernelText {
    fn kernel_symbol(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let next = self.symbols.partition_point(|(at, _, _)| *at <= address);
        let (start, name, module) = self.symbols.get(next.checked_sub(1)?)?;
        let end = self.symbols.get(next).map(|(at, _, _)| *at);
        Some(KernelSymbol {
            name,
            offset: address - start,
            size_bytes: end.map(|end| end - start),
            module: module.as_deref(),
        })
    }

    fn printk_string(&self, address: u64) -> Option<&str> {
        self.strings.get(&address).map(|s| &**s)
    }
}
