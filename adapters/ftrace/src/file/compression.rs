//! The algorithms that compress sections and CPU data.

use kstrace_schema::{Error, ErrorKind, Result};
use std::io::Read;

/// How a file's compressed parts are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Nothing is compressed.
    #[default]
    None,
    /// Zstandard.
    Zstd,
    /// zlib (RFC 1950).
    Zlib,
}

/// Zstandard's own default.
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// The algorithm of that name in a file's header.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"none" | b"" => Some(Compression::None),
            b"zstd" => Some(Compression::Zstd),
            b"zlib" => Some(Compression::Zlib),
            _ => None,
        }
    }

    /// Its name in a file's header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zstd => "zstd",
            Compression::Zlib => "zlib",
        }
    }

    /// The version in a file's header. trace-cmd takes any.
    pub(super) fn version(self) -> String {
        match self {
            Compression::None => String::new(),
            Compression::Zstd => zstd::zstd_safe::version_string().to_owned(),
            Compression::Zlib => "1.2.13".to_owned(),
        }
    }

    /// Decompresses to exactly `len_bytes`, into `out` in place of what is there.
    pub(super) fn decompress(
        self,
        bytes: &[u8],
        len_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        // One more than stated, to notice what is longer; it grows with what comes out.
        let limit = len_bytes as u64 + 1;
        let done = match self {
            Compression::None => {
                out.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Compression::Zstd => zstd::stream::read::Decoder::with_buffer(bytes)
                .and_then(|decoder| decoder.take(limit).read_to_end(out)),
            Compression::Zlib => flate2::bufread::ZlibDecoder::new(bytes)
                .take(limit)
                .read_to_end(out),
        };
        let name = self.name();
        let done = done.map_err(|e| {
            Error::with_source(
                ErrorKind::InvalidData,
                format!("{} bytes are no {name} data", bytes.len()),
                e,
            )
        })?;
        if done != len_bytes {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!("{name} data of other than the stated {len_bytes} bytes"),
            ));
        }
        Ok(())
    }

    /// Compresses.
    pub(super) fn compress(self, bytes: &[u8]) -> Result<Vec<u8>> {
        match self {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Compression::Zlib => {
                let level = flate2::Compression::default();
                let mut out = Vec::new();
                flate2::bufread::ZlibEncoder::new(bytes, level)
                    .read_to_end(&mut out)
                    .map(|_| out)
            }
        }
        .map_err(|e| Error::io(format!("{} cannot compress", self.name()), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let bytes = b"common_type common_flags common_type".repeat(1000);
        for algorithm in [Compression::None, Compression::Zstd, Compression::Zlib] {
            let packed = algorithm.compress(&bytes).unwrap();
            let mut out = vec![7];
            algorithm
                .decompress(&packed, bytes.len(), &mut out)
                .unwrap();
            assert_eq!(out, bytes);
            for wrong in [0, bytes.len() - 1, bytes.len() + 1] {
                assert!(algorithm.decompress(&packed, wrong, &mut out).is_err());
            }
            assert_eq!(
                Compression::named(algorithm.name().as_bytes()),
                Some(algorithm)
            );
        }
        let mut out = Vec::new();
        assert!(
            Compression::Zstd
                .decompress(b"rubbish", 7, &mut out)
                .is_err()
        );
        assert!(
            Compression::Zlib
                .decompress(b"rubbish", 7, &mut out)
                .is_err()
        );
    }
}
