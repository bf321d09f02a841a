//! CTF 2 of other tools. Nothing here reads it but us, so the judge reads our copy in CTF 1.8.

use crate::foreign::{Bits, babeltrace2, copy, make};
use kstrace_ctf::{CtfReader, MetadataFormat};
use kstrace_schema::Source;
use serde_json::{Value, json};

fn sequence(fragments: &[Value]) -> String {
    fragments.iter().map(|f| format!("\u{1e}{f}\n")).collect()
}

fn unsigned(length: u32, roles: &[&str]) -> Value {
    json!({ "type": "fixed-length-unsigned-integer", "length": length, "byte-order": "little-endian", "alignment": 8, "roles": roles })
}

fn member(name: &str, class: Value) -> Value {
    json!({ "name": name, "field-class": class })
}

fn structure(members: Vec<Value>) -> Value {
    json!({ "type": "structure", "member-classes": members })
}

/// A trace of one stream, whose events have these members.
fn fragments(payload: Vec<Value>) -> Vec<Value> {
    vec![
        json!({ "type": "preamble", "version": 2 }),
        json!({ "type": "field-class-alias", "name": "byte", "field-class": unsigned(8, &[]) }),
        json!({ "type": "trace-class", "environment": { "hostname": "box", "number": 4 },
            "packet-header-field-class": structure(vec![
                member("magic", unsigned(32, &["packet-magic-number"])),
                member("class", unsigned(8, &["data-stream-class-id"])),
            ]) }),
        json!({ "type": "clock-class", "id": "the-clock", "name": "c", "frequency": 1_000_000_000u64,
            "origin": "unix-epoch", "offset-from-origin": { "seconds": 1_700_000_000, "cycles": 9 } }),
        json!({ "type": "data-stream-class", "id": 2, "default-clock-class-id": "the-clock",
            "packet-context-field-class": structure(vec![
                member("size", unsigned(32, &["packet-total-length"])),
                member("content", unsigned(32, &["packet-content-length"])),
                member("from", unsigned(64, &["default-clock-timestamp"])),
                member("to", unsigned(64, &["packet-end-default-clock-timestamp"])),
                member("cpu_id", unsigned(8, &[])),
            ]),
            "event-record-header-field-class": structure(vec![
                member("which", unsigned(8, &["event-record-class-id"])),
                member("at", unsigned(16, &["default-clock-timestamp"])),
            ]) }),
        json!({ "type": "event-record-class", "id": 7, "data-stream-class-id": 2, "name": "thing",
            "attributes": { "example.com": { "kept": true } },
            "payload-field-class": structure(payload) }),
    ]
}

fn packet(events: impl Fn(&mut Bits, u64)) -> Vec<u8> {
    let build = |size: u64| {
        let mut bits = Bits::new(false);
        bits.int(0xc1fc_1fc1, 32)
            .int(2, 8)
            .int(size, 32)
            .int(size, 32)
            .int(65_000, 64)
            .int(70_000, 64)
            .int(1, 8);
        for round in 0..4u64 {
            bits.align(8)
                .int(7, 8)
                .int((65_000 + round * 500) & 0xffff, 16);
            events(&mut bits, round);
        }
        bits.align(8);
        bits
    };
    let size = build(0).at;
    build(size).bytes
}

fn text_of(payload: Vec<Value>, events: impl Fn(&mut Bits, u64)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(
        &from,
        sequence(&fragments(payload)).as_bytes(),
        &[("s", &packet(events))],
    );
    let (report, errors) = copy(&from, &to, MetadataFormat::Ctf1_8).unwrap();
    assert!(
        errors.is_empty() && report.not_held.is_empty(),
        "{errors:?} {report:?}"
    );
    let (text, complaints) = babeltrace2(&to);
    assert_eq!(
        text.lines().count(),
        4,
        "{complaints} {}",
        std::fs::read_to_string(to.join("metadata")).unwrap()
    );
    text
}

#[test]
fn numbers_texts_and_blobs() {
    let text = text_of(
        vec![
            member("alias", json!("byte")),
            member(
                "signed",
                json!({ "type": "fixed-length-signed-integer", "length": 12, "byte-order": "little-endian", "mappings": { "less": [[-5, -1]], "rest": [[0, 9]] } }),
            ),
            member(
                "flag",
                json!({ "type": "fixed-length-boolean", "length": 4, "byte-order": "little-endian" }),
            ),
            member(
                "uleb",
                json!({ "type": "variable-length-unsigned-integer" }),
            ),
            member(
                "sleb",
                json!({ "type": "variable-length-signed-integer", "preferred-display-base": 10 }),
            ),
            member(
                "wide",
                json!({ "type": "null-terminated-string", "encoding": "utf-16le" }),
            ),
            member(
                "room",
                json!({ "type": "static-length-string", "length": 4 }),
            ),
            member("n", unsigned(8, &[])),
            member(
                "blob",
                json!({ "type": "dynamic-length-blob", "length-field-location": { "path": ["n"] } }),
            ),
            member(
                "text",
                json!({ "type": "dynamic-length-string", "length-field-location": { "origin": "event-record-payload", "path": ["n"] } }),
            ),
            member(
                "half",
                json!({ "type": "fixed-length-floating-point-number", "length": 16, "byte-order": "little-endian", "alignment": 8 }),
            ),
            member("int", unsigned(8, &[])),
        ],
        |bits, round| {
            bits.int(round, 8);
            bits.int((round as i64 - 2) as u64 & 0xfff, 12)
                .int(round % 2, 4);
            bits.raw(&[0x80 | round as u8, 0x01]).raw(&[0x7f]);
            for unit in "ü€".encode_utf16().chain([0]) {
                bits.int(unit.into(), 16);
            }
            bits.raw(b"ab\0\0")
                .int(2, 8)
                .raw(&[0xca, 0xfe])
                .raw(b"hi")
                .int(0x3e00, 16)
                .int(250, 8);
        },
    );
    let line = text.lines().next().unwrap();
    for part in [
        "box thing: { cpu_id = 1 }",
        "alias = 0",
        "signed = ( \"less\" : container = -2 )",
        "flag = ( \"false\" : container = 0 )",
        "uleb = 128",
        "sleb = -1",
        "wide = \"ü€\"",
        "room = \"ab\"",
        "blob = [ [0] = 0xCA, [1] = 0xFE ]",
        "text = \"hi\"",
        "half = 1.5",
        "int = 250",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // 16 bits of the clock: it has wrapped by the third event.
    assert!(
        text.lines().nth(2).unwrap().contains("(+0.000000500)"),
        "{text}"
    );
}

#[test]
fn optionals_variants_and_arrays() {
    let text = text_of(
        vec![
            member("tag", unsigned(8, &[])),
            member(
                "maybe",
                json!({ "type": "optional", "selector-field-location": { "path": ["tag"] }, "selector-field-ranges": [[1, 2]], "field-class": "byte" }),
            ),
            member(
                "one",
                json!({ "type": "variant", "selector-field-location": { "path": ["tag"] }, "options": [
                { "name": "a", "selector-field-ranges": [[0, 1]], "field-class": "byte" },
                { "selector-field-ranges": [[2, 9]], "field-class": { "type": "null-terminated-string" } },
            ] }),
            ),
            member(
                "list",
                json!({ "type": "dynamic-length-array", "length-field-location": { "path": ["tag"] }, "element-field-class":
                structure(vec![member("k", unsigned(16, &[])), member("s", json!({ "type": "null-terminated-string" }))]) }),
            ),
            member(
                "pair",
                json!({ "type": "static-length-array", "length": 2, "element-field-class": "byte" }),
            ),
        ],
        |bits, round| {
            bits.int(round, 8);
            if (1..=2).contains(&round) {
                bits.int(40 + round, 8);
            }
            if round < 2 {
                bits.int(30, 8);
            } else {
                bits.text("thirty");
            }
            for index in 0..round {
                bits.int(index, 16).text("e");
            }
            bits.int(1, 8).int(2, 8);
        },
    );
    let lines = text.lines().collect::<Vec<_>>();
    assert!(
        lines[1].contains("maybe = { 41 }") && lines[1].contains("one = { 30 }"),
        "{text}"
    );
    assert!(
        lines[3].contains("one = { \"thirty\" }") && lines[3].contains("{ k = 2, s = \"e\" }"),
        "{text}"
    );
}

#[test]
fn extensions_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = fragments(vec![member("n", json!("byte"))]);
    all[0]["extensions"] = json!({ "example.com": { "time-travel": {} } });
    make(dir.path(), sequence(&all).as_bytes(), &[]);
    let error = format!("{:?}", CtfReader::open(dir.path()).unwrap_err());
    assert!(error.contains("'time-travel' of 'example.com'"), "{error}");
}

#[test]
fn our_own_ctf_2_is_read_like_any() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, again) = (
        dir.path().join("a"),
        dir.path().join("b"),
        dir.path().join("c"),
    );
    let payload = vec![
        member("n", json!("byte")),
        member("s", json!({ "type": "null-terminated-string" })),
    ];
    let file = packet(|bits, round| {
        bits.int(round, 8).text("text");
    });
    make(
        &from,
        sequence(&fragments(payload)).as_bytes(),
        &[("s", &file)],
    );
    copy(&from, &to, MetadataFormat::Ctf2).unwrap();
    let (report, errors) = copy(&to, &again, MetadataFormat::Ctf1_8).unwrap();
    assert_eq!((report.kept, errors.len()), (4, 0), "{report:?} {errors:?}");
    let (text, complaints) = babeltrace2(&again);
    assert!(
        text.contains("thing: { cpu_id = 1 }, { n = 3, s = \"text\" }"),
        "{text} {complaints}"
    );
    let reader = CtfReader::open(&to).unwrap();
    assert_eq!(reader.info().kind, "ctf");
}
