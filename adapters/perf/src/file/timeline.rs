//! The order of the records in the file.

/// Keeps rounds: perf's reader sorts the records of two rounds and hands out
/// the older of them at each `FINISHED_ROUND`.
#[derive(Debug)]
pub(super) struct Timeline {
    round_records: u32,
    in_round: u32,
    /// The youngest record so far, ns.
    youngest_ns: u64,
    /// The youngest record when the last round ended, ns.
    round_end_ns: u64,
    /// What is older than this has been handed out, ns.
    handed_out_ns: u64,
    late: u64,
    first_sample_ns: u64,
    last_sample_ns: u64,
}

impl Timeline {
    pub(super) fn new(round_records: u32) -> Self {
        Timeline {
            round_records: round_records.max(1),
            in_round: 0,
            youngest_ns: 0,
            round_end_ns: 0,
            handed_out_ns: 0,
            late: 0,
            first_sample_ns: u64::MAX,
            last_sample_ns: 0,
        }
    }

    /// Whether a round is to be ended before the next record.
    #[inline]
    pub(super) fn round_is_full(&self) -> bool {
        self.in_round >= self.round_records
    }

    /// A record is to be written.
    #[inline]
    pub(super) fn advance(&mut self, time_ns: u64) {
        if time_ns >= self.youngest_ns {
            self.youngest_ns = time_ns;
        } else if time_ns < self.handed_out_ns {
            self.late += 1;
        }
        self.in_round += 1;
    }

    /// Whether a record of that time would come before one that is written already.
    #[inline]
    pub(super) fn is_late(&self, time_ns: u64) -> bool {
        time_ns < self.youngest_ns
    }

    /// Whether a reader still keeps records back, to be sorted.
    pub(super) fn keeps_back(&self) -> bool {
        self.handed_out_ns < self.youngest_ns
    }

    /// A round ends here.
    pub(super) fn end_round(&mut self) {
        self.in_round = 0;
        self.handed_out_ns = self.round_end_ns;
        self.round_end_ns = self.youngest_ns;
    }

    /// A time for something that belongs at this point of the stream and
    /// happened at about `time_ns`.
    pub(super) fn place(&self, time_ns: u64) -> u64 {
        let latest = if self.youngest_ns == 0 {
            time_ns
        } else {
            self.youngest_ns
        };
        time_ns.min(latest).max(self.handed_out_ns)
    }

    /// A sample has that time.
    #[inline]
    pub(super) fn sampled(&mut self, time_ns: u64) {
        self.first_sample_ns = self.first_sample_ns.min(time_ns);
        self.last_sample_ns = self.last_sample_ns.max(time_ns);
    }

    /// Times of the first and the last sample.
    pub(super) fn sample_times(&self) -> Option<(u64, u64)> {
        (self.first_sample_ns <= self.last_sample_ns)
            .then_some((self.first_sample_ns, self.last_sample_ns))
    }

    /// Records that came after younger ones had been handed out.
    pub(super) fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_can_no_longer_sort_is_late() {
        let mut timeline = Timeline::new(2);
        let mut write = |time| {
            if timeline.round_is_full() {
                timeline.end_round();
            }
            timeline.advance(time);
            timeline.late()
        };
        // Rounds end before 30, 50 and 5; the third hands out up to 30.
        for (time, late) in [(10, 0), (20, 0), (30, 0), (15, 0), (50, 0), (25, 0), (5, 1)] {
            assert_eq!(write(time), late, "{time}");
        }
    }

    #[test]
    fn loss_of_a_distant_time_is_told_here() {
        let mut timeline = Timeline::new(1);
        assert_eq!(timeline.place(7), 7);
        timeline.advance(100);
        assert_eq!(timeline.place(u64::MAX), 100);
        assert_eq!(timeline.place(90), 90);
    }
}
