//! The text of an event by the kernel's print format.

use gungraun::{library_benchmark, library_benchmark_group, main};
use kstrace_instructions::formats::{Rendering, sched_switch, sys_enter};
use std::hint::black_box;
use tracefs::print_fmt::NoSymbols;

/// How often the entry is rendered.
const TIMES: usize = 1_000;

fn all_there((rendering, bytes): (Rendering, usize)) {
    assert!(rendering.out.len() > 40, "the text of the last one");
    assert_eq!(bytes, rendering.out.len() * TIMES);
}

#[library_benchmark]
#[bench::sched_switch(args = (), setup = sched_switch, teardown = all_there)]
#[bench::sys_enter(args = (), setup = sys_enter, teardown = all_there)]
fn render(mut rendering: Rendering) -> (Rendering, usize) {
    let mut bytes = 0;
    for _ in 0..TIMES {
        rendering.out.clear();
        rendering
            .compiled
            .render(black_box(&rendering.entry), &NoSymbols, &mut rendering.out);
        bytes += black_box(rendering.out.len());
    }
    (rendering, bytes)
}

library_benchmark_group!(name = print_fmt, benchmarks = render);
main!(library_benchmark_groups = print_fmt);
