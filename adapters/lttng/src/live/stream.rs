//! The streams of a live session, merged as they come.

use super::client::{Client, NewStreams, News, NextIndex, StreamSummary};
use super::hub::Beginning;
use super::input::{PAUSE, SOURCE, connect, find};
use super::url::LiveUrl;
use kstrace_ctf::{FedStream, FedTrace, metadata_text};
use kstrace_schema::{
    ClassRegistry, Cpu, Error, ErrorKind, Fill, HopAccount, LossReason, RecordStream, Result,
    SessionInfo, SessionTime, Sink, SourceId,
};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A stream is not asked for more while so many of its packets wait.
const QUEUED_MAX: usize = 2;
/// How often the relay daemon is asked for new streams, where nothing tells of them.
const STREAMS_EVERY: Duration = Duration::from_millis(200);
/// A connection that broke is made anew so often, a while apart.
const RECONNECTS_MAX: u32 = 5;
/// See [`RECONNECTS_MAX`].
const RECONNECT_PAUSE: Duration = Duration::from_millis(300);

/// A trace of the session: LTTng has one for the kernel, one for each user or process.
struct LiveTrace {
    /// As this connection numbers it.
    ctf_trace_id: u64,
    metadata: Option<StreamSummary>,
    bytes: Vec<u8>,
    /// `None` before its metadata describe a stream.
    fed: Option<FedTrace>,
    /// Classes that the sink knows.
    told: usize,
}

/// A data stream of the session.
struct DataStream {
    summary: StreamSummary,
    trace: usize,
    /// `None` before its first packet.
    fed: Option<FedStream>,
    /// All records up to then have been fetched.
    complete_until: SessionTime,
    ended: bool,
}

/// All streams of a live session as one.
pub(super) struct LiveStream {
    client: Client<TcpStream>,
    url: LiveUrl,
    session: u64,
    registry: Arc<ClassRegistry>,
    traces: Vec<LiveTrace>,
    streams: Vec<DataStream>,
    /// There will be no further streams.
    session_ended: bool,
    streams_asked: Instant,
    /// The last look brought nothing.
    idle: bool,
    written: u64,
    stop: Arc<AtomicBool>,
    damages: Arc<Mutex<Vec<String>>>,
}

impl LiveStream {
    pub(super) fn attach(
        mut client: Client<TcpStream>,
        url: LiveUrl,
        session: u64,
        from: Beginning,
        stop: Arc<AtomicBool>,
        damages: Arc<Mutex<Vec<String>>>,
        registry: Arc<ClassRegistry>,
    ) -> Result<LiveStream> {
        let announced = client.attach(session, from)?;
        let mut stream = LiveStream {
            client,
            url,
            session,
            registry,
            traces: Vec::new(),
            streams: Vec::new(),
            session_ended: false,
            streams_asked: Instant::now(),
            idle: false,
            written: 0,
            stop,
            damages,
        };
        stream.announce(&announced);
        Ok(stream)
    }

    /// Whether nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.session_ended && self.streams.iter().all(|s| s.ended)
    }

    /// The session, once the metadata of a first trace are there.
    pub(super) fn look_for_session(&mut self) -> Result<Option<SessionInfo>> {
        self.ask_for_streams()?;
        for index in 0..self.traces.len() {
            if !self.fetch_metadata(index)? {
                continue;
            }
            let begun = metadata_text(&self.traces[index].bytes).and_then(|text| {
                FedTrace::begin_session(&text, SOURCE, Arc::clone(&self.registry))
            });
            if let Some((session, fed)) = begun.map_err(|e| self.of_metadata(index, e))? {
                self.traces[index].fed = Some(fed);
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Hands over classes that are new.
    pub(super) fn tell_classes(&mut self, sink: &mut dyn Sink) -> Result<()> {
        for trace in &mut self.traces {
            let classes = trace.fed.as_ref().map_or(&[][..], FedTrace::classes);
            for class in classes.get(trace.told..).unwrap_or_default() {
                sink.class(class)?;
            }
            trace.told = classes.len();
        }
        Ok(())
    }

    fn of_metadata(&self, trace: usize, e: Error) -> Error {
        let metadata = self.traces.get(trace).and_then(|t| t.metadata.as_ref());
        let path = metadata.map_or("", |m| m.path_name.as_str());
        e.context(format!("{}: metadata of {path}: not usable", self.url))
    }

    fn ask_for_streams(&mut self) -> Result<()> {
        self.streams_asked = Instant::now();
        if self.session_ended {
            return Ok(());
        }
        match self.client.new_streams(self.session)? {
            NewStreams::Streams(announced) => self.announce(&announced),
            NewStreams::None => {}
            NewStreams::Ended => self.session_ended = true,
        }
        Ok(())
    }

    /// Streams that are new, or, after the connection broke, known ones with new numbers.
    fn announce(&mut self, announced: &[StreamSummary]) {
        for summary in announced.iter().filter(|s| s.is_metadata) {
            let known = self.traces.iter().position(|t| {
                let lost = t.metadata.as_ref().filter(|m| m.id == LOST);
                lost.is_some_and(|m| m.is_named_as(summary))
            });
            let index = known.unwrap_or_else(|| self.trace(summary.ctf_trace_id));
            let trace = &mut self.traces[index];
            trace.ctf_trace_id = summary.ctf_trace_id;
            trace.metadata = Some(summary.clone());
        }
        for summary in announced.iter().filter(|s| !s.is_metadata) {
            let known = self
                .streams
                .iter_mut()
                .find(|s| s.summary.id == LOST && s.summary.is_named_as(summary));
            if let Some(stream) = known {
                stream.summary = summary.clone();
                continue;
            }
            let trace = self.trace(summary.ctf_trace_id);
            self.streams.push(DataStream {
                summary: summary.clone(),
                trace,
                fed: None,
                complete_until: SessionTime::ZERO,
                ended: false,
            });
        }
    }

    fn trace(&mut self, ctf_trace_id: u64) -> usize {
        let known = self
            .traces
            .iter()
            .position(|t| t.ctf_trace_id == ctf_trace_id);
        known.unwrap_or_else(|| {
            self.traces.push(LiveTrace {
                ctf_trace_id,
                metadata: None,
                bytes: Vec::new(),
                fed: None,
                told: 0,
            });
            self.traces.len() - 1
        })
    }

    /// Fetches what there is of a trace's metadata. Says whether it was more than nothing.
    fn fetch_metadata(&mut self, trace: usize) -> Result<bool> {
        let trace = &mut self.traces[trace];
        let Some(metadata) = &trace.metadata else {
            return Ok(false);
        };
        let before = trace.bytes.len();
        while self.client.metadata(metadata.id, &mut trace.bytes)? {}
        Ok(trace.bytes.len() > before)
    }

    /// Fetches metadata and uses them.
    fn learn(&mut self, index: usize, sink: &mut dyn Sink) -> Result<()> {
        if !self.fetch_metadata(index)? {
            return Ok(());
        }
        let text = metadata_text(&self.traces[index].bytes);
        let text = text.map_err(|e| self.of_metadata(index, e))?;
        let learnt = match &mut self.traces[index].fed {
            Some(fed) => fed.grow(&text).map(|_| None),
            // The first one began the session.
            None => match self.traces.iter().find_map(|t| t.fed.as_ref()) {
                Some(first) => first.further(&text).map(Some),
                None => Ok(None),
            },
        };
        if let Some(fed) = learnt.map_err(|e| self.of_metadata(index, e))? {
            self.traces[index].fed = Some(fed);
        }
        self.tell_classes(sink)
    }

    fn look(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let mut progress = false;
        if self.streams_asked.elapsed() >= STREAMS_EVERY {
            self.ask_for_streams()?;
        }
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            let queued = stream.fed.as_ref().map_or(0, FedStream::queued);
            if stream.ended || queued >= QUEUED_MAX {
                continue;
            }
            progress |= self.look_at(index, sink)?;
        }
        // A stream that ended may be the last, or one of a process that others follow.
        if self.streams.iter().all(|s| s.ended) && !self.session_ended {
            self.ask_for_streams()?;
        }
        Ok(progress)
    }

    /// Fetches what one stream has next. Says whether that was anything.
    fn look_at(&mut self, index: usize, sink: &mut dyn Sink) -> Result<bool> {
        let stream = &self.streams[index];
        let (id, trace) = (stream.summary.id, stream.trace);
        if self.traces[trace].fed.is_none() {
            self.learn(trace, sink)?;
            if self.traces[trace].fed.is_none() {
                return Ok(false);
            }
        }
        let (next, news) = self.client.next_index(id)?;
        self.take_note(news, trace, sink)?;
        let time_of = |s: &Self, reading| match &s.traces[trace].fed {
            Some(fed) => fed.time_of(reading),
            None => SessionTime::ZERO,
        };
        match next {
            NextIndex::NotYet => Ok(false),
            NextIndex::InactiveUntil(reading) => {
                let until = time_of(self, reading);
                let stream = &mut self.streams[index];
                let moved = until > stream.complete_until;
                stream.complete_until = stream.complete_until.max(until);
                Ok(moved)
            }
            NextIndex::Ended => {
                self.streams[index].ended = true;
                Ok(true)
            }
            NextIndex::Packet(offset, packet) => {
                let until = time_of(self, packet.timestamp_end);
                let mut bytes = match &mut self.streams[index].fed {
                    Some(fed) => fed.buffer(),
                    None => Vec::new(),
                };
                let size_bytes = packet.packet_size_bits / 8;
                loop {
                    let got = self.client.packet(id, offset, size_bytes, &mut bytes)?;
                    let Some(news) = got else { break };
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                    if news == News::default() {
                        std::thread::sleep(PAUSE);
                    }
                    self.take_note(news, trace, sink)?;
                }
                self.push(index, bytes, until, sink)?;
                Ok(true)
            }
        }
    }

    fn take_note(&mut self, news: News, trace: usize, sink: &mut dyn Sink) -> Result<()> {
        if news.streams {
            self.ask_for_streams()?;
        }
        if news.metadata {
            self.learn(trace, sink)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        index: usize,
        bytes: Vec<u8>,
        until: SessionTime,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let stream = &mut self.streams[index];
        let Some(trace) = &self.traces[stream.trace].fed else {
            return Ok(());
        };
        let fed = match &mut stream.fed {
            Some(fed) => Ok(fed),
            none => trace
                .stream_of(&bytes, Cpu::NONE)
                .map(|fed| none.insert(fed.with_loss_reason(LossReason::StatedByInput))),
        };
        let damage = match fed {
            Ok(fed) => {
                fed.push(bytes, trace);
                fed.take_up(sink).err()
            }
            Err(e) => Some(e),
        };
        stream.complete_until = stream.complete_until.max(until);
        if let Some(damage) = damage {
            self.note_damage(index, &damage);
        }
        Ok(())
    }

    /// What comes of a stream behind a damaged packet is not read.
    fn note_damage(&mut self, index: usize, damage: &Error) {
        let stream = &mut self.streams[index];
        stream.ended = true;
        let (path, channel) = (&stream.summary.path_name, &stream.summary.channel_name);
        let what = format!(
            "{}: {path}/{channel} is damaged: what was whole before has been read: {damage:?}",
            self.url
        );
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        damages.push(what);
    }

    /// Makes a connection that broke anew. Packets that come again are read once.
    fn reconnect(&mut self, broke: Error) -> Result<()> {
        for _ in 0..RECONNECTS_MAX {
            std::thread::sleep(RECONNECT_PAUSE);
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let Ok(mut client) = connect(&self.url) else {
                continue;
            };
            let attached = find(&mut client, &self.url)
                .and_then(|session| Ok((session, client.attach(session, Beginning::Oldest)?)));
            let Ok((session, announced)) = attached else {
                continue;
            };
            (self.client, self.session) = (client, session);
            for trace in &mut self.traces {
                trace.ctf_trace_id = LOST;
                trace.bytes.clear();
                if let Some(metadata) = &mut trace.metadata {
                    metadata.id = LOST;
                }
            }
            for stream in &mut self.streams {
                stream.summary.id = LOST;
            }
            self.announce(&announced);
            for stream in self.streams.iter_mut().filter(|s| s.summary.id == LOST) {
                stream.ended = true;
            }
            return Ok(());
        }
        Err(broke)
    }
}

/// The number of what the relay daemon has not announced since the connection was made.
const LOST: u64 = u64::MAX;

impl RecordStream for LiveStream {
    fn source(&self) -> SourceId {
        SOURCE
    }

    fn cpu(&self) -> Cpu {
        Cpu::NONE
    }

    fn fill(&mut self, sink: &mut dyn Sink) -> Result<Fill> {
        if self.idle && !self.has_ended() {
            sink.flush()?;
            std::thread::sleep(PAUSE);
        }
        let progress = match self.look(sink) {
            Err(e) if e.kind() == ErrorKind::Io => {
                self.reconnect(e)?;
                true
            }
            looked => looked?,
        };
        self.idle = !progress;
        let ended = self.has_ended();
        let open = self.streams.iter().filter(|s| !s.ended);
        let complete_until = match ended {
            true => SessionTime::MAX,
            // Before there is a stream nothing is complete.
            false => open
                .map(|s| s.complete_until)
                .min()
                .unwrap_or(SessionTime::ZERO),
        };
        Ok(Fill {
            complete_until,
            more: progress && !ended,
        })
    }

    fn peek(&mut self) -> Option<SessionTime> {
        let fed = self.streams.iter_mut().filter_map(|s| s.fed.as_mut());
        fed.filter_map(FedStream::peek).min()
    }

    fn emit(&mut self, until: SessionTime, sink: &mut dyn Sink) -> Result<u64> {
        let mut emitted = 0;
        loop {
            let mut first: Option<(SessionTime, usize)> = None;
            // The others' records come first from here on.
            let mut bound = until;
            for (index, stream) in self.streams.iter_mut().enumerate() {
                let Some(time) = stream.fed.as_mut().and_then(FedStream::peek) else {
                    continue;
                };
                match first {
                    Some((earliest, _)) if earliest <= time => bound = bound.min(time),
                    Some((earliest, _)) => {
                        bound = bound.min(earliest);
                        first = Some((time, index));
                    }
                    None => first = Some((time, index)),
                }
            }
            let Some((_, index)) = first.filter(|(time, _)| *time <= until) else {
                self.written += emitted;
                return Ok(emitted);
            };
            let Some(fed) = self.streams[index].fed.as_mut() else {
                continue;
            };
            emitted += fed.emit(bound, sink)?;
            if fed.peek().is_none()
                && let Err(damage) = fed.take_up(sink)
            {
                self.note_damage(index, &damage);
            }
        }
    }

    fn finish(&mut self, _: &mut dyn Sink) -> Result<HopAccount> {
        let mut account = HopAccount::new(SOURCE, "lttng-live", Cpu::NONE);
        let lost = self.streams.iter().filter_map(|s| s.fed.as_ref());
        let lost = lost.map(FedStream::lost).sum::<u64>();
        account.written = self.written;
        account.seen = self.written + lost;
        if lost > 0 {
            account.dropped.insert(LossReason::StatedByInput, lost);
        }
        Ok(account)
    }
}
