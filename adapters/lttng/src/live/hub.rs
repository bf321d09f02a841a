//! What is served.

/// Sessions that viewers can attach to. Asked from many threads.
pub trait Hub: Send + Sync {
    /// The sessions there are now.
    fn sessions(&self) -> Vec<SessionSummary>;

    /// A session's trace for one viewer; `None` if there is no such session (any more).
    fn attach(&self, session: u64, beginning: Beginning) -> Option<Box<dyn Trace>>;
}

/// Where a viewer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With all that is still there.
    Oldest,
    /// With what comes from now on.
    Now,
}

/// A session in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// A number that no other session has.
    pub id: u64,
    /// The traced machine's name; 63 bytes of it are told.
    pub host: String,
    /// The session's name; 254 bytes of it are told.
    pub name: String,
    /// How often there is news, µs.
    pub live_timer_us: u32,
    /// Data streams.
    pub streams: u32,
    /// Viewers attached.
    pub viewers: u32,
}

/// A trace as one viewer sees it: a metadata text that grows, and data streams.
pub trait Trace: Send {
    /// How many data streams there are. It does not change.
    fn streams(&self) -> usize;

    /// The stream class of them all in the metadata.
    fn stream_class_id(&self) -> u64;

    /// The trace's UUID.
    fn uuid(&self) -> [u8; 16];

    /// The metadata in TSDL so far. It only grows, and describes every record of every packet
    /// that [`next`](Trace::next) has given.
    fn metadata(&mut self) -> &str;

    /// What a stream has next.
    fn next(&mut self, stream: usize) -> Next;

    /// The bytes of the last packet that [`next`](Trace::next) gave for this stream; empty
    /// before the first.
    fn packet(&self, stream: usize) -> &[u8];
}

/// What a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A packet.
    Packet(PacketIndex),
    /// Nothing, and nothing before this time will come, in the trace's clock.
    InactiveUntil(u64),
    /// Nothing yet.
    NotYet,
    /// Nothing any more.
    Ended,
}

/// A packet, as its header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketIndex {
    /// The whole packet, bits.
    pub packet_size_bits: u64,
    /// What of it is used, bits.
    pub content_size_bits: u64,
    /// In the trace's clock.
    pub timestamp_begin: u64,
    /// In the trace's clock.
    pub timestamp_end: u64,
    /// Records lost on the stream since its start.
    pub events_discarded: u64,
}
