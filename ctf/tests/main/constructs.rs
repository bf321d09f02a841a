//! Every construct of TSDL, with babeltrace2 as the judge: its text of the
//! trace and of our copy of it must be the same.

use crate::foreign::{Bits, babeltrace2, copy, judged, judged_dir, make};
use kstrace_ctf::MetadataFormat;

/// Metadata of one stream of plain headers, with these fields.
fn plain(order: &str, types: &str, context: &str, fields: &str) -> String {
    format!(
        "/* CTF 1.8 */
typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 16; align = 8; signed = false; }} := uint16_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
typealias integer {{ size = 64; align = 8; signed = false; }} := uint64_t;
{types}
trace {{ major = 1; minor = 8; byte_order = {order}; packet.header := struct {{ uint32_t magic; uint32_t stream_id; }}; }};
env {{ hostname = \"box\"; number = -5; }};
clock {{ name = c; freq = 1000000000; offset_s = 1700000000; offset = 5; }};
typealias integer {{ size = 64; align = 8; map = clock.c.value; }} := stamp_t;
stream {{ id = 0; packet.context := struct {{ uint64_t content_size; uint64_t packet_size; {context} }};
  event.header := struct {{ stamp_t timestamp; uint16_t id; }}; }};
event {{ name = \"an event\"; id = 0; stream_id = 0; fields := struct {{ {fields} }}; }};
"
    )
}

/// One packet; `content` and `packet` size are filled in.
fn packet(big: bool, context: impl Fn(&mut Bits), events: impl Fn(&mut Bits)) -> Vec<u8> {
    let build = |content: u64, size: u64| {
        let mut bits = Bits::new(big);
        bits.int(0xc1fc_1fc1, 32)
            .int(0, 32)
            .int(content, 64)
            .int(size, 64);
        context(&mut bits);
        events(&mut bits);
        let content = bits.at;
        bits.align(64);
        (content, bits)
    };
    let (content, bits) = build(0, 0);
    let size = bits.at;
    build(content, size).1.bytes
}

fn header(bits: &mut Bits, time: u64, id: u64) {
    bits.align(8).int(time, 64).int(id, 16);
}

fn orders() -> [(&'static str, bool); 2] {
    [("le", false), ("be", true)]
}

#[test]
fn integers_of_every_width() {
    for (order, big) in orders() {
        let mut fields = String::new();
        for size in 1..=64 {
            let base = [10, 16][size % 2];
            fields += &format!(
                "integer {{ size = {size}; align = 1; base = {base}; signed = false; }} _u{size};"
            );
            fields += &format!("integer {{ size = {size}; align = 1; signed = true; }} _s{size};");
        }
        for (size, base) in [
            (1, 2),
            (5, 2),
            (8, 8),
            (13, 2),
            (16, 8),
            (29, 2),
            (32, 8),
            (64, 2),
        ] {
            fields += &format!(
                "integer {{ size = {size}; align = 8; base = {base}; signed = false; }} _b{size}_{base};"
            );
        }
        let file = packet(
            big,
            |_| {},
            |bits| {
                for round in 0..3u64 {
                    header(bits, 10 + round, 0);
                    for size in 1..=64u32 {
                        let value = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(round + u64::from(size));
                        bits.int(value >> (64 - size), size);
                        bits.int((value ^ 0xff) >> (64 - size), size);
                    }
                    for size in [1, 5, 8, 13, 16, 29, 32, 64] {
                        bits.align(8)
                            .int(0xb6db_6db6_db6d_b6db >> (64 - size), size);
                    }
                }
            },
        );
        let text = judged(plain(order, "", "", &fields).as_bytes(), &[("s", &file)]);
        assert_eq!(text.lines().count(), 3);
    }
}

#[test]
fn types_within_types() {
    let types = "
typealias integer { size = 8; align = 8; signed = false; encoding = UTF8; } := letter;
typedef uint16_t pair_t[2];
struct point { uint8_t _x; struct { uint16_t _y; string _name; } _inner; };
enum kind : uint8_t { NUMBER, TEXT = 3, \"many of them\" = 5 ... 9, MORE, WORDS = 20 };
variant value { uint32_t NUMBER; string TEXT; struct { uint8_t _n; uint16_t _list[2]; } MORE; };
typealias floating_point { exp_dig = 8; mant_dig = 24; align = 8; } := float;
typealias floating_point { exp_dig = 11; mant_dig = 53; align = 8; } := double;
";
    let fields = "
float _f; double _d;
struct point _p[2];
enum kind _kind; variant value <_kind> _v;
uint8_t _count; letter _text[_count]; letter _room[6];
pair_t _pairs[2]; uint8_t _m; struct { uint8_t _k; letter _word[_k]; } _words[_m];
enum : integer { size = 32; align = 8; signed = true; } { MINUS = -3 ... -1, ZERO, BOTH = 0 ... 4 } _e;
struct { } _nothing;
uint8_t _grid[2][3];
";
    for (order, big) in orders() {
        let file = packet(
            big,
            |_| {},
            |bits| {
                for (round, kind) in [(0u64, 0u64), (1, 3), (2, 10), (3, 0)] {
                    header(bits, 100 * round, 0);
                    bits.int(u64::from((1.5f32 * round as f32).to_bits()), 32);
                    bits.int((-0.1f64 * round as f64).to_bits(), 64);
                    for part in ["p", "point"] {
                        bits.int(7 + round, 8).int(0x1234, 16).text(part);
                    }
                    bits.int(kind, 8);
                    match kind {
                        0 => bits.int(0xdead_beef, 32),
                        3 => bits.text("chosen"),
                        _ => bits.int(2, 8).int(1, 16).int(2, 16),
                    };
                    bits.int(3, 8).raw(b"abc").raw(b"xy\0zzz");
                    for value in 1..=4 {
                        bits.int(value, 16);
                    }
                    bits.int(2, 8).int(1, 8).raw(b"q").int(4, 8).raw(b"word");
                    bits.int(((round as i64) - 2) as u64 & 0xffff_ffff, 32);
                    for value in 0..6 {
                        bits.int(value, 8);
                    }
                }
            },
        );
        let text = judged(plain(order, types, "", fields).as_bytes(), &[("s", &file)]);
        assert!(
            text.contains("chosen") && text.contains("\"word\""),
            "{text}"
        );
    }
}

#[test]
fn lengths_and_tags_from_every_scope() {
    for (order, big) in orders() {
        let metadata = plain(
            order,
            "enum which : uint8_t { A, B };",
            "uint8_t _plen; enum which _pwhich; variant <_pwhich> { uint16_t A; string B; } _by_packet; uint32_t cpu_id;",
            "uint8_t _len; uint8_t _from_fields[event.fields._len]; uint8_t _from_own[event.context._clen];
             uint8_t _from_stream[stream.event.context._slen.n]; uint8_t _from_packet[stream.packet.context._plen];
             uint8_t _found[stream.event.context._slen2]; enum which _which; variant <_which> { uint8_t A; string B; } _chosen;",
        )
        .replace(
            "uint16_t id; };",
            "uint16_t id; }; event.context := struct { struct { uint8_t n; } _slen; uint8_t _slen2; };",
        )
        .replace(
            "fields := struct",
            "context := struct { uint8_t _clen; }; fields := struct",
        );
        let one = |plen: u64, from: u64| {
            packet(
                big,
                |bits| {
                    bits.int(plen, 8).int(plen % 2, 8);
                    if plen.is_multiple_of(2) {
                        bits.int(77, 16);
                    } else {
                        bits.text("packet's");
                    }
                    bits.int(plen + 1, 32);
                },
                |bits| {
                    for round in 0..3u64 {
                        header(bits, from + round, 0);
                        bits.int(2, 8).int(1, 8).int(3, 8);
                        bits.int(round, 8);
                        for value in 0..round + 3 + 2 + plen + 1 {
                            bits.int(value, 8);
                        }
                        bits.int(round % 2, 8);
                        if round.is_multiple_of(2) {
                            bits.int(9, 8);
                        } else {
                            bits.text("nine");
                        }
                    }
                },
            )
        };
        let mut file = one(1, 10);
        file.extend(one(4, 20));
        let text = judged(metadata.as_bytes(), &[("s", &file)]);
        assert_eq!(text.lines().count(), 6);
        assert!(text.contains("cpu_id = 5"), "{text}");
    }
}

#[test]
fn alignment_behind_text_is_found_anew_in_each_record() {
    for (order, big) in orders() {
        let metadata = plain(
            order,
            "typealias integer { size = 32; align = 32; signed = false; } := word;
             typealias integer { size = 64; align = 64; signed = true; } := long;",
            "",
            "string _name; word _after; long _more; uint8_t _end;",
        )
        .replace(
            "uint16_t id; };",
            "uint16_t id; }; event.context := struct { uint8_t _small; word _tid; };",
        ) + "event { name = fixed; id = 1; stream_id = 0; fields := struct { uint8_t _a; word _b; long _c; }; };";
        let file = packet(
            big,
            |_| {},
            |bits| {
                for round in 0..8u64 {
                    header(bits, 10 + round, round % 2);
                    bits.align(32).int(round, 8).align(32).int(4711 + round, 32);
                    if round.is_multiple_of(2) {
                        bits.align(64).text(&"n".repeat(round as usize));
                        bits.align(32).int(1 << round, 32);
                        bits.align(64)
                            .int((-(round as i64)) as u64, 64)
                            .int(round, 8);
                    } else {
                        bits.align(64)
                            .int(1, 8)
                            .align(32)
                            .int(2, 32)
                            .align(64)
                            .int(3, 64);
                    }
                }
            },
        );
        let text = judged(metadata.as_bytes(), &[("s", &file)]);
        assert_eq!(text.lines().count(), 8);
    }
}

/// LTTng's two headers, with a clock of which they hold the lowest bits.
#[test]
fn compact_and_large_headers_whose_clocks_wrap() {
    for (order, big) in orders() {
        for compact in [true, false] {
            let (id_bits, time_bits, last) = if compact {
                (5, 27, 31)
            } else {
                (16, 32, 65535)
            };
            let metadata = format!(
                "/* CTF 1.8 */
typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
typealias integer {{ size = 64; align = 8; signed = false; }} := uint64_t;
typealias integer {{ size = {id_bits}; align = {}; signed = false; }} := idt;
trace {{ major = 1; minor = 8; uuid = \"2a6422d0-6cee-11e0-8c08-cb07d7b3a564\"; byte_order = {order};
  packet.header := struct {{ uint32_t magic; uint8_t uuid[16]; uint32_t stream_id; uint64_t stream_instance_id; }}; }};
env {{ hostname = \"box\"; domain = \"ust\"; tracer_name = \"lttng-ust\"; vpid = 7; procname = \"prog\"; }};
clock {{ name = \"monotonic\"; uuid = \"e57e7306-bb94-4e52-872a-6ca1ace4c30a\"; freq = 1000000000; offset = 1795451367790744197; }};
typealias integer {{ size = {time_bits}; align = 1; signed = false; map = clock.monotonic.value; }} := low_t;
typealias integer {{ size = 64; align = 8; signed = false; map = clock.monotonic.value; }} := full_t;
struct packet_context {{ full_t timestamp_begin; full_t timestamp_end; uint64_t content_size; uint64_t packet_size; uint64_t packet_seq_num; uint64_t events_discarded; uint32_t cpu_id; }};
struct event_header {{ enum : idt {{ compact = 0 ... {}, extended = {last} }} id;
  variant <id> {{ struct {{ low_t timestamp; }} compact; struct {{ uint32_t id; full_t timestamp; }} extended; }} v; }} align(8);
stream {{ id = 0; event.header := struct event_header; packet.context := struct packet_context; event.context := struct {{ integer {{ size = 32; align = 8; signed = 1; }} _vtid; }}; }};
event {{ name = \"one\"; id = 3; stream_id = 0; loglevel = 13; fields := struct {{ uint8_t _n; }}; }};
event {{ name = \"far\"; id = 90000; stream_id = 0; fields := struct {{ string _s; }}; }};
",
                if compact { 1 } else { 8 },
                last - 1
            );
            let times: Vec<u64> = (0..400u64)
                .map(|n| 5_000_000_000 + n * 61_000_003)
                .collect();
            let build = |content: u64, size: u64| {
                let mut bits = Bits::new(big);
                bits.int(0xc1fc_1fc1, 32);
                bits.raw(&[
                    0x2a, 0x64, 0x22, 0xd0, 0x6c, 0xee, 0x11, 0xe0, 0x8c, 0x08, 0xcb, 0x07, 0xd7,
                    0xb3, 0xa5, 0x64,
                ]);
                bits.int(0, 32)
                    .int(0, 64)
                    .int(times[0], 64)
                    .int(times[399], 64);
                bits.int(content, 64)
                    .int(size, 64)
                    .int(0, 64)
                    .int(0, 64)
                    .int(1, 32);
                for (index, time) in times.iter().enumerate() {
                    let full = index % 50 == 7;
                    bits.align(8);
                    if full {
                        bits.int(last, id_bits)
                            .align(8)
                            .int(90000, 32)
                            .int(*time, 64);
                        bits.int(5, 32).text("far away");
                    } else {
                        bits.int(3, id_bits)
                            .int(time & ((1 << time_bits) - 1), time_bits);
                        bits.int(5, 32).int(index as u64 & 0xff, 8);
                    }
                }
                let content = bits.at;
                bits.align(64);
                (content, bits)
            };
            let (content, bits) = build(0, 0);
            let size = bits.at;
            let file = build(content, size).1.bytes;
            let text = judged(metadata.as_bytes(), &[("ch_0", &file)]);
            assert_eq!(text.lines().count(), 400);
        }
    }
}

#[test]
fn packetised_metadata_of_either_byte_order() {
    let text = plain("be", "", "", "uint8_t _n;");
    let file = packet(
        true,
        |_| {},
        |bits| {
            header(bits, 1, 0);
            bits.int(1, 8);
        },
    );
    for big in [false, true] {
        let mut metadata = Vec::new();
        for piece in text.as_bytes().chunks(300) {
            let size = 37 + piece.len() as u32;
            let padded = size.next_multiple_of(64);
            let word = |v: u32| {
                if big {
                    v.to_be_bytes()
                } else {
                    v.to_le_bytes()
                }
            };
            metadata.extend(word(0x75d1_1d57));
            metadata.extend([0; 16]);
            for number in [0, size * 8, padded * 8] {
                metadata.extend(word(number));
            }
            metadata.extend([0, 0, 0, 1, 8]);
            metadata.extend(piece);
            metadata.resize(metadata.len() + (padded - size) as usize, 0);
        }
        judged(&metadata, &[("s", &file)]);
    }
}

#[test]
fn clocks_of_other_frequencies_and_origins() {
    for clock in [
        "freq = 1000000; offset_s = 3; offset = 7;",
        "freq = 2800000123; offset_s = 1700000000; offset = 12345678;",
        "freq = 3000; absolute = true;",
        "freq = 1000000000; offset = 1700000000123456789; absolute = true; precision = 100;",
        "freq = 1000000000;",
    ] {
        let metadata = plain("le", "", "", "uint8_t _n;").replace(
            "freq = 1000000000; offset_s = 1700000000; offset = 5;",
            clock,
        );
        let file = packet(
            false,
            |_| {},
            |bits| {
                for round in 0..50u64 {
                    header(bits, round * 123_456_789_123, 0);
                    bits.int(round, 8);
                }
            },
        );
        judged(metadata.as_bytes(), &[("s", &file)]);
    }
}

#[test]
fn traces_of_next_to_nothing() {
    // No packet header, no packet context, no event header, no clock.
    let metadata = "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; }; stream { }; event { name = bare; fields := struct { integer { size = 8; } _n; }; };";
    let text = judged(metadata.as_bytes(), &[("s", &[1, 2, 3])]);
    assert_eq!(text.lines().count(), 3);
    // A clock that nobody declares.
    let metadata = "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; }; stream { event.header := struct { integer { size = 8; } id; integer { size = 8; } timestamp; }; }; event { name = timed; id = 4; fields := struct { integer { size = 4; } _a; integer { size = 4; } _b; }; };";
    judged(
        metadata.as_bytes(),
        &[("s", &[4, 250, 0x21, 4, 3, 0x43, 4, 3, 0x65])],
    );
}

#[test]
fn several_streams_and_traces() {
    let metadata = plain("le", "", "uint32_t cpu_id;", "uint8_t _n;")
        + "stream { id = 1; packet.context := struct { uint64_t content_size; uint64_t packet_size; uint32_t cpu_id; }; event.header := struct { stamp_t timestamp; uint16_t id; }; event.context := struct { string _who; }; };
           event { name = \"other\"; id = 0; stream_id = 1; context := struct { uint16_t _c; }; fields := struct { string _s; }; };
           callsite { name = \"other\"; func = \"f\"; file = \"f.c\"; line = 3; };";
    let file = |stream: u8, cpu: u64, from: u64| {
        let mut bytes = packet(
            false,
            |bits| {
                bits.int(cpu, 32);
            },
            |bits| {
                for round in 0..40u64 {
                    header(bits, from + round * 7, 0);
                    if stream == 0 {
                        bits.int(round, 8);
                    } else {
                        bits.text("me").int(round, 16).text("text");
                    }
                }
            },
        );
        bytes[4] = stream;
        bytes
    };
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for (name, at) in [("one", 0), ("two/deeper", 3)] {
        make(
            &from.join(name),
            metadata.as_bytes(),
            &[
                ("a0", &file(0, 0, at)),
                ("a1", &file(0, 1, at + 1)),
                ("b0", &file(1, 0, at + 2)),
                ("empty", &[]),
                (".hidden", b"no stream"),
            ],
        );
    }
    let text = judged_dir(&from, &to);
    assert_eq!(text.lines().count(), 240);
    assert!(to.join("two/deeper/metadata").is_file());
}

/// Integers of 17 to 24 and 33 to 56 bits become wider in the copy: what shows of that is reported.
#[test]
fn widths_that_show_are_reported() {
    let fields = "integer { size = 20; align = 1; base = 2; } _binary; integer { size = 20; align = 1; signed = true; base = 16; } _negative;
        integer { size = 40; align = 1; signed = true; } _decimal; integer { size = 20; align = 1; base = 16; } _hex; integer { size = 4; align = 1; base = 2; } _small;";
    let file = packet(
        false,
        |_| {},
        |bits| {
            header(bits, 1, 0);
            bits.int(5, 20).int(0xf_fffe, 20).int(0xff_ffff_ffff, 40);
            bits.int(9, 20).int(3, 4);
        },
    );
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    make(
        &from,
        plain("le", "", "", fields).as_bytes(),
        &[("s", &file)],
    );
    let (report, errors) = copy(&from, &to, MetadataFormat::Ctf1_8).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(report.kept, 1);
    assert_eq!(
        report.facts_not_held,
        [
            "the width of an event.binary (20 bits)",
            "the width of an event.negative (20 bits)"
        ]
    );
    // And nothing else differs.
    let text = |dir| {
        let (text, complaints) = babeltrace2(dir);
        assert!(!complaints.contains(" E "), "{complaints}");
        let (_, fields) = text.split_once("binary = ").unwrap();
        let (_, rest) = fields.split_once("decimal").unwrap();
        rest.to_owned()
    };
    assert_eq!(text(&from), text(&to));
}

/// A last field that ends within a byte leaves bits that are no record.
#[test]
fn the_last_field_may_end_within_a_byte() {
    let metadata = "/* CTF 1.8 */ trace { major = 1; minor = 8; byte_order = le; }; stream { event.header := struct { integer { size = 4; } id; integer { size = 8; } timestamp; }; }; event { name = timed; id = 4; fields := struct { integer { size = 4; } _a; integer { size = 4; } _b; }; };";
    let dir = tempfile::tempdir().unwrap();
    let (from, to, again) = (
        dir.path().join("from"),
        dir.path().join("to"),
        dir.path().join("again"),
    );
    make(
        &from,
        metadata.as_bytes(),
        &[("s", &[4, 1, 0x21, 4, 2, 0x43])],
    );
    for (from, to) in [(&from, &to), (&to, &again)] {
        let (report, errors) = copy(from, to, MetadataFormat::Ctf1_8).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(report.kept, 2);
    }
    let (text, _) = babeltrace2(&from);
    assert_eq!(text.lines().count(), 2);
    let (copied, complaints) = babeltrace2(&again);
    assert!(!complaints.contains(" E "), "{complaints}");
    assert_eq!(text, copied);
}

/// Where a record's last field ends depends on the record: then it ends with a whole byte.
#[test]
fn the_last_field_may_end_anywhere() {
    for (order, big) in orders() {
        let fields = "uint8_t _count; enum : uint8_t { A, B } _tag; variant <_tag> { integer { size = 3; } A; uint16_t B; } _v; integer { size = 5; align = 1; } _list[_count];";
        for last in 0..4u64 {
            let file = packet(
                big,
                |_| {},
                |bits| {
                    for (time, round) in (10..).zip([3, 2, 1, last]) {
                        header(bits, time, 0);
                        bits.align(8).int(round, 8).int(round % 2, 8);
                        if round % 2 == 0 {
                            bits.int(5, 3);
                        } else {
                            bits.align(8).int(500, 16);
                        }
                        for value in 0..round {
                            bits.int(value + 9, 5);
                        }
                    }
                },
            );
            judged(plain(order, "", "", fields).as_bytes(), &[("s", &file)]);
        }
    }
}
