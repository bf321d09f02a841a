//! Metadata of the classes that real sources make.

use crate::support::{babeltrace2_ok, builder, class, record, session};
use kstrace_ctf::{TraceWriter, TraceWriterOptions};
use kstrace_perf::layout::{RawPart, SampleShape};
use kstrace_perf::uapi::{PERF_SAMPLE_BRANCH_STACK, PERF_SAMPLE_MAX};
use kstrace_tracepoint::TracepointLayout;
use tracefs::format::EventFormat;

#[test]
fn every_tracepoint_of_this_machine_is_expressible() {
    let tracefs = match tracefs::Tracefs::discover() {
        Ok(tracefs) => tracefs,
        Err(e) => return eprintln!("skipped: no tracefs here: {e}"),
    };
    let events = tracefs.events().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    let mut packet = builder(0);
    let mut expected = Vec::new();
    for event in events.names() {
        let Ok(text) = events.format(event) else {
            continue;
        };
        let format = EventFormat::parse(&text).unwrap();
        let layout = TracepointLayout::describe(&event.system, &format).unwrap();
        for (payload, suffix) in [(layout.payload, ""), (layout.odd_payload, "#odd")] {
            let id = u16::try_from(expected.len()).unwrap();
            let name = format!("{}:{}{suffix}", event.system, event.name);
            // Zeros are a whole record of any tracepoint: every dynamic field is empty.
            let zeros = vec![0u8; layout.fixed_len_bytes as usize];
            writer
                .add_class(&class(id, &name, payload.members))
                .unwrap();
            packet.push(&record(u64::from(id), id, 0, &zeros));
            expected.push((name, format.all_fields().count()));
        }
    }
    assert!(expected.len() > 2000, "{} classes", expected.len());
    packet.take(|p| writer.append_packet(0, p)).unwrap();
    writer.finish().unwrap();
    let metadata = std::fs::read_to_string(dir.join("metadata")).unwrap();
    let fallbacks = metadata.matches("not expressible").count();
    assert_eq!(fallbacks, 0);
    let lines = babeltrace2_ok(&dir);
    assert_eq!(lines.len(), expected.len());
    for (line, (name, fields)) in lines.iter().zip(&expected) {
        assert!(
            line.contains(&format!("box {name}: ")),
            "{line}\nis not of {name}"
        );
        assert!(line.matches(" = ").count() >= *fields, "{line}");
    }
}

#[test]
fn every_kind_of_perf_sample_is_expressible() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("t.kst");
    let mut writer = TraceWriter::create(&dir, &session(), &TraceWriterOptions::default()).unwrap();
    let bits = (0..64).map(|b| 1u64 << b).filter(|b| *b < PERF_SAMPLE_MAX);
    let mut types = bits.collect::<Vec<_>>();
    types.push(PERF_SAMPLE_MAX - 1);
    types.push((PERF_SAMPLE_MAX - 1) & !PERF_SAMPLE_BRANCH_STACK);
    let mut packet = builder(0);
    for (index, sample_type) in types.iter().enumerate() {
        let shape = SampleShape {
            sample_type: *sample_type,
            read_format: 0xf,
            branch_sample_type: 0,
            sample_regs_user: 0xff,
            sample_regs_intr: 0x3,
        };
        let payload = shape.payload(&RawPart::Blob);
        let id = index as u16;
        // All counts zero: of the dynamic parts nothing is there.
        let size = payload
            .members
            .iter()
            .map_while(|m| Some(m.class.static_size_bytes().unwrap_or(0)));
        let zeros = vec![0u8; size.sum::<u32>() as usize];
        writer
            .add_class(&class(
                id,
                &format!("sample {sample_type:#x}"),
                payload.members,
            ))
            .unwrap();
        packet.push(&record(u64::from(id), id, 0, &zeros));
    }
    packet.take(|p| writer.append_packet(0, p)).unwrap();
    writer.finish().unwrap();
    let metadata = std::fs::read_to_string(dir.join("metadata")).unwrap();
    assert_eq!(metadata.matches("payload_len payload_len").count(), 0);
    assert!(!metadata.contains("not expressible"), "{metadata}");
    assert_eq!(babeltrace2_ok(&dir).len(), types.len());
}
