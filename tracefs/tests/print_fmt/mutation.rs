//! Real format files and entries with random damage: an error or a text, never a panic.

use crate::format::live_formats;
use std::time::{Duration, Instant};
use tracefs::format::EventFormat;
use tracefs::print_fmt::{NoSymbols, PrintFmt};

/// A small generator of our own: runs are repeatable without a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Cuts, repeats, swaps and replaces bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    const WORDS: [&str; 16] = [
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "%",
        ";",
        "REC->",
        "__get_str(",
        "-1",
        "0x",
        "4294967295",
        "\\",
        "*",
    ];
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at.max(1)),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            3 => {
                let word = WORDS[random.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
}

#[test]
fn damaged_format_files_and_entries_do_no_harm() {
    let formats = live_formats();
    if formats.is_empty() {
        return;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let end = Instant::now() + Duration::from_millis(1500);
    let (mut parsed, mut compiled, mut rendered) = (0u32, 0u32, 0u32);
    let mut out = Vec::new();
    let mut entry = vec![0u8; 300];
    while Instant::now() < end {
        let (_, text) = &formats[random.below(formats.len())];
        let mut bytes = text.clone().into_bytes();
        if random.below(8) > 0 {
            damage(&mut bytes, &mut random);
        }
        let text = String::from_utf8_lossy(&bytes);
        let Ok(format) = EventFormat::parse(&text) else {
            continue;
        };
        parsed += 1;
        assert_eq!(format.to_string(), text, "what is parsed is written back");
        let (print_fmt, error) = PrintFmt::compile_or_fields(&format);
        compiled += u32::from(error.is_none());
        for _ in 0..4 {
            entry.iter_mut().for_each(|b| *b = random.next() as u8);
            // Small offsets and lengths, so that dynamic arrays sometimes fit.
            for byte in entry.iter_mut().step_by(2) {
                *byte &= 0x1f;
            }
            out.clear();
            let len = random.below(entry.len());
            print_fmt.render(&entry[..len], &NoSymbols, &mut out);
            rendered += 1;
        }
    }
    println!("{parsed} parsed, {compiled} compiled, {rendered} rendered");
    assert!(
        parsed > 20 && compiled > 10 && rendered > 80,
        "the damage is too great to test anything"
    );
}
