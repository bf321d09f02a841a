//! Small files made by hand, by the letter of `trace-cmd.dat.v7(5)`: little- and big-endian,
//! with `long`s of 4 and 8 bytes. Nothing of the code under test is used.

/// A number's bytes in an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) big: bool,
}

impl Order {
    pub(crate) fn bytes(self, number: u64, size: usize) -> Vec<u8> {
        let mut bytes = number.to_le_bytes()[..size].to_vec();
        if self.big {
            bytes.reverse();
        }
        bytes
    }
}

/// The kind of machine a file is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) order: Order,
    pub(crate) long: usize,
}

pub(crate) const FORMAT: &str = "name: thing\nID: 300\nformat:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
    \tfield:u64 big;\toffset:8;\tsize:8;\tsigned:0;\n\
    \tfield:short small;\toffset:16;\tsize:2;\tsigned:1;\n\
    \tfield:__data_loc char[] text;\toffset:20;\tsize:4;\tsigned:1;\n\n\
    print fmt: \"big=%llu small=%d text=%s\", REC->big, REC->small, __get_str(text)\n";

/// One event: time, tid, numbers and text.
pub(crate) type Event = (u64, u32, u64, i16, &'static str);

pub(crate) const EVENTS: [Event; 4] = [
    (1_000_000_000, 17, u64::MAX - 1, -2, "first"),
    (1_000_000_500, 18, 2, 300, ""),
    // Further than 27 bits hold.
    (
        3_000_000_000,
        17,
        0x0102_0304_0506_0708,
        -32768,
        "a longer text than the others",
    ),
    (3_000_000_001, 19, 4, 4, "last"),
];

impl Machine {
    pub(crate) fn u16(self, n: u16) -> Vec<u8> {
        self.order.bytes(n.into(), 2)
    }

    pub(crate) fn u32(self, n: u32) -> Vec<u8> {
        self.order.bytes(n.into(), 4)
    }

    pub(crate) fn u64(self, n: u64) -> Vec<u8> {
        self.order.bytes(n, 8)
    }

    fn header_page(self) -> String {
        let (long, data) = (self.long, 8 + self.long);
        format!(
            "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
             \tfield: local_t commit;\toffset:8;\tsize:{long};\tsigned:1;\n\
             \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
             \tfield: char data;\toffset:{data};\tsize:{};\tsigned:0;\n",
            4096 - data
        )
    }

    fn entry(self, event: &Event) -> Vec<u8> {
        let (_, tid, big, small, text) = event;
        let mut entry = self.u16(300);
        entry.extend([0, 0]);
        entry.extend(self.u32(*tid));
        entry.extend(self.u64(*big));
        entry.extend(self.u16(small.cast_unsigned()));
        entry.extend([0, 0]);
        let len = text.len() as u32 + 1;
        entry.extend(self.u32(len << 16 | 24));
        entry.extend(text.bytes());
        entry.push(0);
        entry.resize(entry.len().next_multiple_of(4), 0);
        entry
    }

    fn event_header(self, kind: u32, delta: u64) -> Vec<u8> {
        let delta = delta as u32;
        self.u32(if self.order.big {
            kind << 27 | delta
        } else {
            delta << 5 | kind
        })
    }

    /// A page of events; `lost` before the first one.
    pub(crate) fn page(self, events: &[Event], lost: Option<u64>) -> Vec<u8> {
        let mut data = Vec::new();
        let mut time = events[0].0;
        for event in events {
            let mut delta = event.0 - time;
            if delta >= 1 << 27 {
                data.extend(self.event_header(30, delta & ((1 << 27) - 1)));
                data.extend(self.u32((delta >> 27) as u32));
                delta = 0;
            }
            time = event.0;
            let entry = self.entry(event);
            data.extend(self.event_header(entry.len() as u32 / 4, delta));
            data.extend(entry);
        }
        let mut commit = data.len() as u64;
        if let Some(count) = lost {
            commit |= 1 << 31 | 1 << 30;
            data.extend(self.order.bytes(count, self.long));
        }
        let mut page = self.u64(events[0].0);
        page.extend(self.order.bytes(commit, self.long));
        page.extend(data);
        page.resize(4096, 0);
        page
    }

    fn section(self, id: u16, content: &[u8]) -> Vec<u8> {
        let mut section = self.u16(id);
        section.extend(self.u16(0));
        section.extend(self.u32(0));
        section.extend(self.u64(content.len() as u64));
        section.extend(content);
        section
    }

    fn option(self, id: u16, data: &[u8]) -> Vec<u8> {
        let mut option = self.u16(id);
        option.extend(self.u32(data.len() as u32));
        option.extend(data);
        option
    }

    fn sized(self, text: &[u8]) -> Vec<u8> {
        let mut sized = self.u64(text.len() as u64);
        sized.extend(text);
        sized
    }

    /// A whole file of version 7: two events each on CPU 0 and CPU 1, with options more.
    pub(crate) fn file(self, more: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut file = b"\x17\x08\x44tracing7\0".to_vec();
        file.extend([u8::from(self.order.big), 8]);
        file.extend(self.u32(4096));
        file.extend(b"none\0\0");
        let options_place = file.len();
        file.extend(self.u64(0));

        let mut options = Vec::new();
        let mut headers = b"header_page\0".to_vec();
        headers.extend(self.sized(self.header_page().as_bytes()));
        headers.extend(b"header_event\0");
        headers.extend(self.sized(b"\ttype_len    :    5 bits\n"));
        let mut formats = self.u32(1);
        formats.extend(b"sys\0");
        formats.extend(self.u32(1));
        formats.extend(self.sized(FORMAT.as_bytes()));
        let names = self.sized(b"17 one\n18 two\n");
        for (id, content) in [
            (16, headers),
            (17, self.u32(0)),
            (18, formats),
            (19, self.u32(0)),
            (20, self.u32(0)),
            (21, names),
        ] {
            options.extend(self.option(id, &self.u64(file.len() as u64)));
            file.extend(self.section(id, &content));
        }
        file.extend(self.section(15, b"strings\0"));
        options.extend(self.option(4, b"local [mono] boot\n\0"));
        options.extend(self.option(8, &self.u32(2)));
        for (id, data) in more {
            options.extend(self.option(*id, data));
        }
        let pages = [
            self.page(&[EVENTS[0], EVENTS[2]], None),
            self.page(&[EVENTS[1], EVENTS[3]], Some(5)),
        ];
        let buffer_len = 8 + 1 + 5 + 4 + 4 + 2 * 20;
        let options_len = options.len() + 6 + buffer_len + 6 + 8;
        let start = file.len() + 16 + options_len;
        let data = (start + 16).next_multiple_of(4096);
        let mut buffer = self.u64(start as u64);
        buffer.extend(b"\0mono\0");
        buffer.extend(self.u32(4096));
        buffer.extend(self.u32(2));
        for cpu in 0..2u32 {
            buffer.extend(self.u32(cpu));
            buffer.extend(self.u64((data + cpu as usize * 4096) as u64));
            buffer.extend(self.u64(4096));
        }
        assert_eq!(buffer.len(), buffer_len);
        options.extend(self.option(3, &buffer));
        options.extend(self.option(0, &self.u64(0)));
        assert_eq!(options.len(), options_len);
        let place = self.u64(file.len() as u64);
        file[options_place..options_place + 8].copy_from_slice(&place);
        file.extend(self.section(0, &options));
        let mut section = self.section(3, &[]);
        let size = data - start - 16 + 2 * 4096;
        section[8..16].copy_from_slice(&self.u64(size as u64));
        file.extend(section);
        file.resize(data, 0);
        file.extend(pages.concat());
        file
    }
}

/// Every kind of machine.
pub(crate) const MACHINES: [Machine; 4] = [
    Machine {
        order: Order { big: false },
        long: 8,
    },
    Machine {
        order: Order { big: false },
        long: 4,
    },
    Machine {
        order: Order { big: true },
        long: 8,
    },
    Machine {
        order: Order { big: true },
        long: 4,
    },
];
