//! One sorted sequence of several lanes, as they are written.

use crate::Result;
use crate::reader::RingReader;
use crate::ring::Start;
use crate::viewer::Viewer;
use kstrace_schema::{EventRecord, SessionTime};

/// Merges lanes by time. A record comes out when no lane can still bring an
/// earlier one, which each lane's `safe_until` tells.
#[derive(Debug)]
pub struct MergingViewer {
    viewers: Vec<Viewer>,
    /// The lane that the last record came from.
    current: usize,
    /// Records of `current` up to this time come before all others.
    run_until: Option<SessionTime>,
}

impl MergingViewer {
    /// A merging viewer of all lanes of a ring.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn new(ring: &RingReader, start: Start) -> Result<Self> {
        let viewers = (0..ring.lanes())
            .map(|lane| Ok(Viewer::new(ring.lane(lane)?, start)))
            .collect::<Result<_>>()?;
        Ok(MergingViewer {
            viewers,
            current: 0,
            run_until: None,
        })
    }

    /// Records that were overwritten before this viewer came to them, in all lanes.
    pub fn lost(&self) -> u64 {
        self.viewers.iter().map(Viewer::lost).sum()
    }

    /// The viewers by lane, for their losses.
    pub fn viewers(&self) -> &[Viewer] {
        &self.viewers
    }

    /// The next record of all lanes, `None` when none is known to be the next yet.
    ///
    /// # Errors
    ///
    /// A lane contradicts itself.
    pub fn next_record(&mut self) -> Result<Option<EventRecord<'_>>> {
        if !self.head_is_next()? && !self.choose()? {
            return Ok(None);
        }
        self.viewers[self.current].next_record()
    }

    /// Whether the lane of the last record has the next one too.
    fn head_is_next(&mut self) -> Result<bool> {
        let Some(until) = self.run_until else {
            return Ok(false);
        };
        let head = self.viewers[self.current].peek_time()?;
        Ok(head.is_some_and(|t| t <= until))
    }

    /// Finds the lane with the earliest record, and how far it may run.
    fn choose(&mut self) -> Result<bool> {
        let mut first: Option<(SessionTime, usize)> = None;
        // The earliest time that any other lane has or may still have.
        let mut bound = SessionTime::MAX;
        for (lane, viewer) in self.viewers.iter_mut().enumerate() {
            // In this order: what is not there after this is not before `safe_until`.
            let safe_until = viewer.lane().safe_until();
            match viewer.peek_time()? {
                None => bound = bound.min(safe_until),
                Some(head) => match first {
                    Some((time, _)) if time <= head => bound = bound.min(head),
                    _ => {
                        if let Some((time, _)) = first {
                            bound = bound.min(time);
                        }
                        first = Some((head, lane));
                    }
                },
            }
        }
        match first {
            Some((time, lane)) if time <= bound => {
                self.current = lane;
                self.run_until = Some(bound);
                Ok(true)
            }
            _ => {
                self.run_until = None;
                Ok(false)
            }
        }
    }
}
