//! A trace of records that no CTF describes yet: one stream class, a lane for each CPU.

use crate::{MetadataFormat, PacketBuilder, ctf2, tsdl};
use kstrace_schema::builtin::{self, ClockPairPayload, LostPayload};
use kstrace_schema::{
    ClassId, ClockPair, Cpu, Error, EventRecord, EventRecordClass, Loss, Result, SessionInfo,
    SessionTime, namespace,
};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;

/// Room of a packet.
const PACKET_BYTES: usize = 256 << 10;
/// Lanes are told apart up to this many; later ones share the last.
const LANES_MAX: usize = 4096;

#[derive(Debug)]
struct Lane {
    builder: PacketBuilder,
    file: File,
    path: PathBuf,
    last: SessionTime,
}

/// One trace directory.
#[derive(Debug)]
pub(super) struct PlainTrace {
    dir: PathBuf,
    format: MetadataFormat,
    metadata: String,
    uuid: [u8; 16],
    lanes: BTreeMap<u32, Lane>,
    lost: Option<ClassId>,
    clock_pair: Option<ClassId>,
    session: SessionInfo,
    pub(super) out_of_order: u64,
}

impl PlainTrace {
    pub(super) fn new(
        dir: &Path,
        format: MetadataFormat,
        session: &SessionInfo,
        uuid: [u8; 16],
    ) -> Self {
        let metadata = match format {
            MetadataFormat::Ctf1_8 => tsdl::preamble(session),
            MetadataFormat::Ctf2 => ctf2::session_fragments(session)
                .iter()
                .map(ctf2::text_sequence_item)
                .collect(),
        };
        PlainTrace {
            dir: dir.to_owned(),
            format,
            metadata,
            uuid,
            lanes: BTreeMap::new(),
            lost: None,
            clock_pair: None,
            session: session.clone(),
            out_of_order: 0,
        }
    }

    pub(super) fn class(&mut self, class: &EventRecordClass) {
        self.metadata += &match self.format {
            MetadataFormat::Ctf1_8 => tsdl::event_block(class),
            MetadataFormat::Ctf2 => {
                ctf2::text_sequence_item(&ctf2::event_record_class_fragment(class))
            }
        };
        if class.namespace == namespace::KSTRACE {
            match class.name.as_str() {
                builtin::LOST => self.lost = Some(class.id),
                builtin::CLOCK_PAIR => self.clock_pair = Some(class.id),
                _ => {}
            }
        }
    }

    pub(super) fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let lane = self.lane(record.cpu)?;
        let mut record = *record;
        let late = record.time < lane.last;
        lane.last = lane.last.max(record.time);
        record.time = lane.last;
        if lane.builder.is_full_for(record.payload.len()) {
            lane.flush()?;
        }
        lane.builder.push(&record);
        self.out_of_order += u64::from(late);
        Ok(())
    }

    /// Loss: as a record too, where the input has those.
    pub(super) fn loss(&mut self, loss: &Loss) -> Result<()> {
        if let Some(class) = self.lost {
            let payload = LostPayload::from(loss);
            let time = self.lane(loss.cpu)?.last.max(loss.end);
            self.own_record(class, loss.cpu, time, payload.as_bytes())?;
        }
        self.lane(loss.cpu)?.builder.discard(loss.count);
        Ok(())
    }

    pub(super) fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        let Some(class) = self.clock_pair else {
            return Ok(());
        };
        let payload = ClockPairPayload::from(pair);
        let time = SessionTime::from_ns(pair.reading(self.session.clock.kind));
        let time = time.max(self.lane(Cpu::NONE)?.last);
        self.own_record(class, Cpu::NONE, time, payload.as_bytes())
    }

    fn own_record(
        &mut self,
        class: ClassId,
        cpu: Cpu,
        time: SessionTime,
        payload: &[u8],
    ) -> Result<()> {
        self.record(&EventRecord {
            class,
            rest_len_bytes: 0,
            cpu,
            time,
            payload,
        })
    }

    fn lane(&mut self, cpu: Cpu) -> Result<&mut Lane> {
        let mut key = cpu.0;
        if !self.lanes.contains_key(&key) {
            if self.lanes.len() >= LANES_MAX {
                key = Cpu::NONE.0;
            }
            if !self.lanes.contains_key(&key) {
                let number = self.lanes.len() as u32;
                let path = self.dir.join(format!("lane{number}_0"));
                let file = create(&path)?;
                let lane = Lane {
                    builder: PacketBuilder::new(self.uuid, number, Cpu(key), PACKET_BYTES),
                    file,
                    path,
                    last: SessionTime::ZERO,
                };
                self.lanes.insert(key, lane);
            }
        }
        // It was put there above.
        self.lanes
            .get_mut(&key)
            .ok_or_else(|| Error::new(kstrace_schema::ErrorKind::InvalidInput, "a lane is missing"))
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        for lane in self.lanes.values_mut() {
            lane.flush()?;
        }
        let path = self.dir.join("metadata");
        write_new(&path, self.metadata.as_bytes())
    }
}

impl Lane {
    fn flush(&mut self) -> Result<()> {
        let file = &mut self.file;
        self.builder
            .take(|packet| file.write_all(packet))
            .map_err(|e| Error::io(format!("write {}", self.path.display()), e))
    }
}

pub(super) fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(path)
        .map_err(|e| Error::io(format!("create {}", path.display()), e))
}

pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    create(path)?
        .write_all(bytes)
        .map_err(|e| Error::io(format!("write {}", path.display()), e))
}
