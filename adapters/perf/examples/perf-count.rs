//! Records events system-wide for a while and counts what came, by class:
//! `perf-count SECONDS RING_KIB EVENT...`, an event being any that `perf record`
//! takes, or a pattern of tracepoints (`sched:*`).
//!
//! Also says what recording cost this process, which makes it the measure of the
//! source alone, without anything behind it.

use kstrace_perf::{EventRequest, EventSpec, PerfPlan, PerfSource, Target};
use kstrace_schema::{
    ClassId, ClassRegistry, EventRecord, EventRecordClass, Loss, Result, SessionTime, Sink, Source,
    SourceId,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Counter {
    classes: BTreeMap<ClassId, Arc<EventRecordClass>>,
    counts: Vec<u64>,
    bytes: u64,
    lost: u64,
}

impl Sink for Counter {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.classes.insert(class.id, Arc::clone(class));
        let needed = usize::from(class.id.0) + 1;
        self.counts.resize(self.counts.len().max(needed), 0);
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.counts[usize::from(record.class.0)] += 1;
        // Touched as a copy would touch it.
        self.bytes += record
            .payload
            .chunks(64)
            .map(|c| u64::from(c[0] & 1) + c.len() as u64)
            .sum::<u64>();
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost += loss.count;
        Ok(())
    }
}

fn cpu_time() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID);
    time.map_or(Duration::ZERO, Into::into)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name: &str| {
        arguments
            .next()
            .and_then(|a| a.parse::<u64>().ok())
            .ok_or(format!("{name} is missing"))
    };
    let (seconds, ring_kib) = (number("SECONDS")?, number("RING_KIB")?);
    let mut requests = Vec::new();
    for pattern in arguments {
        if pattern.contains('*') {
            let catalog = tracefs::Tracefs::discover()?.events()?;
            for name in catalog.find(&pattern)? {
                requests.push(EventRequest::new(EventSpec::tracepoint(
                    &name.system,
                    &name.name,
                )));
            }
        } else {
            requests.push(EventRequest::new(pattern.parse()?));
        }
    }
    let plan = PerfPlan {
        mmap_size_bytes_per_cpu: usize::try_from(ring_kib)? << 10,
        ..PerfPlan::new(Target::System, requests)
    };
    let mut source = PerfSource::open(plan, SourceId(1), Arc::new(ClassRegistry::new()))?;
    let mut out = Counter::default();
    let mut streams = source.streams(&mut out)?;
    source.start()?;
    let (begin, cpu_before) = (Instant::now(), cpu_time());
    let end = begin + Duration::from_secs(seconds);
    while Instant::now() < end {
        for stream in &mut streams {
            loop {
                let fill = stream.fill(&mut out)?;
                stream.emit(fill.complete_until, &mut out)?;
                if !fill.more {
                    break;
                }
            }
        }
        let fds: Vec<BorrowedFd<'_>> = streams.iter().filter_map(|s| s.wakeup()).collect();
        let mut fds: Vec<_> = fds
            .iter()
            .map(|fd| nix::poll::PollFd::new(*fd, nix::poll::PollFlags::POLLIN))
            .collect();
        nix::poll::poll(&mut fds, 100u16)?;
    }
    let (wall, cpu) = (begin.elapsed(), cpu_time() - cpu_before);
    source.stop()?;
    let mut accounts = Vec::new();
    for stream in &mut streams {
        while stream.fill(&mut out)?.complete_until != SessionTime::MAX {
            stream.emit(SessionTime::MAX, &mut out)?;
        }
        stream.emit(SessionTime::MAX, &mut out)?;
        accounts.push(stream.finish(&mut out)?);
    }
    for (id, class) in &out.classes {
        let count = out.counts[usize::from(id.0)];
        if count > 0 {
            let rest = if class.payload.ends_with_rest() {
                " +rest"
            } else {
                ""
            };
            println!("{count:>10} {}{rest}", class.name);
        }
    }
    for account in &accounts {
        let (seen, written, dropped) = (account.seen, account.written, account.dropped_total());
        println!(
            "{} cpu {}: seen {seen} = written {written} + dropped {dropped}",
            account.hop, account.cpu
        );
    }
    let records: u64 = out.counts.iter().sum();
    println!(
        "{records} records, {} MiB, {} lost, {} late; {:.1} ns of CPU a record, {:.2} s of CPU in {:.2} s",
        out.bytes >> 20,
        out.lost,
        source.late_records(),
        cpu.as_nanos() as f64 / records.max(1) as f64,
        cpu.as_secs_f64(),
        wall.as_secs_f64()
    );
    for note in source.notes() {
        println!("note: {note}");
    }
    Ok(())
}
