//! Walking the events of a full sub-buffer of ftrace's ring.

use gungraun::{library_benchmark, library_benchmark_group, main};
use kstrace_instructions::page::{events_in, full};
use std::hint::black_box;
use tracefs::PageLayout;

fn all_there((page, events): (Vec<u8>, usize)) {
    assert_eq!(events, events_in(page.len()));
}

#[library_benchmark]
#[bench::kib_4(args = (4 << 10), setup = full, teardown = all_there)]
#[bench::kib_16(args = (16 << 10), setup = full, teardown = all_there)]
fn events(page: Vec<u8>) -> (Vec<u8>, usize) {
    let (mut events, mut sum) = (0, 0);
    if let Some(page) = PageLayout::NATIVE_64.page(&page) {
        for event in page.events() {
            sum += event.time_raw + event.data.first().copied().map_or(0, u64::from);
            events += 1;
        }
    }
    black_box(sum);
    (page, events)
}

library_benchmark_group!(name = page, benchmarks = events);
main!(library_benchmark_groups = page);
