//! What comes before and after the records of a file.

use super::{PerfDataSink, Pipe, is_this_boot};
use crate::file::compat::{self, PerfVersion};
use crate::file::evsel::EvselIndex;
use crate::file::features::{self, Features};
use crate::file::kept::Kept;
use crate::file::mapping::Plan;
use crate::file::output::Output;
use crate::file::raw::{self, PerfFileHeader, PerfFileSection, feature};
use crate::file::read::PerfDataReader;
use crate::uapi::{self, flag};
use kstrace_schema::merge::Merger;
use kstrace_schema::{FileInput, Result, Sink, Source};
use std::collections::BTreeSet;
use zerocopy::IntoBytes;

impl PerfDataSink {
    /// The start of a file whose description is known: it goes before the records.
    pub(super) fn begin_kept(&mut self, mut kept: Kept) -> Result<()> {
        if let Some(version) = self.options.compat {
            self.facts.append(&mut kept.cut_attrs(version));
        }
        if let Some(pipe) = self.pipe.take() {
            self.is_stream = true;
            self.stream.output = pipe.output;
            self.stream.output.write(&kept.encode_in_band())?;
            self.kept = Some((kept, PerfFileSection::default()));
            return Ok(());
        }
        let header_bytes = size_of::<PerfFileHeader>() as u64;
        let (attrs, section) = kept.encode_attrs(header_bytes);
        self.stream.output.write(&attrs)?;
        self.kept = Some((kept, section));
        Ok(())
    }

    fn complete_kept(&mut self) -> Result<()> {
        let Some((kept, attrs)) = &self.kept else {
            return Ok(());
        };
        self.stream.end_kept_round(kept)?;
        let output = &mut self.stream.output;
        if self.is_stream {
            return output.complete(&[]);
        }
        let data_end = output.position();
        let (sections, bits) = kept.encode_features(data_end);
        output.write(&sections)?;
        let data_at = attrs.offset + attrs.size;
        let data = PerfFileSection {
            offset: data_at,
            size: data_end - data_at,
        };
        output.complete(&kept.encode_header(*attrs, data, bits))
    }

    pub(super) fn complete(&mut self) -> Result<()> {
        if self.kept.is_some() {
            return self.complete_kept();
        }
        self.stream.end_round()?;
        self.leave_out_what_never_happened();
        if self.stream.evsels.all().is_empty() {
            // perf's reader wants at least one event.
            self.stream.evsels.dummy();
        }
        let clock = self.session.as_ref().map(|s| &s.clock);
        if let Some(clockid) = clock.and_then(|c| features::clockid(c.kind)) {
            for evsel in self
                .stream
                .evsels
                .all_mut()
                .iter_mut()
                .filter(|e| e.made_up)
            {
                evsel.attr.flags |= flag::USE_CLOCKID;
                evsel.attr.clockid = clockid;
            }
        }
        let attr_size = self.attr_size();
        let data_end = self.stream.output.position();
        let features = self.features(attr_size);
        let (sections, adds_features) = features.encode(data_end);
        self.stream.output.write(&sections)?;
        let attrs_offset = self.stream.output.position();
        let (attrs, attrs_bytes) =
            features::encode_attrs(self.stream.evsels.all(), attr_size, attrs_offset);
        self.stream.output.write(&attrs)?;

        let header_bytes = size_of::<PerfFileHeader>() as u64;
        let header = PerfFileHeader {
            magic: raw::PERF_MAGIC2,
            size: header_bytes,
            attr_size: (attr_size + size_of::<PerfFileSection>()) as u64,
            attrs: PerfFileSection {
                offset: attrs_offset,
                size: attrs_bytes,
            },
            data: PerfFileSection {
                offset: header_bytes,
                size: data_end - header_bytes,
            },
            event_types: PerfFileSection::default(),
            adds_features,
        };
        self.stream.output.complete(header.as_bytes())?;
        match self.pipe.take() {
            Some(pipe) => self.pass_on(pipe),
            None => Ok(()),
        }
    }

    /// The size of all attrs, as small as can be. What the perf that is to read them has no
    /// place for is told.
    fn attr_size(&mut self) -> usize {
        let version = self.options.compat.unwrap_or(PerfVersion::CONSERVATIVE);
        let evsels = self.stream.evsels.all();
        let size_bytes = features::attr_size(evsels, version.attr_bytes());
        for evsel in evsels {
            for field in compat::fields_behind(&evsel.attr, size_bytes) {
                let name = &evsel.name;
                self.facts
                    .push(format!("{field} of {name}, unknown to perf {version}"));
            }
        }
        size_bytes
    }

    /// A trace.dat describes all events of its machine. Those of which there is nothing here
    /// would only be in the way: perf reads the format of each, and grumbles about some.
    fn leave_out_what_never_happened(&mut self) {
        let happened: BTreeSet<EvselIndex> = self
            .classes
            .iter()
            .filter(|account| account.kept > 0)
            .filter_map(|account| match &account.plan {
                Plan::Tracepoint(plan) => Some(plan.evsel),
                Plan::ForeignTracepoint(foreign) => Some(foreign.plan.evsel),
                Plan::Made(plan) => Some(plan.evsel),
                _ => None,
            })
            .collect();
        let left_out = &self.announce_all;
        let stream = &mut self.stream;
        stream.evsels.retain(|index, evsel| {
            !left_out.contains(&evsel.source) || evsel.told_of || happened.contains(&index)
        });
        let numbers: BTreeSet<u64> = stream
            .evsels
            .all()
            .iter()
            .filter(|evsel| evsel.attr.kind == uapi::PERF_TYPE_TRACEPOINT)
            .map(|evsel| evsel.attr.config)
            .collect();
        stream.formats.retain(&numbers);
    }

    /// Writes the file that was put aside as a stream.
    fn pass_on(&mut self, pipe: Pipe) -> Result<()> {
        let mut reader = PerfDataReader::of_file("temporary file", &pipe.aside)?;
        let mut sink = PerfDataSink {
            pipe: Some(pipe),
            ..Self::start(
                Output::to_stream("nowhere", std::io::sink()),
                self.options.clone(),
            )?
        };
        sink.session(reader.session())?;
        let mut merger = Merger::new(reader.streams(&mut sink)?);
        while !merger.round(&mut sink)?.finished() {}
        if let Some(failed) = merger.take_errors().pop() {
            return Err(failed.error);
        }
        sink.finish()?;
        if let Some((kept, _)) = &mut sink.kept {
            self.facts.append(&mut kept.take_not_in_band());
        }
        Ok(())
    }

    fn features(&mut self, attr_size: usize) -> Features {
        let mut features = Features::default();
        let session = self.session.as_ref();
        let stream = &self.stream;
        if !stream.formats.is_empty() {
            let page_size = session.map_or(0, |s| s.host.page_size_bytes);
            let page_size = if page_size == 0 { 4096 } else { page_size };
            let bytes = stream.formats.encode(page_size, &stream.commands());
            features.add(feature::TRACING_DATA, bytes);
        }
        if self.options.build_ids {
            let same_boot = session.is_some_and(|s| is_this_boot(&s.clock.boot_id));
            let bytes = stream.files.encode(same_boot);
            if !bytes.is_empty() {
                features.add(feature::BUILD_ID, bytes);
            }
        }
        features.add_text(
            feature::VERSION,
            concat!("kstrace ", env!("CARGO_PKG_VERSION")),
        );
        features.add_event_desc(stream.evsels.all(), attr_size);
        if let Some((first_ns, last_ns)) = stream.sample_times() {
            features.add(
                feature::SAMPLE_TIME,
                [first_ns, last_ns].as_bytes().to_vec(),
            );
        }
        if let Some(session) = session {
            features.add_host(&session.host);
            features.add_command_line(&session.capture.command_line);
            let first_ns = stream.sample_times().map_or(0, |(first, _)| first);
            features.add_clock(&session.clock, self.first_pair.as_ref(), first_ns);
        }
        features
    }
}
