//! The records of one lane, packet by packet through all its files.

use super::Damage;
use crate::packet::{self, PacketError, RawRecord};
use kstrace_schema::builtin::{ClockPairPayload, LostPayload};
use kstrace_schema::wire::{PACKET_HEADER_BYTES, PacketHeader};
use kstrace_schema::{
    Certainty, ClassId, ClockPair, Cpu, Error, ErrorKind, EventRecord, Fill, HopAccount, Loss,
    LossReason, RecordStream, Result, SessionTime, Sink, SourceId,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Packets with up to this much content are read whole.
const WINDOW_BYTES: usize = 4 << 20;
/// Larger records are refused. The largest that any source makes has 64 KiB.
const RECORD_BYTES_MAX: u32 = 64 << 20;

/// What the lanes of a trace have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) uuid: [u8; 16],
    /// Whether there is a class, by id.
    pub(super) known: Vec<bool>,
    pub(super) lost: Option<ClassId>,
    pub(super) clock_pair: Option<ClassId>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    len: u64,
    /// Where the next packet begins.
    next_packet: u64,
}

/// One lane of a trace.
#[derive(Debug)]
pub(super) struct LaneStream {
    common: Arc<Common>,
    /// The lane's files that are still to come, last one first.
    files: Vec<PathBuf>,
    open: Option<OpenFile>,
    /// Content of the packet at hand, or a part of it, without the header.
    window: Vec<u8>,
    /// How much of `window` is that; behind it is room.
    window_len: usize,
    /// Where the window lies in the file.
    window_offset: u64,
    /// Content of the packet that is behind the window, in bytes.
    unread_bytes: u64,
    /// The next record in the window.
    position: usize,
    next: Option<SessionTime>,
    complete_until: SessionTime,
    cpu: Cpu,
    /// Found while records were handed over; told by the next fill.
    damage: Option<Damage>,
    account: HopAccount,
    first_time: Option<SessionTime>,
    last_header_end: SessionTime,
    discarded: u64,
    lost_told: u64,
}

impl LaneStream {
    /// The lane of these files, first one first.
    pub(super) fn new(common: Arc<Common>, cpu: Cpu, mut files: Vec<PathBuf>) -> Self {
        files.reverse();
        LaneStream {
            common,
            files,
            open: None,
            window: Vec::new(),
            window_len: 0,
            window_offset: 0,
            unread_bytes: 0,
            position: 0,
            next: None,
            complete_until: SessionTime::ZERO,
            cpu,
            damage: None,
            account: HopAccount::new(SourceId::KSTRACE, "trace-file", cpu),
            first_time: None,
            last_header_end: SessionTime::ZERO,
            discarded: 0,
            lost_told: 0,
        }
    }

    fn damage(&self, offset: u64, field: &'static str, reason: impl Into<String>) -> Damage {
        let file = self
            .open
            .as_ref()
            .map(|o| o.path.clone())
            .unwrap_or_default();
        Damage {
            file,
            offset,
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// Reads what comes next; false at the end of the lane.
    fn load(&mut self) -> Result<bool> {
        if self.unread_bytes > 0 {
            self.load_content()?;
            return Ok(true);
        }
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.files.pop() else {
                    return Ok(false);
                };
                let fail = |e| Error::io(format!("open {}", path.display()), e);
                let file = File::open(&path).map_err(fail)?;
                let len = file.metadata().map_err(fail)?.len();
                self.open = Some(OpenFile {
                    file,
                    path,
                    len,
                    next_packet: 0,
                });
                continue;
            };
            if open.next_packet >= open.len {
                self.open = None;
                continue;
            }
            let at = open.next_packet;
            let mut head = [0u8; PACKET_HEADER_BYTES];
            let available = open.len - at;
            let wanted = available.min(PACKET_HEADER_BYTES as u64) as usize;
            let head = &mut head[..wanted];
            open.file
                .read_exact_at(head, at)
                .map_err(|e| Error::io(format!("read {}", open.path.display()), e))?;
            let header = packet::header(head, &self.common.uuid, available).map_err(|e| {
                let kind = match e {
                    PacketError::Short { .. } | PacketError::PacketSize { .. } => {
                        ErrorKind::Truncated
                    }
                    _ => ErrorKind::InvalidData,
                };
                self.damage(at, e.field(), e.to_string()).into_error(kind)
            })?;
            self.begin(at, &header);
            if self.unread_bytes > 0 {
                self.window_len = 0;
                self.position = 0;
                self.load_content()?;
                return Ok(true);
            }
        }
    }

    fn begin(&mut self, at: u64, header: &PacketHeader) {
        let records_at = at + PACKET_HEADER_BYTES as u64;
        let content_end = at + header.content_size_bits / 8;
        self.unread_bytes = content_end.saturating_sub(records_at);
        self.window_offset = records_at;
        self.cpu = Cpu(header.cpu_id);
        self.account.seen += u64::from(header.record_count);
        self.discarded = self.discarded.max(header.events_discarded);
        self.first_time
            .get_or_insert(SessionTime::from_ns(header.timestamp_begin_ns));
        self.last_header_end = SessionTime::from_ns(header.timestamp_end_ns);
        if let Some(open) = &mut self.open {
            // Checked: at least the header's size, and within the file.
            open.next_packet = at + header.packet_size_bits / 8;
        }
    }

    /// Reads on in the packet. A record that was cut by the window's end stays in it.
    fn load_content(&mut self) -> Result<()> {
        let keep = self.window_len - self.position;
        self.window.copy_within(self.position..self.window_len, 0);
        self.window_offset += self.position as u64;
        self.position = 0;
        self.window_len = keep;
        // A record larger than the window makes it grow, up to what the file holds.
        let room = WINDOW_BYTES.saturating_sub(keep).max(WINDOW_BYTES / 2);
        let wanted = usize::try_from(self.unread_bytes)
            .unwrap_or(usize::MAX)
            .min(room);
        let end = keep + wanted;
        if self.window.len() < end {
            self.window.resize(end, 0);
        }
        let (Some(open), Some(space)) = (&self.open, self.window.get_mut(keep..end)) else {
            return Ok(());
        };
        open.file
            .read_exact_at(space, self.window_offset + keep as u64)
            .map_err(|e| Error::io(format!("read {}", open.path.display()), e))?;
        self.window_len = end;
        self.unread_bytes -= wanted as u64;
        self.complete_until = if self.unread_bytes == 0 {
            self.last_header_end
        } else {
            self.last_time_in_window()
        };
        self.look();
        Ok(())
    }

    fn content(&self) -> &[u8] {
        self.window.get(..self.window_len).unwrap_or_default()
    }

    /// The time of the last whole record at hand.
    fn last_time_in_window(&self) -> SessionTime {
        let mut time = SessionTime::ZERO;
        let mut position = 0;
        while let Some(Ok(record)) = packet::record_at(self.content(), position) {
            time = SessionTime::from_ns(record.header.timestamp_ns);
            position = record.next;
        }
        time
    }

    /// Finds the next record in the window.
    #[inline]
    fn look(&mut self) {
        self.next = match packet::record_at(self.content(), self.position) {
            Some(Ok(record)) => Some(SessionTime::from_ns(record.header.timestamp_ns)),
            // The rest of it is yet to be read, if it can be true at all.
            Some(Err(PacketError::Record {
                payload_len_bytes, ..
            })) if self.unread_bytes > 0 && payload_len_bytes <= RECORD_BYTES_MAX => None,
            Some(Err(e)) => {
                let offset = self.window_offset + self.position as u64;
                self.damage = Some(self.damage(offset, e.field(), e.to_string()));
                None
            }
            None => None,
        };
    }

    #[inline]
    fn hand_over(
        &mut self,
        class: ClassId,
        record: &RawRecord<'_>,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        if Some(class) == self.common.lost
            && let Ok((lost, _)) = LostPayload::read_from_prefix(record.payload)
        {
            self.lost_told = self.lost_told.saturating_add(lost.count);
            return sink.loss(&Loss::from(&lost));
        }
        if Some(class) == self.common.clock_pair
            && let Ok((pair, _)) = ClockPairPayload::read_from_prefix(record.payload)
        {
            return sink.clock_pair(&ClockPair::from(&pair));
        }
        sink.record(&EventRecord {
            class,
            rest_len_bytes: record.header.rest_len_bytes,
            cpu: self.cpu,
            time: SessionTime::from_ns(record.header.timestamp_ns),
            payload: record.payload,
        })
    }
}

impl RecordStream for LaneStream {
    fn source(&self) -> SourceId {
        SourceId::KSTRACE
    }

    fn cpu(&self) -> Cpu {
        self.cpu
    }

    fn fill(&mut self, _: &mut dyn Sink) -> Result<Fill> {
        match self.next {
            None if self.damage.is_some() => {}
            None => {
                if !self.load()? {
                    return Ok(Fill {
                        complete_until: SessionTime::MAX,
                        more: false,
                    });
                }
            }
            // The packet's header states an end before its last record: what is
            // at hand goes first, whatever it says.
            Some(next) if next > self.complete_until => {
                self.complete_until = self.last_time_in_window().max(next);
            }
            Some(_) => {}
        }
        match self.damage.take_if(|_| self.next.is_none()) {
            Some(damage) => Err(damage.into_error(ErrorKind::InvalidData)),
            None => Ok(Fill {
                complete_until: self.complete_until,
                more: true,
            }),
        }
    }

    fn peek(&mut self) -> Option<SessionTime> {
        self.next
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let mut count = 0;
        // The window is lent out while records of it are, and put back after.
        let window = std::mem::take(&mut self.window);
        let content = window.get(..self.window_len).unwrap_or_default();
        let mut result = Ok(());
        let mut position = self.position;
        let mut at_hand = packet::record_at(content, position);
        self.next = loop {
            // Bytes that are no record here are looked at again below.
            let Some(Ok(record)) = at_hand else {
                break None;
            };
            let time = SessionTime::from_ns(record.header.timestamp_ns);
            if time > until {
                break Some(time);
            }
            let class = ClassId(record.header.class_id);
            if self.common.known.get(usize::from(class.0)) != Some(&true) {
                let offset = self.window_offset + position as u64;
                let reason = format!("class {class} is not in kstrace/classes.jsonl");
                self.damage = Some(self.damage(offset, "id", reason));
                break None;
            }
            result = self.hand_over(class, &record, sink);
            if result.is_err() {
                break Some(time);
            }
            count += 1;
            position = record.next;
            at_hand = packet::record_at(content, position);
        };
        self.position = position.min(self.window_len);
        self.window = window;
        if self.next.is_none() && self.damage.is_none() {
            self.look();
        }
        self.account.written += count;
        result.map(|()| count)
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<HopAccount> {
        if self.discarded > self.lost_told {
            // The packets' own count knows of more than the records told.
            sink.loss(&Loss {
                source: SourceId::KSTRACE,
                cpu: self.cpu,
                reason: LossReason::StatedByInput,
                count: self.discarded - self.lost_told,
                certainty: Certainty::Exact,
                class: None,
                begin: self.first_time.unwrap_or_default(),
                end: self.last_header_end,
            })?;
        }
        let mut account = self.account.clone();
        account.seen = account.seen.max(account.written);
        account.drop_records(LossReason::Unparsable, account.seen - account.written);
        Ok(account)
    }
}
