//! The records of the packet at hand: the fast way and the general one.

use super::packet::Placed;
use super::{CtfStream, Next};
use crate::input::bits::Cursor;
use crate::input::exec::{Facts, Fault, advance_clock, fuel_for};
use crate::input::plan::{EventPlan, Kind, transcode};
use crate::input::skim;
use kstrace_schema::{EventRecord, Result, SessionTime, Sink};

impl CtfStream {
    /// Reads the header of the next record; false at the end of the packet, or at damage.
    pub(super) fn read_header(&mut self) -> bool {
        let (Some(open), Some(packet)) = (&self.open, &mut self.packet) else {
            return false;
        };
        let mask = u64::from(self.plan.record_align_bits.max(1)) - 1;
        if packet.position.saturating_add(mask) & !mask >= packet.content_bits {
            self.next = None;
            return false;
        }
        let bytes = open
            .map
            .bytes()
            .get(packet.start..packet.content_end)
            .unwrap_or_default();
        let mut cursor = Cursor::new(bytes, packet.position, packet.content_bits);
        self.facts.clock = self.clock;
        self.facts.event_class = None;
        let read = if self.plan.event_header.keeps_any() {
            self.out.clear();
            let mut own = std::mem::take(&mut self.out);
            let read = self.plan.event_header.read(
                &mut cursor,
                &mut self.slots,
                &mut self.facts,
                &mut own,
            );
            self.out = own;
            read
        } else {
            self.plan.event_header.read(
                &mut cursor,
                &mut self.slots,
                &mut self.facts,
                &mut self.prefix,
            )
        };
        let at = packet.position;
        if let Err(fault) = read {
            self.damaged(Placed::of(at, "event.header", &fault));
            return false;
        }
        self.clock = self.facts.clock;
        let id = self.facts.event_class;
        let event = match id {
            Some(id) => self.plan.event_index(id),
            None => (!self.plan.events.is_empty()).then_some(0),
        };
        let Some(index) = event else {
            let id = id.unwrap_or(0);
            let stream = self.stream_id;
            let reason = format!("no event with id {id} in stream {stream} of the metadata");
            self.damaged(Placed::new(at, "event.header.id", reason));
            return false;
        };
        self.next = Some(Next {
            event: index,
            time: SessionTime::from_ns(self.plan.clock.ns(self.clock)),
            body: cursor.position,
        });
        true
    }

    /// Hands over the record at hand, the general way. The packet goes on behind it.
    pub(super) fn hand_over(&mut self, next: Next, sink: &mut dyn Sink) -> Result<bool> {
        let (Some(open), Some(packet)) = (&self.open, &mut self.packet) else {
            return Ok(false);
        };
        let bytes = open
            .map
            .bytes()
            .get(packet.start..packet.content_end)
            .unwrap_or_default();
        let Some(event) = self.plan.events.get(next.event) else {
            return Ok(false);
        };
        if !self.plan.event_header.keeps_any() {
            self.out.clear();
        }
        // What the header gave stands behind what the packet gave.
        self.out.splice(0..0, self.prefix.iter().copied());
        let result = body(
            event,
            bytes,
            packet.content_bits,
            next.body,
            self.plan.has_prefix,
            &mut self.slots,
            &mut self.facts,
            &mut self.out,
        );
        let (payload, end) = match result {
            Ok((Some(range), end)) => (bytes.get(range).unwrap_or_default(), end),
            Ok((None, end)) => (self.out.as_slice(), end),
            Err(fault) => {
                let at = packet.position;
                self.damaged(Placed::of(at, "event", &fault));
                return Ok(false);
            }
        };
        if end == packet.position {
            let fault = Fault::new("it takes no bits: the packet would have no last one");
            self.damaged(Placed::of(end, "event", &fault));
            return Ok(false);
        }
        packet.position = end;
        sink.record(&EventRecord {
            class: event.class,
            rest_len_bytes: 0,
            cpu: self.cpu,
            time: next.time,
            payload,
        })?;
        Ok(true)
    }

    /// The fast way through the packet at hand: as many records as it can.
    pub(super) fn rush(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let (Some(fast), false) = (&self.plan.fast, self.plan.has_prefix) else {
            return Ok(0);
        };
        let (Some(open), Some(packet), Some(mut next)) = (&self.open, &mut self.packet, self.next)
        else {
            return Ok(0);
        };
        if !packet.content_bits.is_multiple_of(8) {
            return Ok(0);
        }
        let bytes = open
            .map
            .bytes()
            .get(packet.start..packet.content_end)
            .unwrap_or_default();
        let clock_map = self.plan.clock;
        let mut clock = self.clock;
        let mut count = 0;
        let mut result = Ok(());
        let mut fuel = fuel_for(packet.content_bits);
        while next.time <= until {
            let Some(event) = self.plan.events.get(next.event) else {
                break;
            };
            let (payload, end_bits) = match &event.kind {
                Kind::Transcode(nodes) => {
                    let mut cursor = Cursor::new(bytes, next.body, packet.content_bits);
                    self.out.clear();
                    let (slots, facts) = (&mut self.slots, &mut self.facts);
                    if transcode(nodes, &mut cursor, slots, facts, &mut self.out).is_err() {
                        break;
                    }
                    (self.out.as_slice(), cursor.position)
                }
                verbatim => {
                    // Headers of whole bytes end at whole bytes.
                    if !next.body.is_multiple_of(8) {
                        break;
                    }
                    let begin = ((next.body / 8) as usize + event.align_mask) & !event.align_mask;
                    let slots = &mut self.slots;
                    let end = match verbatim {
                        Kind::Fixed(size) => begin + size,
                        Kind::Skim(ops) => match skim::end(ops, bytes, begin, slots, &mut fuel) {
                            Ok(end) => end,
                            Err(_) => break,
                        },
                        Kind::Transcode(_) => break,
                    };
                    let Some(payload) = bytes.get(begin..end) else {
                        break;
                    };
                    (payload, end as u64 * 8)
                }
            };
            result = sink.record(&EventRecord {
                class: event.class,
                rest_len_bytes: 0,
                cpu: self.cpu,
                time: next.time,
                payload,
            });
            if result.is_err() {
                break;
            }
            count += 1;
            packet.position = end_bits;
            let end = (end_bits.div_ceil(8)) as usize;
            let whole = fast.is_whole() || end_bits.is_multiple_of(8);
            let header = match fast.read(bytes, end).filter(|_| whole) {
                Some(header) if header.end <= bytes.len() => header,
                _ => {
                    self.next = None;
                    self.clock = clock;
                    return Ok(count);
                }
            };
            let Some(event) = self.plan.event_index(header.id) else {
                self.next = None;
                self.clock = clock;
                return Ok(count);
            };
            if header.time_bits > 0 {
                clock = advance_clock(clock, header.time, header.time_bits);
            }
            next = Next {
                event,
                time: SessionTime::from_ns(clock_map.ns(clock)),
                body: header.end as u64 * 8,
            };
        }
        self.clock = clock;
        self.next = Some(next);
        result.map(|()| count)
    }
}

/// The payload of a record whose header ends at `at` bits: a range of `bytes`,
/// or, for `None`, what is in `out`; and where it ends.
#[expect(
    clippy::too_many_arguments,
    reason = "parts of one stream, borrowed one by one"
)]
fn body(
    event: &EventPlan,
    bytes: &[u8],
    content_bits: u64,
    at: u64,
    has_prefix: bool,
    slots: &mut [u64],
    facts: &mut Facts,
    out: &mut Vec<u8>,
) -> std::result::Result<(Option<std::ops::Range<usize>>, u64), Fault> {
    const SHORT: &str = "it reaches past the packet's content";
    let verbatim_end = |begin: usize, slots: &mut [u64]| match &event.kind {
        Kind::Fixed(size) => begin.checked_add(*size).ok_or(Fault::new(SHORT)),
        Kind::Skim(ops) => skim::end(ops, bytes, begin, slots, &mut fuel_for(content_bits)),
        Kind::Transcode(_) => Err(Fault::new(SHORT)),
    };
    if let Kind::Transcode(nodes) = &event.kind {
        let mut cursor = Cursor::new(bytes, at, content_bits);
        transcode(nodes, &mut cursor, slots, facts, out)?;
        return Ok((None, cursor.position));
    }
    let first = usize::try_from(at.div_ceil(8)).map_err(|_| Fault::new(SHORT))?;
    let begin = first.saturating_add(event.align_mask) & !event.align_mask;
    let end = verbatim_end(begin, slots)?;
    // A record of nothing does not reach anywhere.
    if end > begin && end as u64 * 8 > content_bits {
        return Err(Fault::new(SHORT));
    }
    let payload = bytes.get(begin..end).unwrap_or_default();
    if has_prefix {
        out.extend_from_slice(payload);
        return Ok((None, end as u64 * 8));
    }
    Ok((Some(begin..end), end as u64 * 8))
}
