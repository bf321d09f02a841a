//! The loads, and the line that tells what each did.

use crate::args::{Load, Mode};
use crate::kernel::{self, MAGIC};
use crate::latency::Latencies;
use crate::ticks;
use crate::usage::Cpu;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Bytes written to each file by [`Mode::File`].
const FILE_BYTES: usize = 4096;

/// Makes the load; the JSON line that tells of it.
pub(crate) fn run(load: &Load) -> io::Result<String> {
    if load.sleep_ms > 0 {
        std::thread::sleep(Duration::from_millis(load.sleep_ms));
    }
    // Before the clock starts: both take time of their own.
    let ticks_per_ns = if load.latencies || load.mode == Mode::Spin {
        ticks::per_ns()
    } else {
        1.0
    };
    let calls = usize::try_from(load.n).unwrap_or(usize::MAX);
    let mut latencies = Latencies::for_calls(if load.latencies { calls } else { 0 });
    let mut late = 0;

    let cpu_before = Cpu::own()?;
    let begin_ns = ticks::monotonic_ns();
    let expected = match load.mode {
        Mode::Syscall if load.rate_per_s > 0.0 => {
            late = paced_syscalls(load, ticks_per_ns, &mut latencies);
            load.n
        }
        Mode::Syscall if load.latencies => {
            timed_syscalls(load, &mut latencies);
            load.n
        }
        Mode::Syscall if load.threads > 1 => threaded_syscalls(load),
        Mode::Syscall => {
            (0..load.n).for_each(|i| kernel::marked_syscall(load.first_seq.wrapping_add(i)));
            load.n
        }
        Mode::Switch => switches(load.n)?,
        Mode::Spin => spin(load.n, ticks_per_ns),
        Mode::Fork => forks(load.n)?,
        Mode::File => files(load.n)?,
        Mode::Idle => {
            std::thread::sleep(Duration::from_millis(load.n));
            0
        }
    };
    let end_ns = ticks::monotonic_ns();
    let cpu = Cpu::own()?.since(cpu_before);

    let elapsed_ns = end_ns - begin_ns;
    let mut line = format!(
        "{{\"mode\":\"{}\",\"pid\":{},\"magic\":{MAGIC},\"first_seq\":{},\"expected\":{expected},\
         \"begin_monotonic_ns\":{begin_ns},\"end_monotonic_ns\":{end_ns},\"elapsed_ns\":{elapsed_ns},\
         \"user_ns\":{},\"sys_ns\":{},\"total_cpu_ns\":{},\"rate_per_s\":{},\"late\":{late}",
        load.mode.word(),
        std::process::id(),
        load.first_seq,
        cpu.user_ns,
        cpu.sys_ns,
        Cpu::tree_ns()?,
        load.rate_per_s,
    );
    let add = |line: &mut String, key: &str, value: f64| {
        // Writing to a String cannot fail.
        let _ = write!(line, ",\"{key}\":{value:.3}");
    };
    if expected > 0 {
        add(
            &mut line,
            "ns_per_event",
            elapsed_ns as f64 / expected as f64,
        );
        add(
            &mut line,
            "cpu_ns_per_event",
            (cpu.user_ns + cpu.sys_ns) as f64 / expected as f64,
        );
    }
    if let Some(s) = latencies.summary(ticks_per_ns) {
        add(&mut line, "lat_mean_ns", s.mean_ns);
        add(&mut line, "lat_p50_ns", s.p50_ns);
        add(&mut line, "lat_p99_ns", s.p99_ns);
        add(&mut line, "lat_p999_ns", s.p999_ns);
        add(&mut line, "lat_max_ns", s.max_ns);
    }
    line.push('}');
    Ok(line)
}

fn timed_syscalls(load: &Load, latencies: &mut Latencies) {
    for i in 0..load.n {
        let begin = ticks::now();
        kernel::marked_syscall(load.first_seq.wrapping_add(i));
        latencies.push(ticks::now().wrapping_sub(begin));
    }
}

/// The number of calls that began more than one step late.
fn paced_syscalls(load: &Load, ticks_per_ns: f64, latencies: &mut Latencies) -> u64 {
    let step = ticks_per_ns * 1e9 / load.rate_per_s;
    let begin = ticks::now();
    let mut late = 0;
    for i in 0..load.n {
        let due = begin.wrapping_add((step * (i + 1) as f64) as u64);
        if ticks::now() > due.wrapping_add(step as u64) {
            late += 1;
        }
        while ticks::now() < due {
            std::hint::spin_loop();
        }
        let before = ticks::now();
        kernel::marked_syscall(load.first_seq.wrapping_add(i));
        latencies.push(ticks::now().wrapping_sub(before));
    }
    late
}

fn threaded_syscalls(load: &Load) -> u64 {
    std::thread::scope(|scope| {
        for t in 0..load.threads {
            let first = load.first_seq.wrapping_add(t.wrapping_mul(load.n));
            scope.spawn(move || {
                (0..load.n).for_each(|i| kernel::marked_syscall(first.wrapping_add(i)));
            });
        }
    });
    load.n.saturating_mul(load.threads)
}

fn switches(round_trips: u64) -> io::Result<u64> {
    let (mut there_out, mut there_in) = io::pipe()?;
    let (mut back_out, mut back_in) = io::pipe()?;
    // Without the parent's ends in the child it sees the end of the pipe when the parent is gone.
    let parents_ends = [there_in.as_raw_fd(), back_out.as_raw_fd()];
    let child = kernel::fork_child(&parents_ends, move || {
        let mut byte = [0];
        while matches!(there_out.read(&mut byte), Ok(1)) {
            if back_in.write_all(&byte).is_err() {
                break;
            }
        }
    })?;
    let mut byte = [0; 1];
    for _ in 0..round_trips {
        there_in.write_all(&byte)?;
        back_out.read_exact(&mut byte)?;
    }
    drop(there_in);
    kernel::wait_for(child)?;
    Ok(round_trips.saturating_mul(2))
}

fn spin(hundreds_of_ns: u64, ticks_per_ns: f64) -> u64 {
    let begin = ticks::now();
    let ticks = (hundreds_of_ns as f64 * 100.0 * ticks_per_ns) as u64;
    while ticks::now().wrapping_sub(begin) < ticks {}
    0
}

fn forks(count: u64) -> io::Result<u64> {
    for _ in 0..count {
        kernel::wait_for(kernel::fork_child(&[], || ())?)?;
    }
    Ok(count)
}

fn files(count: u64) -> io::Result<u64> {
    let path = std::env::temp_dir().join(format!("kstrace-load-{}", std::process::id()));
    let bytes = [b'k'; FILE_BYTES];
    for _ in 0..count {
        std::fs::File::create(&path)?.write_all(&bytes)?;
        std::fs::remove_file(&path)?;
    }
    Ok(count)
}
