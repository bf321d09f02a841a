//! How many of this kernel's print formats compile.

use crate::format::live_formats;
use tracefs::format::EventFormat;
use tracefs::print_fmt::PrintFmt;

/// Events whose print format needs what only the kernel has, and why.
const NOT_COMPILED: [(&str, &str); 4] = [
    ("kvmmmu/kvm_mmu_get_page", CALLS_BACK),
    ("kvmmmu/kvm_mmu_prepare_zap_page", CALLS_BACK),
    ("kvmmmu/kvm_mmu_sync_page", CALLS_BACK),
    ("kvmmmu/kvm_mmu_unsync_page", CALLS_BACK),
];
const CALLS_BACK: &str = "calls trace_seq_printf() and reads the kernel's bit-fields";

/// Events whose text has parts that only the kernel knows, and what these are.
const PARTLY_KNOWN: [(&str, &str); 10] = [
    ("jbd2/jbd2_checkpoint_stats", "jiffies_to_msecs"),
    ("jbd2/jbd2_run_stats", "jiffies_to_msecs"),
    ("kmem/mm_page_alloc", "vmemmap_base"),
    ("kmem/mm_page_alloc_extfrag", "vmemmap_base"),
    ("kmem/mm_page_alloc_zone_locked", "vmemmap_base"),
    ("kmem/mm_page_free", "vmemmap_base"),
    ("kmem/mm_page_free_batched", "vmemmap_base"),
    ("kmem/mm_page_pcpu_drain", "vmemmap_base"),
    ("vmscan/mm_vmscan_write_folio", "vmemmap_base"),
    ("writeback/writeback_", "jiffies"),
];

#[test]
fn all_but_a_handful_compile() {
    let formats = live_formats();
    let mut failed = 0;
    let mut partly = 0;
    let mut unexpected = Vec::new();
    for (path, text) in &formats {
        let format = EventFormat::parse(text).unwrap();
        let name = path.display().to_string();
        let listed = |list: &[(&str, &'static str)]| {
            list.iter()
                .find(|(event, _)| name.contains(event))
                .map(|(_, why)| *why)
        };
        match PrintFmt::compile(&format) {
            Err(error) => {
                failed += 1;
                if listed(&NOT_COMPILED).is_none() {
                    unexpected.push(format!("{name}: {error}"));
                }
            }
            Ok(compiled) => {
                for unknown in compiled.unknown_names() {
                    partly += 1;
                    if listed(&PARTLY_KNOWN) != Some(unknown) {
                        unexpected.push(format!("{name}: needs {unknown}"));
                    }
                }
            }
        }
    }
    let compiled = formats.len() - failed;
    println!(
        "{compiled} of {} compile, {partly} of them with unknown parts",
        formats.len()
    );
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}
