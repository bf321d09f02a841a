//! Mapping one clock's readings onto another's.

/// A continuous piecewise linear map through measured pairs.
///
/// Times between two pairs are interpolated, which never goes back as long as
/// the pairs do not; times outside are extrapolated with the nearest slope.
#[derive(Clone, Debug)]
pub struct PiecewiseMap {
    from0: u64,
    to0: u64,
    from1: u64,
    to1: u64,
    /// `(to1 - to0) / (from1 - from0)` in units of 2^-32.
    slope_2_32: u64,
    error_bound: u64,
}

impl PiecewiseMap {
    /// A map through two pairs `(from, to, error bound of to)`.
    ///
    /// `None` unless the second pair is later on both clocks.
    pub fn through(first: (u64, u64, u64), second: (u64, u64, u64)) -> Option<Self> {
        let slope = slope(first.0, first.1, second.0, second.1)?;
        Some(PiecewiseMap {
            from0: first.0,
            to0: first.1,
            from1: second.0,
            to1: second.1,
            slope_2_32: slope,
            error_bound: first.2.max(second.2),
        })
    }

    /// Goes on to a later pair: what was the end is now the start.
    ///
    /// A pair that is not later on both clocks is ignored.
    pub fn advance(&mut self, next: (u64, u64, u64)) {
        if let Some(slope) = slope(self.from1, self.to1, next.0, next.1) {
            *self = PiecewiseMap {
                from0: self.from1,
                to0: self.to1,
                from1: next.0,
                to1: next.1,
                slope_2_32: slope,
                error_bound: self.error_bound.max(next.2),
            };
        }
    }

    /// The other clock's time for `from`.
    #[inline]
    pub fn map(&self, from: u64) -> u64 {
        let delta = from.wrapping_sub(self.from0);
        if delta < 1 << 63 {
            self.to0.saturating_add(scale(delta, self.slope_2_32))
        } else {
            self.to0
                .saturating_sub(scale(delta.wrapping_neg(), self.slope_2_32))
        }
    }

    /// The latest mapped time that is interpolated, not extrapolated.
    pub fn known_until(&self) -> u64 {
        self.to1
    }

    /// The largest error bound of any pair so far, in units of the target clock.
    pub fn error_bound(&self) -> u64 {
        self.error_bound
    }
}

#[inline]
fn scale(delta: u64, slope_2_32: u64) -> u64 {
    // The product of two u64 fits u128; the result fits u64 for any span that a clock can cover.
    ((u128::from(delta) * u128::from(slope_2_32)) >> 32) as u64
}

fn slope(from0: u64, to0: u64, from1: u64, to1: u64) -> Option<u64> {
    let from = from1.checked_sub(from0).filter(|d| *d > 0)?;
    let to = to1.checked_sub(to0)?;
    u64::try_from((u128::from(to) << 32) / u128::from(from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_and_never_goes_back_across_pairs() {
        // 2.6 GHz against nanoseconds, with a slew in the second segment.
        let mut map = PiecewiseMap::through((1_000, 50, 10), (2_601_000, 1_000_050, 20)).unwrap();
        assert_eq!(map.map(1_000), 50);
        assert!(map.map(1_301_000).abs_diff(500_050) <= 1);
        let end = map.map(2_601_000);
        assert!(end.abs_diff(1_000_050) <= 1);
        map.advance((5_201_000, 2_000_100, 15));
        assert!(map.map(2_601_000) >= end);
        assert!(map.map(2_600_000) < map.map(2_601_000));
        assert_eq!(map.error_bound(), 20);
    }

    #[test]
    fn a_pair_that_goes_back_is_ignored() {
        let mut map = PiecewiseMap::through((0, 0, 1), (100, 100, 1)).unwrap();
        map.advance((50, 200, 1));
        assert_eq!(map.map(50), 50);
        assert!(PiecewiseMap::through((5, 0, 0), (5, 1, 0)).is_none());
    }
}
