#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kstrace_fuzz::ctf_json(data));
