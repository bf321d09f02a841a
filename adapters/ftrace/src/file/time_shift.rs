//! From a guest's times to its host's: the option TIME_SHIFT.

use tracefs::Endian;

/// Between two samples, the offset goes from the one's to the other's.
const INTERPOLATE: u32 = 1;

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    time: u64,
    offset: i64,
    scaling: u64,
    fraction: u32,
}

/// The measured offsets, for each CPU.
#[derive(Clone, Debug)]
pub(super) struct TimeShift {
    flags: u32,
    /// By CPU, sorted by time, no time twice.
    cpus: Vec<Vec<Sample>>,
}

/// Takes numbers from the option's data.
struct Numbers<'a> {
    data: &'a [u8],
    endian: Endian,
}

impl Numbers<'_> {
    fn next(&mut self, size_bytes: usize) -> Option<u64> {
        let (bytes, rest) = self.data.split_at_checked(size_bytes)?;
        self.data = rest;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.endian {
            Endian::Little => bytes.iter().rev().fold(0, add),
            Endian::Big => bytes.iter().fold(0, add),
        })
    }
}

impl TimeShift {
    /// `None` if the data make no sense.
    pub(super) fn of(data: &[u8], endian: Endian) -> Option<Self> {
        let mut numbers = Numbers { data, endian };
        // The session of the peer.
        numbers.next(8)?;
        let flags = numbers.next(4)? as u32;
        let count = numbers.next(4)?;
        let mut cpus: Vec<Vec<Sample>> = Vec::new();
        for _ in 0..count {
            let samples = numbers.next(4)? as usize;
            // Three numbers of 8 bytes each must be there.
            if samples > numbers.data.len() / 24 {
                return None;
            }
            let mut list = vec![Sample::default(); samples];
            for sample in &mut list {
                sample.time = numbers.next(8)?;
            }
            for sample in &mut list {
                sample.offset = numbers.next(8)?.cast_signed();
            }
            for sample in &mut list {
                sample.scaling = numbers.next(8)?;
            }
            cpus.push(list);
        }
        if !numbers.data.is_empty() {
            for sample in cpus.iter_mut().flatten() {
                sample.fraction = numbers.next(8)?.min(63) as u32;
            }
        }
        for list in &mut cpus {
            list.sort_by_key(|sample| sample.time);
            list.dedup_by_key(|sample| sample.time);
        }
        (!cpus.is_empty()).then_some(TimeShift { flags, cpus })
    }

    /// A time of a CPU of the guest on the host's clock.
    pub(super) fn apply(&self, time: u64, cpu: u32) -> u64 {
        let Some(samples) = self.cpus.get(cpu as usize) else {
            return time;
        };
        match samples.as_slice() {
            [] => time,
            [only] => time.wrapping_add_signed(only.offset),
            samples => {
                let after = samples.partition_point(|sample| sample.time <= time);
                // Before the first and behind the last one, as between the nearest two.
                let first = after.saturating_sub(1).min(samples.len() - 2);
                match samples.get(first..first + 2) {
                    Some([from, to]) => self.between(time, from, to),
                    _ => time,
                }
            }
        }
    }

    fn between(&self, time: u64, from: &Sample, to: &Sample) -> u64 {
        let offset = if self.flags & INTERPOLATE != 0 {
            let stretch = to.time.wrapping_sub(from.time).cast_signed();
            let into = time.wrapping_sub(from.time).cast_signed();
            let gain = into.wrapping_mul(to.offset.wrapping_sub(from.offset));
            let share = gain.wrapping_add(stretch / 2).checked_div(stretch);
            from.offset.wrapping_add(share.unwrap_or(0))
        } else {
            from.offset
        };
        let scaled = time.wrapping_mul(from.scaling) >> from.fraction;
        scaled.wrapping_add_signed(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(flags: u32, samples: &[(u64, i64)]) -> Vec<u8> {
        let mut data = 9u64.to_le_bytes().to_vec();
        data.extend(flags.to_le_bytes());
        data.extend(1u32.to_le_bytes());
        data.extend((samples.len() as u32).to_le_bytes());
        data.extend(samples.iter().flat_map(|s| s.0.to_le_bytes()));
        data.extend(samples.iter().flat_map(|s| s.1.to_le_bytes()));
        data.extend(samples.iter().flat_map(|_| 1u64.to_le_bytes()));
        data
    }

    #[test]
    fn offsets_hold_or_are_interpolated() {
        let samples = [(100, 10), (200, 30), (300, -10)];
        let steps = TimeShift::of(&option(0, &samples), Endian::Little).unwrap();
        let lines = TimeShift::of(&option(INTERPOLATE, &samples), Endian::Little).unwrap();
        for (time, step, line) in [
            // Division goes towards zero, as in C.
            (50, 60, 51),
            (100, 110, 110),
            (150, 160, 170),
            (200, 230, 230),
            (250, 280, 261),
            (300, 330, 291),
        ] {
            assert_eq!(steps.apply(time, 0), step, "{time}");
            assert_eq!(lines.apply(time, 0), line, "{time}");
        }
        assert_eq!(steps.apply(150, 1), 150);
        let one = TimeShift::of(&option(0, &samples[..1]), Endian::Little).unwrap();
        assert_eq!(one.apply(150, 0), 160);
    }

    #[test]
    fn too_many_samples_cost_nothing() {
        let mut data = option(0, &[(1, 2)]);
        data[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(TimeShift::of(&data, Endian::Little).is_none());
        assert!(TimeShift::of(&[], Endian::Little).is_none());
    }
}
