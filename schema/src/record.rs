//! Event records.

use crate::{ClassId, Cpu, SessionTime};

/// One event record: class, time, CPU, and the payload as the kernel wrote it.
#[derive(Clone, Copy, Debug)]
pub struct EventRecord<'a> {
    /// Its class.
    pub class: ClassId,
    /// How many bytes at the payload's end fall to a last member of
    /// [`Length::Rest`](crate::Length::Rest); 0 for a class without one.
    pub rest_len_bytes: u16,
    /// The CPU it was made on, [`Cpu::NONE`] if that means nothing.
    pub cpu: Cpu,
    /// When, on the session clock.
    pub time: SessionTime,
    /// The bytes that the class describes, all of them and no more.
    pub payload: &'a [u8],
}
