//! How long each call took.

/// Latencies in ticks; the memory is there, and touched, before the first call.
#[derive(Debug)]
pub(crate) struct Latencies {
    ticks: Vec<u32>,
    used: usize,
}

/// What is told about them, ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) mean_ns: f64,
    pub(crate) p50_ns: f64,
    pub(crate) p99_ns: f64,
    pub(crate) p999_ns: f64,
    pub(crate) max_ns: f64,
}

impl Latencies {
    pub(crate) fn for_calls(count: usize) -> Self {
        // A non-zero value, so that the pages are really there.
        Latencies {
            ticks: vec![1; count],
            used: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, ticks: u64) {
        if let Some(slot) = self.ticks.get_mut(self.used) {
            *slot = u32::try_from(ticks).unwrap_or(u32::MAX);
            self.used += 1;
        }
    }

    /// `None` where nothing was timed.
    pub(crate) fn summary(mut self, ticks_per_ns: f64) -> Option<Summary> {
        self.ticks.truncate(self.used);
        self.ticks.sort_unstable();
        let last = self.ticks.len().checked_sub(1)?;
        let ns = |ticks: u32| f64::from(ticks) / ticks_per_ns;
        let at = |per_mille: usize| ns(self.ticks[(last + 1) * per_mille / 1000]);
        let sum: f64 = self.ticks.iter().map(|t| f64::from(*t)).sum();
        Some(Summary {
            mean_ns: sum / (last + 1) as f64 / ticks_per_ns,
            p50_ns: at(500),
            p99_ns: at(990),
            p999_ns: at(999),
            max_ns: ns(self.ticks[last]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let mut l = Latencies::for_calls(1000);
        for t in (1..=1000).rev() {
            l.push(t);
        }
        let s = l.summary(2.0).unwrap();
        assert_eq!(
            (s.p50_ns, s.p99_ns, s.p999_ns, s.max_ns),
            (250.5, 495.5, 500.0, 500.0)
        );
        assert!((s.mean_ns - 250.25).abs() < 1e-9);
        assert_eq!(
            Latencies::for_calls(10).summary(1.0),
            None,
            "nothing pushed, nothing said"
        );
    }
}
