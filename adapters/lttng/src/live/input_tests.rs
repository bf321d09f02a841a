//! Relay daemons that lie.

use super::client::METADATA_BYTES_MAX;
use super::wire::{
    self, Connect, Index, MetadataResponse, PacketResponse, Stream, StreamsResponse, attach,
    get_metadata, get_packet, name, new_streams, next_index,
};
use super::{Beginning, LiveInput, LiveUrl};
use kstrace_schema::merge::Merger;
use kstrace_schema::{EventRecord, EventRecordClass, Loss, Result, Sink, Source};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes};

const METADATA: &str = "/* CTF 1.8 */
typealias integer { size = 8; align = 8; signed = false; } := uint8_t;
typealias integer { size = 32; align = 8; signed = false; } := uint32_t;
typealias integer { size = 64; align = 8; signed = false; } := uint64_t;
trace { major = 1; minor = 8; byte_order = be;
    packet.header := struct { uint32_t magic; uint32_t stream_id; }; };
clock { name = c; freq = 1000000000; };
typealias integer { size = 64; align = 8; signed = false; map = clock.c.value; } := time_t;
stream { id = 0;
    packet.context := struct { uint64_t content_size; uint64_t packet_size; time_t timestamp_begin; time_t timestamp_end; };
    event.header := struct { time_t timestamp; }; };
event { name = e; id = 0; stream_id = 0; fields := struct { uint8_t x; }; };
";

fn bytes<T: IntoBytes + Immutable>(value: T) -> Vec<u8> {
    value.as_bytes().to_vec()
}

fn greeting(major: u32) -> Vec<u8> {
    bytes(Connect {
        viewer_session_id: U64::new(1),
        major: U32::new(major),
        minor: U32::new(4),
        kind: U32::new(1),
    })
}

fn one_session() -> Vec<u8> {
    let session = wire::Session {
        id: U64::new(7),
        live_timer_us: U32::new(1000),
        clients: U32::new(0),
        streams: U32::new(2),
        hostname: name("box"),
        session_name: name("s"),
    };
    [bytes(U32::new(1)), bytes(session)].concat()
}

fn two_streams() -> Vec<u8> {
    let stream = |id: u64| {
        bytes(Stream {
            id: U64::new(id),
            ctf_trace_id: U64::new(1),
            metadata_flag: U32::new(u32::from(id == 0)),
            path_name: name("ust"),
            channel_name: name(if id == 0 { "metadata" } else { "ch_0" }),
        })
    };
    [streams(attach::OK, 2), stream(0), stream(1)].concat()
}

fn streams(status: u32, count: u32) -> Vec<u8> {
    bytes(StreamsResponse {
        status: U32::new(status),
        streams_count: U32::new(count),
    })
}

fn metadata(len: u64, status: u32) -> Vec<u8> {
    bytes(MetadataResponse {
        len: U64::new(len),
        status: U32::new(status),
    })
}

fn index(status: u32, packet_bytes: u64) -> Vec<u8> {
    let mut index = Index::new_zeroed();
    index.status = U32::new(status);
    index.packet_size_bits = U64::new(packet_bytes.wrapping_mul(8));
    index.timestamp_end = U64::new(20);
    bytes(index)
}

fn packet(status: u32, len: usize) -> Vec<u8> {
    bytes(PacketResponse {
        status: U32::new(status),
        len: U32::new(len as u32),
        flags: U32::new(0),
    })
}

/// A packet of two events.
fn good_packet() -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&0xc1fc_1fc1u32.to_be_bytes());
    out.extend_from_slice(&0u32.to_be_bytes());
    for number in [(40 + 18) * 8, (40 + 18) * 8, 10u64, 20] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for time in [10u64, 20] {
        out.extend_from_slice(&time.to_be_bytes());
        out.push(5);
    }
    out
}

/// Up to the metadata, all as it should be.
fn honest_start() -> Vec<Vec<u8>> {
    vec![
        greeting(2),
        bytes(U32::new(wire::DONE)),
        one_session(),
        two_streams(),
        streams(new_streams::NO_NEW, 0),
    ]
}

fn with_metadata() -> Vec<Vec<u8>> {
    let mut replies = honest_start();
    replies.push(
        [
            metadata(METADATA.len() as u64, get_metadata::OK),
            METADATA.into(),
        ]
        .concat(),
    );
    replies.push(metadata(0, get_metadata::NO_NEW));
    replies
}

#[derive(Default)]
struct Seen {
    times_ns: Vec<u64>,
}

impl Sink for Seen {
    fn class(&mut self, _: &Arc<EventRecordClass>) -> Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        self.times_ns.push(record.time.as_ns());
        Ok(())
    }

    fn loss(&mut self, _: &Loss) -> Result<()> {
        Ok(())
    }
}

/// Answers each request with the next reply, then hangs up. Gives what was read before the
/// error, and that.
fn read(replies: Vec<Vec<u8>>) -> (Vec<u64>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Nobody is there for a second connection.
        drop(listener);
        for reply in replies {
            let mut head = [0; 16];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            let len = u64::from_be_bytes(head[..8].try_into().unwrap());
            let mut data = vec![0; len as usize];
            stream.read_exact(&mut data).unwrap();
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    });
    let url: LiveUrl = format!("net://127.0.0.1:{port}/host/box/s")
        .parse()
        .unwrap();
    let mut seen = Seen::default();
    let said = match LiveInput::open(&url, Beginning::Oldest, Arc::default()) {
        Err(e) => format!("{e:?}"),
        Ok(mut input) => {
            let streams = input.streams(&mut seen).unwrap();
            let mut merger = Merger::new(streams);
            loop {
                let round = merger.round(&mut seen).unwrap();
                if round.finished() {
                    break;
                }
            }
            let errors = merger.take_errors();
            let mut said: Vec<_> = errors.iter().map(|e| format!("{:?}", e.error)).collect();
            let misfits = kstrace_schema::FileInput::misfits(&input);
            said.extend(misfits.iter().map(|e| format!("{e:?}")));
            said.join("\n")
        }
    };
    server.join().unwrap();
    (seen.times_ns, said)
}

#[test]
fn an_honest_one_is_read() {
    let mut replies = with_metadata();
    replies.push(index(next_index::OK, 58));
    replies.push([packet(get_packet::OK, 58), good_packet()].concat());
    replies.push(index(next_index::HUP, 0));
    replies.push(streams(new_streams::HUP, 0));
    assert_eq!(read(replies), (vec![10, 20], String::new()));
}

#[test]
fn what_makes_no_sense_is_told() {
    let and = |mut replies: Vec<Vec<u8>>, reply: Vec<u8>| {
        replies.push(reply);
        replies
    };
    let ok_index = || and(with_metadata(), index(next_index::OK, 58));
    let mut wrong_magic = good_packet();
    wrong_magic[0] = 0;
    let cases: Vec<(Vec<Vec<u8>>, &str)> = vec![
        (vec![], "has gone before it gave its greeting"),
        (
            vec![greeting(2)[..9].to_vec()],
            "has gone before it gave its greeting",
        ),
        (vec![greeting(3)], "speaks version 3.4"),
        (vec![greeting(2), bytes(U32::new(2))], "no viewer session"),
        (
            and(honest_start()[..2].to_vec(), bytes(U32::new(u32::MAX))),
            "4294967295 sessions",
        ),
        (
            and(honest_start()[..2].to_vec(), bytes(U32::new(0))),
            "there are: none",
        ),
        (
            and(honest_start()[..3].to_vec(), streams(attach::ALREADY, 0)),
            "another viewer",
        ),
        (
            and(honest_start()[..3].to_vec(), streams(attach::OK, u32::MAX)),
            "streams",
        ),
        (
            and(honest_start()[..3].to_vec(), streams(77, 0)),
            "status 77",
        ),
        (
            and(honest_start(), metadata(u64::MAX, get_metadata::OK)),
            "possible",
        ),
        (
            and(
                honest_start(),
                metadata(METADATA_BYTES_MAX, get_metadata::OK),
            ),
            "has gone",
        ),
        (and(with_metadata(), index(99, 0)), "status 99"),
        (
            and(with_metadata(), index(next_index::OK, 0)),
            "a packet of 0 bytes",
        ),
        (
            and(with_metadata(), index(next_index::OK, 1 << 60)),
            "bytes, 1 to",
        ),
        (
            and(ok_index(), packet(get_packet::OK, 0)),
            "0 bytes of a packet",
        ),
        (
            and(ok_index(), packet(get_packet::OK, 59)),
            "59 bytes of a packet where 58",
        ),
        (
            and(ok_index(), packet(get_packet::EOF, 0)),
            "does not give the packet",
        ),
        (
            and(
                ok_index(),
                [packet(get_packet::OK, 58), vec![0; 20]].concat(),
            ),
            "has gone",
        ),
    ];
    for (replies, said) in cases {
        let (times_ns, error) = read(replies);
        assert!(error.contains(said), "{said}: {error}");
        assert!(times_ns.is_empty(), "{said}");
    }
    // A damaged packet ends its stream, not the session.
    let mut replies = and(
        ok_index(),
        [packet(get_packet::OK, 58), wrong_magic].concat(),
    );
    replies.push(streams(new_streams::HUP, 0));
    let (times_ns, error) = read(replies);
    assert!(times_ns.is_empty());
    assert!(error.contains("magic"), "{error}");
    // Metadata that are none.
    let mut replies = honest_start();
    let text = "trace { nonsense };";
    replies.push([metadata(text.len() as u64, get_metadata::OK), text.into()].concat());
    replies.push(metadata(0, get_metadata::NO_NEW));
    let (_, error) = read(replies);
    assert!(error.contains("metadata of ust: not usable"), "{error}");
}

#[test]
fn what_came_before_a_hang_up_is_delivered() {
    let mut replies = with_metadata();
    replies.push(index(next_index::OK, 58));
    replies.push([packet(get_packet::OK, 58), good_packet()].concat());
    let (times_ns, error) = read(replies);
    assert_eq!(times_ns, [10, 20]);
    assert!(error.contains("has gone"), "{error}");
}
