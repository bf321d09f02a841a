//! Merging sorted streams into one sorted sequence.
//!
//! The engine merges the streams of one CPU while they grow, a reader merges
//! the streams of a file; both are a [`Merger`] that is asked for round after
//! round. In a round every stream takes in what there is, and then everything
//! up to the time to which *all* streams are known complete is emitted: nothing
//! that could still be preceded by an unseen record.
//!
//! Records go out in runs, not singly: the stream with the earliest record
//! emits all it has up to the next stream's first one, so that the cost of
//! merging falls on the changes from stream to stream. The order is by time,
//! then by the stream's place in the list, hence the same however the rounds fall.

use crate::{Error, ErrorKind, HopAccount, RecordStream, Result, SessionTime, Sink};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::os::fd::BorrowedFd;

/// What a [`Merger::round`] achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Records emitted.
    pub emitted: u64,
    /// Every record up to this time has been emitted; [`SessionTime::MAX`] when
    /// no stream has anything more to come.
    pub complete_until: SessionTime,
    /// A stream has more waiting: go on without sleeping.
    pub more: bool,
}

impl Round {
    /// Whether nothing is left and nothing will come.
    pub fn finished(&self) -> bool {
        self.complete_until == SessionTime::MAX && !self.more
    }
}

/// A stream that failed.
#[derive(Debug)]
pub struct StreamError {
    /// The stream's place in the list given to [`Merger::new`].
    pub stream: usize,
    /// Why.
    pub error: Error,
}

struct Lane {
    stream: Box<dyn RecordStream>,
    complete_until: SessionTime,
    more: bool,
    failed: bool,
}

impl Lane {
    /// Nothing more can come from it, other than what it has at hand.
    fn ended(&self) -> bool {
        self.failed || (self.complete_until == SessionTime::MAX && !self.more)
    }
}

/// Merges streams by time. See the [module](self).
pub struct Merger {
    lanes: Vec<Lane>,
    /// Streams with a record at hand, earliest first. Kept for its allocation.
    heads: BinaryHeap<Reverse<(SessionTime, usize)>>,
    errors: Vec<StreamError>,
}

impl fmt::Debug for Merger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merger")
            .field("streams", &self.lanes.len())
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

impl Merger {
    /// A merger of these streams. Among records of equal time the earlier
    /// stream's go first.
    pub fn new(streams: Vec<Box<dyn RecordStream>>) -> Self {
        let lanes = streams
            .into_iter()
            .map(|stream| Lane {
                stream,
                complete_until: SessionTime::ZERO,
                more: true,
                failed: false,
            })
            .collect::<Vec<_>>();
        Merger {
            heads: BinaryHeap::with_capacity(lanes.len()),
            lanes,
            errors: Vec::new(),
        }
    }

    /// Number of streams.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// What the streams want to be woken by, failed and ended streams left out.
    pub fn wakeups(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.lanes
            .iter()
            .filter(|l| !l.ended())
            .filter_map(|l| l.stream.wakeup())
    }

    /// Whether a stream has records at hand that were not yet known complete.
    pub fn holds_records(&mut self) -> bool {
        self.lanes.iter_mut().any(|l| l.stream.peek().is_some())
    }

    /// The streams that failed so far, first failure first.
    ///
    /// A stream whose `fill` fails is not filled again; what it has at hand is
    /// still emitted and the others go on.
    pub fn errors(&self) -> &[StreamError] {
        &self.errors
    }

    /// Takes the failures out.
    pub fn take_errors(&mut self) -> Vec<StreamError> {
        std::mem::take(&mut self.errors)
    }

    /// Fills every stream once and emits, sorted, what is known to be complete.
    ///
    /// # Errors
    /// The sink's. Failures of streams are kept in [`errors`](Merger::errors).
    pub fn round(&mut self, sink: &mut dyn Sink) -> Result<Round> {
        self.round_until(SessionTime::MAX, sink)
    }

    /// As [`round`](Merger::round), but emits nothing later than `limit`.
    ///
    /// # Errors
    /// As [`round`](Merger::round).
    pub fn round_until(&mut self, limit: SessionTime, sink: &mut dyn Sink) -> Result<Round> {
        let mut until = limit;
        let mut more = false;
        for index in 0..self.lanes.len() {
            self.fill(index, sink);
            let lane = &self.lanes[index];
            if !lane.failed {
                until = until.min(lane.complete_until);
                more |= lane.more;
            }
        }
        let emitted = self.emit_sorted(until, sink)?;
        // A lane that has ended may hold records past `limit`.
        let held = self.lanes.iter_mut().any(|l| l.stream.peek().is_some());
        let complete_until = match (until, held) {
            (SessionTime::MAX, true) => limit,
            _ => until,
        };
        Ok(Round {
            emitted,
            complete_until,
            more,
        })
    }

    /// Emits all that the streams still have, complete or not: for when their
    /// sources have stopped. Says how many.
    ///
    /// # Errors
    /// As [`round`](Merger::round).
    pub fn flush(&mut self, sink: &mut dyn Sink) -> Result<u64> {
        let mut emitted = 0;
        loop {
            let round = self.round(sink)?;
            emitted += round.emitted;
            if !round.more {
                break;
            }
        }
        Ok(emitted + self.emit_sorted(SessionTime::MAX, sink)?)
    }

    /// After the last record: lets every stream hand over its outstanding loss,
    /// and gives their accounts in the order of the streams.
    ///
    /// # Errors
    /// As [`round`](Merger::round); streams that fail here have no account.
    pub fn finish(&mut self, sink: &mut dyn Sink) -> Result<Vec<HopAccount>> {
        let mut accounts = Vec::with_capacity(self.lanes.len());
        for (stream, lane) in self.lanes.iter_mut().enumerate() {
            match lane.stream.finish(sink) {
                Ok(account) => accounts.push(account),
                Err(error) => self.errors.push(StreamError { stream, error }),
            }
        }
        Ok(accounts)
    }

    fn fill(&mut self, index: usize, sink: &mut dyn Sink) {
        let lane = &mut self.lanes[index];
        if lane.ended() {
            return;
        }
        match lane.stream.fill(sink) {
            Ok(fill) => {
                // A watermark holds for good: a later, smaller one is the stream's slip.
                lane.complete_until = lane.complete_until.max(fill.complete_until);
                lane.more = fill.more;
            }
            Err(error) => {
                lane.failed = true;
                lane.more = false;
                self.errors.push(StreamError {
                    stream: index,
                    error,
                });
            }
        }
    }

    fn emit_sorted(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        self.heads.clear();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(time) = lane.stream.peek().filter(|t| *t <= until) {
                self.heads.push(Reverse((time, index)));
            }
        }
        let mut total = 0;
        while let Some(Reverse((time, index))) = self.heads.pop() {
            let run_until = match self.heads.peek() {
                Some(Reverse((next, other))) if *other > index => until.min(*next),
                // `next` is later than `time` here, or `other` would have been first.
                Some(Reverse((next, _))) => until.min(next.saturating_sub_ns(1)),
                None => until,
            };
            let stream = &mut self.lanes[index].stream;
            let emitted = stream.emit(run_until, sink)?;
            total += emitted;
            match stream.peek() {
                Some(next) if next <= run_until && emitted == 0 => {
                    return Err(Error::new(
                        ErrorKind::InvalidData,
                        format!(
                            "stream {index} has a record at {next} but emits nothing up to {run_until} (first was {time})"
                        ),
                    ));
                }
                Some(next) if next <= until => self.heads.push(Reverse((next, index))),
                _ => {}
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClassId, Cpu, EventRecord, EventRecordClass, Fill, Loss, SourceId};
    use std::collections::VecDeque;
    use std::sync::Arc;

    /// Delivers its records some at a time, as a live stream does.
    struct Script {
        id: u16,
        waiting: VecDeque<u64>,
        at_hand: VecDeque<u64>,
        per_fill: usize,
        fail_after: Option<usize>,
        stuck: bool,
    }

    impl Script {
        fn boxed(id: u16, times: Vec<u64>, per_fill: usize) -> Box<dyn RecordStream> {
            Box::new(Script {
                id,
                waiting: times.into(),
                at_hand: VecDeque::new(),
                per_fill,
                fail_after: None,
                stuck: false,
            })
        }
    }

    impl RecordStream for Script {
        fn source(&self) -> SourceId {
            SourceId(self.id)
        }

        fn cpu(&self) -> Cpu {
            Cpu(0)
        }

        fn fill(&mut self, _: &mut dyn Sink) -> Result<Fill> {
            if self.fail_after == Some(0) {
                return Err(Error::new(ErrorKind::Io, "gone"));
            }
            self.fail_after = self.fail_after.map(|n| n - 1);
            for _ in 0..self.per_fill {
                self.at_hand.extend(self.waiting.pop_front());
            }
            Ok(match self.waiting.front() {
                // Complete only to just before the next record that is not at hand.
                Some(next) => Fill {
                    complete_until: SessionTime::from_ns(next.saturating_sub(1)),
                    more: true,
                },
                None => Fill {
                    complete_until: SessionTime::MAX,
                    more: false,
                },
            })
        }

        fn peek(&mut self) -> Option<SessionTime> {
            self.at_hand.front().copied().map(SessionTime::from_ns)
        }

        fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
            let mut count = 0;
            while !self.stuck
                && let Some(time) = self.at_hand.front().copied()
                && time <= until.as_ns()
            {
                self.at_hand.pop_front();
                sink.record(&EventRecord {
                    class: ClassId(self.id),
                    rest_len_bytes: 0,
                    cpu: Cpu(0),
                    time: SessionTime::from_ns(time),
                    payload: &[],
                })?;
                count += 1;
            }
            Ok(count)
        }

        fn finish(&mut self, _: &mut dyn Sink) -> Result<HopAccount> {
            Ok(HopAccount::new(self.source(), "script", Cpu(0)))
        }
    }

    #[derive(Default)]
    struct Collect(Vec<(u64, u16)>);

    impl Sink for Collect {
        fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
            Ok(())
        }

        fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
            self.0.push((record.time.as_ns(), record.class.0));
            Ok(())
        }

        fn loss(&mut self, _: &Loss) -> Result<()> {
            Ok(())
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn whatever_the_streams_and_rounds_the_output_is_all_records_in_order() {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..400 {
            let streams = 1 + random(&mut seed) % 6;
            let mut expected = Vec::new();
            let mut inputs = Vec::new();
            for id in 0..streams as u16 {
                let count = random(&mut seed) % 40;
                // A narrow range of times makes many ties.
                let mut times = (0..count)
                    .map(|_| 1 + random(&mut seed) % 60)
                    .collect::<Vec<_>>();
                times.sort_unstable();
                expected.extend(times.iter().map(|t| (*t, id)));
                inputs.push(Script::boxed(id, times, 1 + random(&mut seed) as usize % 9));
            }
            expected.sort_unstable();
            let mut merger = Merger::new(inputs);
            let mut sink = Collect::default();
            let mut rounds = 0;
            loop {
                let round = merger.round(&mut sink).unwrap();
                let last = sink.0.last().map_or(0, |r| r.0);
                assert!(
                    last <= round.complete_until.as_ns(),
                    "emitted past the watermark"
                );
                // Nothing that the watermark says is done may be missing.
                let done = expected
                    .iter()
                    .filter(|r| r.0 <= round.complete_until.as_ns())
                    .count();
                assert_eq!(sink.0.len(), done);
                rounds += 1;
                assert!(rounds < 100, "does not end");
                if round.finished() {
                    break;
                }
            }
            assert_eq!(sink.0, expected);
            assert!(merger.errors().is_empty());
        }
    }

    #[test]
    fn a_limit_holds_back_what_is_later() {
        let mut merger = Merger::new(vec![
            Script::boxed(0, vec![1, 5, 9], 9),
            Script::boxed(1, vec![2, 6], 9),
        ]);
        let mut sink = Collect::default();
        let round = merger
            .round_until(SessionTime::from_ns(5), &mut sink)
            .unwrap();
        assert_eq!(sink.0, [(1, 0), (2, 1), (5, 0)]);
        assert_eq!(round.complete_until, SessionTime::from_ns(5));
        assert!(!round.finished());
        assert!(merger.round(&mut sink).unwrap().finished());
        assert_eq!(sink.0.len(), 5);
    }

    #[test]
    fn flush_emits_past_the_watermark() {
        let mut quiet = Script {
            id: 1,
            waiting: VecDeque::from([100]),
            at_hand: VecDeque::new(),
            per_fill: 0,
            fail_after: None,
            stuck: false,
        };
        quiet.per_fill = 1;
        let mut merger = Merger::new(vec![Script::boxed(0, vec![1, 200], 1), Box::new(quiet)]);
        let mut sink = Collect::default();
        assert_eq!(merger.flush(&mut sink).unwrap(), 3);
        assert_eq!(sink.0, [(1, 0), (100, 1), (200, 0)]);
        assert_eq!(merger.finish(&mut sink).unwrap().len(), 2);
    }

    #[test]
    fn a_failing_stream_does_not_stop_the_others() {
        let failing = Script {
            id: 0,
            waiting: VecDeque::from([1, 4, 50]),
            at_hand: VecDeque::new(),
            per_fill: 2,
            fail_after: Some(1),
            stuck: false,
        };
        let mut merger = Merger::new(vec![
            Box::new(failing),
            Script::boxed(1, vec![2, 3, 60, 61], 1),
        ]);
        let mut sink = Collect::default();
        while !merger.round(&mut sink).unwrap().finished() {}
        assert_eq!(sink.0, [(1, 0), (2, 1), (3, 1), (4, 0), (60, 1), (61, 1)]);
        assert_eq!(merger.errors().len(), 1);
        assert_eq!(merger.take_errors()[0].stream, 0);
    }

    #[test]
    fn a_stream_that_makes_no_progress_is_an_error_not_a_hang() {
        let stuck = Script {
            id: 0,
            waiting: VecDeque::from([1]),
            at_hand: VecDeque::new(),
            per_fill: 1,
            fail_after: None,
            stuck: true,
        };
        let mut merger = Merger::new(vec![Box::new(stuck)]);
        let error = merger.round(&mut Collect::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
