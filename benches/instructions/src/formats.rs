//! Format files of a kernel, compiled, and an entry for each.

use tracefs::format::EventFormat;
use tracefs::print_fmt::PrintFmt;

/// What is needed to render an event.
#[derive(Debug)]
pub struct Rendering {
    /// The print format.
    pub compiled: PrintFmt,
    /// One entry as the ring holds it, common fields included.
    pub entry: Vec<u8>,
    /// Where the text goes; large enough not to grow.
    pub out: Vec<u8>,
}

fn rendering(format: &str, fields: &[&[u8]]) -> Rendering {
    let format = EventFormat::parse(format).expect("a format file of a kernel");
    Rendering {
        compiled: PrintFmt::compile(&format).expect("its print format"),
        // The common fields come first.
        entry: [&[0; 8]]
            .into_iter()
            .map(|c| &c[..])
            .chain(fields.iter().copied())
            .flatten()
            .copied()
            .collect(),
        out: Vec::with_capacity(1024),
    }
}

/// `sched:sched_switch`: two strings, four numbers, flags.
pub fn sched_switch() -> Rendering {
    rendering(
        include_str!("../../../fuzz/corpus/format/sched-sched_switch"),
        &[
            b"kworker/0:1\0\0\0\0\0",
            &12345i32.to_ne_bytes(),
            &120i32.to_ne_bytes(),
            &1i64.to_ne_bytes(),
            b"make\0\0\0\0\0\0\0\0\0\0\0\0",
            &6789i32.to_ne_bytes(),
            &120i32.to_ne_bytes(),
        ],
    )
}

/// `raw_syscalls:sys_enter`: a decimal and six hexadecimal numbers.
pub fn sys_enter() -> Rendering {
    let words = [257u64, 0xffff_ff9c, 0x7f12_3456_7890, 0x80000, 0, 0x1000, 3];
    rendering(
        include_str!("../../../fuzz/corpus/format/raw_syscalls-sys_enter"),
        &words
            .each_ref()
            .map(|w| w.to_ne_bytes())
            .each_ref()
            .map(|b| &b[..]),
    )
}
