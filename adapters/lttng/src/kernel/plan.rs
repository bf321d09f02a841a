//! What to record.

use super::context::ContextKind;
use super::names::Chosen;

/// Sub-buffers of a CPU's ring, at least. One that is closed early is used up all the same.
const SUB_BUFFERS: u64 = 32;
/// Bounds of a sub-buffer in bytes: what the kernel allows, and what is worth copying at once.
const SUB_BUFFER_BYTES: std::ops::RangeInclusive<u64> = 4096..=(1 << 20);

/// What a [`KernelSource`](super::KernelSource) records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelPlan {
    /// The events.
    pub events: Vec<Chosen>,
    /// What is recorded beside every event.
    pub contexts: Vec<ContextKind>,
    /// Only these processes, all their threads; empty for all.
    pub pids: Vec<i32>,
    /// Only these CPUs are read.
    pub cpus: Option<Vec<u32>>,
    /// Size of a CPU's ring in bytes, about.
    pub buffer_bytes_per_cpu: u64,
}

impl KernelPlan {
    /// Sub-buffers of a CPU's ring and the size of each in bytes: powers of two.
    pub(super) fn geometry(&self) -> (u64, u64) {
        let wanted = (self.buffer_bytes_per_cpu / SUB_BUFFERS)
            .clamp(*SUB_BUFFER_BYTES.start(), *SUB_BUFFER_BYTES.end());
        let size = wanted.next_power_of_two().min(*SUB_BUFFER_BYTES.end());
        let count = (self.buffer_bytes_per_cpu / size)
            .clamp(SUB_BUFFERS, 1 << 12)
            .next_power_of_two();
        (count, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_of_powers_of_two() {
        let geometry = |bytes| {
            KernelPlan {
                buffer_bytes_per_cpu: bytes,
                ..KernelPlan::default()
            }
            .geometry()
        };
        assert_eq!(geometry(0), (32, 4096));
        assert_eq!(geometry(8 << 20), (32, 256 << 10));
        assert_eq!(geometry(3 << 20), (32, 128 << 10));
        assert_eq!(geometry(64 << 20), (64, 1 << 20));
        assert_eq!(geometry(u64::MAX).0, 4096);
    }
}
