//! Writing a trace directory.

use super::existing::{self, Place};
use super::layout::{
    Accounts, FORMAT, FORMAT_VERSION, METADATA, SIDE, SessionFile, TraceState, accounts_path,
    classes_path, segment_name, session_path,
};
use super::segment::Segment;
use crate::packet::{self, uuid_bytes};
use crate::{ctf2, tsdl};
use kstrace_schema::builtin::{self, ClockPairPayload, LostPayload};
use kstrace_schema::wire::PacketHeader;
use kstrace_schema::{
    Certainty, ClassId, ClockPair, Error, ErrorKind, EventRecordClass, HopAccount, Loss,
    MODEL_VERSION, Result, SessionInfo, namespace,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerocopy::FromBytes;

/// Which language the metadata is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataFormat {
    /// TSDL, CTF 1.8: what today's readers take.
    #[default]
    Ctf1_8,
    /// A JSON text sequence, CTF 2.
    Ctf2,
}

/// How a trace is written.
#[derive(Clone, Debug)]
pub struct TraceWriterOptions {
    /// Language of the metadata.
    pub metadata: MetadataFormat,
    /// Length of a lane's first file in bytes; each further one is twice as long.
    pub first_segment_bytes: u64,
    /// Length of a lane's file at most, unless a single packet is larger.
    pub max_segment_bytes: u64,
}

impl Default for TraceWriterOptions {
    fn default() -> Self {
        TraceWriterOptions {
            metadata: MetadataFormat::Ctf1_8,
            first_segment_bytes: 1 << 20,
            max_segment_bytes: 1 << 30,
        }
    }
}

#[derive(Debug)]
struct Lane {
    segment: Segment,
    number: u32,
}

/// Loss that is added up, by source, CPU, reason and class.
type LossKey = (u16, u32, u32, Option<u16>);

/// Writes a trace directory that is readable at every instant.
///
/// After an error the trace holds what was written before, and calls may be
/// tried again. Dropped without [`finish`](TraceWriter::finish) it leaves what
/// a killed process leaves: a readable trace in the state "recording".
#[derive(Debug)]
pub struct TraceWriter {
    dir: PathBuf,
    options: TraceWriterOptions,
    session: SessionInfo,
    uuid: [u8; 16],
    lanes: BTreeMap<u32, Lane>,
    /// Files that are full but could not be cut to their true length.
    unsealed: Vec<(u32, Lane)>,
    /// Metadata so far, and how much of it is on disk.
    metadata: String,
    metadata_dirty: bool,
    classes_file: File,
    classes_pending: Vec<u8>,
    lost_class: Option<ClassId>,
    clock_pair_class: Option<ClassId>,
    accounts: Accounts,
    losses: BTreeMap<LossKey, Loss>,
}

impl TraceWriter {
    /// Makes the directory `dir` for a session.
    ///
    /// It appears at once with everything a reader needs. A kstrace trace of
    /// that name is renamed to `NAME.old` (replacing an older one); anything
    /// else but an empty directory is refused. Only the owner may look into it.
    ///
    /// # Errors
    /// `ErrorKind::InvalidInput` for a name or place that will not do, or the
    /// operating system's refusals.
    pub fn create(
        dir: &Path,
        session: &SessionInfo,
        options: &TraceWriterOptions,
    ) -> Result<TraceWriter> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidInput, what);
        let uuid = uuid_bytes(&session.uuid)
            .ok_or_else(|| invalid(format!("session uuid '{}' is not a UUID", session.uuid)))?;
        let target = std::path::absolute(dir)
            .map_err(|e| Error::io(format!("find the path of {}", dir.display()), e))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(invalid(format!(
                "'{}' is no name for a trace",
                dir.display()
            )));
        };
        let place = existing::inspect(&target)?;
        // Made under a hidden name, so that the trace is there whole or not at all.
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".new-{}", std::process::id()));
        let hidden = parent.join(hidden);
        let made = Self::fill(&hidden, session, uuid, options).and_then(|mut writer| {
            existing::make_way(&target, &place)?;
            if let Err(e) = fs::rename(&hidden, &target) {
                if let Place::Trace { backup } = &place {
                    // Best effort: put back what was there.
                    let _ = fs::rename(backup, &target);
                }
                return Err(Error::io(format!("make the trace {}", target.display()), e));
            }
            writer.dir.clone_from(&target);
            Ok(writer)
        });
        if made.is_err() {
            // Best effort; it is hidden and ours.
            let _ = fs::remove_dir_all(&hidden);
        }
        made
    }

    fn fill(
        dir: &Path,
        session: &SessionInfo,
        uuid: [u8; 16],
        options: &TraceWriterOptions,
    ) -> Result<TraceWriter> {
        let make = |path: &Path| {
            DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(|e| Error::io(format!("make the directory {}", path.display()), e))
        };
        if dir.exists() {
            // Left by a killed process of the same number.
            fs::remove_dir_all(dir)
                .map_err(|e| Error::io(format!("remove {}", dir.display()), e))?;
        }
        make(dir)?;
        make(&dir.join(SIDE))?;
        let classes_path = classes_path(dir);
        let classes_file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&classes_path)
            .map_err(|e| Error::io(format!("create {}", classes_path.display()), e))?;
        let metadata = match options.metadata {
            MetadataFormat::Ctf1_8 => tsdl::preamble(session),
            MetadataFormat::Ctf2 => ctf2::session_fragments(session)
                .iter()
                .map(ctf2::text_sequence_item)
                .collect(),
        };
        let mut writer = TraceWriter {
            dir: dir.to_owned(),
            options: options.clone(),
            session: session.clone(),
            uuid,
            lanes: BTreeMap::new(),
            unsealed: Vec::new(),
            metadata,
            metadata_dirty: true,
            classes_file,
            classes_pending: Vec::new(),
            lost_class: None,
            clock_pair_class: None,
            accounts: Accounts::default(),
            losses: BTreeMap::new(),
        };
        writer.write_session(TraceState::Recording)?;
        writer.flush_metadata()?;
        Ok(writer)
    }

    /// The trace's directory, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of packets written so far.
    pub fn bytes_written(&self) -> u64 {
        self.accounts.bytes
    }

    /// Records written so far, kstrace's own included.
    pub fn records_written(&self) -> u64 {
        self.accounts.records
    }

    /// Makes a class known. It is on disk before the next packet is.
    ///
    /// # Errors
    /// `ErrorKind::InvalidData` for a class that cannot be written as JSON.
    pub fn add_class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        serde_json::to_writer(&mut self.classes_pending, class.as_ref()).map_err(|e| {
            let what = format!("write the class {}", class.qualified_name());
            Error::with_source(ErrorKind::InvalidData, what, e)
        })?;
        self.classes_pending.push(b'\n');
        self.metadata += &match self.options.metadata {
            MetadataFormat::Ctf1_8 => tsdl::event_block(class),
            MetadataFormat::Ctf2 => {
                ctf2::text_sequence_item(&ctf2::event_record_class_fragment(class))
            }
        };
        self.metadata_dirty = true;
        if class.namespace == namespace::KSTRACE {
            match class.name.as_str() {
                builtin::LOST => self.lost_class = Some(class.id),
                builtin::CLOCK_PAIR => self.clock_pair_class = Some(class.id),
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends a packet to a lane: a whole one, or one that is cut off after
    /// its content.
    ///
    /// `content_size` may or may not count the padding of the last record; in
    /// the file it does not. `packet_size` is set to what it is there.
    /// `kstrace:lost` and `kstrace:clock_pair` records are noted for the accounts.
    ///
    /// # Errors
    /// `ErrorKind::InvalidInput` for a packet that is damaged or another
    /// session's, `ErrorKind::ResourceExhausted` for a full disk: the packet is
    /// then not in the trace, and everything before it is.
    pub fn append_packet(&mut self, lane: u32, packet: &[u8]) -> Result<()> {
        self.flush_metadata()?;
        let (lost, clock_pair) = (self.lost_class, self.clock_pair_class);
        let (mut losses, mut pairs) = (Vec::new(), Vec::new());
        let walked = packet::walk(packet, &self.uuid, |record| {
            let class = Some(ClassId(record.header.class_id));
            if class == lost {
                if let Ok((payload, _)) = LostPayload::read_from_prefix(record.payload) {
                    losses.push(Loss::from(&payload));
                }
            } else if class == clock_pair
                && let Ok((payload, _)) = ClockPairPayload::read_from_prefix(record.payload)
            {
                pairs.push(ClockPair::from(&payload));
            }
        })
        .map_err(|e| {
            let what = format!("packet for lane {lane} of {}", self.dir.display());
            Error::with_source(ErrorKind::InvalidInput, what, e)
        })?;
        let content = packet.get(..walked.content_bytes).unwrap_or(packet);
        let header = PacketHeader {
            stream_instance_id: u64::from(lane),
            content_size_bits: walked.content_bytes as u64 * 8,
            ..walked.header
        };
        self.write_packet(lane, header, content).map_err(|e| {
            let name = segment_name(lane, self.lanes.get(&lane).map_or(0, |l| l.number));
            Error::io(format!("write {}", self.dir.join(name).display()), e)
        })?;
        // Noted only now: the caller may try a packet again.
        losses
            .iter()
            .for_each(|loss| note_loss(&mut self.losses, loss));
        self.accounts.clock_pairs.append(&mut pairs);
        self.accounts.packets += 1;
        self.accounts.records += u64::from(header.record_count);
        self.accounts.bytes += content.len() as u64;
        Ok(())
    }

    fn write_packet(
        &mut self,
        lane: u32,
        header: PacketHeader,
        content: &[u8],
    ) -> std::io::Result<()> {
        let (len, number) = match self.lanes.get_mut(&lane) {
            Some(lane) if lane.segment.has_room(content.len()) => {
                return lane.segment.append(header, content);
            }
            Some(lane) => (lane.segment.len().saturating_mul(2), lane.number + 1),
            None => (self.options.first_segment_bytes, 0),
        };
        let len = len.min(self.options.max_segment_bytes);
        let name = segment_name(lane, number);
        let segment = Segment::create(&self.dir, &name, len, header, content)?;
        if let Some(mut before) = self.lanes.insert(lane, Lane { segment, number })
            && before.segment.seal().is_err()
        {
            // The packet is written, so this is no failure of its; tried again at the end.
            self.unsealed.push((lane, before));
        }
        Ok(())
    }

    /// The account of one hop, to be kept with the trace.
    pub fn account(&mut self, account: &HopAccount) {
        self.accounts.accounts.push(account.clone());
    }

    /// Loss that is in no packet.
    pub fn loss(&mut self, loss: &Loss) {
        note_loss(&mut self.losses, loss);
    }

    /// A reading of the clocks that is in no packet.
    pub fn clock_pair(&mut self, pair: &ClockPair) {
        self.accounts.clock_pairs.push(*pair);
    }

    /// What is known of the session now: the clock's error bound, sources that came later.
    ///
    /// It takes effect when the trace is finished. The session stays the same one.
    pub fn update_session(&mut self, session: &SessionInfo) {
        let uuid = std::mem::take(&mut self.session.uuid);
        self.session = SessionInfo {
            uuid,
            ..session.clone()
        };
    }

    /// Completes the trace: files are cut to their true length, the accounts written.
    ///
    /// # Errors
    /// The operating system's. Everything is tried even so; the trace is
    /// readable, and stays in the state "recording".
    pub fn finish(&mut self) -> Result<&Accounts> {
        let mut result = self.flush_metadata();
        let unsealed = self
            .unsealed
            .iter_mut()
            .map(|(number, lane)| (&*number, lane));
        for (number, lane) in self.lanes.iter_mut().chain(unsealed) {
            let sealed = lane.segment.seal().map_err(|e| {
                let name = segment_name(*number, lane.number);
                Error::io(format!("complete {}", self.dir.join(name).display()), e)
            });
            result = result.and(sealed);
        }
        self.accounts.losses = self.losses.values().cloned().collect();
        let path = accounts_path(&self.dir);
        result = result.and_then(|()| write_json(&path, &self.accounts));
        result.and_then(|()| self.write_session(TraceState::Complete))?;
        Ok(&self.accounts)
    }

    fn write_session(&self, state: TraceState) -> Result<()> {
        write_json(
            &session_path(&self.dir),
            &SessionFile {
                format: FORMAT.to_owned(),
                format_version: FORMAT_VERSION,
                model_version: MODEL_VERSION,
                state,
                session: self.session.clone(),
            },
        )
    }

    fn flush_metadata(&mut self) -> Result<()> {
        if !self.metadata_dirty {
            return Ok(());
        }
        if !self.classes_pending.is_empty() {
            // Where this fails half-way, the next attempt writes whole lines again:
            // the reader skips a line that is cut and takes the last of equal ids.
            self.classes_pending.insert(0, b'\n');
            let written = self.classes_file.write_all(&self.classes_pending);
            self.classes_pending.remove(0);
            let path = classes_path(&self.dir);
            written.map_err(|e| Error::io(format!("write {}", path.display()), e))?;
            self.classes_pending.clear();
        }
        replace(&self.dir.join(METADATA), self.metadata.as_bytes())?;
        self.metadata_dirty = false;
        Ok(())
    }
}

fn note_loss(losses: &mut BTreeMap<LossKey, Loss>, loss: &Loss) {
    let key = (
        loss.source.0,
        loss.cpu.0,
        loss.reason as u32,
        loss.class.map(|c| c.0),
    );
    losses
        .entry(key)
        .and_modify(|sum| {
            sum.count = sum.count.saturating_add(loss.count);
            sum.begin = sum.begin.min(loss.begin);
            sum.end = sum.end.max(loss.end);
            if loss.certainty == Certainty::AtLeast {
                sum.certainty = Certainty::AtLeast;
            }
        })
        .or_insert_with(|| loss.clone());
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| {
        Error::with_source(
            ErrorKind::InvalidData,
            format!("write {}", path.display()),
            e,
        )
    })?;
    text.push(b'\n');
    replace(path, &text)
}

/// Replaces a file's content at once: readers see the old or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut hidden = path.to_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    hidden.set_file_name(format!(".{name}.new"));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&hidden)?;
        file.write_all(content)?;
        fs::rename(&hidden, path)
    };
    write().map_err(|e| Error::io(format!("write {}", path.display()), e))
}
