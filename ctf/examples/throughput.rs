//! How fast traces are written and read: `throughput [DIR] [MIB]`.
//!
//! Writes packets of 256 KiB with records of 80 bytes (64 of payload), several
//! times over, and walks them again. Prints nanoseconds
//! of CPU time a record, of the best round.

use kstrace_ctf::{PacketBuilder, TraceReader, TraceWriter, TraceWriterOptions, uuid_bytes};
use kstrace_schema::{
    Capture, ClassId, ClockDescriptor, ClockKind, Cpu, EventRecord, EventRecordClass, FieldClass,
    HostInfo, Loss, Member, NativeDescription, Result, SessionInfo, SessionTime, Sink, SourceId,
    StructureClass, namespace,
};
use nix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const UUID: &str = "2f4dfe6c-4f7f-4b3a-9d0e-0123456789ab";
const ROUNDS: usize = 5;

/// Touches every record and no more.
#[derive(Default)]
struct Count {
    records: u64,
    sum: u64,
}

impl Sink for Count {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.records += 1;
        self.sum = self.sum.wrapping_add(record.time.as_ns());
        Ok(())
    }

    fn loss(&mut self, _: &Loss) -> Result<()> {
        Ok(())
    }
}

/// CPU time of this thread: other work on the machine is not this program's.
fn cpu_ns() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0.0, |t| t.tv_sec() as f64 * 1e9 + t.tv_nsec() as f64)
}

fn session() -> SessionInfo {
    SessionInfo {
        uuid: UUID.to_owned(),
        clock: ClockDescriptor {
            kind: ClockKind::Monotonic,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: 0,
            boot_id: String::new(),
        },
        host: HostInfo::default(),
        capture: Capture::default(),
        sources: Vec::new(),
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib = args
        .next()
        .and_then(|a| a.to_str()?.parse().ok())
        .unwrap_or(256usize);
    for lanes in [1u32, 4] {
        run(&dir.join("kstrace-ctf-throughput.kst"), lanes, mib * 4)?;
    }
    Ok(())
}

fn run(dir: &Path, lanes: u32, packets: usize) -> Result<()> {
    let payload = [0x5a; 64];
    let members = vec![Member::new(
        "bytes",
        FieldClass::StaticBlob { size_bytes: 64 },
    )];
    let class = Arc::new(EventRecordClass::new(
        SourceId(1),
        namespace::FTRACE,
        "bench",
        StructureClass::new(members),
        NativeDescription::Kstrace,
    ));
    let mut builder =
        PacketBuilder::new(uuid_bytes(UUID).unwrap_or_default(), 0, Cpu(0), 256 << 10);
    let mut time = 0;
    while !builder.is_full_for(payload.len()) {
        time += 1;
        builder.push(&EventRecord {
            class: ClassId(0),
            rest_len_bytes: 0,
            cpu: Cpu(0),
            time: SessionTime::from_ns(time),
            payload: &payload,
        });
    }
    let packet = builder.take(<[u8]>::to_vec);
    let records = time as f64 * packets as f64;
    let (mut write_ns, mut read_ns) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let options = TraceWriterOptions::default();
        let mut writer = TraceWriter::create(dir, &session(), &options)?;
        writer.add_class(&class)?;
        let start = cpu_ns();
        for index in 0..packets {
            writer.append_packet(index as u32 % lanes, &packet)?;
        }
        write_ns = write_ns.min((cpu_ns() - start) / records);
        writer.finish()?;

        let mut reader = TraceReader::open(dir)?;
        let mut sink = Count::default();
        let start = cpu_ns();
        reader.read_into(&mut sink)?;
        read_ns = read_ns.min((cpu_ns() - start) / records);
        assert_eq!(sink.records as f64, records);
    }
    println!(
        "{lanes} lanes, {} MiB: write {write_ns:.2} ns a record, read {read_ns:.2} ns a record ({:.0} M records/s)",
        (packets * packet.len()) >> 20,
        1e3 / read_ns
    );
    for path in [dir.to_owned(), dir.with_extension("kst.old")] {
        // Best effort: it is in the temporary directory.
        let _ = std::fs::remove_dir_all(path);
    }
    Ok(())
}
