//! One CPU's way into the ring: a [`Sink`] over a [`LaneWriter`].

use super::consumer::PacketConsumer;
use super::request::Mode;
use kstrace_ring::{Append, LaneWriter, Ring};
use kstrace_schema::builtin::{ClockPairPayload, LostPayload};
use kstrace_schema::wire::record_size_bytes;
use kstrace_schema::{
    Certainty, ClassId, ClockPair, Cpu, Error, ErrorKind, EventRecord, EventRecordClass,
    HopAccount, Loss, LossReason, Result, SessionTime, Sink, SourceId,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How long a full ring waits for its recorders at a time.
const PATIENCE: Duration = Duration::from_millis(50);

/// The classes that consumers were told of, and how they are told.
#[derive(Debug)]
pub(super) struct ClassLog {
    ring: Arc<Ring>,
    told: Vec<bool>,
    lost: ClassId,
    clock_pair: ClassId,
}

impl ClassLog {
    pub(super) fn new(ring: Arc<Ring>, lost: ClassId, clock_pair: ClassId) -> Self {
        ClassLog {
            ring,
            told: Vec::new(),
            lost,
            clock_pair,
        }
    }

    /// Tells of a class once: in the ring's metadata lane, and to the consumer.
    fn tell(
        &mut self,
        class: &Arc<EventRecordClass>,
        consumer: Option<&mut (dyn PacketConsumer + '_)>,
    ) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.told.get(index) == Some(&true) {
            return Ok(());
        }
        if self.told.len() <= index {
            self.told.resize(index + 1, false);
        }
        let fragment = kstrace_ctf::ctf2::event_record_class_fragment(class);
        let text = serde_json::to_vec(&fragment)
            .map_err(|e| Error::with_source(ErrorKind::InvalidData, "class to JSON", e))?;
        self.ring.append_metadata(&text).map_err(|e| {
            Error::with_source(
                ErrorKind::ResourceExhausted,
                format!(
                    "class {} does not fit the ring's metadata lane",
                    class.qualified_name()
                ),
                e,
            )
        })?;
        if let Some(consumer) = consumer {
            consumer.class(class)?;
        }
        self.told[index] = true;
        Ok(())
    }
}

/// Records that the ring dropped since the last one it took.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    reason: LossReason,
    count: u64,
    begin: SessionTime,
    end: SessionTime,
}

/// What one lane has.
#[derive(Debug)]
pub(super) struct LaneState {
    index: u32,
    cpu: Cpu,
    pub(super) writer: LaneWriter,
    dropped: Option<Dropped>,
    /// Time of the lane's last record.
    last: SessionTime,
    mode: Mode,
    /// A recorder elsewhere was waited for in vain.
    stalled: bool,
    /// Packets that the consumer in this thread has.
    handed_over: u64,
    /// Bytes of them.
    pub(super) bytes: u64,
}

impl LaneState {
    pub(super) fn new(index: u32, cpu: Cpu, mode: Mode, writer: LaneWriter) -> Self {
        LaneState {
            index,
            cpu,
            writer,
            dropped: None,
            last: SessionTime::ZERO,
            mode,
            stalled: false,
            handed_over: 0,
            bytes: 0,
        }
    }

    /// The account of this hop.
    pub(super) fn account(&self) -> HopAccount {
        self.writer.stats().account(SourceId::KSTRACE, self.cpu)
    }

    /// A sink into this lane, for one round.
    pub(super) fn sink<'a>(
        &'a mut self,
        classes: &'a mut ClassLog,
        consumer: Option<&'a mut dyn PacketConsumer>,
    ) -> LaneSink<'a> {
        LaneSink {
            lane: self,
            classes,
            consumer,
        }
    }
}

/// The sink of one round.
pub(super) struct LaneSink<'a> {
    lane: &'a mut LaneState,
    classes: &'a mut ClassLog,
    consumer: Option<&'a mut dyn PacketConsumer>,
}

impl LaneSink<'_> {
    /// Hands closed packets to the consumer, if the consumer runs here.
    pub(super) fn hand_over(&mut self) -> Result<()> {
        let Some(consumer) = self.consumer.as_deref_mut() else {
            return Ok(());
        };
        let LaneState {
            index,
            writer,
            bytes,
            ..
        } = &mut *self.lane;
        writer.drain_closed(|packet| {
            *bytes += packet.len() as u64;
            consumer.packet(*index, packet)
        })?;
        self.lane.handed_over = self.lane.writer.packets_closed();
        Ok(())
    }

    /// Makes what was written visible to readers of the ring.
    pub(super) fn publish(&mut self, safe_until: SessionTime) {
        self.lane.writer.set_safe_until(safe_until);
        self.lane.writer.publish();
    }

    /// Ends the lane and hands over what is left.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.tell_dropped()?;
        self.lane.writer.finish();
        self.hand_over()
    }

    /// Closes the open packet, so that recorders get it, and hands it over.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.tell_dropped()?;
        self.lane.writer.flush();
        self.hand_over()
    }

    #[inline]
    fn append(
        &mut self,
        class: ClassId,
        rest: u16,
        time: SessionTime,
        payload: &[u8],
    ) -> Result<Append> {
        if self.consumer.is_none() && !self.lane.writer.has_room(record_size_bytes(payload.len())) {
            self.wait_for_room(record_size_bytes(payload.len()));
        }
        let outcome = self.lane.writer.append(class, rest, time, payload);
        // A packet is handed on as soon as it is closed: it is in the cache, and
        // a ring that is recorded from this thread never gets full.
        if self.consumer.is_some() && self.lane.writer.packets_closed() != self.lane.handed_over {
            self.hand_over()?;
        }
        Ok(outcome)
    }

    /// Gives recorders elsewhere a moment to make room; the kernel's buffers
    /// take in what happens meanwhile. A recorder that does not use it gets no
    /// second one before it has moved on.
    #[cold]
    fn wait_for_room(&mut self, bytes: usize) {
        if self.lane.stalled || self.lane.mode == Mode::Overwrite {
            return;
        }
        self.lane.writer.notify();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            std::thread::sleep(PATIENCE / 50);
            if self.lane.writer.has_room(bytes) {
                return;
            }
        }
        self.lane.stalled = true;
    }

    /// Out of the fast path: what to do when the ring did not take a record.
    #[cold]
    fn not_taken(&mut self, reason: LossReason, record: &EventRecord<'_>) -> Result<()> {
        match &mut self.lane.dropped {
            Some(d) if d.reason == reason => {
                d.count += 1;
                d.end = d.end.max(record.time);
            }
            _ => {
                self.tell_dropped()?;
                self.lane.dropped = Some(Dropped {
                    reason,
                    count: 1,
                    begin: record.time,
                    end: record.time,
                });
            }
        }
        Ok(())
    }

    /// Writes the `kstrace:lost` record of what the ring dropped, if it has room again.
    fn tell_dropped(&mut self) -> Result<()> {
        let Some(dropped) = self.lane.dropped else {
            return Ok(());
        };
        // A try in vain would count as one more dropped record.
        if !self
            .lane
            .writer
            .has_room(record_size_bytes(size_of::<LostPayload>()))
        {
            return Ok(());
        }
        let payload = LostPayload::from(&Loss {
            source: SourceId::KSTRACE,
            cpu: self.lane.cpu,
            reason: dropped.reason,
            count: dropped.count,
            certainty: Certainty::Exact,
            class: None,
            begin: dropped.begin,
            end: dropped.end,
        });
        let (class, time) = (self.classes.lost, self.lane.last.max(dropped.begin));
        if self.append_own(class, time, payload.as_bytes())? {
            self.lane.dropped = None;
        }
        Ok(())
    }

    /// A record of kstrace's own. Says whether the ring took it.
    fn append_own(&mut self, class: ClassId, time: SessionTime, payload: &[u8]) -> Result<bool> {
        Ok(self.append(class, 0, time, payload)? == Append::Written)
    }
}

impl Sink for LaneSink<'_> {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        self.classes
            .tell(class, self.consumer.as_deref_mut().map(|c| c as _))
    }

    #[inline]
    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        if self.lane.dropped.is_some() {
            self.tell_dropped()?;
        }
        match self.append(
            record.class,
            record.rest_len_bytes,
            record.time,
            record.payload,
        )? {
            Append::Written => {
                self.lane.last = record.time;
                self.lane.stalled = false;
                Ok(())
            }
            Append::RingFull => self.not_taken(LossReason::RingFull, record),
            Append::TooBig => self.not_taken(LossReason::TooBig, record),
        }
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lane.writer.note_lost(loss.count);
        let time = self.lane.last.max(loss.begin);
        let payload = LostPayload::from(loss);
        self.append_own(self.classes.lost, time, payload.as_bytes())?;
        Ok(())
    }

    fn clock_pair(&mut self, pair: &ClockPair) -> Result<()> {
        let payload = ClockPairPayload::from(pair);
        let time = SessionTime::from_ns(pair.monotonic_ns).max(self.lane.last);
        self.append_own(self.classes.clock_pair, time, payload.as_bytes())?;
        Ok(())
    }
}
