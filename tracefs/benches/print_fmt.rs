//! How long the text of an event takes, and how long its print format takes to compile.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tracefs::format::EventFormat;
use tracefs::print_fmt::{NoSymbols, PrintFmt};

const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

fn sched_switch() -> (String, Vec<u8>) {
    let format = format!(
        "name: sched_switch\nID: 1\nformat:\n{COMMON}\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n\
        \tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;\n\
        \tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;\n\
        \tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;\n\
        \tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;\n\
        \nprint fmt: \"prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%s%s ==> next_comm=%s \
        next_pid=%d next_prio=%d\", REC->prev_comm, REC->prev_pid, REC->prev_prio, \
        (REC->prev_state & 0xff) ? __print_flags(REC->prev_state & 0xff, \"|\", {{ 1, \"S\" }}, \
        {{ 2, \"D\" }}, {{ 4, \"T\" }}, {{ 8, \"t\" }}) : \"R\", REC->prev_state & 0x100 ? \"+\" : \"\", \
        REC->next_comm, REC->next_pid, REC->next_prio\n"
    );
    let mut entry = vec![0; 8];
    entry.extend(b"kworker/0:1\0\0\0\0\0");
    entry.extend(12345i32.to_ne_bytes());
    entry.extend(120i32.to_ne_bytes());
    entry.extend(1i64.to_ne_bytes());
    entry.extend(b"make\0\0\0\0\0\0\0\0\0\0\0\0");
    entry.extend(6789i32.to_ne_bytes());
    entry.extend(120i32.to_ne_bytes());
    (format, entry)
}

fn sys_enter() -> (String, Vec<u8>) {
    let format = format!(
        "name: sys_enter\nID: 2\nformat:\n{COMMON}\
        \tfield:long id;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;\n\
        \nprint fmt: \"NR %ld (%lx, %lx, %lx, %lx, %lx, %lx)\", REC->id, REC->args[0], \
        REC->args[1], REC->args[2], REC->args[3], REC->args[4], REC->args[5]\n"
    );
    let mut entry = vec![0; 8];
    for word in [257u64, 0xffff_ff9c, 0x7f12_3456_7890, 0x80000, 0, 0x1000, 3] {
        entry.extend(word.to_ne_bytes());
    }
    (format, entry)
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("print_fmt");
    group.throughput(Throughput::Elements(1));
    for (name, (text, entry)) in [("sched_switch", sched_switch()), ("sys_enter", sys_enter())] {
        let Ok(format) = EventFormat::parse(&text) else {
            continue;
        };
        let Ok(compiled) = PrintFmt::compile(&format) else {
            continue;
        };
        let mut out = Vec::with_capacity(4096);
        group.bench_function(format!("render {name}"), |b| {
            b.iter(|| {
                out.clear();
                compiled.render(black_box(&entry), &NoSymbols, &mut out);
                black_box(out.len())
            });
        });
        group.bench_function(format!("compile {name}"), |b| {
            b.iter(|| PrintFmt::compile(black_box(&format)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
