#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kstrace_fuzz::ring_superblock(data));
