//! Merging two streams: the cost of the merge itself, its streams are lists.

use gungraun::{library_benchmark, library_benchmark_group, main};
use kstrace_instructions::RECORDS;
use kstrace_instructions::streams::{Count, two_streams};
use kstrace_schema::merge::Merger;

fn all_there((merger, sink): (Merger, Count)) {
    drop(merger);
    assert_eq!((sink.records, sink.unsorted), (RECORDS, 0));
}

#[library_benchmark]
#[bench::alternating(args = (1), setup = two_streams, teardown = all_there)]
#[bench::runs_of_50(args = (50), setup = two_streams, teardown = all_there)]
fn two(mut merger: Merger) -> (Merger, Count) {
    let mut sink = Count::default();
    while let Ok(round) = merger.round(&mut sink) {
        if round.finished() {
            break;
        }
    }
    (merger, sink)
}

library_benchmark_group!(name = merge, benchmarks = two);
main!(library_benchmark_groups = merge);
