//! One viewer.

use super::hub::{Beginning, Hub, Next, PacketIndex, Trace};
use super::metadata;
use super::wire::{
    self, AttachRequest, Command, Connect, Index, MetadataResponse, PacketRequest, PacketResponse,
    StreamsResponse, command, name,
};
use std::io::{self, BufReader, Error, ErrorKind, Read, Write};
use std::sync::Arc;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The protocol spoken.
const MAJOR: u32 = 2;
/// See [`MAJOR`].
const MINOR: u32 = 4;
/// No request has more data.
const MOST_REQUEST_BYTES: u64 = 4096;
/// Metadata in one reply at most.
const METADATA_BYTES: usize = 1 << 20;
/// Sessions that one viewer can attach to.
const MOST_ATTACHED: usize = 64;
/// Stream numbers of one attached session; number 0 is its metadata.
const STREAMS_BITS: u32 = 32;

/// A session that is being viewed.
struct Attached {
    session: u64,
    trace: Box<dyn Trace>,
    /// How much of the metadata the viewer has, bytes.
    metadata_sent: usize,
    /// By data stream.
    streams: Vec<StreamState>,
}

#[derive(Clone, Copy, Default)]
struct StreamState {
    /// Where the last packet begins in the stream as the viewer sees it, bytes.
    offset: u64,
    /// Its length, bytes.
    len: u64,
    ended: bool,
}

/// A stream as a request names it.
struct Place {
    attached: usize,
    /// `None` for the metadata.
    data_stream: Option<usize>,
}

/// Serves one viewer until it goes.
pub(super) struct Connection<R, W> {
    input: BufReader<R>,
    output: W,
    hub: Arc<dyn Hub>,
    /// It has made the session of its own that is needed for attaching.
    has_viewer_session: bool,
    attached: Vec<Option<Attached>>,
    reply: Vec<u8>,
}

impl<R: Read, W: Write> Connection<R, W> {
    pub(super) fn new(input: R, output: W, hub: Arc<dyn Hub>) -> Self {
        Connection {
            input: BufReader::new(input),
            output,
            hub,
            has_viewer_session: false,
            attached: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Until the viewer goes: `Ok`. Errors are of the connection, or a request that makes no
    /// sense; where one ends is not to be known then, so nothing more is read.
    pub(super) fn serve(mut self) -> io::Result<()> {
        let mut data = Vec::new();
        loop {
            let mut head = [0; size_of::<Command>()];
            match self.input.read_exact(&mut head) {
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            let head = take::<Command>(&head)?;
            let size = head.data_size.get();
            if size > MOST_REQUEST_BYTES {
                return Err(bad(format!(
                    "a request with {size} bytes of data, {MOST_REQUEST_BYTES} at most are possible"
                )));
            }
            data.clear();
            data.resize(size as usize, 0);
            self.input.read_exact(&mut data)?;
            self.reply.clear();
            self.answer(head.command.get(), &data)?;
            self.output.write_all(&self.reply)?;
        }
    }

    fn answer(&mut self, command: u32, data: &[u8]) -> io::Result<()> {
        match command {
            command::CONNECT => self.connect(data),
            command::LIST_SESSIONS => {
                self.list_sessions();
                Ok(())
            }
            command::CREATE_SESSION => {
                self.has_viewer_session = true;
                self.put(&U32::new(wire::DONE));
                Ok(())
            }
            command::ATTACH_SESSION => self.attach(data),
            command::DETACH_SESSION => self.detach(data),
            command::GET_METADATA => self.get_metadata(data),
            command::GET_NEXT_INDEX => self.get_next_index(data),
            command::GET_PACKET => self.get_packet(data),
            command::GET_NEW_STREAMS => self.get_new_streams(data),
            other => Err(bad(format!("an unknown command {other}"))),
        }
    }

    fn put<T: IntoBytes + zerocopy::Immutable>(&mut self, value: &T) {
        self.reply.extend_from_slice(value.as_bytes());
    }

    fn connect(&mut self, data: &[u8]) -> io::Result<()> {
        let theirs = take::<Connect>(data)?;
        if theirs.major.get() != MAJOR {
            return Err(bad(format!(
                "a viewer of protocol {}, spoken is {MAJOR}.{MINOR}",
                theirs.major
            )));
        }
        self.put(&Connect {
            viewer_session_id: U64::new(1),
            major: U32::new(MAJOR),
            minor: U32::new(MINOR.min(theirs.minor.get())),
            kind: theirs.kind,
        });
        Ok(())
    }

    fn list_sessions(&mut self) {
        let sessions = self.hub.sessions();
        self.put(&U32::new(sessions.len() as u32));
        for session in sessions {
            self.put(&wire::Session {
                id: U64::new(session.id),
                live_timer_us: U32::new(session.live_timer_us),
                clients: U32::new(session.viewers),
                streams: U32::new(session.streams),
                hostname: name(&session.host),
                session_name: name(&session.name),
            });
        }
    }

    fn attach(&mut self, data: &[u8]) -> io::Result<()> {
        let request = take::<AttachRequest>(data)?;
        let session = request.session_id.get();
        let beginning = match request.seek.get() {
            wire::SEEK_BEGINNING => Some(Beginning::Oldest),
            wire::SEEK_LAST => Some(Beginning::Now),
            _ => None,
        };
        let status = match beginning {
            _ if !self.has_viewer_session => wire::attach::NO_SESSION,
            None => wire::attach::SEEK_ERROR,
            Some(_) if self.attached.iter().flatten().any(|a| a.session == session) => {
                wire::attach::ALREADY
            }
            Some(_) if self.attached.len() >= MOST_ATTACHED => wire::attach::UNKNOWN,
            Some(beginning) => match self.hub.attach(session, beginning) {
                Some(trace) => {
                    self.attached.push(Some(Attached {
                        session,
                        metadata_sent: 0,
                        streams: vec![StreamState::default(); trace.streams()],
                        trace,
                    }));
                    wire::attach::OK
                }
                None => wire::attach::UNKNOWN,
            },
        };
        if status != wire::attach::OK {
            self.put(&streams_response(status, 0));
            return Ok(());
        }
        let number = self.attached.len() - 1;
        let streams = self.attached[number]
            .as_ref()
            .map_or(0, |a| a.streams.len());
        self.put(&streams_response(status, streams + 1));
        for stream in 0..=streams {
            let id = (number as u64) << STREAMS_BITS | stream as u64;
            let channel = match stream {
                0 => "metadata".to_owned(),
                n => format!("lane_{}", n - 1),
            };
            self.put(&wire::Stream {
                id: U64::new(id),
                ctf_trace_id: U64::new(number as u64),
                metadata_flag: U32::new(u32::from(stream == 0)),
                path_name: name("kstrace"),
                channel_name: name(&channel),
            });
        }
        Ok(())
    }

    fn detach(&mut self, data: &[u8]) -> io::Result<()> {
        let session = take::<U64>(data)?.get();
        let found = self
            .attached
            .iter_mut()
            .find(|a| a.as_ref().is_some_and(|a| a.session == session));
        let status = match found {
            Some(attached) => {
                *attached = None;
                wire::DONE
            }
            None => wire::DETACH_UNKNOWN,
        };
        self.put(&U32::new(status));
        Ok(())
    }

    fn find(&self, stream_id: U64) -> Option<Place> {
        let id = stream_id.get();
        let attached = usize::try_from(id >> STREAMS_BITS).ok()?;
        let there = self.attached.get(attached)?.as_ref()?;
        let data_stream = (id & u64::from(u32::MAX))
            .checked_sub(1)
            .map(|n| n as usize);
        data_stream
            .is_none_or(|n| n < there.streams.len())
            .then_some(Place {
                attached,
                data_stream,
            })
    }

    fn get_metadata(&mut self, data: &[u8]) -> io::Result<()> {
        let place = self.find(*take::<U64>(data)?);
        let attached = match place {
            Some(Place {
                attached,
                data_stream: None,
            }) => self.attached[attached].as_mut(),
            _ => None,
        };
        let response = |len: usize, status| MetadataResponse {
            len: U64::new(len as u64),
            status: U32::new(status),
        };
        let Some(attached) = attached else {
            self.put(&response(0, wire::get_metadata::ERROR));
            return Ok(());
        };
        let uuid = attached.trace.uuid();
        let text = attached.trace.metadata();
        let rest = text.get(attached.metadata_sent..).unwrap_or_default();
        if rest.is_empty() {
            self.put(&response(0, wire::get_metadata::NO_NEW));
            return Ok(());
        }
        let mut end = rest.len().min(METADATA_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let piece = &rest[..end];
        attached.metadata_sent += piece.len();
        let packet = metadata::packet(uuid, piece);
        self.put(&response(packet.len(), wire::get_metadata::OK));
        self.reply.extend_from_slice(&packet);
        Ok(())
    }

    fn get_next_index(&mut self, data: &[u8]) -> io::Result<()> {
        let place = self.find(*take::<U64>(data)?);
        let mut answer = Index::new_zeroed();
        answer.status = U32::new(wire::next_index::ERROR);
        if let Some(Place {
            attached,
            data_stream: Some(stream),
        }) = place
            && let Some(attached) = &mut self.attached[attached]
        {
            attached.next_index(stream, &mut answer);
        }
        self.put(&answer);
        Ok(())
    }

    fn get_packet(&mut self, data: &[u8]) -> io::Result<()> {
        let request = take::<PacketRequest>(data)?;
        let mut status = wire::get_packet::ERROR;
        let mut flags = 0;
        let mut piece: &[u8] = &[];
        if let Some(Place {
            attached,
            data_stream: Some(stream),
        }) = self.find(request.stream_id)
            && let Some(attached) = &mut self.attached[attached]
        {
            if attached.has_new_metadata() {
                flags = wire::FLAG_NEW_METADATA;
            } else if let Some(found) = attached.piece(stream, request) {
                status = wire::get_packet::OK;
                piece = found;
            }
        }
        let head = PacketResponse {
            status: U32::new(status),
            len: U32::new(piece.len() as u32),
            flags: U32::new(flags),
        };
        self.reply.extend_from_slice(head.as_bytes());
        self.reply.extend_from_slice(piece);
        Ok(())
    }

    fn get_new_streams(&mut self, data: &[u8]) -> io::Result<()> {
        let session = take::<U64>(data)?.get();
        let attached = self
            .attached
            .iter()
            .flatten()
            .find(|a| a.session == session);
        let status = match attached {
            Some(a) if a.streams.iter().all(|s| s.ended) => wire::new_streams::HUP,
            Some(_) => wire::new_streams::NO_NEW,
            None => wire::new_streams::ERROR,
        };
        self.put(&streams_response(status, 0));
        Ok(())
    }
}

impl Attached {
    fn has_new_metadata(&mut self) -> bool {
        self.trace.metadata().len() > self.metadata_sent
    }

    fn next_index(&mut self, stream: usize, answer: &mut Index) {
        answer.stream_class_id = U64::new(self.trace.stream_class_id());
        let next = self.trace.next(stream);
        let Some(state) = self.streams.get_mut(stream) else {
            return;
        };
        let status = match next {
            Next::Packet(index) => {
                state.offset += state.len;
                state.len = self.trace.packet(stream).len() as u64;
                answer.offset = U64::new(state.offset);
                fill(answer, &index);
                wire::next_index::OK
            }
            Next::InactiveUntil(time) => {
                answer.timestamp_end = U64::new(time);
                wire::next_index::INACTIVE
            }
            Next::NotYet => wire::next_index::RETRY,
            Next::Ended => {
                state.ended = true;
                wire::next_index::HUP
            }
        };
        answer.status = U32::new(status);
        // Asked after the packet was made: it describes it then.
        if status == wire::next_index::OK && self.has_new_metadata() {
            answer.flags = U32::new(wire::FLAG_NEW_METADATA);
        }
    }

    /// The part of the stream's last packet that is asked for.
    fn piece(&self, stream: usize, request: &PacketRequest) -> Option<&[u8]> {
        let state = self.streams.get(stream)?;
        let begin = request.offset.get().checked_sub(state.offset)?;
        let rest = self
            .trace
            .packet(stream)
            .get(usize::try_from(begin).ok()?..)?;
        let piece = &rest[..rest.len().min(request.len.get() as usize)];
        (!piece.is_empty()).then_some(piece)
    }
}

fn fill(answer: &mut Index, index: &PacketIndex) {
    answer.packet_size_bits = U64::new(index.packet_size_bits);
    answer.content_size_bits = U64::new(index.content_size_bits);
    answer.timestamp_begin = U64::new(index.timestamp_begin);
    answer.timestamp_end = U64::new(index.timestamp_end);
    answer.events_discarded = U64::new(index.events_discarded);
}

fn streams_response(status: u32, streams: usize) -> StreamsResponse {
    StreamsResponse {
        status: U32::new(status),
        streams_count: U32::new(streams as u32),
    }
}

fn take<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
    data: &[u8],
) -> io::Result<&T> {
    T::ref_from_prefix(data)
        .map(|(value, _)| value)
        .map_err(|_| {
            bad(format!(
                "a request with {} bytes of data, {} are needed",
                data.len(),
                size_of::<T>()
            ))
        })
}

fn bad(what: String) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
