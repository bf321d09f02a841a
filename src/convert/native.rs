//! The native trace as an output.

use kstrace_ctf::{MetadataFormat, PacketBuilder, TraceWriter, TraceWriterOptions, uuid_bytes};
use kstrace_schema::builtin::{self, ClockPairPayload, LostPayload};
use kstrace_schema::{
    ClassId, ClockKind, ClockPair, ConversionReport, Cpu, Error, ErrorKind, EventRecord,
    EventRecordClass, FileOutput, HopAccount, Loss, Result, SessionInfo, SessionTime, Sink,
    namespace,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Room of a packet.
const PACKET_BYTES: usize = 256 << 10;
/// Packets are ended before they are full no more often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Ids of kstrace's own classes where the input has none: from the end, out of the way of its own.
const OWN_LOST: ClassId = ClassId(u16::MAX - 1);
const OWN_CLOCK_PAIR: ClassId = ClassId(u16::MAX - 2);
/// Larger payloads are not taken: perf's largest is 64 KiB, AUX data come in larger pieces.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// CPU numbers above this share the lane of those that are none: a hostile input shall not make
/// a file of each number.
const MAX_LANES: u32 = 4096;

/// Writes a native trace of records that come sorted.
///
/// Loss and clock pairs are told by calls, also those that stood as records in a native trace
/// that was read; they become records again.
///
/// The directory appears at once, as that of a recording does, and is readable throughout.
#[derive(Debug)]
pub struct NativeSink {
    directory: PathBuf,
    metadata: MetadataFormat,
    writer: Option<TraceWriter>,
    uuid: [u8; 16],
    /// The lane without a CPU first, then by CPU.
    lanes: Vec<Option<Lane>>,
    clock: ClockKind,
    lost: Option<ClassId>,
    clock_pair: Option<ClassId>,
    names: Vec<Option<Arc<EventRecordClass>>>,
    report: ConversionReport,
    /// When packets were last ended before they were full.
    flushed: Instant,
}

#[derive(Debug)]
struct Lane {
    builder: PacketBuilder,
    last: SessionTime,
    /// Loss that no packet states yet.
    loss_untold: bool,
}

impl NativeSink {
    /// A trace in that directory, which must not hold anything but an older trace.
    pub fn new(directory: &Path, metadata: MetadataFormat) -> Self {
        NativeSink {
            directory: directory.to_owned(),
            metadata,
            writer: None,
            uuid: [0; 16],
            lanes: Vec::new(),
            clock: ClockKind::default(),
            lost: None,
            clock_pair: None,
            names: Vec::new(),
            report: ConversionReport::default(),
            flushed: Instant::now(),
        }
    }

    fn writer(&mut self) -> Result<&mut TraceWriter> {
        self.writer.as_mut().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "a record came before the session it belongs to",
            )
        })
    }

    fn lane_index(cpu: Cpu) -> usize {
        match cpu.known() {
            Some(cpu) if cpu.0 < MAX_LANES => cpu.0 as usize + 1,
            _ => 0,
        }
    }

    fn append(
        &mut self,
        cpu: Cpu,
        class: ClassId,
        rest_len_bytes: u16,
        time: SessionTime,
        payload: &[u8],
    ) -> Result<()> {
        let index = Self::lane_index(cpu);
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, || None);
        }
        let uuid = self.uuid;
        let lane = self.lanes[index].get_or_insert_with(|| Lane {
            builder: PacketBuilder::new(
                uuid,
                index as u32,
                if index == 0 { Cpu::NONE } else { cpu },
                PACKET_BYTES,
            ),
            last: SessionTime::ZERO,
            loss_untold: false,
        });
        if time < lane.last {
            self.report.out_of_order += 1;
        }
        lane.last = lane.last.max(time);
        let record = EventRecord {
            class,
            rest_len_bytes,
            cpu,
            time: lane.last,
            payload,
        };
        if lane.builder.is_full_for(payload.len()) {
            self.write_packet(index)?;
        }
        if let Some(Some(lane)) = self.lanes.get_mut(index) {
            lane.builder.push(&record);
        }
        Ok(())
    }

    /// The time of the last record of a CPU's lane.
    fn last(&self, cpu: Cpu) -> SessionTime {
        self.lanes
            .get(Self::lane_index(cpu))
            .and_then(Option::as_ref)
            .map_or(SessionTime::ZERO, |lane| lane.last)
    }

    /// Whether the lane's packet should not end yet and is not the first one.
    fn should_go_on(&self, index: usize) -> bool {
        let builder = |lane: &Lane| lane.builder.packets() > 0 && lane.builder.is_at_one_time();
        matches!(self.lanes.get(index), Some(Some(lane)) if builder(lane))
    }

    fn write_packet(&mut self, index: usize) -> Result<()> {
        let (Some(writer), Some(Some(lane))) = (&mut self.writer, self.lanes.get_mut(index)) else {
            return Ok(());
        };
        lane.loss_untold = false;
        lane.builder
            .take(|packet| writer.append_packet(index as u32, packet))
    }

    fn name(&self, class: ClassId) -> String {
        self.names
            .get(usize::from(class.0))
            .and_then(Option::as_ref)
            .map_or_else(|| format!("class {class}"), |c| c.qualified_name())
    }
}

impl FileOutput for NativeSink {
    fn report(&self) -> ConversionReport {
        self.report.clone()
    }
}

impl Sink for NativeSink {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        let options = TraceWriterOptions {
            metadata: self.metadata,
            ..TraceWriterOptions::default()
        };
        self.clock = session.clock.kind;
        self.uuid = uuid_bytes(&session.uuid).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidData,
                format!("session uuid '{}' is not a UUID", session.uuid),
            )
        })?;
        self.writer = Some(TraceWriter::create(&self.directory, session, &options)?);
        Ok(())
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.writer()?.add_class(class)?;
        let index = usize::from(class.id.0);
        if self.names.len() <= index {
            self.names.resize(index + 1, None);
        }
        self.names[index] = Some(Arc::clone(class));
        if class.namespace == namespace::KSTRACE {
            match class.name.as_str() {
                builtin::LOST => self.lost = Some(class.id),
                builtin::CLOCK_PAIR => self.clock_pair = Some(class.id),
                _ => {}
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        if record.payload.len() > MAX_PAYLOAD_BYTES {
            let name = self.name(record.class);
            *self.report.not_held.entry(name).or_default() += 1;
            self.report.too_long += 1;
            return Ok(());
        }
        self.report.kept += 1;
        self.append(
            record.cpu,
            record.class,
            record.rest_len_bytes,
            record.time,
            record.payload,
        )
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.report.lost = self.report.lost.saturating_add(loss.count);
        let class = match self.lost {
            Some(class) => class,
            None => {
                let mut class = builtin::lost_class();
                class.id = OWN_LOST;
                self.class(&Arc::new(class))?;
                OWN_LOST
            }
        };
        let time = self.last(loss.cpu).max(loss.begin);
        self.append(loss.cpu, class, 0, time, LostPayload::from(loss).as_bytes())?;
        // A reader sees loss by the difference between packets: so not in the first one.
        let index = Self::lane_index(loss.cpu);
        if !self.should_go_on(index) {
            self.write_packet(index)?;
        }
        if let Some(Some(lane)) = self.lanes.get_mut(index) {
            lane.builder.discard(loss.count);
            lane.loss_untold = true;
        }
        Ok(())
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        let class = match self.clock_pair {
            Some(class) => class,
            None => {
                let mut class = builtin::clock_pair_class();
                class.id = OWN_CLOCK_PAIR;
                self.class(&Arc::new(class))?;
                OWN_CLOCK_PAIR
            }
        };
        // On the session clock where the pair has it; else where it came.
        let reading = SessionTime::from_ns(pair.reading(self.clock));
        let time = self.last(Cpu::NONE).max(reading);
        self.append(
            Cpu::NONE,
            class,
            0,
            time,
            ClockPairPayload::from(pair).as_bytes(),
        )
    }

    /// What came so far can be read; but small packets are dear.
    fn flush(&mut self) -> Result<()> {
        if self.flushed.elapsed() < FLUSH_EVERY {
            return Ok(());
        }
        for index in 0..self.lanes.len() {
            let builder = self.lanes[index].as_ref().map(|l| &l.builder);
            if builder.is_some_and(|b| !b.is_empty() && !b.is_at_one_time()) {
                self.write_packet(index)?;
            }
        }
        self.flushed = Instant::now();
        Ok(())
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        self.writer()?.account(account);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        for index in 0..self.lanes.len() {
            let filled = self.lanes[index]
                .as_ref()
                .is_some_and(|l| l.loss_untold || !l.builder.is_empty());
            if filled {
                self.write_packet(index)?;
            }
        }
        self.writer()?.finish()?;
        Ok(())
    }
}
