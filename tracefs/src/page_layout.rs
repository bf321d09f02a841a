//! The layout of a ring page, as `events/header_page` states it.

use crate::page::Page;

/// Byte order of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// This machine's.
    pub const NATIVE: Endian = if cfg!(target_endian = "little") {
        Endian::Little
    } else {
        Endian::Big
    };
}

/// Where the fields of a ring page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLayout {
    pub(crate) timestamp_offset: usize,
    pub(crate) commit_offset: usize,
    /// Size of the kernel's `long`: 4 or 8.
    pub(crate) long_size_bytes: usize,
    pub(crate) data_offset: usize,
    /// Header and data, as the file says; sub-buffers may be larger.
    page_size_bytes: usize,
    pub(crate) endian: Endian,
}

/// Why a `header_page` text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageLayoutError {
    /// A field is not there, or its offset and size cannot be read.
    #[error("no field '{0}' with offset and size")]
    Missing(&'static str),
    /// A field has a size that no kernel gives it.
    #[error("field '{field}' is {size_bytes} bytes, expected {expected}")]
    Size {
        /// Its name.
        field: &'static str,
        /// What the text says.
        size_bytes: usize,
        /// What there should be.
        expected: &'static str,
    },
    /// A field's place makes no sense.
    #[error("field '{0}' lies outside of the page header")]
    Place(&'static str),
}

/// Page headers are 12 or 16 bytes; anything much longer is no page header.
const HEADER_LIMIT_BYTES: usize = 256;
/// Larger than any sub-buffer that a kernel makes.
const PAGE_LIMIT_BYTES: usize = 1 << 28;

impl PageLayout {
    /// The layout of a 64-bit kernel's 4 KiB pages in native byte order, as
    /// every kernel since 2.6.30 has had it.
    pub const NATIVE_64: PageLayout = PageLayout {
        timestamp_offset: 0,
        commit_offset: 8,
        long_size_bytes: 8,
        data_offset: 16,
        page_size_bytes: 4096,
        endian: Endian::NATIVE,
    };

    /// Parses the text of `events/header_page` of a kernel with this machine's byte order.
    pub fn parse(text: &str) -> Result<Self, PageLayoutError> {
        Self::parse_endian(text, Endian::NATIVE)
    }

    /// The same, of a kernel with another byte order (from a file).
    pub fn parse_endian(text: &str, endian: Endian) -> Result<Self, PageLayoutError> {
        let (timestamp_offset, size) = field(text, "timestamp")?;
        if size != 8 {
            return Err(PageLayoutError::Size {
                field: "timestamp",
                size_bytes: size,
                expected: "8",
            });
        }
        let (commit_offset, long_size_bytes) = field(text, "commit")?;
        if long_size_bytes != 4 && long_size_bytes != 8 {
            let size_bytes = long_size_bytes;
            return Err(PageLayoutError::Size {
                field: "commit",
                size_bytes,
                expected: "4 or 8",
            });
        }
        let (data_offset, data_size) = field(text, "data")?;
        if data_offset > HEADER_LIMIT_BYTES || data_size > PAGE_LIMIT_BYTES {
            return Err(PageLayoutError::Place("data"));
        }
        if timestamp_offset > data_offset.saturating_sub(8) {
            return Err(PageLayoutError::Place("timestamp"));
        }
        if commit_offset > data_offset.saturating_sub(long_size_bytes) {
            return Err(PageLayoutError::Place("commit"));
        }
        Ok(PageLayout {
            timestamp_offset,
            commit_offset,
            long_size_bytes,
            data_offset,
            page_size_bytes: data_offset + data_size,
            endian,
        })
    }

    /// The layout of a kernel of a byte order and a size of `long`, in bytes, with pages
    /// of a size.
    ///
    /// `None` for another `long` than of 4 or 8 bytes, and for pages too small for a header.
    pub fn of_kernel(
        endian: Endian,
        long_size_bytes: usize,
        page_size_bytes: usize,
    ) -> Option<Self> {
        let data_offset = 8 + long_size_bytes;
        let sound = matches!(long_size_bytes, 4 | 8)
            && (data_offset..=PAGE_LIMIT_BYTES).contains(&page_size_bytes);
        sound.then_some(PageLayout {
            timestamp_offset: 0,
            commit_offset: 8,
            long_size_bytes,
            data_offset,
            page_size_bytes,
            endian,
        })
    }

    /// The text of `events/header_page` that states a layout that
    /// [`of_kernel`](Self::of_kernel) gives.
    pub fn header_page(&self) -> String {
        let (long, data) = (self.long_size_bytes, self.data_offset);
        let data_size = self.page_size_bytes.saturating_sub(data);
        format!(
            "\tfield: u64 timestamp;\toffset:{};\tsize:8;\tsigned:0;\n\
             \tfield: local_t commit;\toffset:{commit};\tsize:{long};\tsigned:1;\n\
             \tfield: int overwrite;\toffset:{commit};\tsize:1;\tsigned:1;\n\
             \tfield: char data;\toffset:{data};\tsize:{data_size};\tsigned:0;\n",
            self.timestamp_offset,
            commit = self.commit_offset,
        )
    }

    /// Byte order of the kernel.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// Bytes before the first event.
    pub fn header_size_bytes(&self) -> usize {
        self.data_offset
    }

    /// Size of the kernel's `long` in bytes: 4 or 8.
    pub fn long_size_bytes(&self) -> usize {
        self.long_size_bytes
    }

    /// Size of a page as the text states it. Sub-buffers of another size have
    /// the same header.
    pub fn page_size_bytes(&self) -> usize {
        self.page_size_bytes
    }

    /// Reads the header of a page. `bytes` may be longer than what is committed,
    /// as `read` gives it, or cut short.
    ///
    /// `None` if it is cut within the header.
    #[inline]
    pub fn page<'a>(&self, bytes: &'a [u8]) -> Option<Page<'a>> {
        Page::read(self, bytes)
    }
}

/// Offset and size of a field: `field: local_t commit;\toffset:8;\tsize:8;\tsigned:1;`.
fn field(text: &str, name: &'static str) -> Result<(usize, usize), PageLayoutError> {
    let found = text.lines().find_map(|line| {
        let mut parts = line
            .trim()
            .strip_prefix("field:")?
            .split(';')
            .map(str::trim);
        let declared = parts.next()?.split_ascii_whitespace().next_back()?;
        (declared == name).then_some(())?;
        let number = |part: Option<&str>, key: &str| part?.strip_prefix(key)?.parse::<usize>().ok();
        let offset = number(parts.next(), "offset:")?;
        let size = number(parts.next(), "size:")?;
        Some((offset, size))
    });
    found.ok_or(PageLayoutError::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT_64: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

    #[test]
    fn kernels_of_64_and_32_bits() {
        assert_eq!(PageLayout::parse(TEXT_64), Ok(PageLayout::NATIVE_64));
        let text_32 = TEXT_64
            .replace("offset:8;\tsize:8", "offset:8;\tsize:4")
            .replace("offset:16;\tsize:4080", "offset:12;\tsize:4084");
        let layout = PageLayout::parse(&text_32).unwrap();
        assert_eq!(
            (layout.header_size_bytes(), layout.long_size_bytes()),
            (12, 4)
        );
        assert_eq!(layout.page_size_bytes(), 4096);
        assert_eq!(layout.header_page(), text_32);
        for (long, text) in [(8, TEXT_64), (4, text_32.as_str())] {
            let layout = PageLayout::of_kernel(Endian::NATIVE, long, 4096).unwrap();
            assert_eq!(PageLayout::parse(text), Ok(layout));
        }
        assert_eq!(PageLayout::of_kernel(Endian::Big, 2, 4096), None);
        assert_eq!(PageLayout::of_kernel(Endian::Big, 8, 15), None);
    }

    #[test]
    fn texts_that_make_no_sense() {
        assert_eq!(
            PageLayout::parse(""),
            Err(PageLayoutError::Missing("timestamp"))
        );
        let odd = TEXT_64.replace("commit;\toffset:8;\tsize:8", "commit;\toffset:8;\tsize:2");
        assert!(matches!(
            PageLayout::parse(&odd),
            Err(PageLayoutError::Size { .. })
        ));
        let far = TEXT_64.replace("offset:16", "offset:99999999");
        assert_eq!(PageLayout::parse(&far), Err(PageLayoutError::Place("data")));
        let within = TEXT_64.replace("offset:16", "offset:9");
        assert_eq!(
            PageLayout::parse(&within),
            Err(PageLayoutError::Place("commit"))
        );
    }
}
