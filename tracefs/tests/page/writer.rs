//! The page encoder: what it writes is what the decoder reads.

use proptest::prelude::*;
use tracefs::{Endian, Missed, PageLayout, PageWriter};

/// An event to be written: how much later than the one before, and its data.
type Event = (i64, Vec<u8>);

fn delta() -> impl Strategy<Value = i64> {
    prop_oneof![
        0i64..5000,
        Just((1 << 27) - 1),
        Just(1 << 27),
        1i64 << 27..1 << 40,
        Just(1 << 59),
        // Time that goes back.
        -5000i64..0,
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 105..120),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    prop::collection::vec((delta(), data), 1..60)
}

fn missed() -> impl Strategy<Value = Missed> {
    prop_oneof![
        Just(Missed::None),
        Just(Missed::Unknown),
        any::<u32>().prop_map(|count| Missed::Count(count.into())),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        events in events(),
        missed in missed(),
        big in any::<bool>(),
        long in prop_oneof![Just(4usize), Just(8)],
        page_size in prop_oneof![Just(400usize), Just(4096), Just(65536)],
    ) {
        let endian = if big { Endian::Big } else { Endian::Little };
        let layout = PageLayout::of_kernel(endian, long, page_size).unwrap();
        let mut writer = PageWriter::new(layout, page_size).unwrap();
        let mut pages: Vec<Vec<u8>> = Vec::new();
        let mut page = vec![0xa5; page_size];
        writer.set_missed(missed);
        let mut time = 1u64 << 60;
        let mut expected = Vec::new();
        for (delta, data) in &events {
            time = time.wrapping_add_signed(*delta);
            prop_assert!(data.len() <= writer.longest_entry_bytes());
            if let Some(place) = writer.add(&mut page, time, data.len()) {
                page[place].copy_from_slice(data);
            } else {
                prop_assert!(!writer.is_empty());
                writer.finish(&mut page);
                pages.push(std::mem::replace(&mut page, vec![0x5a; page_size]));
                let place = writer.add(&mut page, time, data.len()).unwrap();
                page[place].copy_from_slice(data);
            }
            expected.push((time, data.clone()));
        }
        writer.finish(&mut page);
        pages.push(page);
        let mut read = Vec::new();
        for (index, bytes) in pages.iter().enumerate() {
            let page = layout.page(bytes).unwrap();
            prop_assert_eq!(page.missed, if index == 0 { missed } else { Missed::None });
            let mut events = page.events();
            for event in events.by_ref() {
                read.push((event.time_raw, event.data.to_vec()));
            }
            prop_assert_eq!(events.fault(), None);
            // Nothing of what stood there before is left.
            let end = layout.header_size_bytes() + page.data().len();
            let count = if index == 0 && matches!(missed, Missed::Count(_)) { long } else { 0 };
            prop_assert!(bytes[end + count..].iter().all(|b| *b == 0));
        }
        prop_assert_eq!(read.len(), expected.len());
        for ((time, data), (wanted_time, wanted)) in read.iter().zip(&expected) {
            prop_assert_eq!(time, wanted_time);
            prop_assert_eq!(data.len(), wanted.len().next_multiple_of(4));
            prop_assert_eq!(&data[..wanted.len()], wanted.as_slice());
            prop_assert!(data[wanted.len()..].iter().all(|b| *b == 0));
        }
    }
}

#[test]
fn the_longest_entry_fits_also_with_a_count_of_lost_ones() {
    let layout = PageLayout::NATIVE_64;
    let mut writer = PageWriter::new(layout, 4096).unwrap();
    let longest = writer.longest_entry_bytes();
    assert_eq!(longest, 4096 - 16 - 8 - 8);
    let mut page = vec![0; 4096];
    writer.set_missed(Missed::Count(7));
    assert!(writer.add(&mut page, 5, longest + 1).is_none());
    assert!(writer.add(&mut page, 5, longest).is_some());
    writer.finish(&mut page);
    assert_eq!(layout.page(&page).unwrap().missed, Missed::Count(7));
}

#[test]
fn pages_without_room_for_an_event_are_refused() {
    let layout = PageLayout::NATIVE_64;
    assert!(PageWriter::new(layout, 16).is_none());
    assert!(PageWriter::new(layout, 40).is_none());
    assert!(PageWriter::new(layout, 44).is_some());
    assert!(PageWriter::new(layout, 1 << 31).is_none());
}
