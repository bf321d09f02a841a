//! The page decoder: what an encoder writes comes back, and nothing harms it.

mod writer;

use proptest::prelude::*;
use tracefs::{Endian, Missed, PageFaultKind, PageLayout};

const LAYOUT_32: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:4;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:12;\tsize:4084;\tsigned:0;\n";

/// What stands in a page, as the kernel would put it there.
#[derive(Clone, Debug)]
enum Item {
    /// A record so much later than what is before it.
    Record {
        delta: u64,
        data: Vec<u8>,
        long_form: bool,
    },
    /// A record at an absolute time, `ahead` of what is before it.
    Absolute { ahead: u64, data: Vec<u8> },
    /// A record that was given up.
    Discarded { delta: u32, words: u8 },
}

/// Writes pages as kernel/trace/ring_buffer.c does.
struct Encoder {
    endian: Endian,
    long_size: usize,
    data: Vec<u8>,
    time: u64,
    expected: Vec<(u64, Vec<u8>)>,
}

impl Encoder {
    fn word(&mut self, word: u32) {
        self.data.extend(match self.endian {
            Endian::Little => word.to_le_bytes(),
            Endian::Big => word.to_be_bytes(),
        });
    }

    fn header(&mut self, type_len: u32, delta: u32) {
        assert!(type_len < 32 && delta < 1 << 27);
        self.word(match self.endian {
            Endian::Little => type_len | delta << 5,
            Endian::Big => type_len << 27 | delta,
        });
    }

    fn extended(&mut self, type_len: u32, value: u64) {
        assert!(value < 1 << 59);
        self.header(type_len, (value & 0x7ff_ffff) as u32);
        self.word((value >> 27) as u32);
    }

    fn record(&mut self, mut delta: u64, data: &[u8], long_form: bool) {
        self.time += delta;
        if delta >= 1 << 27 {
            self.extended(30, delta);
            delta = 0;
        }
        let mut padded = data.to_vec();
        padded.resize(data.len().next_multiple_of(4), 0);
        if long_form || padded.len() > 28 * 4 || padded.is_empty() {
            self.header(0, delta as u32);
            self.word(padded.len() as u32 + 4);
        } else {
            self.header(padded.len() as u32 / 4, delta as u32);
        }
        self.data.extend(&padded);
        self.expected.push((self.time, padded));
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Record {
                delta,
                data,
                long_form,
            } => self.record(*delta, data, *long_form),
            Item::Absolute { ahead, data } => {
                self.time += ahead;
                self.extended(31, self.time & ((1 << 59) - 1));
                self.record(0, data, false);
            }
            Item::Discarded { delta, words } => {
                // The kernel writes 1 for 0, which would mean the page's end.
                self.header(29, (*delta).max(1));
                if *delta > 1 {
                    self.time += u64::from(*delta);
                }
                self.word(4 + u32::from(*words) * 4);
                self.data.extend(vec![0xee; usize::from(*words) * 4]);
            }
        }
    }

    /// The page, with room to spare after the data.
    fn page(&mut self, time: u64, missed: Missed, padding_at_end: bool) -> Vec<u8> {
        if padding_at_end {
            self.header(29, 0);
            self.data.extend([0xdd; 20]);
        }
        let mut page = match self.endian {
            Endian::Little => time.to_le_bytes(),
            Endian::Big => time.to_be_bytes(),
        }
        .to_vec();
        let flags = match missed {
            Missed::None => 0,
            Missed::Unknown => 1 << 31,
            Missed::Count(_) => 3 << 30,
        };
        self.long(&mut page, self.data.len() as u64 | flags);
        page.extend(&self.data);
        if let Missed::Count(count) = missed {
            self.long(&mut page, count);
        }
        page.extend([0; 24]);
        page
    }

    fn long(&self, out: &mut Vec<u8>, value: u64) {
        match (self.endian, self.long_size) {
            (Endian::Little, 8) => out.extend(value.to_le_bytes()),
            (Endian::Little, _) => out.extend((value as u32).to_le_bytes()),
            (Endian::Big, 8) => out.extend(value.to_be_bytes()),
            (Endian::Big, _) => out.extend((value as u32).to_be_bytes()),
        }
    }
}

fn encoder(layout: &PageLayout, endian: Endian, time: u64) -> Encoder {
    let long_size = layout.long_size_bytes();
    Encoder {
        endian,
        long_size,
        data: Vec::new(),
        time,
        expected: Vec::new(),
    }
}

fn layout(bits_32: bool, endian: Endian) -> PageLayout {
    let text = if bits_32 {
        LAYOUT_32.to_owned()
    } else {
        LAYOUT_32
            .replace("offset:8;\tsize:4", "offset:8;\tsize:8")
            .replace("offset:12;\tsize:4084", "offset:16;\tsize:4080")
    };
    PageLayout::parse_endian(&text, endian).unwrap()
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let data = || prop::collection::vec(any::<u8>(), 0..300);
    let delta = prop_oneof![0..200u64, 0..(1u64 << 27), (1u64 << 27)..(1 << 50)];
    let item = prop_oneof![
        8 => (delta.clone(), data(), any::<bool>())
            .prop_map(|(delta, data, long_form)| Item::Record { delta, data, long_form }),
        2 => (delta, data()).prop_map(|(ahead, data)| Item::Absolute { ahead, data }),
        1 => (0..1u32 << 27, 0..20u8).prop_map(|(delta, words)| Item::Discarded { delta, words }),
    ];
    prop::collection::vec(item, 0..60)
}

fn missed() -> impl Strategy<Value = Missed> {
    prop_oneof![
        Just(Missed::None),
        Just(Missed::Unknown),
        any::<u32>().prop_map(|n| Missed::Count(n.into()))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_comes_back(
        items in items(),
        missed in missed(),
        start in prop_oneof![0..1u64 << 40, (1u64 << 59) - 5000..(1u64 << 59) + 5000, (1u64 << 62)..(1 << 63)],
        bits_32: bool,
        big: bool,
        padding_at_end: bool,
    ) {
        let endian = if big { Endian::Big } else { Endian::Little };
        let layout = layout(bits_32, endian);
        let mut encoder = encoder(&layout, endian, start);
        for item in &items {
            encoder.item(item);
        }
        let bytes = encoder.page(start, missed, padding_at_end);
        let page = layout.page(&bytes).unwrap();
        prop_assert_eq!((page.time_raw, page.missed), (start, missed));
        let mut events = page.events();
        let found: Vec<(u64, Vec<u8>)> =
            events.by_ref().map(|e| (e.time_raw, e.data.to_vec())).collect();
        prop_assert_eq!(events.fault(), None);
        prop_assert_eq!(&found, &encoder.expected);

        // Interrupted and resumed after each event: the same.
        let mut resumed = Vec::new();
        let mut position = page.events().position();
        loop {
            let mut events = page.events_from(position);
            let Some(event) = events.next() else { break };
            resumed.push((event.time_raw, event.data.to_vec()));
            position = events.position();
        }
        prop_assert_eq!(&resumed, &encoder.expected);
    }

    #[test]
    fn a_cut_page_gives_what_is_before_the_cut_and_says_where(items in items(), cut in 0.0..1.0f64) {
        let layout = PageLayout::NATIVE_64;
        let mut encoder = encoder(&layout, Endian::NATIVE, 5);
        for item in &items {
            encoder.item(item);
        }
        let bytes = encoder.page(5, Missed::None, false);
        let committed = encoder.data.len();
        let keep = (committed as f64 * cut) as usize;
        let page = layout.page(&bytes[..16 + keep]).unwrap();
        let mut events = page.events();
        let found: Vec<(u64, Vec<u8>)> =
            events.by_ref().map(|e| (e.time_raw, e.data.to_vec())).collect();
        prop_assert!(encoder.expected.starts_with(&found));
        if keep < committed {
            let fault = events.fault().unwrap();
            prop_assert!(fault.offset <= keep);
            prop_assert_eq!(fault.kind, PageFaultKind::Cut { missing: committed - keep });
        } else {
            prop_assert_eq!(events.fault(), None);
        }
    }

    #[test]
    fn hostile_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..600), sane_commit: bool) {
        if sane_commit && bytes.len() > 16 {
            let commit = (bytes.len() - 16) as u64;
            bytes[8..16].copy_from_slice(&commit.to_ne_bytes());
        }
        for layout in [PageLayout::NATIVE_64, layout(true, Endian::Big), layout(true, Endian::Little)] {
            let Some(page) = layout.page(&bytes) else { continue };
            let mut events = page.events();
            let total: usize = events.by_ref().map(|e| e.data.len() + 4).sum();
            prop_assert!(total <= bytes.len());
            prop_assert_eq!(events.next(), None);
        }
    }
}

#[test]
fn faults_name_their_place() {
    let layout = PageLayout::NATIVE_64;
    let mut encoder = encoder(&layout, Endian::NATIVE, 0);
    encoder.record(7, &[1; 8], false);
    encoder.header(0, 1);
    encoder.word(3);
    let bytes = encoder.page(0, Missed::None, false);
    let page = layout.page(&bytes).unwrap();
    let mut events = page.events();
    assert_eq!(events.next().map(|e| e.time_raw), Some(7));
    assert_eq!(events.next(), None);
    let fault = events.fault().unwrap();
    assert_eq!((fault.offset, fault.kind), (12, PageFaultKind::Length(3)));
    assert_eq!(
        fault.to_string(),
        "an event states the impossible length 3 at byte 12 of the page's data"
    );
}

#[test]
fn a_header_alone_is_a_page_and_less_is_not() {
    let bytes = [0u8; 16];
    let page = PageLayout::NATIVE_64.page(&bytes).unwrap();
    assert_eq!((page.events().next(), page.missed), (None, Missed::None));
    assert!(PageLayout::NATIVE_64.page(&bytes[..15]).is_none());
}
