//! The viewer's side: requests to a relay daemon, and its answers.

use super::hub::{Beginning, PacketIndex, SessionSummary};
use super::wire::{
    self, AttachRequest, Command, Connect, Index, MetadataResponse, PacketRequest, PacketResponse,
    StreamsResponse, command,
};
use kstrace_schema::{Error, ErrorKind, Result};
use std::io::{Read, Write};
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The protocol asked for.
const MAJOR: u32 = 2;
/// See [`MAJOR`].
const MINOR: u32 = 4;
/// `LTTNG_VIEWER_CLIENT_COMMAND`.
const CLIENT_COMMAND: u32 = 1;
/// A relay daemon with more sessions, or a session with more streams, is not believed.
const LIST_MAX: u32 = 1 << 16;
/// Nor are more metadata in one answer.
pub(super) const METADATA_BYTES_MAX: u64 = 256 << 20;
/// Nor a larger packet.
const PACKET_BYTES_MAX: u64 = 1 << 30;
/// So much of a packet is asked for at once.
const PIECE_BYTES: u32 = 1 << 20;

/// A stream as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamSummary {
    pub(super) id: u64,
    pub(super) ctf_trace_id: u64,
    pub(super) is_metadata: bool,
    pub(super) path_name: String,
    pub(super) channel_name: String,
}

impl StreamSummary {
    /// Whether it has the same name, which connections do not change.
    pub(super) fn is_named_as(&self, other: &StreamSummary) -> bool {
        (&self.path_name, &self.channel_name) == (&other.path_name, &other.channel_name)
    }
}

/// An answer to the question for new streams.
pub(super) enum NewStreams {
    Streams(Vec<StreamSummary>),
    None,
    /// The session has ended: there will be none.
    Ended,
}

/// What a stream has next.
#[derive(Clone, Copy, Debug)]
pub(super) enum NextIndex {
    /// A packet at that offset.
    Packet(u64, PacketIndex),
    /// Nothing before this reading of the trace's clock.
    InactiveUntil(u64),
    NotYet,
    Ended,
}

/// What is to be fetched before one goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) metadata: bool,
    pub(super) streams: bool,
}

/// A connection to a relay daemon.
pub(super) struct Client<S> {
    stream: S,
    /// Who it is, for messages.
    name: String,
}

impl<S: Read + Write> Client<S> {
    /// Greets the relay daemon and makes a viewer session.
    ///
    /// # Errors
    /// When it speaks another protocol, or none.
    pub(super) fn new(stream: S, name: &str) -> Result<Self> {
        let mut client = Client {
            stream,
            name: name.to_owned(),
        };
        let ours = Connect {
            viewer_session_id: U64::new(u64::MAX),
            major: U32::new(MAJOR),
            minor: U32::new(MINOR),
            kind: U32::new(CLIENT_COMMAND),
        };
        client.ask(command::CONNECT, &ours)?;
        let theirs: Connect = client.take("its greeting")?;
        if theirs.major.get() != MAJOR {
            return Err(client.bad(format!(
                "it speaks version {}.{} of the live protocol, kstrace {MAJOR}.{MINOR}",
                theirs.major, theirs.minor
            )));
        }
        if theirs.minor.get() < MINOR {
            return Err(client.bad(format!(
                "it speaks version {}.{} of the live protocol, kstrace needs {MAJOR}.{MINOR} (LTTng 2.4) or later",
                theirs.major, theirs.minor
            )));
        }
        client.ask(command::CREATE_SESSION, &[0u8; 0])?;
        match client.take::<U32>("its viewer session")?.get() {
            wire::DONE => Ok(client),
            other => Err(client.bad(format!("it gives no viewer session: status {other}"))),
        }
    }

    /// The sessions it has.
    pub(super) fn sessions(&mut self) -> Result<Vec<SessionSummary>> {
        self.ask(command::LIST_SESSIONS, &[0u8; 0])?;
        let count = self.count("sessions")?;
        let mut sessions = Vec::new();
        for _ in 0..count {
            let session: wire::Session = self.take("a session")?;
            sessions.push(SessionSummary {
                id: session.id.get(),
                host: wire::text(&session.hostname),
                name: wire::text(&session.session_name),
                live_timer_us: session.live_timer_us.get(),
                streams: session.streams.get(),
                viewers: session.clients.get(),
            });
        }
        Ok(sessions)
    }

    /// Attaches to a session; its streams so far.
    pub(super) fn attach(&mut self, session: u64, from: Beginning) -> Result<Vec<StreamSummary>> {
        let request = AttachRequest {
            session_id: U64::new(session),
            offset: U64::new(0),
            seek: U32::new(match from {
                Beginning::Oldest => wire::SEEK_BEGINNING,
                Beginning::Now => wire::SEEK_LAST,
            }),
        };
        self.ask(command::ATTACH_SESSION, &request)?;
        let response: StreamsResponse = self.take("its answer to attaching")?;
        let why = match response.status.get() {
            wire::attach::OK => return self.streams(response.streams_count.get()),
            wire::attach::ALREADY => "another viewer is attached to it",
            wire::attach::UNKNOWN => "it is no longer there",
            wire::attach::NOT_LIVE => "it is not a live session (lttng create --live)",
            wire::attach::SEEK_ERROR => "it cannot be read from there",
            wire::attach::NO_SESSION => "there is no viewer session",
            other => return Err(self.bad(format!("status {other} for attaching"))),
        };
        let what = format!("{}: the session cannot be attached to: {why}", self.name);
        Err(Error::new(ErrorKind::InvalidInput, what))
    }

    /// Streams that were made since.
    pub(super) fn new_streams(&mut self, session: u64) -> Result<NewStreams> {
        self.ask(command::GET_NEW_STREAMS, &U64::new(session))?;
        let response: StreamsResponse = self.take("its new streams")?;
        match response.status.get() {
            wire::new_streams::OK => {
                let streams = self.streams(response.streams_count.get())?;
                Ok(NewStreams::Streams(streams))
            }
            wire::new_streams::NO_NEW => Ok(NewStreams::None),
            wire::new_streams::HUP => Ok(NewStreams::Ended),
            wire::new_streams::ERROR => Err(self.bad("it fails to tell of new streams".to_owned())),
            other => Err(self.bad(format!("status {other} for new streams"))),
        }
    }

    /// More of the metadata, appended to `bytes`. Says whether there was more.
    pub(super) fn metadata(&mut self, stream: u64, bytes: &mut Vec<u8>) -> Result<bool> {
        self.ask(command::GET_METADATA, &U64::new(stream))?;
        let response: MetadataResponse = self.take("its metadata")?;
        let len = response.len.get();
        match response.status.get() {
            wire::get_metadata::OK
                if len.saturating_add(bytes.len() as u64) > METADATA_BYTES_MAX =>
            {
                Err(self.bad(format!(
                    "metadata of {len} bytes more, {METADATA_BYTES_MAX} in all are possible"
                )))
            }
            wire::get_metadata::OK => {
                self.append(bytes, len, "its metadata")?;
                Ok(len > 0)
            }
            wire::get_metadata::NO_NEW => Ok(false),
            wire::get_metadata::ERROR => Err(self.bad("it fails to give metadata".to_owned())),
            other => Err(self.bad(format!("status {other} for metadata"))),
        }
    }

    /// What a stream has next, and what is to be fetched before.
    pub(super) fn next_index(&mut self, stream: u64) -> Result<(NextIndex, News)> {
        self.ask(command::GET_NEXT_INDEX, &U64::new(stream))?;
        let index: Index = self.take("an index")?;
        let next = match index.status.get() {
            wire::next_index::OK => NextIndex::Packet(
                index.offset.get(),
                PacketIndex {
                    packet_size_bits: index.packet_size_bits.get(),
                    content_size_bits: index.content_size_bits.get(),
                    timestamp_begin: index.timestamp_begin.get(),
                    timestamp_end: index.timestamp_end.get(),
                    events_discarded: index.events_discarded.get(),
                },
            ),
            wire::next_index::RETRY => NextIndex::NotYet,
            wire::next_index::INACTIVE => NextIndex::InactiveUntil(index.timestamp_end.get()),
            wire::next_index::HUP | wire::next_index::EOF => NextIndex::Ended,
            wire::next_index::ERROR => {
                return Err(self.bad(format!("it fails to give an index of stream {stream}")));
            }
            other => return Err(self.bad(format!("status {other} for an index"))),
        };
        Ok((next, news(index.flags.get())))
    }

    /// A packet, put into `bytes`. `None` if something is to be fetched before, or it has to
    /// be asked for again.
    pub(super) fn packet(
        &mut self,
        stream: u64,
        offset: u64,
        size_bytes: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<News>> {
        bytes.clear();
        if size_bytes == 0 || size_bytes > PACKET_BYTES_MAX {
            return Err(self.bad(format!(
                "a packet of {size_bytes} bytes, 1 to {PACKET_BYTES_MAX} are possible"
            )));
        }
        while (bytes.len() as u64) < size_bytes {
            let have = bytes.len() as u64;
            let wanted = u64::from(PIECE_BYTES).min(size_bytes - have) as u32;
            let request = PacketRequest {
                stream_id: U64::new(stream),
                offset: U64::new(offset.saturating_add(have)),
                len: U32::new(wanted),
            };
            self.ask(command::GET_PACKET, &request)?;
            let response: PacketResponse = self.take("a packet")?;
            let news = news(response.flags.get());
            match response.status.get() {
                wire::get_packet::OK => {
                    let len = response.len.get();
                    if len == 0 || len > wanted {
                        return Err(self.bad(format!(
                            "{len} bytes of a packet where {wanted} were asked for"
                        )));
                    }
                    self.append(bytes, len.into(), "a packet")?;
                }
                wire::get_packet::RETRY => return Ok(Some(news)),
                wire::get_packet::ERROR if news != News::default() => return Ok(Some(news)),
                wire::get_packet::ERROR | wire::get_packet::EOF => {
                    return Err(self.bad(format!(
                        "it does not give the packet of stream {stream} at byte {offset} that its index tells of"
                    )));
                }
                other => return Err(self.bad(format!("status {other} for a packet"))),
            }
        }
        Ok(None)
    }

    fn streams(&mut self, count: u32) -> Result<Vec<StreamSummary>> {
        if count > LIST_MAX {
            return Err(self.bad(format!("{count} streams, {LIST_MAX} at most are possible")));
        }
        let mut streams = Vec::new();
        for _ in 0..count {
            let stream: wire::Stream = self.take("a stream")?;
            streams.push(StreamSummary {
                id: stream.id.get(),
                ctf_trace_id: stream.ctf_trace_id.get(),
                is_metadata: stream.metadata_flag.get() != 0,
                path_name: wire::text(&stream.path_name),
                channel_name: wire::text(&stream.channel_name),
            });
        }
        Ok(streams)
    }

    fn count(&mut self, what: &str) -> Result<u32> {
        let count = self.take::<U32>(&format!("its number of {what}"))?.get();
        if count > LIST_MAX {
            return Err(self.bad(format!("{count} {what}, {LIST_MAX} at most are possible")));
        }
        Ok(count)
    }

    fn ask<T: IntoBytes + Immutable + ?Sized>(&mut self, command: u32, data: &T) -> Result<()> {
        let data = data.as_bytes();
        let head = Command {
            data_size: U64::new(data.len() as u64),
            command: U32::new(command),
            version: U32::new(0),
        };
        // In one piece: the relay daemon reads and answers at once then.
        let mut request = head.as_bytes().to_vec();
        request.extend_from_slice(data);
        self.stream
            .write_all(&request)
            .map_err(|e| Error::io(format!("{}: a request cannot be sent", self.name), e))
    }

    fn take<T: FromBytes + FromZeros + IntoBytes + KnownLayout>(
        &mut self,
        what: &str,
    ) -> Result<T> {
        let mut value = T::new_zeroed();
        self.stream
            .read_exact(value.as_mut_bytes())
            .map_err(|e| self.silent(what, e))?;
        Ok(value)
    }

    fn append(&mut self, bytes: &mut Vec<u8>, len: u64, what: &str) -> Result<()> {
        // What is said to come is not made room for before it comes.
        let before = bytes.len() as u64;
        (&mut self.stream)
            .take(len)
            .read_to_end(bytes)
            .map_err(|e| self.silent(what, e))?;
        if bytes.len() as u64 - before < len {
            return Err(self.silent(what, std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn silent(&self, what: &str, e: std::io::Error) -> Error {
        use std::io::ErrorKind as K;
        let why = match e.kind() {
            K::UnexpectedEof | K::ConnectionReset => "the relay daemon has gone before it gave",
            K::WouldBlock | K::TimedOut => "the relay daemon does not give",
            _ => "no more can be read of",
        };
        Error::with_source(ErrorKind::Io, format!("{}: {why} {what}", self.name), e)
    }

    fn bad(&self, what: String) -> Error {
        Error::new(ErrorKind::InvalidData, format!("{}: {what}", self.name))
    }
}

fn news(flags: u32) -> News {
    News {
        metadata: flags & wire::FLAG_NEW_METADATA != 0,
        streams: flags & wire::FLAG_NEW_STREAM != 0,
    }
}
